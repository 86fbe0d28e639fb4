//! Slow and obvious execution of the three levels, with every access checked at run time.
//!
//! It defines what a kernel means: back ends are compared with it bit by bit (exactly rounded operations, one
//! order of execution), and what the kernel verifier proves is checked here again, so that each tests the other.
//! Data goes in and out as little-endian bytes, as in files and in compiled code.

pub mod elements;
pub mod graph;
pub mod kernel;
pub mod program;

pub use elements::{decode, encode};

#[cfg(test)]
mod tests;
