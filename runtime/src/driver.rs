//! The inference driver: checks the caller's arguments, then walks the model's calls.
//!
//! The calls compute a fixed group of images; a batch is a sequence of such groups in the same arena. With one worker
//! each kernel is called once for all its tasks and nothing is atomic; with several see [`crate::workers`].

use crate::abi::*;
use crate::arena::{ALIGN, Layout};
use crate::trace::Trace;
use crate::{cpuid, workers};
use core::ffi::{CStr, c_void};

/// Pointers of one inference. `x` and `y` advance from group to group.
#[derive(Clone, Copy)]
pub(crate) struct Io {
    pub x: *const u8,
    pub y: *mut u8,
    pub x_stride: usize,
    pub y_stride: usize,
}

/// Bytes of arena that `batch` images need with that many threads, a multiple of 64; 0 if the batch is out of range.
pub fn arena_bytes(model: &Model, batch: u32, threads: u32) -> usize {
    if groups(model, batch).is_none() {
        return 0;
    }
    Layout::new(model, clamp_workers(threads)).map_or(0, |l| l.len_bytes)
}

/// [`OK`] or [`CPU_LACKS_FEATURE`].
///
/// # Safety
/// `model.target` is NUL-terminated.
pub unsafe fn check(model: &Model) -> i32 {
    // SAFETY: the caller's promise.
    let needed = unsafe { cpuid::level_of_name(model.target) };
    if needed > cpuid::level_of_cpu() { CPU_LACKS_FEATURE } else { OK }
}

/// Computes `y` f32[batch, classes] from `x` f32[batch, channels, height, width]; [`OK`] or an error code.
///
/// # Safety
/// `model` is null or a model whose kernels stay inside their parameters; `x`, `y` and `arena` are null or valid
/// for the sizes that model, `batch` and `arena_bytes` give; they do not overlap; nobody else uses `y` or the
/// arena until this returns; `par` is null or obeys [`Par`].
pub unsafe fn infer(
    model: *const Model,
    x: *const f32,
    y: *mut f32,
    batch: u32,
    arena: *mut u8,
    len_bytes: usize,
    par: *const Par,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { infer_traced(model, x, y, batch, arena, len_bytes, par, core::ptr::null_mut()) }
}

/// As [`infer`], and adds to `ticks` what each call took.
///
/// # Safety
/// As [`infer`]; `ticks` is as [`Trace`] says.
#[allow(clippy::too_many_arguments, reason = "the C API's, and one more")]
pub unsafe fn infer_traced(
    model: *const Model,
    x: *const f32,
    y: *mut f32,
    batch: u32,
    arena: *mut u8,
    len_bytes: usize,
    par: *const Par,
    ticks: *mut u64,
) -> i32 {
    if model.is_null() || x.is_null() || y.is_null() || arena.is_null() {
        return NULL_ARGUMENT;
    }
    // SAFETY: not null, hence valid by the caller's promise.
    let (model, par) = unsafe { (&*model, par.as_ref()) };
    if !x.addr().is_multiple_of(4) || !y.addr().is_multiple_of(4) || !arena.addr().is_multiple_of(ALIGN as usize) {
        return MISALIGNED;
    }
    let Some(groups) = groups(model, batch) else { return BATCH_OUT_OF_RANGE };
    let workers = clamp_workers(par.map_or(1, |p| p.threads));
    let Some(layout) = Layout::new(model, workers) else { return ARENA_TOO_SMALL };
    if layout.len_bytes > len_bytes {
        return ARENA_TOO_SMALL;
    }
    // SAFETY: a model's strings are NUL-terminated.
    let status = unsafe { check(model) };
    if status != OK {
        return status;
    }
    let floats = |per_image: u64| (per_image * u64::from(model.group) * 4) as usize;
    let image = u64::from(model.channels) * u64::from(model.height) * u64::from(model.width);
    let io = Io { x: x.cast(), y: y.cast(), x_stride: floats(image), y_stride: floats(u64::from(model.classes)) };
    // SAFETY: the caller's promise.
    let trace = unsafe { Trace::new(ticks) };
    match par {
        Some(par) if workers > 1 => {
            let Some(run) = par.run else { return NULL_ARGUMENT };
            // SAFETY: the arena is large enough for this layout, aligned and ours.
            unsafe {
                let job = workers::Job::place(model, io, groups, workers, arena, &layout, trace);
                run(par.ctx, workers, workers::work, job.cast::<c_void>());
                if (*job).all_finished() { OK } else { RUN_RETURNED_EARLY }
            }
        }
        _ => {
            // SAFETY: as above.
            unsafe { walk_alone(model, io, groups, arena, arena.add(layout.scratch), trace) };
            OK
        }
    }
}

