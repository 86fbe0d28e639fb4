//! Everything that runs a kernel.

use backends::exec::CompiledKernel;
use ir::interp::kernel::run_in_any_order;
use ir::target::{Target, X86_64_V2};
use ir::{Diagnostics, Kernel};
use std::sync::Arc;

/// A kernel, ready to run: inputs in order to outputs in order.
pub type Run = Box<dyn Fn(&[&[u8]]) -> Result<Vec<Vec<u8>>, Diagnostics>>;

fn runner(k: Arc<CompiledKernel>) -> Run {
    Box::new(move |inputs| k.run_once(inputs))
}

pub trait Engine: Send + Sync {
    fn name(&self) -> String;

    /// The target whose templates it runs; all targets' if `None`.
    fn target(&self) -> Option<Target>;

    /// Why this machine cannot run what it compiles.
    fn cannot_run(&self) -> Option<String> {
        None
    }

    /// Compiles kernels, whose names differ, without running them.
    fn compile(&self, _kernels: Vec<Kernel>) -> Result<(), Diagnostics> {
        Ok(())
    }

    /// Compiles kernels, whose names differ.
    fn load(&self, kernels: Vec<Kernel>) -> Result<Vec<Run>, Diagnostics>;
}

/// The definition of what a kernel does; it checks every access on the way.
pub struct Interpreter;

impl Engine for Interpreter {
    fn name(&self) -> String {
        "interpreter".into()
    }

    fn target(&self) -> Option<Target> {
        None
    }

    fn load(&self, kernels: Vec<Kernel>) -> Result<Vec<Run>, Diagnostics> {
        let run = |k: Kernel| -> Run { Box::new(move |inputs| run_in_any_order(&k, inputs)) };
        Ok(kernels.into_iter().map(run).collect())
    }
}

/// Cranelift, in process. Templates for 128-bit vectors are what it is made for.
pub struct Jit;

impl Engine for Jit {
    fn name(&self) -> String {
        "cranelift".into()
    }

    fn target(&self) -> Option<Target> {
        Some(X86_64_V2)
    }

    fn load(&self, kernels: Vec<Kernel>) -> Result<Vec<Run>, Diagnostics> {
        Ok(backends::cranelift::Jit::new()?.kernels(&kernels)?.into_iter().map(runner).collect())
    }
}

/// Objects that LLVM makes for a target, loaded into this process.
#[cfg(feature = "llvm")]
pub struct LlvmObject(pub Target);

#[cfg(feature = "llvm")]
impl Engine for LlvmObject {
    fn name(&self) -> String {
        format!("llvm_{}", self.0.name)
    }

    fn target(&self) -> Option<Target> {
        Some(self.0)
    }

    fn cannot_run(&self) -> Option<String> {
        let lacks = !backends::exec::runs_here(&self.0);
        lacks.then(|| format!("this machine does not run {} code", self.0.name))
    }

    fn compile(&self, kernels: Vec<Kernel>) -> Result<(), Diagnostics> {
        use backends::Backend;
        let objects = backends::llvm::Llvm.compile(&kernels, "k", &self.0)?;
        assert!(objects.iter().all(|o| o.starts_with(b"\x7fELF")), "LLVM makes ELF objects");
        Ok(())
    }

    fn load(&self, kernels: Vec<Kernel>) -> Result<Vec<Run>, Diagnostics> {
        Ok(backends::exec::load(&backends::llvm::Llvm, &kernels, &self.0)?.into_iter().map(runner).collect())
    }
}
