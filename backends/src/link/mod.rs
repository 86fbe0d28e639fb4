//! Objects → executable or shared library.
//!
//! # Invariants
//! - The output appears whole or not at all: it is made in a directory that the caller provides and renamed.
//! - Equal inputs give equal bytes: inputs have fixed names, no build id, no paths.
//! - A linker's complaint is a diagnostic; nothing is printed and the process does not end.

mod external;
mod wild;

use ir::diag::Class;
use ir::{Diagnostic, Diagnostics};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Who links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Linker {
    /// Inside this process; executables only.
    #[default]
    Wild,
    /// The C compiler, `cc`.
    Cc,
    /// `ld.lld`, or Debian's `ld.lld-22`.
    Lld,
}

/// An object or archive under a fixed file name, such as `model.o` or `host.a`.
pub struct Input<'a> {
    pub name: &'a str,
    pub content: Content<'a>,
}

pub enum Content<'a> {
    Bytes(&'a [u8]),
    /// Writes the object, for contents that are too large to hold: the weights.
    Writer(Box<dyn FnOnce(&mut File) -> io::Result<()> + 'a>),
}

impl<'a> Input<'a> {
    pub fn bytes(name: &'a str, bytes: &'a [u8]) -> Input<'a> {
        Input { name, content: Content::Bytes(bytes) }
    }

    pub fn writer(name: &'a str, write: impl FnOnce(&mut File) -> io::Result<()> + 'a) -> Input<'a> {
        Input { name, content: Content::Writer(Box::new(write)) }
    }
}

/// Joins objects into one relocatable object.
///
/// Errors: as [`Stage::executable`]; E0708 for [`Linker::Wild`], which makes executables only.
pub fn relocatable(
    inputs: Vec<Input>,
    linker: Linker,
    directory: impl AsRef<Path> + 'static,
    output: &Path,
) -> Result<(), Diagnostics> {
    if linker == Linker::Wild {
        return Err(Diagnostic::error("E0708", "the built-in linker makes executables only")
            .class(Class::Unsupported)
            .help("use `--emit lib` for an archive, or `--linker cc` or `--linker lld` for one object")
            .into());
    }
    Stage::new(inputs, directory, output)?.finish(|s| Ok(external::relocatable(linker, s)?))
}

/// Links a shared library that exports only the symbols `exports` and is called `soname`.
///
/// Errors: as [`Stage::executable`]; E0708 for [`Linker::Wild`], which is not used for libraries.
pub fn shared_library(
    inputs: Vec<Input>,
    linker: Linker,
    soname: &str,
    exports: &[String],
    directory: impl AsRef<Path> + 'static,
    output: &Path,
) -> Result<(), Diagnostics> {
    if linker == Linker::Wild {
        return Err(Diagnostic::error("E0708", "the built-in linker makes executables only")
            .class(Class::Unsupported)
            .help("use `--linker cc` or `--linker lld` for a shared library")
            .into());
    }
    Stage::new(inputs, directory, output)?.finish(|s| external::shared_library(linker, s, soname, exports))
}

/// The linked file in the directory of a link.
const OUTPUT: &str = "a.out";

/// Inputs as files. What they were made from is no longer needed: weights need not be held while the linker maps them
/// twice.
pub struct Stage {
    directory: Box<dyn AsRef<Path>>,
    names: Vec<String>,
    output: PathBuf,
}

impl Stage {
    /// `directory` is empty, on the file system of `output`, and goes away when it is dropped.
    ///
    /// Errors: E0803 if there is no place for them.
    pub fn new(inputs: Vec<Input>, directory: impl AsRef<Path> + 'static, output: &Path) -> Result<Stage, Diagnostics> {
        let stage = || -> io::Result<Stage> {
            let mut names = Vec::with_capacity(inputs.len());
            for input in inputs {
                let mut file = File::create_new(directory.as_ref().join(input.name))?;
                match input.content {
                    Content::Bytes(bytes) => file.write_all(bytes)?,
                    Content::Writer(write) => write(&mut file)?,
                }
                names.push(input.name.to_owned());
            }
            Ok(Stage { directory: Box::new(directory), names, output: output.to_path_buf() })
        };
        stage().map_err(|e| unwritable(output, &e))
    }

    /// Links a static, position-independent executable whose entry is `_start`. What nothing refers to is dropped.
    ///
    /// Errors: E0708 if the linker refuses, E0709 if it is not installed, E0803 if the output cannot be written.
    pub fn executable(self, linker: Linker) -> Result<(), Diagnostics> {
        self.finish(|s| match linker {
            Linker::Wild => Ok(wild::executable(s, &s.directory().join(OUTPUT))?),
            Linker::Cc | Linker::Lld => Ok(external::executable(linker, s)?),
        })
    }

    fn directory(&self) -> &Path {
        (*self.directory).as_ref()
    }

    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.names.iter().map(|n| self.directory().join(n))
    }

    /// Lets `make` write [`OUTPUT`] in the directory, and moves that to its place if it succeeds.
    fn finish(self, make: impl FnOnce(&Stage) -> Result<(), Failure>) -> Result<(), Diagnostics> {
        let link = || -> Result<(), Failure> {
            // Asks the system for the mode that the umask leaves; linkers set their own.
            let mode = File::options().write(true).create_new(true).mode(0o755).open(self.directory().join("mode"))?;
            let permissions = mode.metadata()?.permissions();
            make(&self)?;
            let made = self.directory().join(OUTPUT);
            std::fs::set_permissions(&made, permissions)?;
            Ok(std::fs::rename(&made, &self.output)?)
        };
        link().map_err(|e| match e {
            Failure::Link(d) => d,
            Failure::Write(e) => unwritable(&self.output, &e),
        })
    }
}

/// What can end a link.
enum Failure {
    Write(io::Error),
    Link(Diagnostics),
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Failure {
        Failure::Write(e)
    }
}

impl From<Diagnostics> for Failure {
    fn from(d: Diagnostics) -> Failure {
        Failure::Link(d)
    }
}

fn unwritable(output: &Path, e: &io::Error) -> Diagnostics {
    let message = format!("cannot write {}: {e}", output.display());
    let help = "name a file in a folder that exists, is writable and has room";
    Diagnostic::error("E0803", message).class(Class::Output).help(help).into()
}

/// A linker's complaint. That of the one built in is about what rescc made; others are as they are installed.
fn refused(linker: &str, class: Class, message: &str) -> Diagnostics {
    let mut d = Diagnostic::error("E0708", format!("{linker} cannot link the artefact")).class(class);
    if class == Class::Toolchain {
        d = d.help("see what it says; without `--linker`, executables are linked without another program");
    }
    for line in message.lines().filter(|l| !l.trim().is_empty()).take(20) {
        d = d.note(line.trim());
    }
    d.into()
}

#[cfg(test)]
mod tests;
