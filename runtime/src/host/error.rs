//! What can go wrong with a user's file or request.

use alloc::string::String;
use core::fmt;

/// Decides the exit code, and the diagnostic code that `rescc` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request makes no sense.
    Usage,
    /// A file cannot be read.
    Read,
    /// A file cannot be written.
    Write,
    /// The bytes are not what they should be.
    Invalid,
    /// Valid, but beyond a limit.
    Limit,
    /// Valid, but not handled.
    Unsupported,
    /// The model's own code refused.
    Model,
}

/// What happened, where in the bytes, and what would help. The caller knows the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    pub what: String,
    /// Byte offset in the file.
    pub at: Option<u64>,
    pub help: Option<String>,
}

impl Error {
    pub fn new(kind: Kind, what: impl Into<String>) -> Error {
        Error { kind, what: what.into(), at: None, help: None }
    }

    pub fn at(mut self, byte: u64) -> Error {
        self.at = Some(byte);
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Error {
        self.help = Some(help.into());
        self
    }
}

/// One line: what, at which byte, and the remedy in brackets.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(byte) = self.at {
            write!(f, ", at byte {byte}")?;
        }
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

impl core::error::Error for Error {}
