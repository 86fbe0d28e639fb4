//! A standalone trainer: its checkpoints are those of `rescc train`, byte by byte, and either goes on with the other's.

use super::train::{checkpoints_of, set_up};
use crate::command::{Scratch, rescc};
use crate::test;
use libtest_mimic::Trial;
use runtime::host::train::checkpoint;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

pub fn tests() -> Vec<Trial> {
    vec![
        test("e2e::trainer::checkpoints_are_those_of_train", same_bytes),
        test("e2e::trainer::either_goes_on_with_the_others_checkpoint", resume),
        test("e2e::trainer::a_signal_leaves_a_checkpoint", signal),
        test("e2e::trainer::goes_on_when_nobody_reads_its_progress", unread),
        test("e2e::trainer::help_says_what_it_was_made_for", help),
        test("hostile::trainer::command_line_data_and_checkpoints", hostile),
        test("hostile::trainer::a_checkpoint_of_less_than_a_batch", forged),
        test("hostile::trainer::a_loss_that_is_no_number", not_finite),
        test("hostile::trainer::networks_that_cannot_see_cifar", unfit),
    ]
}

/// Steps of 16 of 100 pictures: three whole epochs of 6 steps and a part of the fourth.
const RUN: [&str; 6] = ["--iters", "20", "--lr", "0.05", "--seed", "3"];
const LAST: &str = "checkpoint-0000000020.safetensors";
const COMPILED: [&str; 6] = ["--batch", "16", "--target", "native", "--backend", "cranelift"];

fn compile(dir: &Scratch, recipe: &str, more: &[&str]) {
    let (model, exe) = (dir.path("m.rir"), dir.path(recipe));
    let base = ["compile", &model, "--train", "--recipe", recipe, "-o", &exe];
    rescc(&[&base, &COMPILED[..], more].concat()).succeeds();
}

fn train(dir: &Scratch, out: &str, more: &[&str]) {
    let (data, model, out) = (format!("cifar10:{}", dir.path("")), dir.path("m.rir"), dir.path(out));
    let base = ["train", &model, "--data", &data, "--out", &out];
    rescc(&[&base, &COMPILED[..], more].concat()).succeeds();
}

