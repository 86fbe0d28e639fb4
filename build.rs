//! Builds what `rescc` puts into artefacts, so that a machine with only `rescc` can make them:
//!
//! - `RESCC_HOST_LIB`: `runtime/standalone`, the freestanding host program of an executable, a static archive;
//! - `RESCC_TRAIN_HOST_LIB`: the same of a trainer;
//! - `RESCC_CORE_OBJ`: `runtime/core`, the inference driver, one object;
//! - `RESCC_TRAIN_OBJ`: the same with training instead of inference.
//!
//! The paths are set for `include_bytes!(env!(…))`. Baseline x86-64 and position-independent, whatever `rescc`
//! itself is built for.

use std::path::Path;
use std::process::Command;

/// What belongs to the outer build and must not reach the inner one: its flags, wrappers (clippy, coverage), profile.
const OUTER: [&str; 8] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
];

fn main() {
    for path in ["runtime/src", "runtime/core", "runtime/standalone", "runtime/Cargo.toml"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let out = Path::new(&out);

    // One folder: what both depend on is built once. So each is taken from it before the next comes.
    let target_dir = out.join("standalone");
    for (features, variable) in [("", "RESCC_HOST_LIB"), ("train", "RESCC_TRAIN_HOST_LIB")] {
        let mut cargo = Command::new(std::env::var("CARGO").expect("cargo sets CARGO"));
        cargo.args(["build", "--release", "--locked", "--quiet", "--manifest-path", "runtime/standalone/Cargo.toml"]);
        cargo.args(["--features", features]).arg("--target-dir").arg(&target_dir);
        for name in OUTER {
            cargo.env_remove(name);
        }
        cargo.env("RUSTFLAGS", "-Crelocation-model=pie -Ctarget-cpu=x86-64 -Cforce-unwind-tables=no");
        run(cargo);
        let archive = out.join(format!("{}.a", variable.to_lowercase()));
        std::fs::copy(target_dir.join("release/librescc_host.a"), &archive).expect("OUT_DIR can be written");
        println!("cargo::rustc-env={variable}={}", archive.display());
    }

    for (name, source, variable) in [
        ("rescc_core", "runtime/core/lib.rs", "RESCC_CORE_OBJ"),
        ("rescc_train", "runtime/core/train.rs", "RESCC_TRAIN_OBJ"),
    ] {
        let object = out.join(format!("{name}.o"));
        let mut rustc = Command::new(std::env::var("RUSTC").expect("cargo sets RUSTC"));
        rustc.args(["--edition", "2024", "--crate-type", "lib", "--crate-name", name]);
        rustc.arg(format!("--emit=obj={}", object.display()));
        rustc.args(["-Copt-level=3", "-Cpanic=abort", "-Ccodegen-units=1", "-Crelocation-model=pic"]);
        rustc.args(["-Ctarget-cpu=x86-64", "-Cforce-unwind-tables=no", source]);
        for name in OUTER {
            rustc.env_remove(name);
        }
        run(rustc);
        println!("cargo::rustc-env={variable}={}", object.display());
    }
}

fn run(mut command: Command) {
    let status = command.status().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    assert!(status.success(), "{command:?} failed: {status}");
}
