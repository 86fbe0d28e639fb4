//! Kernel → machine code → artefact.
//!
//! # Invariants
//! - A back end sees kernels and programs, never a graph.
//! - Compiling the same kernels for the same target gives the same bytes, on any number of threads.
//! - What a back end cannot do is a [`Diagnostic`](ir::Diagnostic), not a panic.
//! - `unsafe` is in [`exec`], which calls compiled code, in the last step of [`cranelift::Jit`], and where LLVM's
//!   `build_gep` asks for it.

use ir::diag::Class;
use ir::target::Target;
use ir::{Diagnostic, Diagnostics, Kernel};

pub mod cranelift;
pub mod exec;
pub mod link;
#[cfg(feature = "llvm")]
pub mod llvm;
pub mod object;
#[cfg(test)]
mod samples;

/// A code generator for kernels.
pub trait Backend: Sync {
    fn name(&self) -> &'static str;

    /// Compiles `kernels` into one or more relocatable objects. Kernel `k` becomes the global (hidden) symbol
    /// `{prefix}_{k.name}` with the calling convention of [`ir::kernel`].
    fn compile(&self, kernels: &[Kernel], prefix: &str, target: &Target) -> Result<Vec<Vec<u8>>, Diagnostics>;
}

/// A diagnostic that says: our bug.
fn internal_one(code: &'static str, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(code, message).class(Class::Internal)
}

fn internal(code: &'static str, message: impl Into<String>) -> Diagnostics {
    internal_one(code, message).into()
}
