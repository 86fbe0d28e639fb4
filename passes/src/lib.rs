//! Graph → Graph passes, lowering to a Program, Program passes.
//!
//! # Invariants
//! - A pass never sees LLVM or Cranelift; constants are evaluated by an [`Evaluator`] that is handed in.
//! - A graph is edited by patches only; a pass that leaves something alone says why (its `Keep` enum).
//! - Passes are idempotent and deterministic.
#![forbid(unsafe_code)]

use ir::{Diagnostics, Kernel};

pub mod autodiff;
pub mod cost;
pub mod graph;
mod group;
pub mod lower;
pub mod pass;
pub mod pipeline;
pub mod plan;
pub mod program;
pub mod templates;

/// Runs kernels at compile time, for constant folding. `src/` hands in the Cranelift JIT; tests may use the
/// interpreter.
pub trait Evaluator: Sync {
    /// Runs all tasks of `kernel` on `inputs` (its `In` parameters in order, little-endian elements) and returns
    /// the bytes of its `Out` parameters in order.
    fn eval(&self, kernel: &Kernel, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, Diagnostics>;
}

#[cfg(test)]
mod tests;
