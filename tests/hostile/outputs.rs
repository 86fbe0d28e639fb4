//! Places that cannot be written, readers that go away, signals: nothing partial stays.

use super::small_model;
use crate::command::{Scratch, command, rescc};
use crate::test;
use libtest_mimic::Trial;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    vec![
        test("hostile::outputs::unwritable", unwritable),
        test("hostile::outputs::old_files_stay", old_files_stay),
        test("hostile::outputs::a_full_device", full_device),
        test("hostile::outputs::a_reader_that_goes_away", reader_that_goes_away),
        test("hostile::outputs::an_interrupt_leaves_nothing", interrupt),
        test("hostile::outputs::an_interrupted_linker_leaves_nothing", interrupted_linker),
        test("hostile::outputs::an_interrupted_tune_leaves_nothing", interrupted_tune),
    ]
}

fn unwritable() {
    let dir = small_model();
    let model = dir.path("m.rir");
    let nowhere = dir.path("no/such/place/x");
    for args in [
        &["new", "cifar-resnet8", "-o", &nowhere][..],
        &["opt", &model, "-o", &nowhere],
        &["compile", &model, "-o", &nowhere],
        &["inspect", &model, "--svg", &nowhere],
        &["report", &model, "-o", &nowhere, "--no-run"],
        &["run", &model, "--input", "zeros", "--out", &nowhere],
    ] {
        rescc(args).fails(5, &["E0803", "cannot write", "no such file or directory", "--> ", "no/such/place"]);
    }
    let outcome = rescc(&["compile", &model, "-o", "/proc/x"]);
    outcome.fails(5, &["E0803", "cannot write '/proc/x'", "--> /proc/x"]);
    assert!(!outcome.stderr.contains("does not exist"), "{}", outcome.stderr);
    std::fs::create_dir(dir.path("folder")).unwrap();
    rescc(&["compile", &model, "-o", &dir.path("folder")]).fails(5, &["E0803", "folder", "directory"]);
    rescc(&["new", "cifar-resnet8", "-o", "/dev/stdout"]).fails(5, &["E0803", "two files"]);
    assert_eq!(dir.files(), ["folder", "m.rir", "m.safetensors"]);
}

/// A failed second run leaves the first one's files as they were.
fn old_files_stay() {
    let dir = small_model();
    let before = (dir.read("m.rir"), dir.read("m.safetensors"));
    rescc(&["new", "vgg16", "--input", "3x1x1", "-o", &dir.path("m.rir")]).fails(3, &["E0204"]);
    std::fs::remove_file(dir.path("m.rir")).unwrap();
    std::fs::create_dir(dir.path("m.rir")).unwrap();
    rescc(&["new", "cifar-resnet20", "-o", &dir.path("m.rir")]).fails(5, &["E0803", "m.rir"]);
    assert!(dir.read("m.safetensors") == before.1);
    assert_eq!(dir.files(), ["m.rir", "m.safetensors"]);
}

fn full_device() {
    let dir = small_model();
    std::fs::metadata("/dev/full").expect("Linux has /dev/full");
    rescc(&["inspect", &dir.path("m.rir"), "--svg", "/dev/full"])
        .fails(5, &["E0803", "/dev/full", "bytes were written"]);
}

fn reader_that_goes_away() {
    let dir = Scratch::new();
    rescc(&["new", "resnet152", "--width", "1", "-o", &dir.path("m.rir")]).succeeds();
    let mut child =
        command(&["inspect", &dir.path("m.rir")]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(141), ""));
}

/// SIGINT while a large file is being written: exit 130 and an empty directory.
fn interrupt() {
    let dir = Scratch::new();
    interrupt_once_begun(command(&["new", "vgg19", "-o", &dir.path("m.rir")]), &dir);
}

/// The C compiler is at work in a folder beside the output.
fn interrupted_linker() {
    use std::os::unix::fs::PermissionsExt;
    let (model, tools, dir) = (small_model(), Scratch::new(), Scratch::new());
    let cc = tools.write("cc", "#!/bin/sh\nexec sleep 10\n");
    std::fs::set_permissions(&cc, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", tools.path(""), std::env::var("PATH").unwrap());
    let args = ["compile", &model.path("m.rir"), "--backend", "cranelift", "--linker", "cc", "-o", &dir.path("m")];
    let mut c = command(&args);
    c.env("PATH", path);
    interrupt_once_begun(c, &dir);
}

/// Executables that are measured lie in the system's folder for what is temporary.
fn interrupted_tune() {
    let (model, dir) = (small_model(), Scratch::new());
    let mut c = command(&["tune", &model.path("m.rir"), "-o", &model.path("plan.json")]);
    c.env("TMPDIR", dir.path("")).stdout(Stdio::null());
    interrupt_once_begun(c, &dir);
}

/// SIGINT as soon as there is a file in `dir`: exit 130, and nothing is there.
fn interrupt_once_begun(mut command: Command, dir: &Scratch) {
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while dir.files().is_empty() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let id = child.id().to_string();
    assert!(Command::new("sh").args(["-c", "kill -INT \"$0\"", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(dir.files().is_empty(), "{:?}", dir.files());
}