/// Runs the trainer `exe`: exit code, standard output, standard error.
fn trainer(dir: &Scratch, exe: &str, out: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let mut c = Command::new(dir.path(exe));
    let done = c.arg(dir.path("")).args(["--out", &dir.path(out)]).args(more).output().expect("the trainer starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (done.status.code(), text(done.stdout), text(done.stderr))
}

fn same_bytes() {
    let dir = set_up();
    for recipe in ["he2015", "fast"] {
        let there = format!("{recipe}-there");
        train(&dir, &there, &[&RUN[..], &["--recipe", recipe]].concat());
        compile(&dir, recipe, &[]);
        for threads in ["1", "3"] {
            let here = format!("{recipe}-{threads}");
            let (code, said, progress) = trainer(&dir, recipe, &here, &[&RUN[..], &["--threads", threads]].concat());
            assert_eq!(code, Some(0), "{progress}");
            assert!(said.contains(LAST) && said.contains("test error"), "{said}");
            assert!(progress.contains("step 20 of 20: loss") && progress.contains("img/s"), "{progress}");
            let same = dir.read(&format!("{here}/{LAST}")) == dir.read(&format!("{there}/{LAST}"));
            assert!(same, "{recipe} on {threads} threads");
        }
        let log = String::from_utf8(dir.read(&format!("{there}/log.csv"))).expect("text");
        let error: f64 = log.lines().last().and_then(|l| l.rsplit(',').next()?.parse().ok()).expect("a test error");
        let (_, said, _) = trainer(&dir, recipe, &format!("{recipe}-again"), &RUN);
        assert!(said.contains(&format!("test error {:.2} %", 100.0 * error)), "{said}{log}");
    }
    // What is compiled in has an influence too.
    compile(&dir, "he2015", &["--momentum", "0.8"]);
    trainer(&dir, "he2015", "other", &RUN);
    assert!(dir.read(&format!("other/{LAST}")) != dir.read(&format!("he2015-there/{LAST}")));
}

fn resume() {
    let dir = set_up();
    train(&dir, "whole", &[&RUN[..], &["--recovery-interval", "4", "--checkpoint-hist", "9"]].concat());
    compile(&dir, "he2015", &[]);
    // From one of `rescc train` in the middle of an epoch.
    fs::create_dir(dir.path("here")).expect("a folder");
    let middle = "checkpoint-0000000008.safetensors";
    fs::copy(dir.path(&format!("whole/{middle}")), dir.path(&format!("here/{middle}"))).expect("a copy");
    let (code, _, progress) = trainer(&dir, "he2015", "here", &["--resume"]);
    assert_eq!(code, Some(0), "{progress}");
    assert!(dir.read(&format!("here/{LAST}")) == dir.read(&format!("whole/{LAST}")));
    assert_eq!(checkpoints_of(&dir, "here").len(), 3, "the newest are kept");
    // From the trainer's, and once more when there is nothing left to do but to write the model.
    let (epoch, there) = (dir.path("here/checkpoint-0000000012.safetensors"), dir.path("here"));
    train(&dir, "back", &["--resume", &epoch]);
    assert!(dir.read(&format!("back/{LAST}")) == dir.read(&format!("whole/{LAST}")));
    train(&dir, "model", &["--resume", &there]);
    assert!(dir.read("model/model.safetensors") == dir.read("whole/model.safetensors"));
}

fn signal() {
    let dir = set_up();
    compile(&dir, "he2015", &[]);
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut c = Command::new(dir.path("he2015"));
        c.arg(dir.path("")).args(["--out", &dir.path(name), "--iters", "1000000"]);
        let mut child = c.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the trainer starts");
        while checkpoints_of(&dir, name).is_empty() && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let kill = ["-c", "kill -$1 \"$0\"", &child.id().to_string(), name].map(String::from);
        assert!(Command::new("sh").args(kill).status().expect("a shell").success());
        let out = child.wait_with_output().expect("it ends");
        assert_eq!(out.status.code(), Some(code));
        assert!(String::from_utf8_lossy(&out.stdout).starts_with("stopped after "));
        let newest = rescc::train::checkpoint::newest(dir.path(name).as_ref()).map_err(|f| f.diagnostics);
        let (newest, problems) = newest.expect("a good checkpoint");
        assert!(newest.run.progress.iteration > 0 && problems.0.is_empty());
    }
}

fn unread() {
    let dir = set_up();
    compile(&dir, "he2015", &[]);
    let mut c = Command::new(dir.path("he2015"));
    c.arg(dir.path("")).args(["--out", &dir.path("run")]).args(RUN);
    let mut child = c.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the trainer starts");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert!(checkpoints_of(&dir, "run").iter().any(|name| name == LAST));
}

