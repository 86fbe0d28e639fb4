//! A library that trains: a C program gets the bits of `rescc train`, and what a library promises holds.

use super::{npy, run};
use crate::command::{Outcome, Scratch, rescc};
use crate::{root, test};
use libtest_mimic::Trial;
use rescc::import::{npy as npy_file, safetensors};
use rescc::train::checkpoint;
use rescc::train::random::Epoch;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

pub fn tests() -> Vec<Trial> {
    vec![
        test("e2e::train_library::a_c_program_gets_the_bits_of_train", same_bits),
        test("e2e::train_library::options_are_those_of_train", options),
        test("e2e::train_library::the_header_is_strict_c_and_cpp_and_its_example_learns", header),
        test("e2e::train_library::a_shared_library_exports_its_functions_and_needs_memory_functions", shared_library),
        test("e2e::train_library::inference_and_training_in_one_program", beside_inference),
        test("e2e::train_library::what_cannot_be_is_refused", refused),
    ]
}

const IMAGES: usize = 100;
const BATCH: usize = 8;
const PIXELS: usize = 3 * 32 * 32;

/// CIFAR-10 files of a few pictures, whose colour tells their class.
fn write_data(dir: &Scratch) {
    let mut random = 1u32;
    for i in 1..=5 {
        let mut bytes = Vec::new();
        for r in 0..IMAGES / 5 {
            let label = (r * 7 + i) % 10;
            bytes.push(label as u8);
            bytes.extend((0..PIXELS).map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (label * 20) as u8 + (random >> 26) as u8
            }));
        }
        dir.write(&format!("data_batch_{i}.bin"), bytes);
    }
    dir.write("test_batch.bin", vec![0; 1 + PIXELS]);
}

/// The order in which `rescc train --seed 0` sees the pictures, as the C program reads it.
fn write_order(dir: &Scratch, steps: usize) {
    let mut bytes = Vec::new();
    for epoch in 0.. {
        let order = Epoch { seed: 0, epoch }.order(IMAGES as u32);
        for batch in order.chunks_exact(BATCH) {
            if bytes.len() == 4 * BATCH * steps {
                dir.write("order", bytes);
                return;
            }
            bytes.extend(batch.iter().flat_map(|i| i.to_le_bytes()));
        }
    }
}

/// Compiles `source` of tests/c against the libraries in `dir`.
fn compile_c(dir: &Scratch, source: &str, libraries: &[&str]) -> String {
    let libraries: Vec<String> = libraries.iter().map(|l| dir.path(l)).collect();
    let out = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-I", &dir.path("")])
        .arg(root().join("tests/c").join(source))
        .args(&libraries)
        .args(["-lm", "-pthread", "-o", &dir.path("host")])
        .output()
        .expect("a C compiler is installed");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    dir.path("host")
}

fn compile_library(dir: &Scratch, model: &str, more: &[&str]) -> Outcome {
    let (model, net) = (dir.path(model), dir.path("net"));
    let base = ["compile", &model, "--train", "--prefix", "net", "--emit", "lib,header", "-o", &net];
    rescc(&[&base, more].concat())
}

/// Trains with `rescc train` and in C for some steps; both have the same state in the end, to the bit. The last loss.
fn compare(dir: &Scratch, steps: usize, lr: &str, flags: &[&str]) -> f64 {
    let mut loss = f64::NAN;
    let batch = BATCH.to_string();
    let common = [&["--batch", &batch, "--target", "native"], flags].concat();
    let (data, model, out) = (format!("cifar10:{}", dir.path("")), dir.path("m.rir"), dir.path("run"));
    let iterations = steps.to_string();
    let mut train = vec!["train", &model, "--data", &data, "--out", &out, "--iters", &iterations];
    train.extend(["--recipe", "he2015", "--no-aug", "--schedule", "constant", "--lr", lr]);
    rescc(&[&train[..], &common].concat()).succeeds();
    let there = checkpoint::read(dir.path(&format!("run/checkpoint-{steps:010}.safetensors")).as_ref());
    let there = there.map_err(|f| f.diagnostics).expect("a whole checkpoint");

    compile_library(dir, "m.rir", &common).succeeds();
    write_order(dir, steps);
    let host = compile_c(dir, "train.c", &["net.a"]);
    for threads in ["1", "3"] {
        let state = dir.path("state.safetensors");
        let said = run(Path::new(&host), &[&dir.path(""), &dir.path("order"), lr, threads, &state, &dir.path("y.raw")]);
        loss = said.trim().parse().expect("the host prints its last loss");
        let bytes = dir.read("state.safetensors");
        let here = safetensors::read_header(&bytes).expect("a state is a safetensors file");
        assert_eq!(here.len(), there.tensors());
        for e in here {
            let expected = there.tensor(&e.name, &e.shape).unwrap_or_else(|| panic!("no {} {:?}", e.name, e.shape));
            assert!(bytes[e.range] == *expected, "{} differs, {threads} threads", e.name);
        }
    }
    loss
}

