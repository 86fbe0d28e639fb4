//! Training: everything around the compiled step.
//!
//! | module | is |
//! |---|---|
//! | [`settings`] | what decides the bits of a run, and the recipes that give it |
//! | [`random`] | counter-based randomness |
//! | [`schedule`] | the learning rate of every iteration |
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
pub mod random;
pub mod run;
pub mod schedule;
pub mod settings;
pub mod shards;
pub mod step;
pub mod traces;
