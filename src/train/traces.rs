//! What a run leaves to look at: its log, the same for TensorBoard, and the norms of its gradients.

use super::events::Events;
use super::log::{Line, Log, Table};
use crate::render::Failure;
use std::path::Path;

/// Where it goes.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// The CSV log.
    pub log: &'a Path,
    /// A folder for TensorBoard.
    pub events: Option<&'a Path>,
    /// A CSV for norms of gradients, of the first step and of the last of each window.
    pub norms: Option<&'a Path>,
}

pub struct Traces {
    log: Log,
    events: Option<Events>,
    norms: Option<Table>,
}

impl Places<'_> {
    /// Opens the files of a run that has done `iteration` steps; `weights` are the names of what has norms.
    ///
    /// Errors: E0803, E0805.
    pub fn open(&self, iteration: u64, weights: &[(usize, &str)]) -> Result<Traces, Failure> {
        let headings = weights.iter().fold("iteration".to_string(), |h, (_, name)| h + "," + name);
        Ok(Traces {
            log: Log::open(self.log, iteration)?,
            events: self.events.map(|dir| Events::create(dir, iteration)).transpose()?,
            norms: self.norms.map(|path| Table::open(path, &headings, iteration)).transpose()?,
        })
    }
}

impl Traces {
    /// Writes what there is of a step.
    ///
    /// Errors: E0803.
    pub fn write(&mut self, line: &Line, norms: Option<&[f64]>) -> Result<(), Failure> {
        if let (Some(table), Some(values)) = (&mut self.norms, norms) {
            table.write(&values.iter().fold(line.iteration.to_string(), |line, v| format!("{line},{v:.6e}")))?;
        }
        if line.window.is_some() || line.test_error.is_some() {
            self.log.write(line)?;
            self.events.as_mut().map(|e| e.write(line)).transpose()?;
        }
        Ok(())
    }
}