fn network(dir: &Scratch, name: &str) {
    rescc(&["new", name, "--width", "4", "-o", &dir.path("m.rir")]).succeeds();
    write_data(dir);
}

fn same_bits() {
    let dir = Scratch::new();
    network(&dir, "cifar-resnet20");
    let loss = compare(&dir, 100, "0.05", &[]);
    assert!(loss < 2.0, "it has learnt nothing: {loss}");

    // Its predictions are those of the model that `rescc train` has written, but for rounding.
    let logits: Vec<f64> = dir.read("y.raw").as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect();
    let records: Vec<u8> = (1..=5).flat_map(|i| dir.read(&format!("data_batch_{i}.bin"))).collect();
    let mean = |p: usize| {
        let sum: u64 = (0..IMAGES).map(|i| u64::from(records[i * (1 + PIXELS) + 1 + p])).sum();
        (sum as f64 / IMAGES as f64 / 255.0) as f32
    };
    let mean: Vec<f32> = (0..PIXELS).map(mean).collect();
    let order = Epoch { seed: 0, epoch: 0 }.order(IMAGES as u32);
    let mut x = Vec::new();
    for &image in &order[..BATCH] {
        let picture = &records[image as usize * (1 + PIXELS) + 1..][..PIXELS];
        x.extend(picture.iter().zip(&mean).map(|(&b, m)| f32::from(b) / 255.0 - m));
    }
    npy_file::write(dir.path("x.npy").as_ref(), &[BATCH as u64, 3, 32, 32], &x).expect("the input can be written");
    let (model, exe, y) = (dir.path("run/model.rir"), dir.path("exe"), dir.path("y.npy"));
    rescc(&["compile", &model, "-o", &exe]).succeeds();
    run(Path::new(&exe), &["--npy", &dir.path("x.npy"), "--out", &y]);
    let (largest, _) = super::compare(&logits, &npy(Path::new(&y)));
    assert!(largest < 1e-3, "{largest}");
}

fn options() {
    let dir = Scratch::new();
    network(&dir, "cifar-resnet8");
    compare(&dir, 12, "0.1", &["--backend", "cranelift", "--nesterov", "true", "--momentum", "0.8"]);
    std::fs::remove_dir_all(dir.path("run")).expect("the run is there");
    let more = ["--backend", "cranelift", "--wd", "0.01", "--smoothing", "0.2", "--freeze", "conv1,bn1"];
    compare(&dir, 12, "0.1", &more);
    let header = String::from_utf8(dir.read("net.h")).expect("text");
    assert!(header.contains("label smoothing 0.2") && header.contains("frozen: conv1, bn1"), "{header}");
    assert!(!header.contains(" conv1.weight ["), "what is frozen is no state");
}

fn header() {
    let dir = Scratch::new();
    rescc(&["new", "cifar-resnet8", "--width", "4", "--input", "3x8x8", "-o", &dir.path("m.rir")]).succeeds();
    compile_library(&dir, "m.rir", &["--batch", "4", "--backend", "cranelift"]).succeeds();
    let text = String::from_utf8(dir.read("net.h")).expect("text");
    assert_eq!(text.matches("*/").count(), text.matches("/*").count());
    assert!(!text.contains('@'), "a placeholder is left");
    let rule = "net_init, net_recalibrate and net_restore change\n * `now` itself";
    assert!(text.contains(rule) && text.contains("images is 0 or no multiple"), "{text}");
    assert!(text.contains("linear.bias [10]") && text.contains("bn1.running_mean [4], a statistic"), "{text}");
    // The example is the indented part of the first comment.
    let example: String = text
        .lines()
        .take_while(|l| *l != " */")
        .filter_map(|l| l.strip_prefix(" *   "))
        .map(|l| format!("{l}\n"))
        .collect();
    dir.write("example.c", example);
    dir.write("include.c", "#include \"net.h\"\n#include \"net.h\"\nsize_t x = NET_ARENA_BYTES(2);\n");
    dir.write("include.cpp", "#include \"net.h\"\nsize_t x = NET_ARENA_BYTES(2);\n");
    let cc = |args: &[&str]| {
        let out = Command::new("cc").args(args).current_dir(dir.path("")).output().expect("a C compiler is installed");
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    };
    let strict = ["-Wall", "-Wextra", "-Werror", "-pedantic"];
    for (std, file) in [("c99", "include.c"), ("c++17", "include.cpp")] {
        cc(&[&strict[..], &[&format!("-std={std}"), "-fsyntax-only", file]].concat());
    }
    cc(&[&strict[..], &["-std=c11", "example.c", "net.a", "-o", "example"]].concat());
    // Ten steps on one batch of zeros of one class: the loss falls.
    let said = run(Path::new(&dir.path("example")), &[]);
    let losses: Vec<f64> = said.lines().map(|l| l.parse().expect("a number")).collect();
    assert_eq!(losses.len(), 10);
    assert!(losses[9] < losses[0], "{losses:?}");
}

