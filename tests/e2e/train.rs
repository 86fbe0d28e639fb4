//! Training: the same bits on any number of threads and after any interruption.

mod hostile;

use crate::command::{Scratch, command, rescc};
use crate::test;
use libtest_mimic::Trial;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    let mut trials = vec![
        test("e2e::train::bits_do_not_depend_on_threads", threads),
        test("e2e::train::a_run_that_goes_on_has_the_same_bits", resume),
        test("e2e::train::recomputation_changes_no_bit", recompute),
        test("e2e::train::a_killed_run_goes_on", killed),
        test("e2e::train::a_signal_leaves_a_checkpoint", signal),
        test("e2e::train::the_trained_model_is_a_model", trained_model),
        test("e2e::train::what_a_run_leaves_to_look_at", traces),
        test("e2e::train::json_is_a_line_for_each_event", events),
    ];
    trials.extend(hostile::tests());
    trials
}

const RECORD: usize = 3073;

/// A folder with CIFAR-10 files of a few pictures, whose colour tells their class, and a small network.
pub fn set_up() -> Scratch {
    let dir = Scratch::new();
    let mut random = 1u32;
    let mut file = |records: usize| -> Vec<u8> {
        let mut bytes = Vec::new();
        for r in 0..records {
            let label = r % 10;
            bytes.push(label as u8);
            bytes.extend((1..RECORD).map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (label * 20) as u8 + (random >> 26) as u8
            }));
        }
        bytes
    };
    for i in 1..=5 {
        dir.write(&format!("data_batch_{i}.bin"), file(20));
    }
    dir.write("test_batch.bin", file(20));
    rescc(&["new", "cifar-resnet8", "--width", "4", "--input", "3x8x8", "-o", &dir.path("m.rir")]).succeeds();
    dir
}

/// Arguments of a run of 20 steps with a checkpoint every 4.
pub fn arguments(dir: &Scratch, out: &str, more: &[&str]) -> Vec<String> {
    let data = format!("cifar10:{}", dir.path(""));
    let (model, out) = (dir.path("m.rir"), dir.path(out));
    let base = ["train", &model, "--data", &data, "--out", &out, "--backend", "cranelift", "--recovery-interval", "4"];
    base.iter().chain(more).map(|s| s.to_string()).collect()
}

const SHORT: [&str; 6] = ["--batch", "20", "--iters", "20", "--lr", "0.05"];
/// A run that is over only if somebody ends it.
const LONG: [&str; 6] = ["--batch", "20", "--iters", "1000k", "--lr", "0.05"];

