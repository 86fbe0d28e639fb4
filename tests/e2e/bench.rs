//! `rescc bench` and `rescc hwbench`: what they print, not how fast anything is.

use crate::command::{Outcome, Scratch, rescc};
use crate::{skip, test};
use ir::target::X86_64_V4;
use libtest_mimic::Trial;
use serde_json::Value;

pub fn tests() -> Vec<Trial> {
    vec![
        test("bench::a_model_call_by_call", model),
        test("bench::an_executable_measures_itself", executable),
        test("bench::a_training_step_call_by_call", training),
        test("bench::one_op_hot_and_cold", one_op),
        test("bench::ops_of_every_kind", ops),
        test("bench::mistakes_in_an_op_have_their_place", bad_ops),
        test("bench::tables_in_every_format", formats),
        test("bench::each_pass_and_what_it_gains", compare_passes),
        test("bench::a_baseline_decides_the_exit_code", baselines),
        test("bench::what_cannot_be_measured_is_said", refusals),
        match cfg!(not(feature = "llvm")) || backends::exec::runs_here(&X86_64_V4) {
            true => skip(OTHER_CPUS, "this machine runs whatever can be compiled"),
            false => test(OTHER_CPUS, other_cpus),
        },
        test("hwbench::rates_are_saved_and_read", hwbench),
    ]
}

const OTHER_CPUS: &str = "bench::code_for_another_cpu_is_refused_at_once";

/// Few runs, no warm-up.
const FAST: [&str; 4] = ["--iterations", "3", "--warmup", "1"];

fn small() -> (Scratch, String) {
    let dir = Scratch::new();
    let model = dir.path("m.rir");
    rescc(&["new", "cifar-resnet8", "--width", "8", "-o", &model]).succeeds();
    (dir, model)
}

fn bench(args: &[&str]) -> Outcome {
    rescc(&[&["bench"], args, &FAST].concat())
}

/// `result` of the JSON document.
#[track_caller]
fn result(args: &[&str]) -> Value {
    let document: Value = serde_json::from_str(&bench(&[args, &["--json"]].concat()).succeeds()).expect("a document");
    assert_eq!((&document["schema"], &document["ok"]), (&"rescc.bench/1".into(), &true.into()));
    document["result"].clone()
}

#[track_caller]
fn list(v: &Value) -> &[Value] {
    v.as_array().expect("a list")
}

#[track_caller]
fn number(v: &Value) -> f64 {
    v.as_f64().unwrap_or_else(|| panic!("{v} is no number"))
}

/// Every run has ordered times, and its calls add up to about the whole.
#[track_caller]
fn check_runs(result: &Value) {
    for r in list(&result["runs"]) {
        let times = ["min_us", "median_us", "p90_us", "p99_us", "max_us"].map(|k| number(&r[k]));
        assert!(times[0] > 0.0 && times.is_sorted(), "{r}");
        assert_eq!(r["n"], 3);
        let same = |c: &&Value| ["batch", "threads", "weights"].iter().all(|k| c[k] == r[k]);
        let sum: f64 = list(&result["calls"]).iter().filter(same).map(|c| number(&c["us"])).sum();
        assert!((sum - number(&r["calls_sum_us"])).abs() <= 1e-6 * sum, "{r}");
        // Medians of three runs on a busy machine: this says that all calls are there, nothing about time.
        assert!(sum > 0.1 * times[0] && sum < 10.0 * times[4], "{sum} {r}");
        // The rate of a run is that of its calls; those of an executable are not known.
        match list(&result["calls"]).iter().filter(same).map(|c| c["macs"].as_u64()).sum::<Option<u64>>() {
            Some(macs) => {
                let rate = 2.0 * macs as f64 / (1e3 * times[1]);
                assert!((number(&r["gflops"]) - rate).abs() <= 1e-9 * rate, "{rate} {r}");
            }
            None => assert!(r["gflops"].is_null() && number(&r["effective_gflops"]) > 0.0, "{r}"),
        }
    }
    let m = &result["machine"];
    assert!(m["cpu"].is_string() && m["features"].is_array() && m["load"].is_number(), "{m}");
}

