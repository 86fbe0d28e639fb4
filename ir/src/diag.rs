//! One diagnostic type for every stage: what happened, where, what to do.
//!
//! Diagnostics are collected, not thrown one by one; `src/` renders them, library crates only return them.

mod codes;

pub use codes::CODES;

use std::fmt;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Error,
    Warning,
    Note,
}

/// Where something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Bytes of the text that was parsed.
    Text(Range<usize>),
    /// Offset in a binary file.
    Byte(u64),
    /// A node of a graph, by the name of its first result.
    Node(String),
    /// A tensor in a weights file.
    Tensor(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub place: Place,
    pub text: String,
}

/// What a diagnostic is about; decides the exit code of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The input is not valid (exit 3).
    Invalid,
    /// Valid, but not by us (exit 4).
    Unsupported,
    /// Writing failed (exit 5).
    Output,
    /// A limit was hit (exit 6).
    Limit,
    /// A tool is missing (exit 7).
    Toolchain,
    /// The answer is negative, e.g. `verify` differs (exit 1).
    Negative,
    /// Flags that make no sense together (exit 2).
    Usage,
    /// Our bug (exit 70).
    Internal,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub class: Class,
    /// Stable code such as `E0203`. The table of codes is [`CODES`].
    pub code: &'static str,
    pub message: String,
    pub labels: Vec<Label>,
    pub notes: Vec<String>,
    pub help: Option<String>,
}

impl Diagnostic {
    pub fn error(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            class: Class::Invalid,
            code,
            message: message.into(),
            labels: Vec::new(),
            notes: Vec::new(),
            help: None,
        }
    }

    pub fn warning(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, message) }
    }

    pub fn class(mut self, class: Class) -> Diagnostic {
        self.class = class;
        self
    }

    pub fn at(mut self, place: Place, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { place, text: text.into() });
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Diagnostic {
        self.notes.push(note.into());
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    /// One line without source text, for logs and tests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        for l in &self.labels {
            match &l.place {
                Place::Text(r) => write!(f, " (at {}..{})", r.start, r.end)?,
                Place::Byte(b) => write!(f, " (at byte {b})")?,
                Place::Node(n) => write!(f, " (at %{n})")?,
                Place::Tensor(t) => write!(f, " (tensor {t})")?,
            }
        }
        Ok(())
    }
}

/// A list of diagnostics, in the order found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    pub fn push(&mut self, d: Diagnostic) {
        self.0.push(d);
    }

    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// `Ok(value)` if there is no error among the diagnostics.
    pub fn into_result<T>(self, value: T) -> Result<T, Diagnostics> {
        if self.has_errors() { Err(self) } else { Ok(value) }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(d: Diagnostic) -> Diagnostics {
        Diagnostics(vec![d])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.0.iter().enumerate() {
            write!(f, "{}{d}", if i > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
