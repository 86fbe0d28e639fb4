//! What a run of training refuses, and what it says; bad input costs nothing that was done.

use super::{LONG, RECORD, SHORT, arguments, checkpoints_of, documents, results, set_up, train};
use crate::command::{Scratch, command, rescc};
use crate::test;
use libtest_mimic::Trial;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Stdio};

pub fn tests() -> Vec<Trial> {
    vec![
        test("hostile::train::data", data),
        test("hostile::train::classes_of_an_evaluation", classes),
        test("hostile::train::checkpoints", checkpoints),
        test("hostile::train::a_run_goes_on_as_it_was_begun", other_beginnings),
        test("hostile::train::a_folder_takes_one_run", another_run),
        test("hostile::train::a_folder_takes_one_process", another_process),
        test("hostile::train::events_that_nobody_reads_any_more", unread_events),
        test("hostile::train::a_log_that_nobody_reads_any_more", unread_log),
        test("hostile::train::places_that_cannot_be_written", places),
        test("hostile::train::a_log_that_goes_away", device),
        test("hostile::train::names_that_are_no_text", names),
        test("hostile::train::unknown_recipes", recipes),
        test("hostile::train::a_full_disk_loses_nothing", full_disk),
        test("hostile::train::a_loss_that_is_no_number", not_finite),
        test("hostile::train::batches_that_are_left_out_are_counted", skipped),
    ]
}

fn data() {
    let dir = set_up();
    let whole = dir.read("data_batch_3.bin");
    dir.write("data_batch_3.bin", &whole[..RECORD * 2 + 100]);
    train(&dir, "out", &SHORT).fails(3, &["E0904", "record 2 is truncated", "data_batch_3.bin", "6146"]);
    let mut bad = whole.clone();
    bad[RECORD] = 10;
    dir.write("data_batch_3.bin", &bad);
    train(&dir, "out", &SHORT).fails(3, &["E0904", "label 10 of record 1", "data_batch_3.bin", "3073"]);
    dir.write("data_batch_3.bin", &whole);
    rescc(&["new", "cifar-resnet8", "--width", "4", "--classes", "7", "--input", "3x8x8", "-o", &dir.path("m.rir")])
        .succeeds();
    train(&dir, "out", &SHORT).fails(3, &["E0905", "10 classes, the network 7"]);
    rescc(&["new", "cifar-resnet8", "--width", "4", "--input", "3x12x12", "-o", &dir.path("m.rir")]).succeeds();
    train(&dir, "out", &SHORT).fails(3, &["E0906", "3x12x12"]);
    let outcome = train(&set_up(), "out", &["--batch", "128"]);
    outcome.fails(2, &["E0911", "128 pictures is more than the 100"]);
    assert!(checkpoints_of(&dir, "out").is_empty());
}

/// Classes are numbers in a network: folders of other names would be taken for each other.
fn classes() {
    let dir = Scratch::new();
    for class in ["train/a", "train/b", "val/b", "val/zebra"] {
        std::fs::create_dir_all(dir.path(&format!("pictures/{class}"))).unwrap();
        dir.write(&format!("pictures/{class}/1.ppm"), "");
    }
    let (model, data) = (dir.path("m.rir"), format!("folder:{}", dir.path("pictures")));
    rescc(&["new", "cifar-resnet8", "--width", "4", "--input", "3x8x8", "--classes", "2", "-o", &model]).succeeds();
    let outcome = rescc(&["train", &model, "--data", &data, "--out", &dir.path("run"), "--backend", "cranelift"]);
    outcome.fails(3, &["E0905", "class 'a'", "'b'"]);
}

fn checkpoints() {
    let dir = set_up();
    train(&dir, "run", &SHORT).succeeds();
    let (out, last) = (dir.path("run"), dir.path("run/checkpoint-0000000020.safetensors"));
    let outcome = train(&dir, "run", &["--resume", &out, "--lr", "0.1", "--batch", "10"]);
    outcome.fails(3, &["E0909", "other settings", "batch: 20, 10 now", "lr: 0.05, 0.1 now"]);
    let mut bytes = dir.read("run/checkpoint-0000000020.safetensors");
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    dir.write("run/checkpoint-0000000020.safetensors", &bytes);
    let outcome = train(&dir, "other", &["--resume", &last]);
    outcome.fails(3, &["E0907", "sha256"]);
    assert!(outcome.stderr.contains("--resume ") && outcome.stderr.contains("checkpoint-0000000016"));
    // A folder's newest whole one is taken, and the damaged one named.
    let outcome = train(&dir, "run", &["--resume", &out]);
    assert!(outcome.stderr.contains("warning[E0907]"), "{}", outcome.stderr);
    outcome.succeeds();
    train(&dir, "run", &["--resume", &dir.path("m.rir")]).fails(3, &["E0907", "does not begin"]);
    rescc(&["new", "cifar-resnet14", "--width", "4", "--input", "3x8x8", "-o", &dir.path("m.rir")]).succeeds();
    train(&dir, "run", &["--resume", &out]).fails(3, &["E0908", "another network"]);
}

