//! A network that trains, with its state, memory and threads: the safe face of [`crate::train`].

use super::progress::Outcome;
use crate::abi::{MAX_WORKERS, NOT_FINITE, OK, Par};
use crate::host::descriptor::text;
use crate::host::engine::Arena;
use crate::host::pool::Pool;
use crate::host::{Error, Kind, topk};
use crate::train::{self, LOGITS_AT, Means, State, Tensor, Train};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

/// See the module.
pub struct Trainer<'a> {
    train: &'a Train,
    /// The two arrays of `state`, whose pointers a step exchanges.
    _halves: [Arena; 2],
    state: State,
    arena: Arena,
    par: Par,
    /// The loss, and at [`LOGITS_AT`] f32[batch, classes].
    result: Vec<f32>,
}

impl<'a> Trainer<'a> {
    /// Begins with the state that the network was compiled with. `pool` must have `threads - 1` helpers, or else the
    /// caller does their work.
    ///
    /// # Safety
    /// All pointers of the descriptor are valid, its kernels stay inside their parameters, and its step gives logits.
    pub unsafe fn new(train: &'a Train, threads: u32, pool: &'a Pool) -> Result<Trainer<'a>, Error> {
        if threads == 0 || threads > MAX_WORKERS as u32 {
            return Err(Error::new(Kind::Usage, format!("{threads} threads: from 1 to {MAX_WORKERS} are possible")));
        }
        let memory = |bytes: usize| {
            Arena::new(bytes).ok_or_else(|| Error::new(Kind::Limit, format!("no memory for {bytes} bytes")))
        };
        let half = (2 * train.parameter_bytes + train.statistic_bytes) as usize;
        let mut halves = [memory(half)?, memory(half)?];
        let [now, next] = halves.each_mut().map(|h| h.bytes().as_mut_ptr().cast());
        let mut state = State { now, next };
        // SAFETY: both halves are as large as the descriptor says.
        checked(train, unsafe { train::init(train, &raw mut state) })?;
        let result = alloc::vec![0.0; LOGITS_AT / 4 + train.batch as usize * train.classes as usize];
        let arena = memory(train::arena_bytes(train, threads))?;
        Ok(Trainer { train, _halves: halves, state, arena, par: pool.par(threads), result })
    }

    /// Images of a step.
    pub fn batch(&self) -> usize {
        self.train.batch as usize
    }

    /// f32 elements of one image.
    pub fn image_elements(&self) -> usize {
        self.train.image as usize
    }

    fn means(&mut self) -> Means {
        let par = if self.par.threads > 1 { &raw const self.par } else { core::ptr::null() };
        let arena = self.arena.bytes();
        Means { arena: arena.as_mut_ptr(), len_bytes: arena.len(), par }
    }

    /// One step of gradient descent. If the loss is not finite, the state is as it was.
    pub fn step(&mut self, x: &[f32], labels: &[i32], rate: f32) -> Result<Outcome, Error> {
        assert_eq!((x.len(), labels.len()), (self.batch() * self.image_elements(), self.batch()), "another batch");
        let (means, state, result) = (self.means(), &raw mut self.state, self.result.as_mut_ptr());
        // SAFETY: sizes were checked here and in `new`; the borrows are exclusive where written.
        let status = unsafe { train::step(self.train, state, x.as_ptr(), labels.as_ptr(), rate, result, means) };
        if status != NOT_FINITE {
            checked(self.train, status)?;
        }
        let wrong = self.answers().zip(labels).filter(|(a, l)| *a as i32 != **l).count() as u64;
        Ok(Outcome { loss: self.result[0], wrong })
    }

    /// The first answer for each image of the last batch.
    fn answers(&self) -> impl Iterator<Item = usize> {
        self.result[LOGITS_AT / 4..].chunks_exact(self.train.classes as usize).map(topk::best)
    }

    /// Wrongly classified images of `images`, by the running statistics. `fill(i, x)` writes image `i`.
    pub fn evaluate(
        &mut self,
        images: usize,
        label: &dyn Fn(usize) -> usize,
        fill: &dyn Fn(usize, &mut [f32]),
    ) -> Result<usize, Error> {
        let (batch, elements) = (self.batch(), self.image_elements());
        let mut x: Vec<f32> = alloc::vec![0.0; batch * elements];
        let mut wrong = 0;
        for first in (0..images).step_by(batch) {
            // The last batch is filled up with images of the one before.
            let count = batch.min(images - first);
            x.chunks_exact_mut(elements).take(count).enumerate().for_each(|(i, x)| fill(first + i, x));
            let (means, y) = (self.means(), self.result[LOGITS_AT / 4..].as_mut_ptr());
            // SAFETY: `x` and `y` are those of a batch, which is a multiple of what is computed at a time.
            let status =
                unsafe { train::predict(self.train, &raw const self.state, x.as_ptr(), y, batch as u32, means) };
            checked(self.train, status)?;
            let answers = self.answers().take(count).enumerate();
            wrong += answers.filter(|(i, answer)| *answer != label(first + i)).count();
        }
        Ok(wrong)
    }

    /// The tensors of the state.
    fn table(&self) -> &'a [Tensor] {
        // SAFETY: `new` made the caller promise it.
        unsafe { core::slice::from_raw_parts(self.train.tensors, self.train.n_tensors as usize) }
    }

    /// Name and shape of every tensor of the state.
    pub fn tensors(&self) -> Vec<(String, Vec<u64>)> {
        let shape = |t: &Tensor| t.shape[..t.rank as usize].iter().map(|&n| n.into()).collect();
        // SAFETY: names are NUL-terminated.
        let name = |t: &Tensor| unsafe { CStr::from_ptr(t.name.cast()) }.to_string_lossy().into_owned();
        self.table().iter().map(|t| (name(t), shape(t))).collect()
    }

    /// The elements of tensor `i` of [`tensors`](Self::tensors).
    pub fn elements(&self, i: usize) -> &[u8] {
        let t = &self.table()[i];
        // SAFETY: a half holds all tensors, and nobody writes it during this borrow.
        unsafe { core::slice::from_raw_parts(self.state.now.add(t.offset as usize).cast(), 4 * t.elements as usize) }
    }

    /// The same, to be written.
    pub fn elements_mut(&mut self, i: usize) -> &mut [u8] {
        let t = &self.table()[i];
        let at = self.state.now.wrapping_add(t.offset as usize).cast();
        // SAFETY: as in `elements`; the borrow is exclusive.
        unsafe { core::slice::from_raw_parts_mut(at, 4 * t.elements as usize) }
    }

    /// Whether every number of the state is finite.
    pub fn is_finite(&self) -> bool {
        let finite = |i| self.elements(i).as_chunks::<4>().0.iter().all(|b| f32::from_le_bytes(*b).is_finite());
        (0..self.table().len()).all(finite)
    }
}

fn checked(train: &Train, status: i32) -> Result<(), Error> {
    if status == OK {
        return Ok(());
    }
    Err(Error::of_status("training", status, text(train.codes[train::STEP].target)))
}