fn model() {
    let (_dir, model) = small();
    let r = result(&[&model, "--threads", "1,2", "--batch", "1,2"]);
    check_runs(&r);
    let pairs: Vec<_> = list(&r["runs"]).iter().map(|r| (r["batch"].as_u64(), r["threads"].as_u64())).collect();
    assert_eq!(pairs, [(1, 1), (1, 2), (2, 1), (2, 2)].map(|(b, t)| (Some(b), Some(t))));
    let calls: Vec<&Value> = list(&r["calls"]).iter().filter(|c| c["batch"] == 1 && c["threads"] == 1).collect();
    assert_eq!(calls.last().expect("there are calls")["op"], "dense");
    let peak = number(&list(&r["runs"])[0]["peak_gflops"]);
    for c in &calls {
        let share = number(&c["of_peak"]) * peak;
        assert!((share - number(&c["gflops"])).abs() <= 1e-9 * peak, "{c}");
        assert!(number(&c["predicted_us"]) > 0.0 && number(&c["bytes"]) > 0.0, "{c}");
        assert!(
            ["compute", "latency", "L2", "L3", "DRAM", "remote", "call"].contains(&c["roof"].as_str().unwrap_or("")),
            "{c}"
        );
    }
    let network = list(&r["runs"])[0]["effective_gflops"].clone();
    assert!(number(&network) > 0.0);
}

fn executable() {
    let (dir, model) = small();
    let exe = dir.path("m");
    rescc(&["compile", &model, "-o", &exe]).succeeds();
    let r = result(&[&exe, "--threads", "1"]);
    check_runs(&r);
    assert_eq!((&r["name"], &r["target"]), (&"cifar_resnet8".into(), &"x86-64-v3".into()));
    assert!(list(&r["calls"]).iter().all(|c| number(&c["us"]) >= 0.0 && c["call"].is_u64()));
}

fn training() {
    let (_dir, model) = small();
    let ops = |r: &Value| -> Vec<String> {
        list(&r["calls"]).iter().map(|c| c["op"].as_str().expect("a name").to_string()).collect()
    };
    let run = |more: &[&str]| {
        result(&[&[&model, "--train", "--batch", "16", "--threads", "2", "--target", "x86-64-v3"], more].concat())
    };
    let r = run(&["--winograd", "off"]);
    check_runs(&r);
    assert!(number(&r["median_ms"]) > 0.0 && number(&r["images_per_second"]) > 0.0);
    let has = |ops: &[String], name: &str| ops.iter().any(|o| o == name);
    let direct = ops(&r);
    assert!(["conv2d_grad_weight", "conv2d_grad_input", "sgd_step"].iter().all(|o| has(&direct, o)), "{direct:?}");
    assert!(!direct.iter().any(|o| o.starts_with("winograd")), "{direct:?}");
    assert!(has(&ops(&run(&["--winograd", "on"])), "winograd_grad_weight"));
    bench(&["/bin/true", "--train"]).fails(4, &["--train"]);
}

fn one_op() {
    let spec = "conv2d 1x16x8x8 16x16x3x3 pad=1,1,1,1 epilogue=[bias,add,relu]";
    let r = result(&["--op", spec, "--winograd", "off", "--threads", "1"]);
    check_runs(&r);
    let weights: Vec<&Value> = list(&r["runs"]).iter().map(|r| &r["weights"]).collect();
    assert_eq!(weights, ["hot", "cold"]);
    let conv = list(&r["calls"]).iter().find(|c| c["op"] == "conv2d").expect("the convolution is called");
    assert_eq!(conv["macs"], 64 * 16 * 16 * 9);
    assert!(conv["effective_gflops"].is_null());
    // Winograd's products do fewer operations than they stand for.
    let r = result(&["--op", spec, "--winograd", "on", "--threads", "1"]);
    let products = list(&r["calls"]).iter().find(|c| c["op"] == "winograd_output").expect("products");
    assert!(number(&products["macs"]) < 64.0 * 16.0 * 16.0 * 9.0 && products["effective_gflops"].is_number());
    assert!(list(&r["runs"]).iter().all(|r| number(&r["gflops"]) < number(&r["effective_gflops"])), "{}", r["runs"]);
}

