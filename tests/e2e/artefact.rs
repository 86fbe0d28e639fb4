//! What an artefact promises: the same bits always, the same bytes for the same input, a library for anybody.

use super::{directory, npy, path, rescc, run};
use crate::{root, test};
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;
use std::process::Command;

pub fn tests() -> Vec<Trial> {
    vec![
        test("e2e::artefact::same_bits_with_any_threads", same_bits),
        test("e2e::artefact::same_bytes_twice", same_bytes),
        test("e2e::artefact::a_c_program_gets_the_bits_of_the_executable", c_program),
        test("e2e::artefact::cranelift_makes_executables_too", cranelift),
        test("e2e::artefact::a_batch_is_computed_in_groups_that_fit_the_caches", groups),
        test("e2e::artefact::run_answers_as_the_executable_does", run_agrees),
        test("e2e::artefact::every_pass_prints_text_that_parses", passes_print),
    ]
}

/// A model with seeded weights in `dir`.
fn model(dir: &Path, name: &str, flags: &[&str]) -> String {
    let model = dir.join("m.rir");
    rescc(&[&["new", name, "-o", path(&model)], flags].concat());
    path(&model).to_string()
}

fn picture(dir: &Path) -> String {
    let file = dir.join("picture.ppm");
    let mut bytes = b"P6 40 36 255\n".to_vec();
    bytes.extend((0..40 * 36 * 3u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
    fs::write(&file, bytes).expect("the picture can be written");
    path(&file).to_string()
}

fn same_bits() {
    let dir = directory();
    let m = model(dir.path(), "resnet18", &["--input", "3x64x64"]);
    let exe = dir.path().join("m");
    rescc(&["compile", &m, "-o", path(&exe), "--preprocess", "imagenet crop=64 resize=72"]);
    run(&exe, &["--selftest"]);
    let picture = picture(dir.path());
    let out = dir.path().join("y.npy");
    let with = |threads: &str| {
        run(&exe, &[&picture, "--threads", threads, "--out", path(&out)]);
        fs::read(&out).expect("the outputs were written")
    };
    let one = with("1");
    for threads in ["2", "3", "4", "7"] {
        assert!(with(threads) == one, "{threads} threads give other bits than one");
    }
}

fn same_bytes() {
    let dir = directory();
    let m = model(dir.path(), "cifar-resnet20", &[]);
    let compile = |name: &str, threads: &str| {
        let out = dir.path().join(name);
        rescc(&["compile", &m, "-o", path(&out), "--threads", threads]);
        fs::read(out).expect("the executable was written")
    };
    assert!(compile("a", "1") == compile("b", "3"), "two compilations give different bytes");
}

fn c_program() {
    let dir = directory();
    let m = model(dir.path(), "cifar-resnet20", &[]);
    let at = |name: &str| path(&dir.path().join(name)).to_string();
    rescc(&["compile", &m, "--emit", "exe,lib,header", "--prefix", "net", "-o", &at("net")]);
    let source = root().join("tests/c/infer.c");
    let status = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-I", path(dir.path())])
        .args([path(&source), &at("net.a"), "-o", &at("host")])
        .status()
        .expect("a C compiler is installed");
    assert!(status.success(), "the C program does not compile");
    // Both read the same input: 3 images of seeded numbers.
    let x: Vec<f32> = rescc::input::random(3, 3 * 3 * 32 * 32);
    let raw: Vec<u8> = x.iter().flat_map(|v| v.to_le_bytes()).collect();
    fs::write(at("x.raw"), raw).expect("the input can be written");
    rescc::import::npy::write(Path::new(&at("x.npy")), &[3, 3, 32, 32], &x).expect("the input can be written");
    run(Path::new(&at("net")), &["--npy", &at("x.npy"), "--out", &at("y.npy")]);
    run(Path::new(&at("host")), &[&at("x.raw"), &at("y.raw")]);
    let raw = fs::read(at("y.raw")).expect("the C program wrote its outputs");
    let got: Vec<f64> = raw.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect();
    assert_eq!(got, npy(Path::new(&at("y.npy"))));
    assert_eq!(got.len(), 30);
}

fn cranelift() {
    let dir = directory();
    let m = model(dir.path(), "cifar-resnet20", &[]);
    let at = |name: &str| path(&dir.path().join(name)).to_string();
    let x = rescc::input::random(5, 3 * 32 * 32);
    rescc::import::npy::write(Path::new(&at("x.npy")), &[1, 3, 32, 32], &x).expect("the input can be written");
    let outputs = |backend: &str| {
        rescc(&["compile", &m, "--backend", backend, "-o", &at(backend)]);
        run(Path::new(&at(backend)), &["--npy", &at("x.npy"), "--out", &at("y.npy")]);
        npy(Path::new(&at("y.npy")))
    };
    let one = outputs("cranelift");
    if cfg!(feature = "llvm") {
        let (_, l2) = super::compare(&one, &outputs("llvm"));
        assert!(l2 < 1e-5, "Cranelift and LLVM differ by {l2:.1e}");
    }
    assert_eq!(one.len(), 10);
}

fn groups() {
    let dir = directory();
    let m = model(dir.path(), "cifar-resnet20", &[]);
    let at = |name: &str| path(&dir.path().join(name)).to_string();
    let x = rescc::input::random(5, 100 * 3 * 32 * 32);
    rescc::import::npy::write(Path::new(&at("x.npy")), &[100, 3, 32, 32], &x).expect("the input can be written");
    let outputs = |batch: &str, group: &str| {
        let said = rescc(&["compile", &m, "--batch", batch, "-o", &at("net"), "--json"]);
        assert!(said.contains(&format!("\"group\": {group},")), "{said}");
        let info = run(Path::new(&at("net")), &["--info"]);
        assert!(info.contains(&format!("f32[{batch},3,32,32]")), "{info}");
        run(Path::new(&at("net")), &["--npy", &at("x.npy"), "--out", &at("y.npy")]);
        npy(Path::new(&at("y.npy")))
    };
    // Not a multiple of either batch: the last one is padded.
    let (_, l2) = super::compare(&outputs("96", "32"), &outputs("1", "1"));
    assert!(l2 < 1e-5, "batches of 96 and of 1 differ by {l2:.1e}");
}

fn run_agrees() {
    let dir = directory();
    let m = model(dir.path(), "cifar-resnet20", &[]);
    let at = |name: &str| path(&dir.path().join(name)).to_string();
    let picture = picture(dir.path());
    rescc(&["compile", &m, "--preprocess", "cifar", "-o", &at("m")]);
    run(Path::new(&at("m")), &[&picture, "--out", &at("exe.npy")]);
    rescc(&["run", &m, "--preprocess", "cifar", "--input", &picture, "--out", &at("run.npy")]);
    let (_, l2) = super::compare(&npy(Path::new(&at("run.npy"))), &npy(Path::new(&at("exe.npy"))));
    assert!(l2 < 1e-5, "rescc run and the executable differ by {l2:.1e}");
}

fn passes_print() {
    let dir = directory();
    let m = model(dir.path(), "resnet50", &["--input", "3x32x32"]);
    let out =
        super::output(Path::new(env!("CARGO_BIN_EXE_rescc")), &["opt", &m, "--print-after", "all", "--verify-each"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let printed = String::from_utf8(out.stderr).expect("text");
    let texts: Vec<&str> = printed.split("// after ").skip(1).collect();
    assert!(texts.len() >= 8, "only {} passes printed", texts.len());
    for t in texts {
        let (pass, text) = t.split_once('\n').expect("a line with the name of the pass");
        let (module, problems) = ir::text::parse(text);
        assert!(!problems.has_errors(), "after {pass}: {problems}");
        assert_eq!(
            ir::text::print_graph(&module.graphs[0]).trim(),
            text.trim_start_matches("rir 1").trim(),
            "after {pass}"
        );
    }
}
