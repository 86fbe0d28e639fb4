//! The paper's experiments at the scale of a test: every network is trained once, tables and figures are whole.

use super::train::set_up;
use crate::command::{Outcome, Scratch, command, rescc};
use crate::test;
use libtest_mimic::Trial;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::{Command, Stdio};
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    vec![
        test("e2e::repro::experiments_share_their_networks", experiments),
        test("e2e::repro::an_interrupted_experiment_goes_on", interrupted),
        test("hostile::repro::folders_of_other_runs", hostile),
    ]
}

fn arguments(dir: &Scratch, experiment: &str, out: &str, more: &[&str]) -> Vec<String> {
    let (data, out) = (format!("cifar10:{}", dir.path("")), dir.path(out));
    let base = ["repro", experiment, "--data", &data, "--scale", "tiny", "--out", &out, "--backend", "cranelift"];
    base.iter().chain(more).map(|s| s.to_string()).collect()
}

fn repro(dir: &Scratch, experiment: &str, out: &str, more: &[&str]) -> Outcome {
    let all = arguments(dir, experiment, out, more);
    rescc(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

fn text(dir: &Scratch, file: &str) -> String {
    String::from_utf8(dir.read(file)).unwrap()
}

/// The trained networks of a folder, and when each was written.
fn trained(dir: &Scratch, out: &str) -> Vec<(String, std::time::SystemTime)> {
    let entries = std::fs::read_dir(dir.path(out)).unwrap().flatten().map(|e| e.path().join("model.rir"));
    let one = |p: std::path::PathBuf| {
        let written = p.metadata().unwrap().modified().unwrap();
        (p.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned(), written)
    };
    let mut all: Vec<_> = entries.filter(|p| p.is_file()).map(one).collect();
    all.sort();
    all
}

fn experiments() {
    let dir = set_up();
    let said = repro(&dir, "fig1", "out", &[]).succeeds();
    assert!(said.contains("cifar-plain20") && said.contains("fig1.svg"), "{said}");
    let first = trained(&dir, "out");
    assert_eq!(first.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["cifar-plain20", "cifar-plain56"]);
    assert!(text(&dir, "out/fig1.svg").contains("training error (%)"));
    // Figure 7 has the same plain networks and two residual ones.
    repro(&dir, "fig7", "out", &[]).succeeds();
    let then = trained(&dir, "out");
    assert_eq!((then.len(), &then[..2]), (4, &first[..]), "nothing is trained twice");
    let table = text(&dir, "out/fig7.csv");
    let rows: Vec<Vec<&str>> = table.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!(rows.iter().map(|r| r[1]).collect::<Vec<_>>(), ["layers", "19", "55", "19", "55"]);
    assert!(rows[1..].iter().all(|r| r[2].parse::<f64>().is_ok_and(|v| v > 0.0 && v.is_finite())), "{table}");
    repro(&dir, "table6", "out", &[]).succeeds();
    let table = text(&dir, "out/table6.csv");
    let rows: Vec<Vec<&str>> = table.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!(rows[0], ["network", "parameters", "steps", "training_error", "test_error", "paper"]);
    let papers: Vec<(&str, &str)> = rows[1..].iter().map(|r| (r[0], r[5])).collect();
    let expected = [("20", "8.75"), ("32", "7.51"), ("44", "7.17"), ("56", "6.97")];
    assert_eq!(papers.len(), expected.len());
    for ((name, paper), (depth, error)) in papers.into_iter().zip(expected) {
        assert_eq!((name, paper), (&*format!("cifar-resnet{depth}"), error));
    }
    // The errors are those of the logs.
    for row in &rows[1..] {
        let log = text(&dir, &format!("out/{}/log.csv", row[0]));
        let last = log.lines().last().unwrap().split(',').collect::<Vec<_>>();
        let errors = [last[4], last[5]].map(|v| format!("{:.2}", 100.0 * v.parse::<f64>().unwrap()));
        assert_eq!((row[2], [row[3], row[4]].map(String::from)), ("60", errors));
    }
    let four = repro(&dir, "fig4", "out", &[]).succeeds();
    assert!(four.contains("resnet34"), "{four}");
    let figure = text(&dir, "out/fig4.svg");
    assert!([">\nplain\n", ">\nresidual\n", ">\nplain34\n"].iter().all(|part| figure.contains(part)), "{figure}");
    // By a name that is no text.
    let name = OsString::from_vec([dir.path("out").as_bytes(), b"\xff"].concat());
    std::os::unix::fs::symlink(dir.path("out"), &name).unwrap();
    let data = format!("cifar10:{}", dir.path(""));
    let mut c = command(&["repro", "fig1", "--data", &data, "--scale", "tiny", "--backend", "cranelift", "--out"]);
    let done = c.arg(&name).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// The bits of a run that was stopped and went on are those of one that was not.
fn interrupted() {
    let dir = set_up();
    repro(&dir, "fig1", "whole", &[]).succeeds();
    let mut c = command(&arguments(&dir, "fig1", "stopped", &[]).iter().map(String::as_str).collect::<Vec<_>>());
    let mut child = c.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let log = dir.path("stopped/cifar-plain20/log.csv");
    while !std::path::Path::new(&log).exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let kill = ["-c", "kill -TERM \"$0\"", &child.id().to_string()].map(String::from);
    assert!(Command::new("sh").args(kill).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!std::path::Path::new(&dir.path("stopped/fig1.csv")).exists());
    repro(&dir, "fig1", "stopped", &[]).succeeds();
    for file in ["cifar-plain20/model.safetensors", "cifar-plain56/log.csv", "fig1.csv", "fig1.svg"] {
        assert!(dir.read(&format!("whole/{file}")) == dir.read(&format!("stopped/{file}")), "{file}");
    }
    // It goes on from an older checkpoint where the newest is damaged, and says so.
    dir.write("stopped/cifar-plain20/checkpoint-0000000060.safetensors", "");
    let outcome = repro(&dir, "fig1", "stopped", &[]);
    assert!(outcome.stderr.contains("warning[E0907]"), "{}", outcome.stderr);
    outcome.succeeds();
    let file = "cifar-plain20/model.safetensors";
    assert!(dir.read(&format!("whole/{file}")) == dir.read(&format!("stopped/{file}")));
}

fn hostile() {
    let dir = set_up();
    let (out, initial) = (dir.path("out"), "out/cifar-plain20/initial-0.rir");
    std::fs::create_dir_all(dir.path("out/cifar-plain20")).unwrap();
    dir.write(initial, "rir 2\n");
    repro(&dir, "fig1", "out", &[]).fails(4, &["E0006"]);
    // That of another scale.
    rescc(&["new", "cifar-plain20", "--width", "8", "--input", "3x16x16", "-o", &dir.path(initial)]).succeeds();
    repro(&dir, "fig1", "out", &[]).fails(3, &["E0908", "initial-0.rir", "cifar-plain20 at this scale"]);
    std::fs::remove_dir_all(&out).unwrap();
    dir.write("out", "a file");
    repro(&dir, "fig1", "out", &[]).fails(5, &["E0803", "out"]);
    std::fs::remove_file(&out).unwrap();
    let folder = ["repro", "fig1", "--data", "folder:x", "--scale", "tiny", "--out", &out];
    rescc(&folder).fails(4, &["E0804", "CIFAR-10"]);
    dir.write("data_batch_2.bin", "");
    repro(&dir, "fig1", "out", &[]).fails(3, &["E0904", "data_batch_2.bin"]);
}
