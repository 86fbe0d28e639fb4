//! What the estimate knows of a machine: one table of constants for each microarchitecture, with the rates that can be
//! measured replaced by those of the machine at hand.

use super::nest::{Core, Latencies};

/// Rates and sizes of one machine. Cycles are those of the clock under load; bandwidths are in bytes a nanosecond
/// (10⁹ bytes a second).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// What [`Machine::named`] finds it by, and what people call it.
    pub name: &'static str,
    pub title: &'static str,
    /// Cycles a nanosecond.
    pub ghz: f64,
    /// Registers, latencies, and the vectors that the rates below are for.
    pub core: Core,
    /// Instructions a cycle: multiply-adds, additions, loads, stores, anything.
    pub fmas: f64,
    pub adds: f64,
    pub loads: f64,
    pub stores: f64,
    pub dispatched: f64,
    /// Cycles of a division or root, and of an exponential by the shared polynomial.
    pub div_cycles: f64,
    pub exp_cycles: f64,
    /// Cycles that entering and leaving a loop costs: the branch that ends it is not foreseen every time, and its
    /// last results are waited for.
    pub loop_cycles: f64,
    /// The same for a loop that goes on with the values of the loop around.
    pub nested_loop_cycles: f64,
    /// Instructions that wait for their operands side by side.
    pub window: f64,
    /// Shares of the memory's time that computing does not hide.
    pub exposed: Exposed,
    /// Lines that may be written in turns before writes wait for each other.
    pub streams: usize,
    /// Lines of one set, in L1 and L2.
    pub ways: u64,
    /// Of one core.
    pub l1_bytes: u64,
    pub l2_bytes: u64,
    /// Shared by all cores.
    pub l3_bytes: u64,
    /// Shares of L3 after which the first of its data is gone, and the last: others use it too.
    pub l3_keeps: [f64; 2],
    /// Read bandwidth of one core from L2, L3, memory.
    pub l2: f64,
    pub l3: f64,
    pub dram: f64,
    /// Bandwidth of one core's reads of lines that others have written, and of its writes to lines that others hold.
    pub remote_read: f64,
    pub remote_write: f64,
    /// Read bandwidth of all cores together from memory.
    pub dram_all: f64,
    /// Write bandwidth to memory: of one core, of all together.
    pub dram_write: f64,
    pub dram_write_all: f64,
    /// From the end of a call to the begin of the next on one thread; on several.
    pub call_ns: f64,
    pub fork_join_ns: f64,
}

/// Shares between 0 (computing hides all of it) and 1. Fitted to the kernels of the networks in
/// `docs/bench.md`, on one and two threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exposed {
    pub l2_read: f64,
    pub l2_write: f64,
    pub l3_read: f64,
    pub l3_write: f64,
    pub remote_read: f64,
    /// Of reads from memory and all else, the shorter.
    pub dram: f64,
    /// Of writes that follow few streams: what is left of the shares above.
    pub streamed: f64,
}

/// AMD Zen 3, server part at 3.2 GHz. Ports, latencies: Fog, "Instruction tables", 2022, and AMD, "Software
/// optimization guide for the AMD EPYC 7003", 2020. Bandwidths, loops and calls: measured with `rescc hwbench` and
/// `rescc bench` on two cores of such a machine, 2026.
pub const ZEN3: Machine = Machine {
    name: "zen3",
    title: "AMD Zen 3",
    ghz: 3.2,
    core: Core { vector_bytes: 32, registers: 16, latencies: Latencies { fma: 4, add: 3, div: 10 } },
    fmas: 2.0,
    adds: 2.0,
    loads: 2.0,
    stores: 1.0,
    dispatched: 6.0,
    div_cycles: 5.0,
    exp_cycles: 12.0,
    loop_cycles: 5.0,
    nested_loop_cycles: 1.0,
    window: 256.0,
    exposed: Exposed {
        l2_read: 0.2,
        l2_write: 0.85,
        l3_read: 0.17,
        l3_write: 0.33,
        remote_read: 0.3,
        dram: 0.45,
        streamed: 0.4,
    },
    streams: 12,
    ways: 8,
    l1_bytes: 32 << 10,
    l2_bytes: 512 << 10,
    l3_bytes: 32 << 20,
    l3_keeps: [0.125, 0.75],
    l2: 100.0,
    l3: 58.0,
    dram: 24.0,
    remote_read: 17.0,
    remote_write: 17.0,
    dram_all: 45.0,
    dram_write: 12.0,
    dram_write_all: 22.0,
    call_ns: 20.0,
    fork_join_ns: 300.0,
};

