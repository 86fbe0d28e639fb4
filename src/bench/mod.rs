//! `rescc bench`: a model, an executable or one op is measured as the executable that ships, call by call.
//!
//! | module | is |
//! |---|---|
//! | `op_spec` | one op as text to a network of one node |
//! | `build` | a graph to an executable and the program behind it |
//! | `measure` | an executable measures itself |
//! | `train` | a training step measures itself, in this process |
//! | `calls` | time by call and kernel, with work, roof and estimate |
//! | `compare` | what each pass gains |
//! | `baseline` | against an earlier document |
//! | `report`, `sheet` | tables and JSON |

pub mod baseline;
mod build;
pub mod calls;
pub mod compare;
mod measure;
pub mod op_spec;
pub mod report;
mod sheet;
pub mod train;

pub use build::{Built, Settings, Subject, build};
pub use measure::{Sampling, Times, measure};
pub use sheet::{Format, Sheet};

/// One configuration, measured.
#[derive(Clone, Debug)]
pub struct Run {
    pub times: Times,
    pub cold: bool,
    /// Multiply-adds that as many threads could do while it was measured, 10⁹ operations a second; 0 if unknown.
    pub peak_gflops: f64,
    /// One row a call; empty for an executable, whose program is not known.
    pub rows: Vec<calls::Row>,
}

/// Seconds of a measurement, `0.5` or `0.5s`.
///
/// Errors: a message for the command line.
pub fn seconds(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    number.filter(|s| (0.001..=3600.0).contains(s)).ok_or_else(|| "a number of seconds from 0.001 to 3600".into())
}
