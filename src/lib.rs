//! The `rescc` command as a library: networks, importers, model files, reports, the command line.
//!
//! | module | is |
//! |---|---|
//! | [`builders`] | the networks of the paper as graphs, with seeded weights |
//! | [`import`] | state dicts (.safetensors, .pth) to a graph and a weights file |
//! | [`toolchain`] | targets, back ends and the evaluator of constants by name |
//! | [`artefact`] | a compiled program to objects, libraries and executables |
//! | [`code`] | a program with its machine code, to be run in this process |
//! | [`input`] | pictures, arrays and random numbers as inputs |
//! | [`verify`] | compiled code against the float64 reference, layer by layer |
//! | [`bench`] | measurements of executables, call by call, beside an estimate |
//! | [`machine`] | this machine's peaks, measured by kernels of our own |
//! | [`page`] | a compiled model as one HTML page |
//! | [`store`] | models on disk: a `.rir` and the tensors that it names |
//! | [`train`] | training: data, recipes, the loop around a compiled step |
//! | [`tune`] | how each convolution is best computed on this machine, measured in the whole model |
//! | [`eval`] | how often networks are right about labelled pictures |
//! | [`repro`] | the paper's experiments |
//! | [`figure`] | drawings as SVG |
//! | [`counts`] | what a graph counts: parameters, multiply-adds, bytes |
//! | [`format`] | tables and numbers as people read them |
//! | [`render`] | diagnostics for people and for programs |
//! | [`output`] | files that appear whole or not at all |
//! | [`cli`] | one file a verb: arguments in, calls, text out |
//!
//! # Invariants
//! - Only this crate prints, exits, and reads and writes files, but for what [`backends::link`] writes while it links.
//! - No byte of a file is trusted: what a reader refuses is a [`Diagnostic`](ir::Diagnostic) with its place.
//! - Nothing that is read is executed.
#![deny(unsafe_code)]

pub mod artefact;
pub mod bench;
pub mod builders;
pub mod cli;
pub mod code;
pub mod counts;
pub mod eval;
pub mod figure;
pub mod format;
pub mod import;
pub mod input;
pub mod machine;
pub mod output;
pub mod page;
pub mod render;
pub mod repro;
pub mod store;
pub mod toolchain;
pub mod train;
pub mod tune;
pub mod verify;