fn ops() {
    for (spec, op) in [
        ("dense Nx64 10x64 epilogue=[bias]", "dense"),
        ("max_pool Nx8x8x8 kernel=3x3 stride=2x2 pad=1,1,1,1", "max_pool"),
        ("add Nx8x8x8 Nx8x8x8", "add"),
        ("softmax Nx10", "softmax"),
        ("batch_norm Nx8x4x4 8 8 8 8", "scale_shift"),
    ] {
        let r = result(&["--op", spec, "--batch", "2", "--threads", "1"]);
        assert!(list(&r["calls"]).iter().any(|c| c["op"] == op), "{spec}: {}", r["calls"]);
        assert_eq!(list(&r["runs"])[0]["batch"], 2);
    }
}

fn bad_ops() {
    for (spec, place, says) in [
        ("conv2d 1x8x8x8", "--op:1:15", "takes the shape of x, the shape of w"),
        ("cnov2d 1x8x8x8 8x8x3x3", "--op:1:1", "there is no op 'cnov2d'"),
        ("conv2d 1x8x8x8 8x9x3x3", "--op:1:16", "channels"),
        ("conv2d 1x8x8x8 8x8x3x3 pad=1,1", "--op:1:28", "cannot be read as pad"),
        ("conv2d 1x8x8x8 8x8x3x3 epilogue=[rleu]", "--op:1:34", "no step of an epilogue"),
    ] {
        bench(&["--op", spec]).fails(3, &["E0814", says, place]);
    }
    bench(&["--op", "relu 1x8x8x8", "--batch", "2"]).fails(3, &["E0814", "a batch of 1"]);
}