fn help() {
    let dir = set_up();
    compile(&dir, "fast", &[]);
    let out = Command::new(dir.path("fast")).arg("--help").output().expect("the trainer starts");
    let text = String::from_utf8(out.stdout).expect("text");
    assert!(out.status.success() && out.stderr.is_empty());
    for part in ["recipe fast in batches of 16", "--out RUN", "--iters N", "(0.2)", "--resume", "Exit codes"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

/// Fails with `code`, says each of `words`, and what helps.
#[track_caller]
fn fails(ran: (Option<i32>, String, String), code: i32, words: &[&str]) {
    let (got, said, complaint) = ran;
    assert_eq!((got, said.as_str()), (Some(code), ""), "{complaint}");
    assert!(complaint.starts_with("error: ") && complaint.contains("\n  help: "), "{complaint}");
    words.iter().for_each(|w| assert!(complaint.contains(w), "{w} is not in: {complaint}"));
}

fn hostile() {
    let dir = set_up();
    compile(&dir, "he2015", &[]);
    let run = |out: &str, more: &[&str]| trainer(&dir, "he2015", out, more);
    fails(run("run", &["--iter", "3"]), 2, &["did you mean --iters?"]);
    fails(run("run", &["--lr", "0"]), 2, &["--lr cannot be '0'"]);
    fails(run("run", &["--resume", "--seed", "1"]), 2, &["leave out"]);
    fails(run("no/run", &RUN), 5, &["no/run", "there is no such folder"]);
    assert!(!Path::new(&dir.path("run")).exists());

    fails(run("run", &["--resume"]), 3, &["run", "there is no such file"]);
    std::fs::create_dir(dir.path("run")).unwrap();
    fails(run("run", &["--resume"]), 3, &["there is no checkpoint"]);
    let (code, _, progress) = run("run", &RUN);
    assert_eq!(code, Some(0), "{progress}");
    fails(run("run", &["--iters", "3"]), 2, &[LAST, "there is a run already"]);
    let file = format!("run/{LAST}");
    let whole = dir.read(&file);
    for at in [0, 40, 500, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        dir.write(&file, bytes);
        fails(run("run", &["--resume"]), 3, &[LAST, "it is damaged"]);
    }
    dir.write(&file, &whole[..100]);
    fails(run("run", &["--resume"]), 3, &[LAST, "it is damaged"]);
    // The limit is the network's, so that a large one reads what it has written.
    fs::File::create(dir.path(&file)).and_then(|f| f.set_len(20 << 20)).expect("a sparse file");
    fails(run("run", &["--resume"]), 6, &[LAST, "larger than the limit of 16 MiB"]);
    dir.write(&file, &whole);
    let with = |more: &[&str]| {
        compile(&dir, "he2015", more);
        run("run", &["--resume"])
    };
    fails(with(&["--wd", "0.01"]), 3, &[LAST, "its run is another's"]);
    rescc(&["new", "cifar-resnet8", "--width", "8", "--input", "3x8x8", "-o", &dir.path("m.rir")]).succeeds();
    fails(with(&[]), 3, &[LAST, "its run is another's"]);

    dir.write("data_batch_3.bin", vec![3; 3073 * 20]);
    rescc(&["new", "cifar-resnet8", "--width", "4", "--input", "3x8x8", "-o", &dir.path("m.rir")]).succeeds();
    fails(with(&[]), 3, &[LAST, "other data"]);
    dir.write("data_batch_3.bin", vec![200; 3073]);
    fails(run("other", &RUN), 3, &["data_batch_3.bin", "label 200 of record 0"]);
    fs::remove_file(dir.path("data_batch_3.bin")).expect("it is there");
    fails(run("other", &RUN), 3, &["data_batch_3.bin", "no such file"]);
}

/// Its hash is right, and its run is one on the data that there are.
fn forged() {
    let dir = set_up();
    compile(&dir, "he2015", &[]);
    let (code, _, progress) = trainer(&dir, "he2015", "run", &RUN);
    assert_eq!(code, Some(0), "{progress}");
    for label in 1..=5u8 {
        dir.write(&format!("data_batch_{label}.bin"), [&[label][..], &[0; 3072]].concat());
    }
    let file = format!("run/{LAST}");
    let mut bytes = dir.read(&file);
    let run = checkpoint::run(&mut bytes).expect("a good checkpoint");
    let mut replace = |from: &str, to: &str| {
        let at = bytes.windows(64).position(|w| w == from.as_bytes()).expect("64 digits");
        bytes[at..][..64].copy_from_slice(to.as_bytes());
        rescc::store::hex(&Sha256::digest(&bytes))
    };
    let hash = replace(&run.data, &checkpoint::fingerprint(1..=5));
    replace(&"0".repeat(64), &hash);
    dir.write(&file, bytes);
    let words = ["a batch of 16 pictures is more than the 5 that there are"];
    fails(trainer(&dir, "he2015", "run", &["--resume"]), 3, &words);
}

fn not_finite() {
    let dir = set_up();
    compile(&dir, "he2015", &[]);
    let (code, said, complaint) = trainer(&dir, "he2015", "run", &["--iters", "50", "--lr", "1e30"]);
    assert_eq!((code, said.as_str()), (Some(1), ""), "{complaint}");
    assert!(complaint.contains("error: the loss of step") && complaint.contains("help: lower --lr"), "{complaint}");
    let newest = rescc::train::checkpoint::newest(dir.path("run").as_ref()).map_err(|f| f.diagnostics);
    assert!(newest.is_ok() == complaint.contains("the last good state is in"), "{complaint}");
}

fn unfit() {
    let dir = Scratch::new();
    let (model, exe) = (dir.path("m.rir"), dir.path("exe"));
    for (input, classes, code) in [("3x20x20", "10", "E0906"), ("3x8x8", "7", "E0905")] {
        rescc(&["new", "cifar-resnet8", "--input", input, "--classes", classes, "-o", &model]).succeeds();
        rescc(&["compile", &model, "--train", "-o", &exe, "--backend", "cranelift"]).fails(3, &[code]);
    }
    assert!(!Path::new(&exe).exists());
}