/// AMD Zen 1, server part. Ports and latencies: Fog, "Instruction tables", 2022, and AMD, "Software optimization guide for
/// AMD family 17h processors", 2017: pipes are 128 bits wide, so an instruction on wider vectors is two. Bandwidths,
/// loops and shares: measured as for Zen 3, on two cores that share one L3.
pub const ZEN1: Machine = Machine {
    name: "zen1",
    title: "AMD Zen 1",
    ghz: 2.5,
    core: Core { vector_bytes: 16, registers: 16, latencies: Latencies { fma: 5, add: 3, div: 10 } },
    fmas: 2.0,
    adds: 2.0,
    loads: 2.0,
    stores: 1.0,
    dispatched: 6.0,
    div_cycles: 3.0,
    exp_cycles: 15.0,
    loop_cycles: 5.0,
    nested_loop_cycles: 1.0,
    window: 192.0,
    exposed: Exposed { l3_read: 0.05, l3_write: 0.8, remote_read: 1.0, dram: 0.15, ..ZEN3.exposed },
    l3_bytes: 8 << 20,
    l2: 75.0,
    l3: 52.0,
    dram: 15.0,
    remote_read: 39.0,
    remote_write: 32.0,
    dram_all: 25.0,
    dram_write: 8.5,
    dram_write_all: 13.0,
    call_ns: 39.0,
    fork_join_ns: 150.0,
    ..ZEN3
};

/// Intel Sapphire Rapids, server part, and the server cores before it with two 512-bit pipes. Ports and latencies: Fog,
/// "Instruction tables", 2022 (Ice Lake, Tiger Lake), and Intel, "Optimization reference manual", 2023. Bandwidths, loops,
/// calls and shares: measured as for Zen 3, on two cores of a shared machine. Its L3 is far: a third of Zen 3's bandwidth.
pub const SAPPHIRE_RAPIDS: Machine = Machine {
    name: "sapphire-rapids",
    title: "Intel Sapphire Rapids",
    ghz: 2.3,
    core: Core { vector_bytes: 64, registers: 32, latencies: Latencies { fma: 4, add: 4, div: 24 } },
    div_cycles: 16.0,
    exp_cycles: 14.0,
    window: 512.0,
    ways: 12,
    l1_bytes: 48 << 10,
    l2_bytes: 2 << 20,
    l3_bytes: 105 << 20,
    l2: 136.0,
    l3: 32.0,
    dram: 15.0,
    remote_read: 16.0,
    remote_write: 13.0,
    dram_all: 30.0,
    dram_write: 11.0,
    dram_write_all: 22.0,
    call_ns: 29.0,
    fork_join_ns: 276.0,
    ..ZEN3
};

/// Every table.
pub const MACHINES: [Machine; 3] = [ZEN3, ZEN1, SAPPHIRE_RAPIDS];

impl Machine {
    /// The table of that name; of Zen 3 where there is none.
    pub fn named(name: &str) -> Machine {
        MACHINES.into_iter().find(|m| m.name == name).unwrap_or(ZEN3)
    }

    /// The same machine running code whose vectors have that many bytes and which uses that many registers: each
    /// instruction on wider vectors than the pipes is several.
    pub fn running(self, vector_bytes: u64, registers: u64) -> Machine {
        let parts = vector_bytes.div_ceil(self.core.vector_bytes).max(1) as f64;
        Machine {
            core: Core { vector_bytes, registers, ..self.core },
            fmas: self.fmas / parts,
            adds: self.adds / parts,
            loads: self.loads / parts,
            stores: self.stores / parts,
            dispatched: self.dispatched / parts,
            window: self.window / parts,
            div_cycles: self.div_cycles * parts,
            exp_cycles: self.exp_cycles * parts,
            ..self
        }
    }

    /// The clock at which this machine's vectors reach a measured rate of multiply-adds (10⁹ operations a second,
    /// two each) on one thread.
    pub fn clocked(self, fma_gflops: f64) -> Machine {
        let per_cycle = self.fmas * (self.core.vector_bytes / 4) as f64 * 2.0;
        if fma_gflops > 0.0 { Machine { ghz: fma_gflops / per_cycle, ..self } } else { self }
    }

    /// Multiply-adds and additions at full speed, 10⁹ operations a second on one thread.
    pub fn peak_gflops(&self) -> f64 {
        self.ghz * self.fmas * (self.core.vector_bytes / 4) as f64 * 2.0
    }
}
