//! Training: everything around the compiled step.
//!
//! What standalone trainers share, so that they get the same bits, is in [`runtime::host::train`]: [`settings`] with the
//! recipes, randomness ([`random`]), the learning rate ([`schedule`]), how far a run has come ([`progress`]).
//!
//! | module | is |
//! |---|---|
//! | [`data`] | labelled pictures, augmented, in batches |
//! | [`step`] | the compiled step and its state |
//! | [`shards`] | a step in parts, whose gradients are added |
//! | [`group`] | the processes that train together; `mpi` those of MPI |
//! | [`run`] | the loop |
//! | [`checkpoint`] | a run as one file |
//! | [`log`] | the run's CSV |
//! | [`events`] | the same for TensorBoard |
//! | [`traces`] | both, and norms of gradients |
//!
//! # Invariants
//! - The state after iteration i depends on model, data and [`settings::Settings`] alone: neither on threads or
//!   processes nor on where a run was interrupted.

pub mod checkpoint;
pub mod data;
pub mod events;
pub mod group;
pub mod log;
#[cfg(feature = "mpi")]
mod mpi;
pub mod run;
pub mod shards;
pub mod step;
pub mod traces;

pub use runtime::host::train::{progress, random, schedule, settings};
