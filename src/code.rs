//! A program with its machine code in this process, and the elements of its tensors.

use crate::artefact;
use crate::render::Failure;
use crate::toolchain::{BackendName, JitEvaluator};
use backends::cranelift::Jit;
use backends::exec::{self, AlignedBytes, CompiledKernel, Execution};
use ir::store::TensorStore;
use ir::target::Target;
use ir::{Graph, Program};
use passes::pass::Log;
use passes::pipeline::{Compiled, Options};
use std::sync::Arc;

/// A program and its machine code.
pub struct Code {
    target: Target,
    compiled: Compiled,
    kernels: Vec<Arc<CompiledKernel>>,
    constants: AlignedBytes,
}

impl Code {
    /// Errors: those of the passes and the back end.
    pub fn new(
        graph: Graph,
        store: Arc<dyn TensorStore>,
        backend: BackendName,
        options: &Options,
    ) -> Result<Code, Failure> {
        let jit = JitEvaluator(Jit::new()?);
        let compiled = passes::pipeline::compile(graph, store, options, &jit)?;
        let kernels = match backend {
            BackendName::Cranelift => jit.0.kernels(&compiled.program.kernels)?,
            BackendName::Llvm => exec::load(&*backend.get()?, &compiled.program.kernels, &options.target)?,
        };
        let constants = artefact::constants(&compiled.program, &*compiled.store)?;
        Ok(Code { target: options.target, compiled, kernels, constants })
    }

    pub fn execution(&self) -> Result<Execution<'_>, Failure> {
        Ok(Execution::with_kernels(self.kernels.clone(), &self.compiled.program, &self.constants)?)
    }

    /// Images that are computed at a time.
    pub fn group(&self) -> usize {
        self.compiled.program.batch as usize
    }

    pub fn program(&self) -> &Program {
        &self.compiled.program
    }

    /// What the passes did.
    pub fn log(&self) -> &Log {
        &self.compiled.log
    }

    /// The target that the templates were chosen for.
    pub fn target(&self) -> &Target {
        &self.target
    }
}

/// The elements of a tensor in memory.
pub fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))
}

/// Writes the elements of a tensor into its memory, which has the same number of them.
pub fn set_floats(memory: &mut [u8], values: &[f32]) {
    set_elements(memory, values.iter().map(|v| v.to_le_bytes()));
}

/// The same with the elements as bytes.
pub fn set_elements(memory: &mut [u8], values: impl ExactSizeIterator<Item = [u8; 4]>) {
    let memory = memory.as_chunks_mut::<4>().0;
    assert_eq!(memory.len(), values.len(), "the elements are those of another tensor");
    memory.iter_mut().zip(values).for_each(|(to, v)| *to = v);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "those of another tensor")]
    fn nothing_is_cut() {
        set_floats(&mut [0; 8], &[1.0, 2.0, 3.0]);
    }
}
