//! `rescc tune` and `--plan`: what a plan is and does, not how fast anything is.

use crate::command::{Scratch, rescc};
use crate::test;
use libtest_mimic::Trial;
use serde_json::Value;

pub fn tests() -> Vec<Trial> {
    vec![
        test("tune::a_plan_that_compile_takes", tunes),
        test("tune::a_plan_by_hand_changes_how_not_what", by_hand),
        test("tune::what_is_no_plan_has_its_place", refusals),
    ]
}

/// What each code generator makes the most of.
const TARGET: &str = if cfg!(feature = "llvm") { "x86-64-v3" } else { "x86-64-v2" };

fn small() -> (Scratch, String) {
    let dir = Scratch::new();
    let model = dir.path("m.rir");
    rescc(&["new", "cifar-resnet8", "-o", &model]).succeeds();
    (dir, model)
}

fn tunes() {
    let (dir, model) = small();
    let plan = dir.path("plan.json");
    let said = rescc(&["tune", &model, "-o", &plan, "--time", "0.002", "--budget", "1", "--json"]).succeeds();
    let document: Value = serde_json::from_str(&said).expect("a document");
    assert_eq!(document["schema"], "rescc.tune/1");
    assert_eq!(document["result"]["plan"]["schema"], "rescc.plan/1");
    let file: Value = serde_json::from_slice(&dir.read("plan.json")).expect("a plan is JSON");
    assert_eq!(file, document["result"]["plan"]);
    let [usual, tuned] = ["usual_ms", "tuned_ms"].map(|k| file[k].as_f64().expect("a number"));
    assert!(tuned <= usual, "a plan is never worse than none where it was measured: {tuned} and {usual}");
    rescc(&["compile", &model, "--target", "native", "--plan", &plan, "-o", &dir.path("m")]).succeeds();
    assert!(dir.files().iter().all(|f| !f.contains("bench")), "{:?}", dir.files());
}

/// A plan for `target` with these lines.
fn plan(target: &str, lines: &str) -> String {
    format!(
        r#"{{"schema": "rescc.plan/1", "compiler": "0.0.0", "target": "{target}", "cpu": "another", "threads": 64,
"usual_ms": 2, "tuned_ms": 1, "convolutions": [
{lines}
]}}"#
    )
}

fn by_hand() {
    let (dir, model) = small();
    let what = "conv2d 1x16x32x32 16x16x3x3 pad=1,1,1,1 epilogue=[bias,relu]";
    let line = format!(r#"{{"what": "{what}", "winograd": 1, "panel": 1, "rows": 3, "panels": 1, "channels": 1}}"#);
    let path = dir.write("plan.json", plan(TARGET, &line));
    let outputs = |flags: &[&str]| {
        let compile = |more: &[&str]| {
            let common = ["compile", &model, "--target", TARGET];
            rescc(&[&common, flags, more].concat()).succeeds()
        };
        compile(&["-o", &dir.path("m.p.rir"), "--emit", "rir"]);
        String::from_utf8(dir.read("m.p.rir")).expect("text")
    };
    let (usual, planned) = (outputs(&[]), outputs(&["--plan", &path]));
    let kernel = |text: &str, of: &str| text.contains(&format!("kernel @{of}"));
    assert!(kernel(&usual, "winograd4_32x32_16_16_br") && !kernel(&planned, "winograd4_32x32_16_16_br"), "{planned}");
    assert!(kernel(&planned, "conv3x3s1_32x32_16_16_br"), "{planned}");
    // Layer by layer, each kernel is as right as without the plan.
    let backend = if cfg!(feature = "llvm") { "llvm" } else { "cranelift" };
    let verify = ["verify", &model, "--layers", "--backend", backend, "--plan", &path, "--target", TARGET];
    let said = rescc(&verify);
    let note = "note: the plan was measured on 'another' and with 64 threads and by rescc 0.0.0";
    assert!(said.stderr.contains(note), "{}", said.stderr);
    said.succeeds();
    // A plan that fits nothing is no error, but said.
    let is_idle = |path: &str| {
        let outcome = rescc(&["opt", &model, "--target", TARGET, "--plan", path]);
        let said = outcome.stderr.contains("note: the plan changes no convolution");
        outcome.succeeds();
        said
    };
    let other = dir.write("other.json", plan(TARGET, &line.replace("32x32", "31x31")));
    assert!(is_idle(&other) && !is_idle(&path));
}

fn refusals() {
    let (dir, model) = small();
    let fails = |text: String, code: i32, parts: &[&str]| {
        let path = dir.write("plan.json", text);
        let out = dir.path("m");
        rescc(&["compile", &model, "--target", TARGET, "--plan", &path, "-o", &out]).fails(code, parts);
        assert!(!dir.files().contains(&"m".to_string()), "a partial output is left");
    };
    fails("{".into(), 3, &["E0817", "plan.json", "byte 0"]);
    fails("{\"schema\": \"other\"}".into(), 3, &["E0817", "missing field"]);
    fails(plan(TARGET, r#"{"what": "x", "tiles": 3}"#), 3, &["E0817", "unknown field `tiles`", "byte"]);
    fails(plan(TARGET, r#"{"what": "x", "winograd": 3}"#), 3, &["E0817", "winograd of 'x' is 3"]);
    fails(plan("x86-64-v4", ""), 4, &["E0818", "for x86-64-v4, not for x86-64-v"]);
    // Cranelift ignores what --target asks for, so another one is no remedy.
    let v3 = dir.write("v3.json", plan("x86-64-v3", ""));
    let outcome = rescc(&["compile", &model, "--backend", "cranelift", "--plan", &v3, "-o", &dir.path("m")]);
    outcome.fails(4, &["E0818", "for x86-64-v3, not for x86-64-v2"]);
    assert!(outcome.stderr.contains("--backend llvm --target x86-64-v3"), "{outcome:?}");
    rescc(&["compile", &model, "--plan", &dir.path("none.json"), "-o", &dir.path("m")]).fails(3, &["none.json"]);
    rescc(&["tune", &model, "-o", "/nowhere/plan.json"]).fails(5, &["E0803", "/nowhere"]);
}
