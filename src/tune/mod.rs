//! `rescc tune`: measures how each convolution of a model is best computed on this machine.
//!
//! | module | is |
//! |---|---|
//! | `search` | candidates, measured where they will run: in the whole model |
//! | `file` | the plan file |

mod file;
mod search;

pub use file::{Entry, File, load};
pub use search::{Outcome, Search};
