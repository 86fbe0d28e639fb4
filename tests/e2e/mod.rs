//! End to end: the command itself, and the executables that it makes.

mod artefact;
#[cfg(feature = "llvm")]
mod asm;
mod bench;
mod cifar;
mod counts;
mod eval;
mod examples;
mod full_size;
mod imagenet;
mod import;
mod mpi;
mod opt;
#[cfg(feature = "llvm")]
mod ptx;
mod report;
mod repro;
mod shards;
mod standalone;
mod train;
mod train_library;
mod trainer;
mod tune;
mod zoo;

pub use crate::command::{data, npy, output, run};

use libtest_mimic::Trial;
use std::path::Path;

pub fn tests() -> Vec<Trial> {
    let mut trials = artefact::tests();
    trials.extend(bench::tests());
    trials.extend(tune::tests());
    trials.extend(cifar::tests());
    trials.extend(counts::tests());
    trials.extend(eval::tests());
    trials.extend(examples::tests());
    trials.extend(full_size::tests());
    trials.extend(imagenet::tests());
    trials.extend(import::tests());
    trials.extend(mpi::tests());
    trials.extend(opt::tests());
    trials.extend(report::tests());
    trials.extend(repro::tests());
    trials.extend(shards::tests());
    trials.extend(standalone::tests());
    trials.extend(train::tests());
    trials.extend(train_library::tests());
    trials.extend(trainer::tests());
    trials.extend(zoo::tests());
    #[cfg(feature = "llvm")]
    trials.extend(asm::tests().into_iter().chain(ptx::tests()));
    #[cfg(not(feature = "llvm"))]
    trials.extend(["asm", "ptx"].map(|name| crate::skip(name, "built without LLVM")));
    trials
}

/// Runs `rescc` and returns what it printed; it must succeed.
#[track_caller]
pub fn rescc(args: &[&str]) -> String {
    crate::command::rescc(args).succeeds()
}

/// An empty directory for one test, removed at its end.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

pub fn path(p: &Path) -> &str {
    p.to_str().expect("paths of tests are text")
}

/// Largest difference, and ‖a − b‖ / ‖b‖.
#[track_caller]
pub fn compare(a: &[f64], b: &[f64]) -> (f64, f64) {
    let d = crate::difference(a, b);
    (d.largest, d.relative_l2)
}
