//! Linking by a program of the machine: `cc` or `ld.lld`.
//!
//! It runs in the directory that holds the inputs under their fixed names, so no path reaches the output.

use super::{Linker, OUTPUT, Stage, refused};
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics};
use std::io;
use std::path::Path;
use std::process::{Command, Output};

/// Names of lld: its own, and Debian's.
pub(super) const LLD: &[&str] = &["ld.lld", "ld.lld-22"];

pub fn executable(linker: Linker, inputs: &Stage) -> Result<(), Diagnostics> {
    let own = match linker {
        Linker::Cc => &["-static-pie", "-nostdlib", "-nostartfiles"][..],
        _ => &["-static", "-pie", "--no-dynamic-linker"],
    };
    link(linker, own, &["--gc-sections", "--strip-debug"], inputs)
}

pub fn relocatable(linker: Linker, inputs: &Stage) -> Result<(), Diagnostics> {
    let own = match linker {
        Linker::Cc => &["-r", "-nostdlib"][..],
        _ => &["-r"],
    };
    link(linker, own, &[], inputs)
}

pub fn shared_library(linker: Linker, inputs: &Stage, soname: &str, exports: &[String]) -> Result<(), super::Failure> {
    let own = match linker {
        Linker::Cc => &["-shared", "-nostdlib"][..],
        _ => &["-shared"],
    };
    let script = format!("{{ global: {}; local: *; }};\n", exports.join("; "));
    std::fs::write(inputs.directory().join("exports.map"), script)?;
    Ok(link(
        linker,
        own,
        &["--gc-sections", "--strip-debug", "--version-script=exports.map", "-soname", soname],
        inputs,
    )?)
}

/// Runs the linker. `own` are options of that program, `flags` are the linker's proper.
fn link(linker: Linker, own: &[&str], flags: &[&str], inputs: &Stage) -> Result<(), Diagnostics> {
    let common = ["--build-id=none", "-z", "noexecstack", "-z", "relro", "-z", "now"];
    let flags = flags.iter().copied().chain(common);
    let mut args: Vec<String> = own.iter().map(|&f| f.to_string()).collect();
    match linker {
        Linker::Cc => args.extend(flags.flat_map(|f| ["-Xlinker".to_string(), f.to_string()])),
        _ => args.extend(flags.map(str::to_string)),
    }
    args.extend(["-o".to_string(), OUTPUT.to_string()]);
    args.extend(inputs.names.iter().cloned());

    let programs = if linker == Linker::Cc { &["cc"] } else { LLD };
    let (program, result) = run(programs, &args, inputs.directory())?;
    if !result.status.success() {
        return Err(refused(program, Class::Toolchain, &String::from_utf8_lossy(&result.stderr)));
    }
    Ok(())
}

/// The first of `programs` that is installed, run to its end.
pub(super) fn run<'p>(
    programs: &[&'p str],
    args: &[String],
    directory: &Path,
) -> Result<(&'p str, Output), Diagnostics> {
    for &program in programs {
        match Command::new(program).args(args).current_dir(directory).env("LC_ALL", "C").output() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(refused(program, Class::Toolchain, &e.to_string())),
            Ok(result) => return Ok((program, result)),
        }
    }
    Err(Diagnostic::error("E0709", format!("`{}` is not installed", programs[0]))
        .class(Class::Toolchain)
        .help("the built-in linker needs no other program: leave out `--linker`")
        .into())
}
