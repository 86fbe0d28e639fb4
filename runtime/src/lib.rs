//! What an artefact links: the inference driver, and the host side of the standalone executable.
//!
//! # Invariants
//! - `no_std`; nothing of ours is used.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_op_in_unsafe_fn)]

pub mod abi;
