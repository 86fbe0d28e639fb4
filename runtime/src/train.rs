//! Training as functions: programs of a network's training on a state that the caller owns.
//!
//! The state has two halves. A program reads `now` and writes `next`, and the two pointers change places when all is
//! well; so a step that fails leaves the state as it was. A half is the parameters, a momentum for each, then the
//! running statistics; gradients are laid out as the parameters are, followed by the batch's new statistics.
//!
//! All programs number what the caller gives in the same way: inputs are [`X`], [`LABELS`], [`RATE`], [`STATE`] and
//! [`GRADIENTS`], outputs [`RESULT`] (the loss, or logits) and [`NEXT`] (the other half, or gradients).

use crate::abi::*;
use crate::arena::{ALIGN, Layout};
use crate::driver;
use crate::params::{End, Io};
use crate::trace::Trace;
use core::ptr::copy_nonoverlapping;

pub const X: usize = 0;
pub const LABELS: usize = 1;
pub const RATE: usize = 2;
pub const STATE: usize = 3;
pub const GRADIENTS: usize = 4;
pub const RESULT: usize = 0;
pub const NEXT: usize = 1;
/// Bytes from the loss to the logits, of a step that gives them too: that of a trainer, which is an executable.
pub const LOGITS_AT: usize = 64;

/// The programs of a [`Train`].
pub const STEP: usize = 0;
pub const GRAD: usize = 1;
pub const APPLY: usize = 2;
pub const STATISTICS: usize = 3;
pub const PREDICT: usize = 4;
pub const CODES: usize = 5;

/// A network that trains. Everything it points to is read-only and lives as long as the program.
#[repr(C)]
pub struct Train {
    pub abi: u32,
    /// Images of a step.
    pub batch: u32,
    /// Elements of the logits of one image.
    pub classes: u32,
    pub n_tensors: u32,
    /// f32 elements of one image.
    pub image: u64,
    /// Multiples of 64.
    pub parameter_bytes: u64,
    pub statistic_bytes: u64,
    /// Parameters, then statistics, to begin with.
    pub initial: *const u8,
    /// The tensors of a half, in the order in which a saved state holds them.
    pub tensors: *const Tensor,
    /// What a saved state begins with, but for its hash: 16 digits at `hash_at`.
    pub header: *const u8,
    pub header_bytes: u64,
    pub hash_at: u64,
    pub codes: [Code; CODES],
}

/// [`Tensor::kind`] of a running statistic; parameters are 0, momenta 1.
pub const STATISTIC: u32 = 2;

/// A tensor of the state.
#[repr(C)]
pub struct Tensor {
    pub name: *const u8,
    /// Its first element, and how many there are.
    pub offset: u64,
    pub elements: u64,
    pub shape: [u32; 4],
    pub rank: u32,
    pub kind: u32,
}

/// The caller's state. Both halves are aligned to 64 bytes.
#[repr(C)]
pub struct State {
    pub now: *mut f32,
    pub next: *mut f32,
}

/// What every program that runs needs from the caller.
#[derive(Clone, Copy)]
pub struct Means {
    pub arena: *mut u8,
    pub len_bytes: usize,
    pub par: *const Par,
}

impl Train {
    /// Bytes before the statistics of a half.
    fn statistics_at(&self) -> usize {
        2 * self.parameter_bytes as usize
    }

    /// Runs program `which` in `groups`.
    ///
    /// # Safety
    /// As [`driver::run`].
    unsafe fn run(&self, which: usize, io: Io, groups: u32, means: Means) -> i32 {
        // SAFETY: `which` is one of the constants above; the caller's promise.
        unsafe {
            let code = self.codes.get_unchecked(which);
            driver::run(code, io, groups, means.arena, means.len_bytes, means.par, Trace::off())
        }
    }
}

fn no_io() -> Io {
    Io { inputs: [End::NONE; MAX_INPUTS], outputs: [End::NONE; MAX_OUTPUTS] }
}

/// The status that C sees of a function that may fail.
fn status(f: impl FnOnce() -> Result<(), i32>) -> i32 {
    f().err().unwrap_or(OK)
}

