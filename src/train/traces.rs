//! What a run leaves to look at: its log, the same for TensorBoard, and the norms of its gradients.

use super::events::{self, Events};
use super::log::{Line, Log, Table};
use crate::output;
use crate::render::Failure;
use ir::Diagnostic;
use ir::diag::Class;
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
    /// Refuses tables that would mix with each other or with the result.
    ///
    /// Errors: E0819.
    pub fn check(&self, out: &Path) -> Result<(), Diagnostic> {
        let refuse =
            |text: String| Err(Diagnostic::error("E0819", text).class(Class::Usage).help("name a file for each"));
        for (flag, path) in [("--log", Some(self.log)), ("--grad-norms", self.norms)] {
            if path.is_some_and(output::is_stdout) {
                return refuse(format!("{flag} cannot go to standard output, where the result goes"));
            }
        }
        let whole = |p: &Path| std::path::absolute(p).unwrap_or_else(|_| p.to_path_buf());
        if self.norms.is_some_and(|n| whole(n) == whole(self.log)) && !output::is_stream(self.log) {
            return refuse(format!("'{}' cannot be the log and have the norms of gradients", self.log.display()));
        }
        let results = ["model.rir", "model.safetensors", "curves.svg"].map(|name| whole(&out.join(name)));
        if let Some(p) = [Some(self.log), self.norms].into_iter().flatten().find(|p| results.contains(&whole(p))) {
            return refuse(format!("'{}' is where the run puts a result", p.display()));
        }
        Ok(())
    }

    /// Fails at once if one of them cannot be begun.
    ///
    /// Errors: E0803.
    pub fn probe(&self) -> Result<(), Failure> {
        [Some(self.log), self.norms].into_iter().flatten().try_for_each(output::probe)?;
        self.events.map_or(Ok(()), events::probe)
    }

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
