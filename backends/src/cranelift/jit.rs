//! Kernels compiled into this process, each once.

use super::{Machine, emit};
use crate::exec::CompiledKernel;
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics, Kernel};
use memmap2::{Mmap, MmapMut};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

type Compiled = Result<Arc<CompiledKernel>, Diagnostics>;

/// Compiles kernels for this machine and keeps their code. May be shared by threads.
pub struct Jit {
    machine: Machine,
    /// The cell lets other kernels compile while one does.
    cache: Mutex<HashMap<Kernel, Arc<OnceLock<Compiled>>>>,
}

impl Jit {
    pub fn new() -> Result<Jit, Diagnostics> {
        Ok(Jit { machine: Machine::host()?, cache: Mutex::default() })
    }

    /// Whether `fma` rounds once on this machine. If not, it is a product and a sum, each rounded.
    pub fn has_fma(&self) -> bool {
        self.machine.has_fma
    }

    /// The code of `kernel`, verified and compiled at the first call.
    ///
    /// Errors: those of the kernel verifier and of the back end; E0705 without executable memory.
    pub fn kernel(&self, kernel: &Kernel) -> Compiled {
        let cell = {
            let mut cache = self.cache.lock().unwrap_or_else(|e| e.into_inner());
            match cache.get(kernel) {
                Some(cell) => cell.clone(),
                None => cache.entry(kernel.clone()).or_default().clone(),
            }
        };
        cell.get_or_init(|| self.compile(kernel)).clone()
    }

    /// The code of all `kernels`, in order; those that are new compile in parallel.
    pub fn kernels(&self, kernels: &[Kernel]) -> Result<Vec<Arc<CompiledKernel>>, Diagnostics> {
        kernels.par_iter().map(|k| self.kernel(k)).collect()
    }

    /// Compiles `kernel` if it is new, and runs all its tasks: see [`CompiledKernel::run_once`].
    pub fn run_once(&self, kernel: &Kernel, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, Diagnostics> {
        self.kernel(kernel)?.run_once(inputs)
    }

    fn compile(&self, kernel: &Kernel) -> Compiled {
        kernel.verify().into_result(())?;
        let code = emit::compile(kernel, &self.machine)?;
        let map = executable_memory(code.bytes.len(), |to| to.copy_from_slice(&code.bytes))?;
        // SAFETY: the kernel is verified, and this is its code, at the start of the map.
        Ok(Arc::new(unsafe { CompiledKernel::new(kernel.clone(), Arc::new(map), 0) }))
    }
}

/// Memory of that length that may be run once `fill` has written it.
pub(super) fn executable_memory(len: usize, fill: impl FnOnce(&mut [u8])) -> Result<Mmap, Diagnostics> {
    let map = || {
        let mut map = MmapMut::map_anon(len)?;
        fill(&mut map);
        map.make_exec()
    };
    map().map_err(|e| {
        Diagnostic::error("E0705", format!("no executable memory: {e}"))
            .class(Class::Limit)
            .help("`rescc compile` makes a file instead of running the network in this process")
            .into()
    })
}
