//! Machines as data: vector width, registers, tiles, caches. Nothing here looks at the host.

/// A CPU level that code is generated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Name as users type it and as it stands in artefacts.
    pub name: &'static str,
    /// LLVM's `-mcpu`.
    pub llvm_cpu: &'static str,
    /// f32 lanes of one vector register.
    pub lanes: u32,
    /// Vector registers.
    pub registers: u32,
    /// Fused multiply-add in hardware; without it `fma` is a product and a sum, each rounded.
    pub has_fma: bool,
    /// A multiply-add spreads a scalar from memory over its lanes by itself.
    pub embeds_broadcast: bool,
    /// Channel block of the blocked layout.
    pub block: u32,
    /// Register tiles of the convolution and GEMM templates without spills, best first.
    pub tiles: &'static [Tile],
    /// L1 data cache of one core, bytes.
    pub l1_bytes: u64,
    /// L2 cache of one core, bytes.
    pub l2_bytes: u64,
    /// Clock under load, 10⁶ cycles a second.
    pub mhz: u32,
    /// What a process has of L3 from one inference to the next, bytes: others use it too.
    pub l3_bytes: u64,
    /// What one core reads from L3 and from memory while it computes, 10⁹ bytes a second.
    pub l3_gb_per_s: u32,
    pub memory_gb_per_s: u32,
}

/// `pixels` neighbouring output positions × `blocks` channel blocks, held in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    pub pixels: u32,
    pub blocks: u32,
}

const fn tile(pixels: u32, blocks: u32) -> Tile {
    Tile { pixels, blocks }
}

/// SSE4.2, 16 registers of 4 lanes: a block of 8 channels is two registers. Also what Cranelift compiles for.
pub const X86_64_V2: Target = Target {
    name: "x86-64-v2",
    llvm_cpu: "x86-64-v2",
    lanes: 4,
    registers: 16,
    has_fma: false,
    embeds_broadcast: false,
    block: 8,
    tiles: &[tile(2, 2), tile(4, 1)],
    l1_bytes: 32 << 10,
    l2_bytes: 256 << 10,
    mhz: 3000,
    l3_bytes: 4 << 20,
    l3_gb_per_s: 100,
    memory_gb_per_s: 25,
};

/// AVX2 + FMA, 16 registers of 8 lanes.
pub const X86_64_V3: Target = Target {
    name: "x86-64-v3",
    llvm_cpu: "x86-64-v3",
    lanes: 8,
    registers: 16,
    has_fma: true,
    embeds_broadcast: false,
    block: 8,
    tiles: &[tile(6, 2), tile(4, 3), tile(8, 1)],
    l1_bytes: 32 << 10,
    l2_bytes: 512 << 10,
    mhz: 3000,
    l3_bytes: 4 << 20,
    l3_gb_per_s: 100,
    memory_gb_per_s: 25,
};

/// AVX-512, 32 registers of 16 lanes. Clock, L3 and memory are those of Intel's server parts, which are slow beside such
/// vectors: two cores of a Sapphire Rapids, 2026.
pub const X86_64_V4: Target = Target {
    name: "x86-64-v4",
    llvm_cpu: "x86-64-v4",
    lanes: 16,
    registers: 32,
    has_fma: true,
    embeds_broadcast: true,
    block: 16,
    tiles: &[tile(12, 2), tile(8, 3), tile(28, 1)],
    l1_bytes: 32 << 10,
    l2_bytes: 1 << 20,
    mhz: 2300,
    l3_bytes: 16 << 20,
    l3_gb_per_s: 24,
    memory_gb_per_s: 10,
};

/// Every CPU target, weakest first.
pub const TARGETS: [Target; 3] = [X86_64_V2, X86_64_V3, X86_64_V4];

impl Target {
    pub fn from_name(name: &str) -> Option<Target> {
        TARGETS.into_iter().find(|t| t.name == name)
    }

    /// Multiply-adds of one core: two a cycle and lane where the hardware fuses them.
    pub fn macs_per_ns(&self) -> f64 {
        f64::from(self.lanes * self.mhz) / 1e3 * if self.has_fma { 2.0 } else { 1.0 }
    }

    /// Widest number of pixels of a register tile with that many channel blocks.
    pub fn tile_pixels(&self, blocks: u32) -> Option<u32> {
        self.tiles.iter().find(|t| t.blocks == blocks).map(|t| t.pixels)
    }
}
