//! The one integration-test binary: file tests under `tests/rir/`, and modules of plain tests.
//!
//! A module has `pub fn tests() -> Vec<Trial>`; [`test`] makes one trial, [`skip`] one that says why it did not run.

mod arrows;
mod command;
mod conformance;
mod coverage;
mod docs;
mod e2e;
mod faults;
mod filetest;
mod hostile;
mod library;
mod network;
mod oracle;
mod pass_file;
mod pth_file;
mod rules;
mod training;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use rescc::verify::Difference;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let mut trials = filetest::tests();
    trials.extend(arrows::tests());
    trials.extend(conformance::tests());
    trials.extend(coverage::tests());
    trials.extend(docs::tests());
    trials.extend(e2e::tests());
    trials.extend(faults::tests());
    trials.extend(library::tests());
    trials.extend(hostile::tests());
    trials.extend(rules::tests());
    trials.extend(training::tests());
    libtest_mimic::run(&args, trials).exit_code()
}

/// A trial that passes if `f` returns; assertions inside it work as usual.
pub fn test(name: &str, f: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        f();
        Ok::<(), Failed>(())
    })
}

/// A trial that cannot run here: shown with its reason and counted as ignored, whatever is asked for.
pub fn skip(name: &str, reason: &str) -> Trial {
    let reason = format!("[SKIP] {reason}");
    Trial::ignorable_test(name, move || Ok(Completion::ignored_with(reason)))
}

/// How far numbers are from the wanted ones, which have to be numbers.
#[track_caller]
pub fn difference(got: &[f64], want: &[f64]) -> Difference {
    assert!(want.iter().all(|v| v.is_finite()), "what is wanted is not finite");
    Difference::of(got, want)
}

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}