/// One worker: every kernel once a group, for all of its tasks.
///
/// # Safety
/// As [`infer`]; `scratch` is this worker's.
unsafe fn walk_alone(model: &Model, io: Io, groups: u32, arena: *mut u8, scratch: *mut u8, mut trace: Trace) {
    for group in 0..groups as usize {
        for c in 0..model.n_calls as usize {
            // SAFETY: `calls` has `n_calls` entries; kernels stay inside their parameters.
            unsafe {
                let call = &*model.calls.add(c);
                trace.begin(c);
                let params = Params::resolve(model, call, io, group, arena);
                (call.kernel)(params.as_ptr(), 0, call.tasks as i64, scratch);
            }
        }
    }
    // SAFETY: as for the calls.
    unsafe { trace.end() };
}

/// The addresses that one kernel call gets.
pub(crate) struct Params([*mut u8; MAX_PARAMS]);

impl Params {
    /// # Safety
    /// `call` belongs to `model`; `arena` and `io` are as in [`infer`].
    #[inline]
    pub unsafe fn resolve(model: &Model, call: &Call, io: Io, group: usize, arena: *mut u8) -> Params {
        let mut params = [core::ptr::null_mut(); MAX_PARAMS];
        for (i, param) in params.iter_mut().enumerate().take(call.n_args as usize) {
            // SAFETY: `args` has `n_args` entries, and each offset is inside the space that it counts from.
            *param = unsafe {
                let arg = &*call.args.add(i);
                let base = match arg.space {
                    SPACE_ARENA => arena,
                    SPACE_CONST => model.weights.cast_mut(),
                    SPACE_INPUT => io.x.add(group * io.x_stride).cast_mut(),
                    _ => io.y.add(group * io.y_stride),
                };
                base.add(arg.offset as usize)
            };
        }
        Params(params)
    }

    pub fn as_ptr(&self) -> *const *mut u8 {
        self.0.as_ptr()
    }
}

/// Runs of the calls that make up `batch` images; `None` unless that is a multiple of the model's batch.
fn groups(model: &Model, batch: u32) -> Option<u32> {
    let is_multiple = batch > 0 && batch.checked_rem(model.batch)? == 0;
    is_multiple.then(|| batch.checked_div(model.group)).flatten().filter(|g| g.checked_mul(model.group) == Some(batch))
}

fn clamp_workers(threads: u32) -> u32 {
    threads.clamp(1, MAX_WORKERS as u32)
}

/// What an error code of the C API means.
pub fn strerror(code: i32) -> &'static CStr {
    match code {
        OK => c"ok",
        NULL_ARGUMENT => c"an argument is null",
        ARENA_TOO_SMALL => c"the arena is smaller than arena_bytes(batch, threads)",
        MISALIGNED => c"the arena is not 64-byte aligned, or x or y not 4-byte aligned",
        BATCH_OUT_OF_RANGE => c"the batch is not a multiple of the one that the model was compiled for",
        CPU_LACKS_FEATURE => c"this CPU lacks instructions that the model was compiled for",
        WEIGHTS_WRONG => c"weights are missing or are not those that the model was compiled with",
        SELFTEST_DIFFERS => c"the self-test differs",
        LABEL_OUT_OF_RANGE => c"a label is out of range",
        RUN_RETURNED_EARLY => c"the run callback returned before every index ran",
        _ => c"unknown error code",
    }
}
