//! Usage, JSON, colour.

use super::small_model;
use crate::command::{command, rescc};
use crate::test;
use libtest_mimic::Trial;
use serde_json::Value;

pub fn tests() -> Vec<Trial> {
    vec![
        test("hostile::command_line::usage", usage),
        test("hostile::command_line::json_documents", json_documents),
        test("hostile::command_line::colour", colour),
        test("hostile::command_line::quiet_and_loud", quiet_and_loud),
    ]
}

fn usage() {
    for args in [
        &["frobnicate"][..],
        &[],
        &["new"],
        &["new", "resnet50"],
        &["new", "resnet50", "-o", "x", "--shortcut", "D"],
        &["new", "resnet50", "-o", "x", "--input", "224"],
        &["inspect", "x", "--batch", "0"],
        &["check", "x", "--threads", "0"],
    ] {
        let outcome = rescc(args);
        assert_eq!(outcome.code, Some(2), "{args:?} {outcome:?}");
        assert!(outcome.stdout.is_empty() && !outcome.stderr.is_empty(), "{outcome:?}");
    }
    rescc(&["--version"]).succeeds();
    let text = rescc(&["explain", "e0304"]).succeeds();
    assert!(text.starts_with("E0304: "), "{text}");
    let near = rescc(&["new", "resnet20", "-o", "x"]);
    near.fails(2, &["E0301", "depth 20"]);
    assert!(near.stderr.contains("did you mean 'cifar-resnet20'?"), "{}", near.stderr);
}

fn json_documents() {
    let dir = small_model();
    let model = dir.path("m.rir");
    for verb in ["check", "inspect", "targets"] {
        let args = if verb == "targets" { vec![verb, "--json"] } else { vec![verb, "--json", &model] };
        let document: Value = serde_json::from_str(&rescc(&args).succeeds()).expect("one JSON document");
        assert_eq!(document["schema"], format!("rescc.{verb}/1"));
        assert_eq!((&document["ok"], &document["diagnostics"]), (&Value::Bool(true), &Value::Array(vec![])));
    }
    let document: Value = serde_json::from_str(&rescc(&["inspect", "--json", &model]).succeeds()).unwrap();
    let first = &document["result"]["layers"][0];
    assert_eq!((&first["name"], &first["out"]), (&"conv1".into(), &"f32[N,4,32,32]".into()));
    let failed = rescc(&["check", "--json", &dir.path("absent.rir")]);
    assert_eq!((failed.code, failed.stderr.as_str()), (Some(3), ""));
    let document: Value = serde_json::from_str(&failed.stdout).expect("one JSON document");
    let d = &document["diagnostics"][0];
    assert_eq!((&d["code"], &d["severity"], &document["ok"]), (&"E0805".into(), &"error".into(), &false.into()));
    assert!(d["file"].as_str().unwrap().ends_with("absent.rir") && d["help"].is_string(), "{d}");
}

fn colour() {
    let coloured = |variables: &[(&str, &str)], args: &[&str]| {
        let mut c = command(&[&["check", "absent.rir"], args].concat());
        c.envs(variables.iter().copied());
        c.output().unwrap().stderr.contains(&0x1b)
    };
    let (force, no_color) = (("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1"));
    assert!(!coloured(&[], &[]));
    assert!(coloured(&[], &["--color", "always"]));
    assert!(coloured(&[force], &[]));
    assert!(!coloured(&[force, no_color], &[]));
    assert!(!coloured(&[force], &["--color", "never"]));
}

fn quiet_and_loud() {
    let dir = small_model();
    let args = ["import", &dir.path("m.safetensors"), "-o", &dir.path("i.rir")];
    assert!(rescc(&args).stderr.contains("note: "));
    assert_eq!(rescc(&[&args[..], &["--quiet"]].concat()).stderr, "");
}