/// What a program's or function's status says.
fn checked(status: i32) -> Result<(), i32> {
    if status == OK { Ok(()) } else { Err(status) }
}

/// Errors: [`NULL_ARGUMENT`], [`MISALIGNED`].
fn check<T>(argument: *const T, align: u64) -> Result<(), i32> {
    match argument.addr() {
        0 => Err(NULL_ARGUMENT),
        at if at.is_multiple_of(align as usize) => Ok(()),
        _ => Err(MISALIGNED),
    }
}

/// A state of two halves that can be used.
///
/// # Safety
/// `state` is null or valid.
unsafe fn check_state(state: *const State) -> Result<(), i32> {
    // SAFETY: the caller's promise.
    let s = unsafe { state.as_ref() }.ok_or(NULL_ARGUMENT)?;
    check(s.now, ALIGN)?;
    check(s.next, ALIGN)
}

/// Arguments of a program that takes a batch with labels and gives a loss.
///
/// # Safety
/// Pointers are null or valid for what the network needs.
unsafe fn batch_io(t: &Train, now: *const f32, x: *const f32, labels: *const i32, loss: *mut f32) -> Result<Io, i32> {
    check(x, 4)?;
    check(labels, 4)?;
    check(loss, 4)?;
    for i in 0..t.batch as usize {
        // SAFETY: there is a label for each image of the batch.
        if unsafe { *labels.add(i) }.cast_unsigned() >= t.classes {
            return Err(LABEL_OUT_OF_RANGE);
        }
    }
    let mut io = no_io();
    io.inputs[X] = End::fixed(x.cast());
    io.inputs[LABELS] = End::fixed(labels.cast());
    io.inputs[STATE] = End::fixed(now.cast());
    io.outputs[RESULT] = End::fixed(loss.cast());
    Ok(io)
}

/// The result of a program that has written a loss.
///
/// # Safety
/// `loss` is valid.
unsafe fn judge(status: i32, loss: *const f32) -> Result<(), i32> {
    checked(status)?;
    // SAFETY: the caller's promise.
    if unsafe { *loss }.is_finite() { Ok(()) } else { Err(NOT_FINITE) }
}

/// Bytes of arena that suffice for every program with that many threads.
pub fn arena_bytes(t: &Train, threads: u32) -> usize {
    let workers = threads.clamp(1, MAX_WORKERS as u32);
    let bytes = |code| Layout::new(code, workers).map_or(usize::MAX, |l| l.len_bytes);
    let most = t.codes.iter().map(bytes).max().unwrap_or(0);
    if most == usize::MAX { 0 } else { most }
}

/// `now` becomes the state that the library was made with; momenta are 0.
///
/// # Safety
/// As [`step`].
pub unsafe fn init(t: &Train, state: *mut State) -> i32 {
    // SAFETY: the caller's promise; a half is as large as the header says, the initial state lacks the momenta.
    status(|| unsafe {
        check_state(state)?;
        let (now, parameters) = ((*state).now.cast::<u8>(), t.parameter_bytes as usize);
        copy_nonoverlapping(t.initial, now, parameters);
        now.add(parameters).write_bytes(0, parameters);
        let statistics = t.initial.add(parameters);
        copy_nonoverlapping(statistics, now.add(t.statistics_at()), t.statistic_bytes as usize);
        Ok(())
    })
}

/// One step of gradient descent on a batch. The state is as it was if this fails or the loss is not finite.
///
/// # Safety
/// Pointers are null or valid for the sizes that the header states, the halves and the arena for nobody else.
pub unsafe fn step(
    t: &Train,
    state: *mut State,
    x: *const f32,
    labels: *const i32,
    rate: f32,
    loss: *mut f32,
    means: Means,
) -> i32 {
    // SAFETY: the caller's promise; `rate` lives as long as the call.
    status(|| unsafe {
        check_state(state)?;
        let state = &mut *state;
        let mut io = batch_io(t, state.now, x, labels, loss)?;
        io.inputs[RATE] = End::fixed((&raw const rate).cast());
        io.outputs[NEXT] = End::fixed(state.next.cast());
        judge(t.run(STEP, io, 1, means), loss)?;
        core::mem::swap(&mut state.now, &mut state.next);
        Ok(())
    })
}

