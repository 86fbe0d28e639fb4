//! The three intermediate representations of rescc: Graph, Program and Kernel.
//!
//! | level | module | is |
//! |---|---|---|
//! | Graph | [`graph`] | tensors and operators; no order beyond data flow, no memory, no loops |
//! | Program | [`program`] | an ordered list of kernel calls on buffers with offsets |
//! | Kernel | [`kernel`] | one loop nest with affine indices: how one call computes its part |
//!
//! # Invariants
//! - This crate knows no file system, no terminal, no LLVM and no Cranelift code generator.
//! - Weights never enter the IR: a graph names tensors, a [`store::TensorStore`] holds them.
//! - Nothing here panics on input that a user controls: parsers and verifiers return [`diag::Diagnostics`].
//! - Every level prints, parses back to the same text, verifies and runs (in [`interp`]).
#![forbid(unsafe_code)]

pub mod affine;
pub mod diag;
pub mod entity;
pub mod epilogue;
pub mod grad;
pub mod graph;
pub mod interp;
pub mod kernel;
pub mod layout;
pub mod op;
pub mod ops;
pub mod program;
pub mod schedule;
pub mod store;
pub mod target;
pub mod text;
pub mod types;

pub use diag::{Diagnostic, Diagnostics, Place, Severity};
pub use graph::Graph;
pub use kernel::Kernel;
pub use layout::Layout;
pub use program::Program;
pub use types::{DType, Dim, TensorType};