const API: [&str; 12] = [
    "abi_version",
    "apply",
    "arena_bytes",
    "grad",
    "init",
    "predict",
    "recalibrate",
    "restore",
    "save",
    "step",
    "strerror",
    "tensors",
];

fn shared_library() {
    let dir = Scratch::new();
    rescc(&["new", "cifar-resnet8", "--width", "4", "--input", "3x8x8", "-o", &dir.path("m.rir")]).succeeds();
    let (model, so) = (dir.path("m.rir"), dir.path("net.so"));
    let base = ["compile", &model, "--train", "--prefix", "net", "--batch", "4", "--backend", "cranelift"];
    let base = [&base[..], &["--linker", "cc"]].concat();
    rescc(&[&base[..], &["-o", &so]].concat()).succeeds();
    let symbols = |flag: &str| -> BTreeSet<String> {
        let out = Command::new("nm").args(["-D", flag, &so]).output().expect("nm is installed");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let names = text.lines().filter_map(|l| l.split_whitespace().last());
        names.map(|n| n.split('@').next().unwrap_or(n).to_string()).collect()
    };
    assert_eq!(symbols("--defined-only"), API.iter().map(|f| format!("net_{f}")).collect());
    let foreign: Vec<String> =
        symbols("--undefined-only").into_iter().filter(|n| n != "memcpy" && n != "memset").collect();
    assert!(foreign.is_empty(), "undefined: {foreign:?}");
    // The same twice.
    let first = dir.read("net.so");
    rescc(&[&base[..], &["-o", &so, "--threads", "3"]].concat()).succeeds();
    assert!(first == dir.read("net.so"), "two compilations give different bytes");
}

/// One program links a library that infers and one that trains.
fn beside_inference() {
    let dir = Scratch::new();
    rescc(&["new", "cifar-resnet8", "--width", "4", "--input", "3x8x8", "-o", &dir.path("m.rir")]).succeeds();
    compile_library(&dir, "m.rir", &["--batch", "4", "--backend", "cranelift"]).succeeds();
    let (model, out) = (dir.path("m.rir"), dir.path("still"));
    let still = ["compile", &model, "--prefix", "still", "--emit", "lib,header", "--backend", "cranelift", "-o", &out];
    rescc(&still).succeeds();
    dir.write(
        "both.c",
        "#include \"net.h\"\n#include \"still.h\"\n#include <stdio.h>\n\
         int main(void) { printf(\"%d %d\\n\", net_abi_version() == NET_ABI && net_arena_bytes(1) > 0,\n\
         still_abi_version() == STILL_ABI && still_arena_bytes(1, 1) > 0); return 0; }\n",
    );
    let host = compile_c(&dir, &dir.path("both.c"), &["net.a", "still.a"]);
    assert_eq!(run(Path::new(&host), &[]), "1 1\n");
}

fn refused() {
    let dir = Scratch::new();
    rescc(&["new", "cifar-resnet8", "--width", "4", "--input", "3x8x8", "-o", &dir.path("m.rir")]).succeeds();
    let (model, out) = (dir.path("m.rir"), dir.path("out"));
    let compile = |more: &[&str]| rescc(&[&["compile", &model, "-o", &out], more].concat());
    compile(&["--train", "--emit", "exe,lib"]).fails(4, &["E0804", "exe and other kinds"]);
    compile(&["--train", "--recipe", "slow"]).fails(2, &["E0911", "no recipe 'slow'"]);
    compile(&["--train", "--emit", "rir"]).fails(4, &["E0804", "--train --emit rir"]);
    compile(&["--train", "--emit", "lib", "--freeze", "conv9"]).fails(3, &["E0407", "there is no tensor 'conv9'"]);
    let usage = |more: &[&str], what: &str| {
        let outcome = compile(more);
        assert!(outcome.code == Some(2) && outcome.stderr.contains(what), "{outcome:?}");
    };
    usage(&["--momentum", "0.5"], "--train");
    usage(&["--train", "--emit", "lib", "--wd=-1"], "--wd");
    usage(&["--train", "--emit", "lib", "--labels", "x"], "--labels");
    assert!(!Path::new(&out).exists());
    // A training step is no network that could be trained once more.
    let (step, step_rir) = (dir.path("step.rir"), ["opt", &model, "--grad", "-o"]);
    rescc(&[&step_rir[..], &[&step]].concat()).succeeds();
    rescc(&["compile", &step, "--train", "--emit", "lib", "-o", &out]).fails(4, &["E0710"]);
}
