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

use crate::root;
use libtest_mimic::Trial;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
    trials
}

/// Runs `rescc` and returns what it printed; it must succeed.
#[track_caller]
pub fn rescc(args: &[&str]) -> String {
    run(Path::new(env!("CARGO_BIN_EXE_rescc")), args)
}

/// Runs a program that must succeed.
#[track_caller]
pub fn run(program: &Path, args: &[&str]) -> String {
    let out = output(program, args);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{} {}: {}\n{text}{errors}", program.display(), args.join(" "), out.status);
    text
}

#[track_caller]
pub fn output(program: &Path, args: &[&str]) -> Output {
    Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{}: {e}", program.display()))
}

/// A file of the test data, wherever it lies: `$RESCC_DATA`, `target/data` (see `tools/get-data.sh`), or the
/// material beside the checkout.
pub fn data(name: &str) -> Option<PathBuf> {
    let chosen = std::env::var_os("RESCC_DATA").map(PathBuf::from);
    let places = chosen.into_iter().chain([root().join("target/data"), root().join("../shared/data")]);
    places.map(|p| p.join(name)).find(|p| p.exists())
}

/// An empty directory for one test, removed at its end.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

pub fn path(p: &Path) -> &str {
    p.to_str().expect("paths of tests are text")
}

/// Elements of a `.npy` file as f64, whatever their type.
#[track_caller]
pub fn npy(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = npyz::NpyFile::new(&bytes[..]).expect("a .npy file");
    match file.dtype().descr().trim_matches('\'') {
        "|u1" => file.into_vec::<u8>().expect("u8").into_iter().map(f64::from).collect(),
        "<u2" => file.into_vec::<u16>().expect("u16").into_iter().map(f64::from).collect(),
        "<f4" => file.into_vec::<f32>().expect("f32").into_iter().map(f64::from).collect(),
        "<f8" => file.into_vec::<f64>().expect("f64"),
        other => panic!("{}: elements of type {other}", path.display()),
    }
}

/// Largest difference, and ‖a − b‖ / ‖b‖.
pub fn compare(a: &[f64], b: &[f64]) -> (f64, f64) {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
    let square = |it: &mut dyn Iterator<Item = f64>| it.map(|v| v * v).sum::<f64>().sqrt();
    let error = square(&mut a.iter().zip(b).map(|(x, y)| x - y));
    (largest, error / square(&mut b.iter().copied()))
}