pub fn train(dir: &Scratch, out: &str, more: &[&str]) -> crate::command::Outcome {
    let all = arguments(dir, out, more);
    rescc(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What a finished run leaves.
pub fn results(dir: &Scratch, out: &str) -> [Vec<u8>; 4] {
    ["model.rir", "model.safetensors", "log.csv", "checkpoint-0000000020.safetensors"]
        .map(|f| dir.read(&format!("{out}/{f}")))
}

fn threads() {
    let dir = set_up();
    for n in ["1", "2", "3"] {
        train(&dir, n, &[&SHORT[..], &["--threads", n]].concat()).succeeds();
    }
    let one = results(&dir, "1");
    assert!(one == results(&dir, "2") && one == results(&dir, "3"));
    train(&dir, "other", &[&SHORT[..], &["--seed", "1"]].concat()).succeeds();
    assert!(one != results(&dir, "other"), "a seed has an influence");
}

fn resume() {
    let dir = set_up();
    train(&dir, "whole", &[&SHORT[..], &["--checkpoint-hist", "9"]].concat()).succeeds();
    for at in [4, 16] {
        let out = format!("from{at}");
        let from = dir.path(&format!("whole/checkpoint-{at:010}.safetensors"));
        std::fs::create_dir(dir.path(&out)).unwrap();
        std::fs::copy(dir.path("whole/log.csv"), dir.path(&format!("{out}/log.csv"))).unwrap();
        train(&dir, &out, &["--resume", &from]).succeeds();
        assert!(results(&dir, &out) == results(&dir, "whole"), "from {at}");
    }
}

/// With the least arena, within one that is half as large as it could be, and going on from one to the other.
fn recompute() {
    let dir = set_up();
    let activations = |out: &str, more: &[&str]| {
        let said = train(&dir, out, &[&SHORT[..], &["--json"], more].concat()).succeeds();
        let lines = documents(&said);
        let result = &lines.last().unwrap()["result"];
        assert_eq!(result["recomputed"].is_null(), !more.contains(&"--recompute"), "{said}");
        assert_eq!(lines[0]["arena_bytes"], result["arena_bytes"]);
        assert!(result["arena_bytes"].as_u64() >= result["activation_bytes"].as_u64(), "{said}");
        result["activation_bytes"].as_u64().unwrap()
    };
    let all = activations("whole", &["--checkpoint-hist", "9"]);
    let least = activations("least", &["--recompute"]);
    assert!(least < all, "{least} of {all} bytes");
    let limit = format!("{}kB", all.midpoint(least) / 1000);
    assert!(activations("limit", &["--recompute", &limit]) <= all.midpoint(least));
    assert!(results(&dir, "least") == results(&dir, "whole") && results(&dir, "limit") == results(&dir, "whole"));
    std::fs::create_dir(dir.path("on")).unwrap();
    std::fs::copy(dir.path("whole/log.csv"), dir.path("on/log.csv")).unwrap();
    let from = dir.path("whole/checkpoint-0000000008.safetensors");
    train(&dir, "on", &["--resume", &from, "--recompute"]).succeeds();
    assert!(results(&dir, "on") == results(&dir, "whole"));
    train(&dir, "no", &[&SHORT[..], &["--recompute", "1kB"]].concat())
        .fails(6, &["E0408", "cannot be kept within 0.0MB"]);
    let outcome = train(&dir, "no", &["--recompute", "much"]);
    assert!(outcome.code == Some(2) && outcome.stderr.contains("a size like 12GB"), "{outcome:?}");
}

/// Lines of JSON, all of the one schema.
fn documents(said: &str) -> Vec<Value> {
    let lines: Vec<Value> = said.lines().map(|l| serde_json::from_str(l).expect("a document a line")).collect();
    assert!(lines.iter().all(|l| l["schema"] == "rescc.train/1"), "{said}");
    lines
}

/// What they say is what the log says; the last is the document of any verb, also of a run that fails or is stopped.
fn events() {
    let dir = set_up();
    let outcome = train(&dir, "run", &["--json", "--batch", "20", "--iters", "120", "--lr", "0.05", "--limit", "100"]);
    assert_eq!(outcome.stderr, "");
    let lines = documents(&outcome.succeeds());
    let (last, events) = lines.split_last().unwrap();
    let of = |event: &str| -> Vec<&Value> { events.iter().filter(|l| l["event"] == event).collect() };
    let [compiled] = of("compiled")[..] else { panic!("{events:?}") };
    assert_eq!([&compiled["pictures"], &compiled["iterations"], &compiled["batch"]], [100, 120, 20]);
    let log = rescc::train::log::read(dir.path("run/log.csv").as_ref()).map_err(|f| f.diagnostics).unwrap();
    let number = |v: &Value| v.as_f64().expect("a number");
    let near = |a: &Value, b: f64| (number(a) - b).abs() < 1e-5;
    let windows: Vec<_> = log.iter().filter_map(|l| Some((l, l.window?))).collect();
    assert_eq!((windows.len(), of("window").len()), (3, 3));
    for (event, (line, (loss, error))) in of("window").into_iter().zip(windows) {
        assert_eq!(event["iteration"], line.iteration);
        assert!(near(&event["epoch"], line.epoch) && near(&event["lr"], line.lr));
        assert!(near(&event["loss"], loss) && near(&event["train_error"], error), "{event} {line:?}");
        let (rate, share) = (number(&event["images_per_second"]), number(&event["of_peak"]));
        assert!(rate > 0.0 && share > 0.0 && share < 1.0, "{event}");
    }
    let evaluations = log.iter().filter_map(|l| l.test_error.map(|e| (l.iteration, e)));
    for (event, (iteration, error)) in of("evaluation").into_iter().zip(evaluations.clone()) {
        assert!(event["iteration"] == iteration && near(&event["test_error"], error), "{event}");
    }
    assert_eq!((of("evaluation").len(), evaluations.count()), (24, 24));
    assert!(last["ok"] == true && last["result"]["iterations"] == 120, "{last}");
    assert!(last["result"]["model"].as_str().is_some_and(|m| m.ends_with("run/model.rir")), "{last}");

    let failed = train(&dir, "no", &["--json", "--batch", "200"]);
    let lines = documents(&failed.stdout);
    assert_eq!((failed.code, lines.len(), &lines[0]["diagnostics"][0]["code"]), (Some(2), 1, &"E0911".into()));

    let all = arguments(&dir, "stopped", &["--json", "--batch", "20", "--iters", "1000k"]);
    let mut c = command(&all.iter().map(String::as_str).collect::<Vec<_>>());
    let mut child = c.stdout(Stdio::piped()).spawn().unwrap();
    // An event comes when it happens, not with the end.
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|l| l.contains("window")));
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let last: Value = serde_json::from_str(&said.last().unwrap()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(last["ok"] == false && last["result"]["model"].is_null(), "{last}");
    let checkpoint = last["result"]["checkpoint"].as_str().unwrap();
    assert!(rescc::train::checkpoint::read(checkpoint.as_ref()).is_ok(), "{last}");
}

/// Killed again and again, each time after it has left another checkpoint, and going on from what is there: at the same
/// step it has what a run has that was killed only there.
fn killed() {
    let dir = set_up();
    let out = dir.path("run");
    let newest = || checkpoints_of(&dir, "run").into_iter().max();
    for _ in 0..3 {
        let before = newest();
        let more: Vec<&str> = if before.is_some() { vec!["--resume", &out] } else { LONG.to_vec() };
        kill(&dir, "run", &more, &|| newest() > before);
    }
    let last = newest().unwrap();
    let all_kept = [&LONG[..], &["--checkpoint-hist", "9999"]].concat();
    kill(&dir, "once", &all_kept, &|| checkpoints_of(&dir, "once").contains(&last));
    assert!(dir.read(&format!("run/{last}")) == dir.read(&format!("once/{last}")), "{last}");
    let steps: u64 = last[11..21].parse().unwrap();
    let log = |out: &str| -> Vec<String> {
        let text = String::from_utf8(dir.read(&format!("{out}/log.csv"))).unwrap();
        let lines = text.split_inclusive('\n').filter(|l| l.ends_with('\n'));
        let is_before = |l: &str| l.split(',').next().is_some_and(|n| n.parse::<u64>().is_ok_and(|n| n <= steps));
        lines.filter(|l| is_before(l)).map(String::from).collect()
    };
    assert!(!log("run").is_empty() && log("run") == log("once"), "{:?}", log("run"));
}

/// Begins a run, and kills it before it ends: when `is_time`.
fn kill(dir: &Scratch, out: &str, more: &[&str], is_time: &dyn Fn() -> bool) {
    let all = arguments(dir, out, more);
    let mut c = command(&all.iter().map(String::as_str).collect::<Vec<_>>());
    let mut child = c.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !is_time() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9), "it ended by itself");
}

