//! An error with the file that it is about: what a program says, and its exit code.

use super::args::{Path, lossy};
use super::system::System;
use super::{Error, Kind};
use alloc::format;
use alloc::string::String;

/// An error and the file that it is about.
pub struct Failure {
    error: Error,
    file: Option<String>,
}

impl Failure {
    pub fn about(path: Path) -> impl Fn(Error) -> Failure {
        move |error: Error| {
            let is_output = path == b"-" && error.kind == Kind::Write;
            let file = if is_output { "standard output".into() } else { display(path) };
            Failure { error, file: Some(file) }
        }
    }

    /// What happened, where, what to do.
    pub fn message(&self) -> String {
        let mut out = String::from("error: ");
        if let Some(file) = &self.file {
            out += &format!("{file}: ");
        }
        out += &self.error.what;
        if let Some(byte) = self.error.at {
            out += &format!(", at byte {byte}");
        }
        let help = self.error.help.as_deref().unwrap_or_else(|| usual_help(self.error.kind));
        out += &format!("\n  help: {help}\n");
        out
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, file: None }
    }
}

/// Says a failure; returns the exit code.
pub fn conclude(system: &(impl System + ?Sized), failure: &Failure) -> i32 {
    system.complain(&failure.message());
    match failure.error.kind {
        Kind::Usage => 2,
        Kind::Read | Kind::Invalid => INPUT_FAILED,
        Kind::Unsupported | Kind::Model => 4,
        Kind::Write => 5,
        Kind::Limit => 6,
    }
}

pub const INPUT_FAILED: i32 = 3;

/// What to do about errors that say nothing special.
fn usual_help(kind: Kind) -> &'static str {
    match kind {
        Kind::Usage => "--help lists what this program can do",
        Kind::Read => "check the path; relative paths start at the current directory",
        Kind::Write => "choose a place that exists, may be written and has room",
        Kind::Invalid => "the file is damaged or of another kind: fetch or save it again",
        Kind::Limit => "a smaller file or number fits",
        Kind::Unsupported => "convert the file, or compile the model for it",
        Kind::Model => "this is a bug of the compiler: please report the model and the command line",
    }
}

/// How an input is named in messages.
pub fn display(path: Path) -> String {
    if path == b"-" { "standard input".into() } else { lossy(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_is_input_or_output() {
        let message = |kind| Failure::about(b"-")(Error::new(kind, "gone")).message();
        assert!(message(Kind::Read).starts_with("error: standard input: gone"));
        assert!(message(Kind::Write).starts_with("error: standard output: gone"));
    }
}
