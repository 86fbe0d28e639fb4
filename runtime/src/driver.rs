//! The inference driver: checks the caller's arguments, then walks the model's calls.
//!
//! The calls compute a fixed group of images; a batch is a sequence of such groups in the same arena. With one worker
//! each kernel is called once for all its tasks and nothing is atomic; with several see [`crate::workers`].

use crate::abi::*;
use crate::arena::{ALIGN, Layout};
use crate::params::{End, Io, Params};
use crate::trace::Trace;
use crate::{cpuid, workers};
use core::ffi::{CStr, c_void};

/// Bytes of arena that `batch` images need with that many threads, a multiple of 64; 0 if the batch is out of range.
pub fn arena_bytes(model: &Model, batch: u32, threads: u32) -> usize {
    if groups(model, batch).is_none() {
        return 0;
    }
    Layout::new(&model.code, clamp_workers(threads)).map_or(0, |l| l.len_bytes)
}

/// [`OK`] or [`CPU_LACKS_FEATURE`].
///
/// # Safety
/// `code.target` is NUL-terminated.
pub unsafe fn check(code: &Code) -> i32 {
    // SAFETY: the caller's promise.
    let needed = unsafe { cpuid::level_of_name(code.target) };
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
    if model.is_null() || x.is_null() || y.is_null() {
        return NULL_ARGUMENT;
    }
    // SAFETY: not null, hence valid by the caller's promise.
    let model = unsafe { &*model };
    if !x.addr().is_multiple_of(4) || !y.addr().is_multiple_of(4) {
        return MISALIGNED;
    }
    let Some(groups) = groups(model, batch) else { return BATCH_OUT_OF_RANGE };
    let mut io = Io { inputs: [End::NONE; MAX_INPUTS], outputs: [End::NONE; MAX_OUTPUTS] };
    let image = u64::from(model.channels) * u64::from(model.height) * u64::from(model.width);
    io.inputs[0] = End::images(x.cast(), image, &model.code);
    io.outputs[0] = End::images(y.cast(), model.classes.into(), &model.code);
    // SAFETY: the caller's promise.
    unsafe { run(&model.code, io, groups, arena, len_bytes, par, Trace::new(ticks)) }
}

/// Runs the calls of `code` once for each of `groups`.
///
/// # Safety
/// As [`infer`]; `io` holds what the calls name, at the sizes that they read and write.
pub(crate) unsafe fn run(
    code: &Code,
    io: Io,
    groups: u32,
    arena: *mut u8,
    len_bytes: usize,
    par: *const Par,
    trace: Trace,
) -> i32 {
    if arena.is_null() {
        return NULL_ARGUMENT;
    }
    if !arena.addr().is_multiple_of(ALIGN as usize) {
        return MISALIGNED;
    }
    // SAFETY: null or valid by the caller's promise.
    let par = unsafe { par.as_ref() };
    let workers = clamp_workers(par.map_or(1, |p| p.threads));
    let Some(layout) = Layout::new(code, workers) else { return ARENA_TOO_SMALL };
    if layout.len_bytes > len_bytes {
        return ARENA_TOO_SMALL;
    }
    // SAFETY: a program's strings are NUL-terminated.
    let status = unsafe { check(code) };
    if status != OK {
        return status;
    }
    match par {
        Some(par) if workers > 1 => {
            let Some(run) = par.run else { return NULL_ARGUMENT };
            // SAFETY: the arena is large enough for this layout, aligned and ours.
            unsafe {
                let job = workers::Job::place(code, io, groups, workers, arena, &layout, trace);
                run(par.ctx, workers, workers::work, job.cast::<c_void>());
                if (*job).all_finished() { OK } else { RUN_RETURNED_EARLY }
            }
        }
        _ => {
            // SAFETY: as above.
            unsafe { walk_alone(code, &io, groups, arena, arena.add(layout.scratch), trace) };
            OK
        }
    }
}

/// One worker: every kernel once a group, for all of its tasks.
///
/// # Safety
/// As [`run`]; `scratch` is this worker's.
unsafe fn walk_alone(code: &Code, io: &Io, groups: u32, arena: *mut u8, scratch: *mut u8, mut trace: Trace) {
    for group in 0..groups as usize {
        for c in 0..code.n_calls as usize {
            // SAFETY: `calls` has `n_calls` entries; kernels stay inside their parameters.
            unsafe {
                let call = &*code.calls.add(c);
                trace.begin(c);
                let params = Params::resolve(code, call, io, group, arena);
                (call.kernel)(params.as_ptr(), 0, call.tasks as i64, scratch);
            }
        }
    }
    // SAFETY: as for the calls.
    unsafe { trace.end() };
}

/// Runs of the calls that make up `batch` images; `None` unless that is a multiple of the model's batch.
fn groups(model: &Model, batch: u32) -> Option<u32> {
    let is_multiple = batch > 0 && batch.checked_rem(model.batch)? == 0;
    is_multiple
        .then(|| batch.checked_div(model.code.group))
        .flatten()
        .filter(|g| g.checked_mul(model.code.group) == Some(batch))
}

fn clamp_workers(threads: u32) -> u32 {
    threads.clamp(1, MAX_WORKERS as u32)
}

/// What an error code of the C API means.
pub fn strerror(code: i32) -> &'static CStr {
    match code {
        OK => c"ok",
        NULL_ARGUMENT => c"an argument is null",
        ARENA_TOO_SMALL => c"the arena, or other memory, is smaller than is needed",
        MISALIGNED => c"the arena or a state is not 64-byte aligned, or another array not 4-byte aligned",
        BATCH_OUT_OF_RANGE => c"the number of images is 0 or no multiple of the one that the model was compiled for",
        CPU_LACKS_FEATURE => c"this CPU lacks instructions that the model was compiled for",
        WEIGHTS_WRONG => c"weights are missing or are not those that the model was compiled with",
        SELFTEST_DIFFERS => c"the self-test differs",
        LABEL_OUT_OF_RANGE => c"a label is out of range",
        RUN_RETURNED_EARLY => c"the run callback returned before every index ran",
        NOT_FINITE => c"the loss, or a statistic, is not finite",
        STATE_WRONG => c"the saved state is damaged or of another network",
        _ => c"unknown error code",
    }
}
