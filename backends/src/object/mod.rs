//! What a user ships: weights, model descriptor and API as objects, the archive of them, the C header.
//!
//! A model with prefix `P` consists of
//! - the back end's objects: kernels, as hidden `{P}_k_{name}` ([`kernel_prefix`]);
//! - the weights object: one read-only section, hidden `{P}_weights` ([`write_weights`]);
//! - the model object: the descriptor, hidden `{P}_model`, and the functions of the C API, `{P}_infer` and so on,
//!   the only symbols a program needs to see ([`model_object`]);
//! - the runtime's core object, the same for all models: in an archive the linker takes it once.
//!
//! A library that trains has several programs and another descriptor, API and runtime object ([`train_object`]).
//!
//! # Invariants
//! - No constructors, registries or mutable data: a linker may drop whatever is not called.
//! - Pointers in data are in `.data.rel.ro`, so the objects link into fixed and position-independent files.
//! - Weights are streamed: they are never copied into a second buffer here.

mod archive;
mod calls;
mod header;
mod model;
mod train;
mod train_header;
mod weights;
mod writer;

pub use archive::{Member, write_archive};
pub use calls::{Argument, Base, CallDesc, calls};
pub use header::{header, named_header};
pub use model::{ModelDesc, PreprocessDesc, model_object};
pub use train::{CODES, StateTensorDesc, TensorKind, TrainDesc, train_object};
pub use train_header::train_header;
pub use weights::{Piece, write_weights};
pub use writer::CodeDesc;

/// Version of the descriptor's layout and of the C API, `runtime::abi::ABI`.
pub const ABI: u32 = 1;

/// `runtime::abi::JOB_BYTES`, part of the arena with several threads.
pub const JOB_BYTES: u64 = 256;

/// Prefix that a model's kernels are compiled with: no kernel can take the name of an API function.
pub fn kernel_prefix(prefix: &str) -> String {
    format!("{prefix}_k")
}

/// `name` as a prefix of C symbols, before their `_`: letters, digits and `_`, not starting with a digit.
pub fn prefix_of(name: &str) -> String {
    let mut prefix: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !prefix.starts_with(|c: char| c.is_ascii_alphabetic()) {
        prefix.insert_str(0, "m_");
    }
    prefix.truncate(prefix.trim_end_matches('_').len());
    prefix
}

#[cfg(test)]
mod tests;
