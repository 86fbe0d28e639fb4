//! Linking in this process by libwild: no other program is needed.
//!
//! Through its `run`, which reads files, and not through its file-system trait: that would compile the whole linker
//! a second time, into this crate.

use super::{Stage, refused, unwritable};
use ir::Diagnostics;
use ir::diag::Class;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const WHO: &str = "the built-in linker";

/// A static, position-independent executable: no interpreter, relocated by its own `_start`.
const FLAGS: [&str; 11] = [
    "-m",
    "elf_x86_64",
    "-static",
    "-pie",
    "--no-dynamic-linker",
    "--gc-sections",
    "--strip-debug", // that of the archive: a fifth of what is not weights
    "--build-id=none",
    "-znoexecstack",
    "-znow",
    "-zrelro",
];

/// Links `inputs` into the file `output`.
pub fn executable(inputs: &Stage, output: &Path) -> Result<(), Diagnostics> {
    let mut arguments: Vec<String> = ["wild"].into_iter().chain(FLAGS).map(str::to_owned).collect();
    arguments.push("-o".to_owned());
    for path in std::iter::once(output.to_path_buf()).chain(inputs.paths()) {
        let text =
            path.to_str().ok_or_else(|| unwritable(&inputs.output, &io::Error::other("its name is not UTF-8")))?;
        arguments.push(text.to_owned());
    }
    let link = || -> libwild::error::Result {
        let mut args = libwild::Args::new(|| arguments.iter())?;
        args.parse(|| arguments.iter())?;
        args.on_warning(Box::new(|_| {}));
        libwild::run(args)
    };
    // A panic in there is a bug, but of this one link.
    match catch_unwind(AssertUnwindSafe(link)) {
        Ok(result) => result.map_err(|e| refused(WHO, Class::Internal, &e.to_string())),
        Err(_) => Err(refused(WHO, Class::Internal, "it panicked")),
    }
}
