//! A model with its arena and threads, ready to run: the safe face of the driver.

use super::descriptor::text;
use super::pool::Pool;
use super::{Error, Kind};
use crate::abi::{MAX_WORKERS, Model, OK, Par};
use crate::driver;
use alloc::format;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;

/// A compiled model that can be called.
///
/// # Safety
/// `infer` obeys the C API's contract for `model()`.
pub unsafe trait Library {
    fn model(&self) -> &Model;

    /// Bytes of arena; 0 if the batch is out of range.
    fn arena_bytes(&self, batch: u32, threads: u32) -> usize;

    /// # Safety
    /// As [`driver::infer_traced`].
    #[allow(clippy::too_many_arguments, reason = "the C API's, and one more")]
    unsafe fn infer(
        &self,
        x: *const f32,
        y: *mut f32,
        batch: u32,
        arena: *mut u8,
        arena_bytes: usize,
        par: *const Par,
        ticks: *mut u64,
    ) -> i32;
}

/// A model in this process' memory, run by the driver that is linked here.
pub struct InProcess<'a>(&'a Model);

impl<'a> InProcess<'a> {
    /// # Safety
    /// All pointers of the model are valid, and its kernels stay inside their parameters.
    pub unsafe fn new(model: &'a Model) -> InProcess<'a> {
        InProcess(model)
    }
}

// SAFETY: `new` made the caller promise it.
unsafe impl Library for InProcess<'_> {
    fn model(&self) -> &Model {
        self.0
    }

    fn arena_bytes(&self, batch: u32, threads: u32) -> usize {
        driver::arena_bytes(self.0, batch, threads)
    }

    unsafe fn infer(
        &self,
        x: *const f32,
        y: *mut f32,
        batch: u32,
        arena: *mut u8,
        arena_bytes: usize,
        par: *const Par,
        ticks: *mut u64,
    ) -> i32 {
        // SAFETY: the caller's promise.
        unsafe { driver::infer_traced(self.0, x, y, batch, arena, arena_bytes, par, ticks) }
    }
}

/// Runs inferences of one batch size on one number of threads.
pub struct Engine<'a> {
    library: &'a dyn Library,
    arena: Arena,
    batch: u32,
    par: Par,
}

impl<'a> Engine<'a> {
    /// `pool` must have `threads - 1` helpers, or else the caller does their work.
    pub fn new(library: &'a dyn Library, batch: u32, threads: u32, pool: &'a Pool) -> Result<Engine<'a>, Error> {
        let model = library.model();
        if threads == 0 || threads > MAX_WORKERS as u32 {
            return Err(Error::new(Kind::Usage, format!("{threads} threads: from 1 to {MAX_WORKERS} are possible")));
        }
        let bytes = library.arena_bytes(batch, threads);
        if bytes == 0 && (batch == 0 || !batch.is_multiple_of(model.batch.max(1))) {
            return Err(Error::new(
                Kind::Usage,
                format!("batch {batch}: the model computes {} at a time, so a multiple of that is needed", model.batch),
            ));
        }
        let arena = Arena::new(bytes)
            .ok_or_else(|| Error::new(Kind::Limit, format!("no memory for an arena of {bytes} bytes")))?;
        Ok(Engine { library, arena, batch, par: pool.par(threads) })
    }

    pub fn model(&self) -> &'a Model {
        self.library.model()
    }

    pub fn batch(&self) -> usize {
        self.batch as usize
    }

    /// f32 elements of one image.
    pub fn image_elements(&self) -> usize {
        image_elements(self.model())
    }

    /// f32 elements of one answer.
    pub fn classes(&self) -> usize {
        self.model().classes as usize
    }

    /// The memory that inferences use; its content does not matter.
    pub fn arena(&mut self) -> &mut [u8] {
        self.arena.bytes()
    }

    /// One inference: `x` holds `batch` images, `y` gets as many answers.
    pub fn run(&mut self, x: &[f32], y: &mut [f32]) -> Result<(), Error> {
        self.infer(x, y, core::ptr::null_mut())
    }

    /// As [`run`](Self::run), and adds to `ticks` what each of the model's calls took, in ticks of a fixed rate.
    pub fn run_traced(&mut self, x: &[f32], y: &mut [f32], ticks: &mut [u64]) -> Result<(), Error> {
        assert_eq!(ticks.len(), self.model().code.n_calls as usize, "ticks of another number of calls");
        self.infer(x, y, ticks.as_mut_ptr())
    }

    /// `ticks` is null or has a counter for each call.
    fn infer(&mut self, x: &[f32], y: &mut [f32], ticks: *mut u64) -> Result<(), Error> {
        assert_eq!(x.len(), self.batch() * self.image_elements(), "input of another size");
        assert_eq!(y.len(), self.batch() * self.classes(), "output of another size");
        let par = if self.par.threads > 1 { &raw const self.par } else { core::ptr::null() };
        let arena = self.arena.bytes();
        let (x, y, start, bytes) = (x.as_ptr(), y.as_mut_ptr(), arena.as_mut_ptr(), arena.len());
        // SAFETY: sizes were checked here and in `new`; the borrows are exclusive where written.
        let code = unsafe { self.library.infer(x, y, self.batch, start, bytes, par, ticks) };
        if code == OK {
            return Ok(());
        }
        Err(Error::of_status("inference", code, text(self.model().code.target)))
    }

    /// Answers for any number of images, padded to whole batches with zeros. `fill(i, x)` writes image `i`,
    /// `take(i, y)` gets its answer.
    pub fn run_all(
        &mut self,
        images: usize,
        mut fill: impl FnMut(usize, &mut [f32]) -> Result<(), Error>,
        mut take: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        let (elements, classes, batch) = (self.image_elements(), self.classes(), self.batch());
        let mut x: Vec<f32> = alloc::vec![0.0; batch * elements];
        let mut y: Vec<f32> = alloc::vec![0.0; batch * classes];
        for start in (0..images).step_by(batch) {
            let count = batch.min(images - start);
            for (i, x) in x.chunks_exact_mut(elements).enumerate().take(count) {
                fill(start + i, x)?;
            }
            x[count * elements..].fill(0.0);
            self.run(&x, &mut y)?;
            for (i, y) in y.chunks_exact(classes).enumerate().take(count) {
                take(start + i, y);
            }
        }
        Ok(())
    }
}

/// f32 elements of one image of a model.
pub fn image_elements(model: &Model) -> usize {
    model.channels as usize * model.height as usize * model.width as usize
}

/// 64-byte aligned memory.
pub(super) struct Arena {
    start: NonNull<u8>,
    layout: Layout,
}

impl Arena {
    pub fn new(bytes: usize) -> Option<Arena> {
        let layout = Layout::from_size_align(bytes.max(64), 64).ok()?;
        // SAFETY: the size is not zero. Zeroed, because a slice of it is handed out; large blocks are fresh pages.
        let start = NonNull::new(unsafe { alloc::alloc::alloc_zeroed(layout) })?;
        Some(Arena { start, layout })
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: our block, initialised, borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { alloc::alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}
