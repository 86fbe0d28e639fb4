//! The log of a run as CSV: one line for every window of iterations and for every evaluation.
//!
//! Lines are appended as they come. A run that goes on drops the lines after its checkpoint and writes them again, so
//! that the file of an interrupted run is that of one that was not.

use crate::output::{self, Mode};
use crate::render::Failure;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

const HEADINGS: &str = "iteration,epoch,lr,loss,train_error,test_error";

pub struct Log {
    path: PathBuf,
    file: File,
}

/// One line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    /// Steps that are done.
    pub iteration: u64,
    pub epoch: f64,
    pub lr: f64,
    /// Mean loss and share of wrong answers over the window.
    pub window: Option<(f64, f64)>,
    /// Share of wrong answers on the evaluation set.
    pub test_error: Option<f64>,
}

impl Log {
    /// Opens the log of a run that has done `iteration` steps.
    ///
    /// Errors: E0803, E0805.
    pub fn open(path: &Path, iteration: u64) -> Result<Log, Failure> {
        let mut text = format!("{HEADINGS}\n");
        if iteration > 0 && path.is_file() {
            let old = crate::import::read_file(path, u64::from(u32::MAX))?;
            for line in String::from_utf8_lossy(&old).split_inclusive('\n').filter(|l| l.ends_with('\n')) {
                let number = line.split(',').next().and_then(|n| n.parse::<u64>().ok());
                if number.is_some_and(|n| n <= iteration) {
                    text += line;
                }
            }
        }
        output::write(path, Mode::Data, text.as_bytes())?;
        let file = File::options().append(true).open(path).map_err(|e| output::failure(path, 0, &e))?;
        Ok(Log { path: path.to_path_buf(), file })
    }

    /// Errors: E0803.
    pub fn write(&mut self, line: &Line) -> Result<(), Failure> {
        let text = |v: Option<f64>| v.map_or(String::new(), |v| format!("{v:.6}"));
        let (loss, error) = (text(line.window.map(|w| w.0)), text(line.window.map(|w| w.1)));
        let Line { iteration, epoch, lr, .. } = line;
        let line = format!("{iteration},{epoch:.4},{lr},{loss},{error},{}\n", text(line.test_error));
        self.file.write_all(line.as_bytes()).map_err(|e| output::failure(&self.path, 0, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_goes_on_drops_what_came_after_its_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.csv");
        let line = |iteration| Line { iteration, lr: 0.1, window: Some((1.5, 0.25)), ..Line::default() };
        let mut log = Log::open(&path, 0).unwrap();
        [50, 100, 150].iter().for_each(|&i| log.write(&line(i)).unwrap());
        let whole = std::fs::read_to_string(&path).unwrap();
        assert!(whole.ends_with("150,0.0000,0.1,1.500000,0.250000,\n"), "{whole}");
        // A line that was cut goes too.
        std::fs::write(&path, format!("{whole}200,0.1")).unwrap();
        let mut log = Log::open(&path, 100).unwrap();
        log.write(&line(150)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
    }
}
