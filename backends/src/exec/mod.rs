//! Kernels run in this process: every buffer is checked against the kernel before the code is called.
//!
//! # Invariants
//! - Code comes from a [`Backend`](crate::Backend) or from [`Jit`](crate::cranelift::Jit), for kernels that the
//!   kernel verifier has proven: they access their buffers in bounds, and tasks write disjoint elements.
//! - A call gets buffers of exactly the sizes that the kernel declares, aligned to their elements.
//! - Tasks run in parallel; results do not depend on how many threads there are.

mod buffer;
mod loader;
mod program;

pub use buffer::AlignedBytes;
use buffer::Memory;
pub use loader::{load, runs_here};
pub use program::Execution;

use ir::kernel::Role;
use ir::{Diagnostic, Diagnostics, Kernel};
use memmap2::Mmap;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

thread_local! {
    /// What kernels use as scratch memory, as large as the largest so far: fresh memory costs a fault for each page.
    static SCRATCH: RefCell<AlignedBytes> = RefCell::new(AlignedBytes::zeroed(0));
}

type Entry = unsafe extern "C" fn(*const *mut u8, i64, i64, *mut u8);

/// Machine code of one kernel in this process.
pub struct CompiledKernel {
    kernel: Kernel,
    entry: Entry,
    /// Keeps the code mapped.
    _code: Arc<Mmap>,
}

/// One buffer of a call.
pub enum Arg<'a> {
    In(&'a [u8]),
    /// For `Out` and `InOut` parameters.
    Out(&'a mut [u8]),
}

impl CompiledKernel {
    /// The code of `kernel` starts at `offset` of `code`.
    ///
    /// # Safety
    /// It must be code that a back end made of `kernel`, which the kernel verifier accepts.
    pub(crate) unsafe fn new(kernel: Kernel, code: Arc<Mmap>, offset: usize) -> CompiledKernel {
        // SAFETY: the caller says that a function with this signature starts there.
        let entry = unsafe { std::mem::transmute::<*const u8, Entry>(code[offset..].as_ptr()) };
        CompiledKernel { kernel, entry, _code: code }
    }

    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Runs all tasks on `args`, one for each parameter in order.
    ///
    /// Errors: E0704 if a buffer has another size, role or alignment than its parameter.
    pub fn run(&self, args: &mut [Arg]) -> Result<(), Diagnostics> {
        self.run_tasks(0..self.kernel.tasks, args)
    }

    /// As [`run`](Self::run), for some of the tasks.
    pub fn run_tasks(&self, tasks: Range<i64>, args: &mut [Arg]) -> Result<(), Diagnostics> {
        let wrong = |what: String| {
            Diagnostics::from(Diagnostic::error("E0704", format!("kernel `{}`: {what}", self.kernel.name)))
        };
        if tasks.start < 0 || tasks.end > self.kernel.tasks {
            return Err(wrong(format!("tasks {}..{} of {}", tasks.start, tasks.end, self.kernel.tasks)));
        }
        if args.len() != self.kernel.params.len() {
            return Err(wrong(format!("{} buffers for {} parameters", args.len(), self.kernel.params.len())));
        }
        let mut pointers = Vec::with_capacity(args.len());
        for (arg, &param) in args.iter_mut().zip(&self.kernel.params) {
            let decl = &self.kernel.bufs[param];
            let (pointer, len) = match arg {
                Arg::In(bytes) if decl.role == Role::In => (bytes.as_ptr().cast_mut(), bytes.len()),
                Arg::Out(bytes) if decl.role != Role::In => (bytes.as_mut_ptr(), bytes.len()),
                _ => return Err(wrong(format!("parameter `{}` has another direction", decl.name))),
            };
            if len as u64 != decl.len_bytes() {
                return Err(wrong(format!("`{}` has {} bytes, not {len}", decl.name, decl.len_bytes())));
            }
            if !buffer::is_aligned(pointer, decl.dtype.bytes()) {
                return Err(wrong(format!("`{}` is not {}-byte aligned", decl.name, decl.dtype.bytes())));
            }
            pointers.push(pointer);
        }
        // SAFETY: sizes, alignment and directions are those of the parameters, checked above; `args` lives until
        // the call returns.
        unsafe { self.call(tasks, &pointers) };
        Ok(())
    }

    /// Runs all tasks on `inputs` (the `In` and `InOut` parameters in order, of any alignment) and returns the bytes
    /// of the `Out` and `InOut` parameters in order.
    pub fn run_once(&self, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, Diagnostics> {
        let decls = || self.kernel.params.iter().map(|&p| &self.kernel.bufs[p]);
        let taken = decls().filter(|d| d.role != Role::Out).count();
        if inputs.len() != taken {
            let message = format!("kernel `{}` takes {taken} inputs, not {}", self.kernel.name, inputs.len());
            return Err(Diagnostic::error("E0704", message).into());
        }
        let mut inputs = inputs.iter();
        let mut next = || *inputs.next().expect("invariant: the inputs are counted");
        let mut memory: Vec<Memory> = decls()
            .map(|d| match d.role {
                Role::Out => Memory::Own(AlignedBytes::zeroed(d.len_bytes() as usize)),
                Role::In => Memory::aligned(next(), d.dtype.bytes()),
                _ => Memory::Own(AlignedBytes::copy_of(next())),
            })
            .collect();
        let mut args: Vec<Arg> = memory
            .iter_mut()
            .zip(decls())
            .map(|(m, d)| match m {
                Memory::Borrowed(bytes) => Arg::In(bytes),
                Memory::Own(bytes) => {
                    if d.role == Role::In {
                        Arg::In(bytes)
                    } else {
                        Arg::Out(bytes)
                    }
                }
            })
            .collect();
        self.run(&mut args)?;
        Ok(memory.iter().zip(decls()).filter(|(_, d)| d.role != Role::In).map(|(m, _)| m.to_vec()).collect())
    }

    /// Runs tasks, in parallel if there are several.
    ///
    /// # Safety
    /// Each pointer is valid for the bytes that its parameter declares, aligned to an element, and nobody else
    /// writes there during the call.
    unsafe fn call(&self, tasks: Range<i64>, pointers: &[*mut u8]) {
        let count = tasks.end - tasks.start;
        // Several ranges a thread, so that uneven tasks level out; a thread alone has nothing to level.
        let threads = rayon::current_num_threads() as i64;
        let ranges = if threads == 1 { 1 } else { (threads * 4).min(count).max(1) };
        let buffers = Pointers(pointers);
        let run = |i: i64| {
            let (lo, hi) = (tasks.start + count * i / ranges, tasks.start + count * (i + 1) / ranges);
            SCRATCH.with_borrow_mut(|scratch| {
                let len = self.kernel.scratch_bytes() as usize;
                if scratch.len() < len {
                    *scratch = AlignedBytes::zeroed(len);
                }
                // SAFETY: the caller vouches for the buffers; the scratch is this thread's own, and compiled code
                // calls nothing that could want it again; tasks write disjoint elements, so ranges may run at once.
                unsafe { (self.entry)(buffers.get(), lo, hi, scratch.as_mut_ptr()) };
            });
        };
        if ranges == 1 { run(0) } else { (0..ranges).into_par_iter().for_each(run) }
    }
}

/// Buffers of one call, on their way to other threads.
struct Pointers<'a>(&'a [*mut u8]);

impl Pointers<'_> {
    fn get(&self) -> *const *mut u8 {
        self.0.as_ptr()
    }
}

// SAFETY: the pointers are only handed to compiled tasks, which write disjoint elements.
unsafe impl Sync for Pointers<'_> {}

#[cfg(test)]
mod tests;
