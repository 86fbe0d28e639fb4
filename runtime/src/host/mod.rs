//! The host side: from files to inputs, from outputs to answers. In standalone executables, in `rescc run` and `train`.
//!
//! Pure functions on bytes; what touches the system goes through [`system::System`]. Needs a heap, nothing else.

pub mod app;
pub mod args;
pub mod bench;
pub mod cifar;
pub mod descriptor;
pub mod engine;
mod error;
pub mod eval;
pub mod failure;
pub mod image;
pub mod json;
pub mod npy;
pub mod pool;
pub mod preprocess;
pub mod report;
pub mod resize;
pub mod system;
pub mod topk;
pub mod train;

pub use error::{Error, Kind};

/// Largest file that is read, but for checkpoints, which are as large as their network.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