fn formats() {
    let (_dir, model) = small();
    let model: &str = &model;
    let text = bench(&[model, "--threads", "1"]).succeeds();
    for part in ["median ms", "kernel", "% peak", "roof", "predicted us", "sum of the calls", "dense_"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let text = bench(&[model, "--threads", "1", "--per-layer", "--format", "md"]).succeeds();
    assert!(text.contains("| node | op | kernel |") && text.contains("|---|---|---|--:|"), "{text}");
    let text = bench(&[model, "--threads", "1", "--per-layer", "--format", "csv"]).succeeds();
    let columns: Vec<usize> = text.lines().map(|l| l.split(',').count()).collect();
    assert!(columns.len() > 5 && columns.iter().all(|&c| c == columns[0]), "{text}");
    let text = bench(&[model, "--threads", "1", "--format", "json"]).succeeds();
    let document: Value = serde_json::from_str(&text).expect("a document");
    assert_eq!(document["schema"], "rescc.bench/1");
}

fn compare_passes() {
    let (_dir, model) = small();
    let names = "fold-bn,fuse-epilogue,select-layout,winograd";
    let r = result(&[&model, "--threads", "1", "--time", "0.01", "--compare-passes", names]);
    let passes = list(&r["passes"]);
    assert_eq!(passes.len(), 6);
    assert_eq!((&passes[0]["without"], &passes[0]["gain"]), (&Value::Array(vec![]), &1.0.into()));
    assert_eq!(list(&passes[5]["without"]).len(), 4);
    // Without fusion there are more calls.
    assert!(number(&passes[2]["calls"]) > number(&passes[0]["calls"]), "{}", r["passes"]);
    bench(&[&model, "--compare-passes", "fold-bm"]).fails(2, &["E0401", "fold-bm"]);
}

fn baselines() {
    let (dir, model) = small();
    let document = |median: f64| {
        let run = format!(r#"{{"batch":1,"threads":1,"weights":"hot","median_us":{median}}}"#);
        let of = r#""name":"cifar_resnet8","target":"x86-64-v2","machine":{"cpu":"another"}"#;
        format!(r#"{{"schema":"rescc.bench/1","result":{{{of},"runs":[{run}]}}}}"#)
    };
    let compare = |file: &str, more: &[&str]| {
        bench(&[&[&model, "--threads", "1", "--target", "x86-64-v2", "--baseline", file], more].concat())
    };
    let slow = dir.write("slow.json", document(1e9));
    let outcome = compare(&slow, &["--fail-above", "3%"]);
    assert!(outcome.stderr.contains("another processor"), "{outcome:?}");
    assert!(outcome.succeeds().contains("-100.0 %"));
    let fast = dir.write("fast.json", document(1e-3));
    let outcome = compare(&fast, &["--fail-above", "0.05"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("error[E0792]") && outcome.stderr.contains("1 of 1 runs"), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("before ms"), "{}", outcome.stdout);
    let other = dir.write("other.json", document(1.0).replace("\"threads\":1", "\"threads\":7"));
    compare(&other, &[]).fails(3, &["E0815", "no run with the same", "other.json"]);
    for (was, is) in [("cifar_resnet14", "cifar_resnet8"), ("x86-64-v3", "x86-64-v2")] {
        let other = dir.write("other.json", document(1.0).replace(is, was));
        compare(&other, &[]).fails(3, &["E0815", &format!("of '{was}', not of '{is}'"), "other.json"]);
    }
    let text = dir.write("text.json", "{}");
    compare(&text, &[]).fails(3, &["E0815", "no result of", "text.json"]);
    compare(&dir.path("absent.json"), &[]).fails(3, &["E0805", "absent.json"]);
    let outcome = compare(&fast, &["--fail-above", "much"]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
}

fn refusals() {
    let (dir, model) = small();
    bench(&["/proc/self/exe"]).fails(4, &["E0816", "/proc/self/exe"]);
    bench(&[&dir.path("absent.rir")]).fails(3, &["E0805", "absent.rir"]);
    for args in [&[][..], &[&model, "--op", "relu 1x8"], &[&model, "--time", "0"], &[&model, "--threads", "0"]] {
        assert_eq!(bench(args).code, Some(2), "{args:?}");
    }
    for count in ["--warmup", "--iterations"] {
        let outcome = rescc(&["bench", &model, "--train", count, "4294967295"]);
        assert!(outcome.code == Some(2) && outcome.stderr.contains("1000000"), "{outcome:?}");
    }
}

/// Every verb that runs what it compiles says so before it begins.
fn other_cpus() {
    let (dir, model) = small();
    let out = dir.path("out");
    for verb in [
        &["bench", &model][..],
        &["bench", "--op", "relu 1x8x8x8"],
        &["hwbench"],
        &["tune", &model, "-o", &out],
        &["report", &model, "-o", &out],
    ] {
        let outcome = rescc(&[verb, &["--target", "x86-64-v4"]].concat());
        outcome.fails(4, &["E0706", "does not run x86-64-v4"]);
        assert!(outcome.stderr.contains("help: --target native"), "{outcome:?}");
    }
    assert_eq!(dir.files(), ["m.rir", "m.safetensors"]);
}

fn hwbench() {
    let dir = Scratch::new();
    let cache = dir.path("cache");
    let run = |args: &[&str]| {
        let mut c = crate::command::command(args);
        let out = c.env("XDG_CACHE_HOME", &cache).output().expect("the command starts");
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let (code, text) = run(&["hwbench", "--json", "--save", "--assert", "--threads", "2"]);
    let document: Value = serde_json::from_str(&text).expect("a document");
    let r = &document["result"];
    // E0793: on a busy machine a tile may be below its share.
    assert_eq!(code == Some(1), document["diagnostics"][0]["code"] == "E0793", "{document}");
    assert!(number(&r["fma_gflops"]["one"]) > 0.0 && number(&r["fma_gflops"]["all"]) > 0.0);
    for kind in ["read", "write"] {
        let names: Vec<&Value> = list(&r[kind]).iter().map(|l| &l["name"]).collect();
        assert_eq!(names, ["L1", "L2", "L3", "DRAM"]);
        assert!(list(&r[kind]).iter().all(|l| number(&l["gb_per_s"]["one"]) > 0.0));
    }
    assert!(number(&r["call_ns"]["one"]) > 0.0);
    assert!(["read", "write"].iter().all(|k| number(&r["exchange"][k]) > 0.0), "{r}");
    assert!(list(&r["tiles"]).len() >= 2 && list(&r["tiles"]).iter().all(|t| number(&t["of_peak"]) > 0.0));
    // `bench` takes what was saved.
    let spec = "relu 1x8x8x8";
    let (code, text) = run(&["bench", "--op", spec, "--iterations", "1", "--threads", "1", "--json"]);
    let document: Value = serde_json::from_str(&text).expect("a document");
    assert_eq!((code, &document["result"]["machine"]["peaks"]["fma_gflops"]), (Some(0), &r["fma_gflops"]));
}
