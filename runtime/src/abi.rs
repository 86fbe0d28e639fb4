//! The contract between generated code and the runtime: the model descriptor and the C API.
//!
//! The back end writes a [`Model`] and its tables as data with relocations; the runtime only reads them. All
//! structs are `repr(C)`, little-endian, naturally aligned; `backends/src/object/model.rs` writes the same layout
//! and a test compares sizes and offsets.

/// `void kernel(unsigned char *const *params, int64_t lo, int64_t hi, unsigned char *scratch)`
pub type KernelFn = unsafe extern "C" fn(*const *mut u8, i64, i64, *mut u8);

/// Version of everything in this file. Written into [`Model::abi`].
pub const ABI: u32 = 1;

/// Most parameters that a kernel can have.
pub const MAX_PARAMS: usize = 16;

/// Most workers that one inference can use.
pub const MAX_WORKERS: usize = 64;

/// What two workers and more need in the arena beside their counters.
pub const JOB_BYTES: u64 = 256;

/// Most inputs and outputs that a program can have.
pub const MAX_INPUTS: usize = 5;
pub const MAX_OUTPUTS: usize = 2;

/// Base that an argument's offset counts from.
pub const SPACE_ARENA: u32 = 0;
pub const SPACE_CONST: u32 = 1;
pub const SPACE_INPUT: u32 = 2;
pub const SPACE_OUTPUT: u32 = 3;

/// One argument of a call.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    /// One of the `SPACE_` constants.
    pub space: u32,
    /// Input or output number for those spaces, otherwise 0.
    pub index: u32,
    /// Bytes from the base.
    pub offset: u64,
}

/// One kernel call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    pub kernel: KernelFn,
    pub args: *const Arg,
    pub n_args: u32,
    /// Non-zero if this call reads or overwrites what an earlier one since the last barrier touched: wait first.
    pub barrier: u32,
    pub tasks: u64,
}

/// A compiled program, which the driver walks.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Code {
    pub n_calls: u32,
    /// Images that one run of the calls computes.
    pub group: u32,
    pub calls: *const Call,
    /// Constants, 64-byte aligned.
    pub weights: *const u8,
    /// Activations of one run.
    pub arena_bytes: u64,
    /// Scratch of one worker.
    pub scratch_bytes: u64,
    /// The CPU that it needs, NUL-terminated, e.g. `x86-64-v3`.
    pub target: *const u8,
}

/// A compiled model. Everything it points to is read-only and lives as long as the program.
#[repr(C)]
pub struct Model {
    /// [`ABI`]. For debuggers and tools: the driver is linked with the model that it runs, and does not look.
    pub abi: u32,
    /// Images of an inference: any multiple of this, which is a multiple of `code.group`.
    pub batch: u32,
    pub code: Code,
    pub weights_bytes: u64,
    pub channels: u32,
    pub height: u32,
    pub width: u32,
    /// f32 elements of the output for one image.
    pub classes: u32,
    /// Multiply-adds of one image, and weights of the network, as it was written.
    pub macs: u64,
    pub params: u64,
    /// NUL-terminated.
    pub name: *const u8,
    pub version: *const u8,
    /// Class names, one a line, `labels_bytes` long, not terminated; empty if unknown.
    pub labels: *const u8,
    pub labels_bytes: u64,
    pub preprocess: Preprocess,
    pub weights_sha256: [u8; 32],
}

/// How a picture becomes the input; see `ir::graph::Preprocess`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Preprocess {
    /// 0: no preprocessing is known.
    pub known: u32,
    /// Length of the shorter side after resizing, 0: as it is.
    pub resize: u32,
    pub bgr: u32,
    /// Divisor of pixel values.
    pub scale: f32,
    pub mean: [f32; 4],
    pub std: [f32; 4],
    /// f32[channels, height, width] subtracted after scaling instead of `mean`, or null.
    pub mean_tensor: *const f32,
}

/// The caller's threads: `run` must call `f(arg, i)` once for every i in 0..n and return when all have returned. Best
/// all at once; any order and any number at a time is right.
#[repr(C)]
pub struct Par {
    pub ctx: *mut core::ffi::c_void,
    pub threads: u32,
    pub run: Option<
        unsafe extern "C" fn(
            ctx: *mut core::ffi::c_void,
            n: u32,
            f: unsafe extern "C" fn(*mut core::ffi::c_void, u32),
            arg: *mut core::ffi::c_void,
        ),
    >,
}

/// Result codes of the C API.
pub const OK: i32 = 0;
pub const NULL_ARGUMENT: i32 = -1;
pub const ARENA_TOO_SMALL: i32 = -2;
pub const MISALIGNED: i32 = -3;
pub const BATCH_OUT_OF_RANGE: i32 = -4;
pub const CPU_LACKS_FEATURE: i32 = -5;
pub const WEIGHTS_WRONG: i32 = -6;
pub const SELFTEST_DIFFERS: i32 = -7;
pub const LABEL_OUT_OF_RANGE: i32 = -8;
pub const RUN_RETURNED_EARLY: i32 = -9;
pub const NOT_FINITE: i32 = -10;
pub const STATE_WRONG: i32 = -11;