/// Loss and gradients of a batch, and the statistics that a step with it would leave.
///
/// # Safety
/// As [`step`].
pub unsafe fn grad(
    t: &Train,
    state: *const State,
    x: *const f32,
    labels: *const i32,
    gradients: *mut f32,
    loss: *mut f32,
    means: Means,
) -> i32 {
    // SAFETY: the caller's promise.
    status(|| unsafe {
        check_state(state)?;
        check(gradients, ALIGN)?;
        let mut io = batch_io(t, (*state).now, x, labels, loss)?;
        io.outputs[NEXT] = End::fixed(gradients.cast());
        judge(t.run(GRAD, io, 1, means), loss)
    })
}

/// The update by gradients, and the statistics that come with them.
///
/// # Safety
/// As [`step`].
pub unsafe fn apply(t: &Train, state: *mut State, gradients: *const f32, rate: f32, means: Means) -> i32 {
    // SAFETY: the caller's promise; `rate` lives as long as the call.
    status(|| unsafe {
        check_state(state)?;
        check(gradients, ALIGN)?;
        let state = &mut *state;
        let mut io = no_io();
        io.inputs[RATE] = End::fixed((&raw const rate).cast());
        io.inputs[STATE] = End::fixed(state.now.cast());
        io.inputs[GRADIENTS] = End::fixed(gradients.cast());
        io.outputs[NEXT] = End::fixed(state.next.cast());
        checked(t.run(APPLY, io, 1, means))?;
        let from = gradients.cast::<u8>().add(t.parameter_bytes as usize);
        copy_nonoverlapping(from, state.next.cast::<u8>().add(t.statistics_at()), t.statistic_bytes as usize);
        core::mem::swap(&mut state.now, &mut state.next);
        Ok(())
    })
}

/// The running statistics become the mean of those of this batch and of `before` batches that came before it.
///
/// # Safety
/// As [`step`].
pub unsafe fn recalibrate(t: &Train, state: *mut State, x: *const f32, before: u32, means: Means) -> i32 {
    // SAFETY: the caller's promise.
    status(|| unsafe {
        check_state(state)?;
        check(x, 4)?;
        let (now, next) = ((*state).now, (*state).next);
        let mut io = no_io();
        io.inputs[X] = End::fixed(x.cast());
        io.inputs[STATE] = End::fixed(now.cast());
        io.outputs[NEXT] = End::fixed(next.cast());
        checked(t.run(STATISTICS, io, 1, means))?;
        // Between tensors lies what never was a number.
        let statistics = || {
            let all = (0..t.n_tensors as usize).map(|i| &*t.tensors.add(i)).filter(|t| t.kind == STATISTIC);
            all.flat_map(|t| (t.offset..t.offset + t.elements).map(|i| i as usize))
        };
        if !statistics().all(|i| (*next.add(i)).is_finite()) {
            return Err(NOT_FINITE);
        }
        for i in statistics() {
            let (old, new) = (now.add(i), *next.add(i));
            *old = if before == 0 { new } else { *old + (new - *old) / (before as f32 + 1.0) };
        }
        Ok(())
    })
}

/// Logits of `images` by the running statistics.
///
/// # Safety
/// As [`step`].
pub unsafe fn predict(t: &Train, state: *const State, x: *const f32, y: *mut f32, images: u32, means: Means) -> i32 {
    // SAFETY: the caller's promise.
    status(|| unsafe {
        check_state(state)?;
        check(x, 4)?;
        check(y, 4)?;
        let code = &t.codes[PREDICT];
        let groups = match (images.checked_div(code.group), images.checked_rem(code.group)) {
            (Some(groups), Some(0)) if groups > 0 => groups,
            _ => return Err(BATCH_OUT_OF_RANGE),
        };
        let mut io = no_io();
        io.inputs[X] = End::images(x.cast(), t.image, code);
        io.inputs[STATE] = End::fixed((*state).now.cast());
        io.outputs[RESULT] = End::images(y.cast(), t.classes.into(), code);
        checked(t.run(PREDICT, io, groups, means))
    })
}

