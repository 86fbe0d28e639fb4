//! What is written replaces only what the user named, and goes where the user sent it.

use super::small_model;
use crate::command::{Scratch, command, rescc, rescc_in};
use crate::test;
use libtest_mimic::Trial;
use std::fs::{self, File};
use std::path::Path;

pub fn tests() -> Vec<Trial> {
    vec![
        test("hostile::replacing::inputs_stay", inputs_stay),
        test("hostile::replacing::outputs_have_names_of_their_own", own_names),
        test("hostile::replacing::standard_output_may_be_a_file", redirected),
        test("hostile::replacing::pipes_take_no_executable", pipes),
        test("hostile::replacing::links_stay_links", links),
        test("hostile::replacing::json_is_alone_on_standard_output", json_alone),
    ]
}

fn inputs_stay() {
    let dir = small_model();
    let (text, weights) = (dir.read("m.rir"), dir.read("m.safetensors"));
    let [model, source] = ["m.rir", "m.safetensors"].map(|name| dir.path(name));
    // The most natural name for an import is that of its source.
    let import = ["import", &source, "--arch", "cifar-resnet8", "-o"];
    rescc(&[&import[..], &[&model]].concat()).fails(2, &["E0819", "m.safetensors", "the file that is imported"]);
    rescc(&[&import[..], &[&source]].concat()).fails(2, &["E0819", "m.safetensors", "the file that is imported"]);
    let out = dir.path("m");
    rescc(&["compile", &model, "--emit", "rir,header", "-o", &out])
        .fails(2, &["E0819", "m.rir", "what the command reads"]);
    rescc(&["new", "cifar-resnet8", "-o", &dir.path("n.safetensors")]).fails(2, &["E0819", "n.safetensors"]);
    rescc(&["compile", &model, "--emit", "header", "-o", &source]).fails(2, &["E0819", "the weights of the model"]);
    rescc(&["opt", &model, "-o", &source]).fails(2, &["E0819", "the weights of the model"]);
    // By another name it would take the same weights file.
    rescc(&["opt", &model, "-o", &out]).fails(2, &["E0819", "the weights of the model"]);
    for args in [&["inspect", &model, "--svg"][..], &["report", &model, "-o"], &["tune", &model, "-o"]] {
        rescc(&[args, &[&model]].concat()).fails(2, &["E0819", "m.rir", "what the command reads"]);
    }
    rescc(&["run", &model, "--input", "zeros", "--out", &model])
        .fails(2, &["E0819", "m.rir", "what the command reads"]);
    assert!(dir.read("m.rir") == text && dir.read("m.safetensors") == weights);
    assert_eq!(dir.files(), ["m.rir", "m.safetensors"]);
    rescc(&["new", "cifar-resnet8", "-o", &dir.path("m.v2")]).succeeds();
    assert_eq!(dir.files(), ["m.rir", "m.safetensors", "m.v2", "m.v2.safetensors"]);
}

fn own_names() {
    let dir = small_model();
    let compile = ["compile", "m.rir", "--backend", "cranelift", "--emit"];
    rescc_in(&dir, &[&compile[..], &["lib,header", "-o", "m-v1.5"]].concat()).succeeds();
    assert_eq!(dir.files(), ["m-v1.5.a", "m-v1.5.h", "m.rir", "m.safetensors"]);
    let twice = rescc_in(&dir, &[&compile[..], &["lib,lib", "-o", "two"]].concat());
    twice.fails(2, &["E0819", "two.a", "another output"]);
    let runtime = rescc_in(&dir, &[&compile[..], &["lib", "-o", "l.a", "--prefix", "rescc_core_"]].concat());
    assert_eq!((runtime.code, runtime.stderr.contains("functions of the runtime")), (Some(2), true), "{runtime:?}");
    rescc_in(&dir, &[&compile[..], &["header", "-o", "p.h", "--prefix", "net_"]].concat()).succeeds();
    assert!(String::from_utf8(dir.read("p.h")).unwrap().contains("int net_infer("));
}

/// Written where the redirection points, after what is there; the link that stands for it stays.
fn redirected() {
    let dir = small_model();
    dir.write("h", "/* before */\n");
    let file = File::options().append(true).open(dir.path("h")).unwrap();
    let model = dir.path("m.rir");
    let mut c = command(&["compile", &model, "--backend", "cranelift", "--emit", "header", "-o", "-"]);
    assert!(c.stdout(file).status().unwrap().success());
    let text = String::from_utf8(dir.read("h")).unwrap();
    assert!(text.starts_with("/* before */\n") && text.ends_with("#endif\n"), "{text}");
    assert!(Path::new("/dev/stdout").is_symlink());
}

fn pipes() {
    let dir = small_model();
    let fifo = dir.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for place in [&fifo, "/dev/null", "-"] {
        rescc(&["compile", &dir.path("m.rir"), "-o", place]).fails(5, &["E0803", "pipe or device"]);
    }
    assert_eq!(dir.files(), ["fifo", "m.rir", "m.safetensors"]);
}

fn links() {
    let dir = small_model();
    dir.write("drawing.svg", "old");
    std::os::unix::fs::symlink(dir.path("drawing.svg"), dir.path("link.svg")).unwrap();
    rescc(&["inspect", &dir.path("m.rir"), "--svg", &dir.path("link.svg")]).succeeds();
    assert!(dir.read("drawing.svg").starts_with(b"<?xml"));
    // Also one that leads to nothing yet, those of a linker's outputs, and one to a model, which is two files.
    for (link, target) in [("exe", "real"), ("n.rir", "sub/n.rir")] {
        std::os::unix::fs::symlink(target, dir.path(link)).unwrap();
    }
    fs::create_dir(dir.path("sub")).unwrap();
    rescc(&["compile", &dir.path("m.rir"), "--backend", "cranelift", "-o", &dir.path("exe")]).succeeds();
    rescc(&["new", "cifar-resnet8", "--width", "4", "-o", &dir.path("n.rir")]).succeeds();
    rescc(&["check", &dir.path("sub/n.rir")]).succeeds();
    assert!(dir.read("real").starts_with(b"\x7fELF"));
    for link in ["link.svg", "exe", "n.rir"] {
        assert!(fs::symlink_metadata(dir.path(link)).unwrap().is_symlink(), "{link}");
    }
}

fn json_alone() {
    let dir = Scratch::new();
    let document = |args: &[&str]| -> serde_json::Value {
        let outcome = rescc(args);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|e| panic!("{e}: {outcome:?}"))
    };
    let usage = document(&["train", "--json"]);
    assert_eq!((&usage["ok"], &usage["diagnostics"][0]["code"]), (&false.into(), &"E0820".into()));
    let small = small_model();
    let model = small.path("m.rir");
    for args in [
        &["compile", &model, "--emit", "header", "-o", "-"][..],
        &["inspect", &model, "--svg", "-"],
        &["run", &model, "--input", "zeros", "--out", "-"],
        &["report", &model, "-o", "/dev/stdout"],
    ] {
        assert_eq!(document(&[args, &["--json"]].concat())["diagnostics"][0]["code"], "E0819", "{args:?}");
    }
    assert!(dir.files().is_empty());
}