/// Under other weights that are not trained, another recipe or another limit, a run would be none of both.
fn other_beginnings() {
    let dir = set_up();
    let begun = [&SHORT[..], &["--freeze", "conv1", "--limit", "40", "--checkpoint-hist", "9"]].concat();
    train(&dir, "run", &begun).succeeds();
    let from = dir.path("run/checkpoint-0000000008.safetensors");
    let on = |out: &str, more: &[&str]| train(&dir, out, &[&["--resume", &from], more].concat());
    for (out, more) in [("on", vec![]), ("again", [&begun[..], &["--recipe", "he2015"]].concat())] {
        std::fs::create_dir(dir.path(out)).unwrap();
        std::fs::copy(dir.path("run/log.csv"), dir.path(&format!("{out}/log.csv"))).unwrap();
        on(out, &more).succeeds();
        assert!(results(&dir, out) == results(&dir, "run"), "{out}");
    }
    on("no", &["--recipe", "fast", "--batch", "20"]).fails(3, &["E0909", "lr: 0.05, 0.2 now"]);
    on("no", &["--limit", "60"]).fails(3, &["E0909", "limit: 40, 60 now"]);
    let seed = ["--seed", "5", "-o", &dir.path("m.rir")];
    rescc(&[&["new", "cifar-resnet8", "--width", "4", "--input", "3x8x8"], &seed[..]].concat()).succeeds();
    on("no", &[]).fails(3, &["E0908", "another network", "conv1"]);
    assert!(checkpoints_of(&dir, "no").is_empty());
}

fn another_run() {
    let dir = set_up();
    train(&dir, "run", &SHORT).succeeds();
    let before = results(&dir, "run");
    let text = "there is a run already";
    train(&dir, "run", &["--batch", "20", "--iters", "6"]).fails(2, &["E0909", text, "checkpoint-0000000020"]);
    // One that goes on elsewhere would mix with it too.
    let name = "checkpoint-0000000016.safetensors";
    let from = dir.write(name, dir.read(&format!("run/{name}")));
    train(&dir, "run", &["--resume", &from]).fails(2, &["E0909", text]);
    assert!(results(&dir, "run") == before && checkpoints_of(&dir, "run").len() == 3);
    train(&dir, "run", &["--resume", &dir.path("run")]).succeeds();
}

/// Before the first checkpoint there is nothing else to see of a run.
fn another_process() {
    let dir = set_up();
    std::fs::create_dir(dir.path("run")).unwrap();
    let other = File::open(dir.path("run")).unwrap();
    other.lock().unwrap();
    train(&dir, "run", &SHORT).fails(2, &["E0909", "another process trains in"]);
    assert_eq!(std::fs::read_dir(dir.path("run")).unwrap().count(), 0);
    drop(other);
    train(&dir, "run", &SHORT).succeeds();
}

/// A run that writes no checkpoint before its end, unless something is wrong.
fn without_checkpoints(dir: &Scratch, more: &[&str]) -> Command {
    let mut all = arguments(dir, "run", &[&LONG[..], more].concat());
    let interval = all.iter().position(|a| a == "--recovery-interval").unwrap() + 1;
    all[interval] = "1000k".into();
    command(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

fn steps_kept(dir: &Scratch) -> u64 {
    let newest = rescc::train::checkpoint::newest(dir.path("run").as_ref()).map_err(|f| f.diagnostics);
    newest.expect("a good checkpoint").0.run.progress.iteration
}

/// As a filter the process ends with its reader, but not without a checkpoint.
fn unread_events() {
    let dir = set_up();
    let mut c = without_checkpoints(&dir, &["--json"]);
    let mut child = c.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|l| l.contains("window")));
    drop(said);
    assert_eq!(child.wait().unwrap().code(), Some(141));
    assert!(steps_kept(&dir) >= 50);
}

fn unread_log() {
    let dir = set_up();
    let pipe = dir.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut c = without_checkpoints(&dir, &["--log", &pipe]);
    let child = c.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(File::open(&pipe).unwrap()).lines().take(3);
    assert_eq!(lines.last().unwrap().unwrap().split(',').count(), 6);
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.code() == Some(5) && said.contains("nobody reads it any more"), "{said}");
    assert!(steps_kept(&dir) >= 5);
}