/// Writes `now` as a safetensors file into memory.
///
/// # Safety
/// As [`step`]; `bytes` has `len`.
pub unsafe fn save(t: &Train, state: *const State, bytes: *mut u8, len: usize) -> i32 {
    // SAFETY: the caller's promise; header and tensors are as long as a saved state.
    status(|| unsafe {
        check_state(state)?;
        check(bytes, 1)?;
        if len < saved_bytes(t) {
            return Err(ARENA_TOO_SMALL);
        }
        copy_nonoverlapping(t.header, bytes, t.header_bytes as usize);
        let mut at = bytes.add(t.header_bytes as usize);
        let mut hash = Hash::new();
        for i in 0..t.n_tensors as usize {
            let tensor = &*t.tensors.add(i);
            let from = (*state).now.add(tensor.offset as usize);
            copy_nonoverlapping(from.cast(), at, tensor.elements as usize * 4);
            hash.add(at, tensor.elements as usize);
            at = at.add(tensor.elements as usize * 4);
        }
        let digits = hash.digits();
        copy_nonoverlapping(digits.as_ptr(), bytes.add(t.hash_at as usize), digits.len());
        Ok(())
    })
}

/// `now` becomes what [`save`] wrote, of this network and whole. It is as it was if this fails.
///
/// # Safety
/// As [`save`].
pub unsafe fn restore(t: &Train, state: *mut State, bytes: *const u8, len: usize) -> i32 {
    // SAFETY: as in `save`.
    status(|| unsafe {
        check_state(state)?;
        check(bytes, 1)?;
        if len != saved_bytes(t) {
            return Err(STATE_WRONG);
        }
        let (header, hash_at) = (t.header_bytes as usize, t.hash_at as usize);
        let mut hash = Hash::new();
        hash.add(bytes.add(header), (len - header) / 4);
        let digits = hash.digits();
        for i in 0..header {
            let expected = match i.wrapping_sub(hash_at) {
                digit if digit < digits.len() => *digits.get_unchecked(digit),
                _ => *t.header.add(i),
            };
            if *bytes.add(i) != expected {
                return Err(STATE_WRONG);
            }
        }
        let mut at = bytes.add(header);
        for i in 0..t.n_tensors as usize {
            let tensor = &*t.tensors.add(i);
            let to = (*state).now.add(tensor.offset as usize);
            copy_nonoverlapping(at, to.cast(), tensor.elements as usize * 4);
            at = at.add(tensor.elements as usize * 4);
        }
        Ok(())
    })
}

/// Bytes of a saved state.
///
/// # Safety
/// `t` is valid.
unsafe fn saved_bytes(t: &Train) -> usize {
    // SAFETY: there are `n_tensors`.
    let elements: u64 = (0..t.n_tensors as usize).map(|i| unsafe { (*t.tensors.add(i)).elements }).sum();
    (t.header_bytes + 4 * elements) as usize
}

/// FNV-1a over words of 32 bits: any one changed word changes it.
struct Hash(u64);

impl Hash {
    fn new() -> Hash {
        Hash(0xcbf2_9ce4_8422_2325)
    }

    /// # Safety
    /// `at` has `words` words.
    unsafe fn add(&mut self, at: *const u8, words: usize) {
        for i in 0..words {
            // SAFETY: the caller's promise; the words need not be aligned.
            let word = unsafe { at.cast::<u32>().add(i).read_unaligned() };
            self.0 = (self.0 ^ u64::from(word)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn digits(&self) -> [u8; 16] {
        core::array::from_fn(|i| {
            let digit = (self.0 >> (60 - 4 * i)) as u8 & 15;
            digit + if digit < 10 { b'0' } else { b'a' - 10 }
        })
    }
}
