//! What an artefact links: the inference driver, and the host side of the standalone executable.
//!
//! The driver ([`driver`] and the modules that it uses) is the one part that every artefact carries: `runtime/core`
//! compiles the same files into one freestanding object, and with [`train`] into another, for libraries that train.
//! [`host`] is only in standalone executables (`runtime/standalone`) and in `rescc`.
//!
//! # Invariants
//! - `no_std`; nothing of ours is used.
//! - The driver allocates nothing, prints nothing, cannot panic, and keeps no pointer after it returned.
//! - Output bits depend on neither the number of workers nor on who computes which task.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_op_in_unsafe_fn)]

extern crate alloc;

pub mod abi;
mod arena;
mod cpuid;
pub mod driver;
mod futex;
pub mod host;
mod params;
mod trace;
pub mod train;
mod workers;

#[cfg(test)]
mod tests;
