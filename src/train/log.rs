//! The log of a run as CSV: one line for every window of iterations and for every evaluation.
//!
//! Lines are appended as they come. A run that goes on drops the lines after its checkpoint and writes them again, so
//! that the file of an interrupted run is that of one that was not.

use crate::output::{self, Mode};
use crate::render::Failure;
use ir::Diagnostic;
use ir::diag::Class;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const HEADINGS: &str = "iteration,epoch,lr,loss,train_error,test_error";

/// A table whose first column is the iteration, and which is written line by line.
pub struct Table {
    path: PathBuf,
    file: File,
}

pub struct Log(Table);

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

/// A line as it stands in the file.
#[derive(Deserialize)]
struct Row {
    iteration: u64,
    epoch: f64,
    lr: f64,
    loss: Option<f64>,
    train_error: Option<f64>,
    test_error: Option<f64>,
}

impl Table {
    /// Opens the table of a run that has done `iteration` steps.
    ///
    /// Errors: E0803, E0805.
    pub fn open(path: &Path, headings: &str, iteration: u64) -> Result<Table, Failure> {
        let mut text = format!("{headings}\n");
        if iteration > 0 && path.is_file() {
            let old = crate::import::read_file(path, u64::from(u32::MAX))?;
            for line in String::from_utf8_lossy(&old).split_inclusive('\n').filter(|l| l.ends_with('\n')) {
                let number = line.split(',').next().and_then(|n| n.parse::<u64>().ok());
                if number.is_some_and(|n| n <= iteration) {
                    text += line;
                }
            }
        }
        // A pipe's reader ends when the first that writes closes it.
        let is_stream = output::is_stream(path);
        if !is_stream {
            output::write(path, Mode::Data, text.as_bytes())?;
        }
        let file = File::options().append(true).open(path).map_err(|e| output::failure(path, 0, &e))?;
        let mut table = Table { path: path.to_path_buf(), file };
        if is_stream {
            table.append(&text)?;
        }
        Ok(table)
    }

    /// Appends a line of numbers.
    ///
    /// Errors: E0803.
    pub fn write(&mut self, line: &str) -> Result<(), Failure> {
        self.append(&format!("{line}\n"))?;
        // On the disk before a checkpoint is that says it was written. Pipes have no disk.
        let _ = self.file.sync_data();
        Ok(())
    }

    fn append(&mut self, text: &str) -> Result<(), Failure> {
        self.file.write_all(text.as_bytes()).map_err(|e| match e.kind() {
            // Training does not end with the reader of its log as a filter ends with that of its result.
            io::ErrorKind::BrokenPipe => {
                let text = format!("cannot write '{}': nobody reads it any more", self.path.display());
                Diagnostic::error("E0803", text)
                    .class(Class::Output)
                    .help("go on with --resume and another --log")
                    .into()
            }
            _ => output::failure(&self.path, 0, &e),
        })
    }
}

impl Log {
    /// Opens the log of a run that has done `iteration` steps.
    ///
    /// Errors: those of [`Table::open`].
    pub fn open(path: &Path, iteration: u64) -> Result<Log, Failure> {
        Table::open(path, HEADINGS, iteration).map(Log)
    }

    /// Errors: E0803.
    pub fn write(&mut self, line: &Line) -> Result<(), Failure> {
        let text = |v: Option<f64>| v.map_or(String::new(), |v| format!("{v:.6}"));
        let (loss, error) = (text(line.window.map(|w| w.0)), text(line.window.map(|w| w.1)));
        let Line { iteration, epoch, lr, .. } = line;
        self.0.write(&format!("{iteration},{epoch:.4},{lr},{loss},{error},{}", text(line.test_error)))
    }
}

/// The lines of a log.
///
/// Errors: E0805, E0913.
pub fn read(path: &Path) -> Result<Vec<Line>, Failure> {
    let bytes = crate::import::read_file(path, u64::from(u32::MAX))?;
    let rows = csv::Reader::from_reader(&bytes[..]).into_deserialize().map(|row: Result<Row, csv::Error>| {
        let Row { iteration, epoch, lr, loss, train_error, test_error } = row?;
        Ok(Line { iteration, epoch, lr, window: loss.zip(train_error), test_error })
    });
    rows.collect::<Result<_, csv::Error>>().map_err(|e| {
        let d = Diagnostic::error("E0913", format!("'{}' is no log of training: {e}", path.display()));
        Failure::from(d.help("give the log.csv of a run, or its folder")).in_file(path)
    })
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
        assert_eq!(read(&path).unwrap(), [50, 100, 150].map(line));
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.csv");
        let texts = ["a,b\n1,2\n", "iteration,epoch,lr,loss,train_error,test_error\n1,2,x,,,\n", "\u{0}\n\"\n"];
        for text in texts {
            std::fs::write(&path, text).unwrap();
            let e = read(&path).unwrap_err();
            assert_eq!(e.diagnostics.0[0].code, "E0913", "{text}");
        }
        assert_eq!(read(&dir.path().join("none.csv")).unwrap_err().diagnostics.0[0].code, "E0805");
        std::fs::write(&path, format!("{HEADINGS}\n")).unwrap();
        assert_eq!(read(&path).unwrap(), []);
    }
}