/// All are said before anything is compiled.
fn places() {
    let dir = set_up();
    let refused = |out: &str, more: &[&str], code: i32, parts: &[&str]| {
        let outcome = train(&dir, out, &[&SHORT[..], more].concat());
        outcome.fails(code, parts);
        assert!(!outcome.stderr.contains("step compiled"), "{}", outcome.stderr);
    };
    let table = dir.path("table.csv");
    refused("run", &["--log", "-"], 2, &["E0819", "--log"]);
    refused("run", &["--grad-norms", "/dev/stdout"], 2, &["E0819", "--grad-norms"]);
    refused("run", &["--log", &table, "--grad-norms", &table], 2, &["E0819", "table.csv"]);
    refused("run", &["--log", &dir.path("run/model.rir")], 2, &["E0819", "model.rir", "a result"]);
    refused("run", &["--grad-norms", &dir.path("run/./log.csv")], 2, &["E0819", "log.csv"]);
    assert!(!Path::new(&dir.path("run")).exists());
    refused("run", &["--tensorboard", &dir.path("m.rir")], 5, &["E0803", "m.rir"]);
    refused("run", &["--log", &dir.path("no/log.csv")], 5, &["E0803", "no/log.csv"]);
    std::fs::create_dir_all(dir.path("taken/model.rir")).unwrap();
    refused("taken", &[], 5, &["E0803", "taken/model.rir"]);
}

/// Curves are drawn from the log: without one there are none, and that is all.
fn device() {
    let dir = set_up();
    let outcome = train(&dir, "run", &[&SHORT[..], &["--log", "/dev/null"]].concat());
    assert!(outcome.stderr.contains("no curves.svg"), "{}", outcome.stderr);
    outcome.succeeds();
    let is_there = |name: &str| Path::new(&dir.path(&format!("run/{name}"))).exists();
    assert!(is_there("model.rir") && !is_there("curves.svg") && !is_there("log.csv"));
}

fn names() {
    let dir = set_up();
    let name = |text: &str| OsString::from_vec([dir.path(text).as_bytes(), b"\xff"].concat());
    let (out, data) = (name("run"), format!("cifar10:{}", dir.path("")));
    let succeeds = |c: &mut Command| {
        let done = c.output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let base = ["train", &dir.path("m.rir"), "--data", &data, "--backend", "cranelift", "--json", "--out"];
    let said = succeeds(command(&base).arg(&out).args(SHORT));
    assert!(said.contains("run\u{fffd}/model.rir"), "{said}");
    succeeds(command(&["plot", "-o"]).arg(name("curves")).arg(&out));
    let model = Path::new(&out).join("model.rir");
    succeeds(command(&["eval", "--data", &data, "--backend", "cranelift"]).arg(model));
}

fn recipes() {
    let dir = set_up();
    train(&dir, "run", &["--recipe", "slow"]).fails(2, &["E0911", "no recipe 'slow'"]);
}

/// The system refuses files beyond a few kilobytes: the run ends with exit code 5, and its checkpoints are whole.
fn full_disk() {
    let dir = set_up();
    let all = arguments(&dir, "run", &[&SHORT[..], &["--checkpoint-hist", "9"]].concat());
    rescc(&all.iter().map(String::as_str).collect::<Vec<_>>()).succeeds();
    let out = dir.path("run");
    std::fs::remove_file(dir.path("run/checkpoint-0000000020.safetensors")).unwrap();
    let before = dir.read("run/checkpoint-0000000016.safetensors");
    let mut c = Command::new("sh");
    c.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_rescc")]);
    c.args(arguments(&dir, "run", &["--resume", &out]));
    let done = c.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(5), "{said}");
    assert!(said.contains("E0803") && said.contains("checkpoint-0000000020"), "{said}");
    assert!(dir.read("run/checkpoint-0000000016.safetensors") == before);
    assert_eq!(checkpoints_of(&dir, "run").len(), 4);
    let hidden = std::fs::read_dir(&out).unwrap().flatten().any(|e| e.file_name().as_encoded_bytes()[0] == b'.');
    assert!(!hidden, "no temporary file stays");
    train(&dir, "run", &["--resume", &out]).succeeds();
}

fn not_finite() {
    let dir = set_up();
    let outcome = train(&dir, "run", &["--batch", "20", "--iters", "20", "--lr", "1e30"]);
    outcome.fails(1, &["E0910", "the loss of iteration"]);
    for c in checkpoints_of(&dir, "run") {
        let path = dir.path(&format!("run/{c}"));
        rescc::train::checkpoint::read(path.as_ref()).map_err(|f| f.diagnostics).expect("what is kept is whole");
    }
    assert!(!Path::new(&dir.path("run/model.rir")).exists());
}

fn skipped() {
    let dir = set_up();
    let wild = ["--batch", "20", "--iters", "4", "--lr", "1e30", "--on-nan", "skip", "--json"];
    let said = train(&dir, "run", &wild).succeeds();
    let lines = documents(&said);
    let last = lines.last().unwrap();
    let skipped = last["result"]["skipped"].as_u64().unwrap();
    let (text, d) = (format!("{skipped} of 4 batches were left out"), &last["diagnostics"][0]);
    assert!(skipped > 0 && d["severity"] == "warning" && d["message"].as_str().unwrap().contains(&text), "{last}");
}