pub fn checkpoints_of(dir: &Scratch, out: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir.path(out)).into_iter().flatten().flatten();
    let names = entries.map(|e| e.file_name().into_string().unwrap());
    names.filter(|n| n.starts_with("checkpoint-")).collect()
}

fn signal() {
    let dir = set_up();
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let all = arguments(&dir, name, &["--batch", "20", "--iters", "1000k"]);
        let mut c = command(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let mut child = c.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while checkpoints_of(&dir, name).is_empty() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let kill = ["-c", "kill -$1 \"$0\"", &child.id().to_string(), name].map(String::from);
        assert!(Command::new("sh").args(kill).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let newest = rescc::train::checkpoint::newest(dir.path(name).as_ref()).map_err(|f| f.diagnostics);
        let (newest, problems) = newest.expect("a good checkpoint");
        assert!(newest.run.progress.iteration > 0 && problems.0.is_empty());
        assert!(!dir.path(name).is_empty() && !std::path::Path::new(&dir.path(&format!("{name}/model.rir"))).exists());
    }
}

/// The network learns, and what comes out is checked, run and compiled as any other.
fn trained_model() {
    let dir = set_up();
    train(&dir, "run", &["--batch", "20", "--iters", "120", "--lr", "0.05"]).succeeds();
    let log = String::from_utf8(dir.read("run/log.csv")).unwrap();
    let losses: Vec<f64> = log.lines().filter_map(|l| l.split(',').nth(3)?.parse().ok()).collect();
    assert!(losses.last() < losses.first(), "{log}");
    let model = dir.path("run/model.rir");
    rescc(&["check", &model]).succeeds();
    rescc(&["run", &model, "--input", "random:1"]).succeeds();
    let text = String::from_utf8(dir.read("run/model.rir")).unwrap();
    assert!(text.contains("mean_tensor=\"preprocess.mean\"") && text.contains("\"airplane\""), "{text}");
    rescc(&["compile", &model, "-o", &dir.path("exe")]).succeeds();
}

/// Curves, events and norms of gradients; those of a run that goes on are those of one that did not stop.
fn traces() {
    let dir = set_up();
    let (norms, events) = (dir.path("norms.csv"), dir.path("events"));
    let more = ["--grad-norms", &norms, "--tensorboard", &events, "--iters", "120", "--batch", "20", "--lr", "0.05"];
    train(&dir, "run", &[&more[..], &["--checkpoint-hist", "99"]].concat()).succeeds();
    let table = String::from_utf8(dir.read("norms.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!(rows.iter().map(|r| r[0]).collect::<Vec<_>>(), ["iteration", "1", "50", "100", "120"]);
    assert_eq!((rows[0][1], rows[0].last()), ("conv1.weight", Some(&"linear.weight")));
    let is_norm = |v: &&str| v.parse::<f64>().is_ok_and(|v| v > 0.0 && v.is_finite());
    assert!(rows[1..].iter().flat_map(|r| &r[1..]).all(is_norm), "{table}");
    let curves = String::from_utf8(dir.read("run/curves.svg")).unwrap();
    assert!(curves.contains(">\nrun\n") && curves.contains("iterations"), "{curves}");
    let files = || std::fs::read_dir(&events).unwrap().flatten().map(|e| e.file_name().into_string().unwrap());
    assert!(files().count() == 1 && files().all(|f| f.starts_with("events.out.tfevents.")));
    // From a checkpoint on: the same lines again.
    let at = dir.path("run/checkpoint-0000000084.safetensors");
    let again = ["--resume", &at, "--grad-norms", &norms, "--tensorboard", &events];
    std::fs::create_dir(dir.path("again")).unwrap();
    std::fs::copy(dir.path("run/log.csv"), dir.path("again/log.csv")).unwrap();
    train(&dir, "again", &again).succeeds();
    assert_eq!(String::from_utf8(dir.read("norms.csv")).unwrap(), table);
    assert_eq!(files().count(), 2);
    // Two logs in one figure.
    let (figure, logs) = (dir.path("both.svg"), [dir.path("run"), dir.path("again/log.csv")]);
    rescc(&["plot", &logs[0], &logs[1], "-o", &figure, "--apart"]).succeeds();
    let text = String::from_utf8(dir.read("both.svg")).unwrap();
    assert!(text.contains(">\nagain\n") && text.contains("test error (%)"), "{text}");
    rescc(&["plot", &logs[0], "-o", &figure, "--names", "a,b"]).fails(2, &["E0911", "2 names for 1 runs"]);
    rescc(&["plot", &dir.path("m.rir"), "-o", &figure]).fails(3, &["E0913", "no log of training"]);
    rescc(&["plot", &dir.path("nowhere"), "-o", &figure]).fails(3, &["E0805"]);
    rescc(&["plot", &logs[0], "-o", &dir.path("no/where.svg")]).fails(5, &["E0803"]);
}
