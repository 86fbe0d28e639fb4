//! What can go wrong with a user's file or request.

use crate::abi::CPU_LACKS_FEATURE;
use crate::driver;
use alloc::format;
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

    /// A status of the driver that is not `OK`. `target` is the CPU that the code was compiled for.
    pub fn of_status(doing: &str, status: i32, target: &str) -> Error {
        let what = driver::strerror(status).to_str().unwrap_or("unknown error");
        if status == CPU_LACKS_FEATURE {
            let help = format!("it is for {target}: compile it with --target native on this machine, or for x86-64-v2");
            return Error::new(Kind::Unsupported, what).help(help);
        }
        Error::new(Kind::Model, format!("{doing} failed with code {status}: {what}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_is_too_old_is_no_bug() {
        let e = Error::of_status("inference", CPU_LACKS_FEATURE, "x86-64-v4");
        assert_eq!(e.kind, Kind::Unsupported);
        assert!(e.help.is_some_and(|h| h.contains("for x86-64-v4") && h.contains("--target native")));
        assert_eq!(Error::of_status("inference", crate::abi::MISALIGNED, "x86-64-v4").kind, Kind::Model);
    }
}
