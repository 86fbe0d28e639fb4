//! Nothing that can be said goes unsaid: ops, verifier rules, refusals of passes and diagnostic codes all have tests.

use crate::oracle::oracle;
use crate::{conformance, filetest, root, rules, test};
use libtest_mimic::Trial;
use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::PathBuf;

pub fn tests() -> Vec<Trial> {
    vec![
        test("coverage::every_op_has_an_oracle_and_a_case", || {
            let cases = conformance::ops();
            for op in ir::ops::ALL {
                assert!(oracle(op.name).is_some(), "{} has no oracle in tests/oracle/", op.name);
                assert!(cases.contains(op.name), "{} has no case in tests/conformance/cases.rs", op.name);
            }
        }),
        test("coverage::every_verifier_rule_is_broken_by_a_test", || {
            let mut provoked = filetest::codes_found("verify");
            provoked.extend(rules::provoked());
            for (verifier, codes) in VERIFIERS {
                let listed = rules_of(verifier);
                let known = ir::diag::CODES.iter().map(|(c, _)| *c).filter(|c| codes.contains(c));
                assert_eq!(listed, known.map(String::from).collect(), "rules in {verifier}, and codes of its kind");
                for code in &listed {
                    assert!(provoked.contains(&code[..]), "no test breaks the rule of {code} in {verifier}");
                }
            }
        }),
        test("coverage::every_diagnostic_code_is_tested", || {
            let tests: Vec<String> = SOURCES.iter().chain(&["tests"]).flat_map(|f| texts(f)).map(tests_of).collect();
            let text = tests.concat();
            let missing: Vec<&str> = ir::diag::CODES.iter().map(|(c, _)| *c).filter(|c| !text.contains(c)).collect();
            assert!(missing.is_empty(), "no test names {}", missing.join(", "));
        }),
        test("coverage::every_diagnostic_code_is_explained", || {
            for (path, text) in SOURCES.iter().flat_map(|f| texts(f)) {
                for code in text.split('"').filter(|t| is_code(t)) {
                    let is_known = ir::diag::CODES.iter().any(|(c, _)| *c == code);
                    assert!(is_known, "{code} is of {}, not of ir::diag::CODES", path.display());
                }
            }
        }),
        test("coverage::every_refusal_has_a_file_test", || {
            for pass in passes::pipeline::all() {
                let folder = root().join("tests/rir/passes").join(pass.name().replace('-', "_")).join("refuse");
                let files = fs::read_dir(&folder).into_iter().flatten().filter_map(|e| Some(e.ok()?.path()));
                let texts: Vec<String> = files.filter_map(|p| fs::read_to_string(p).ok()).collect();
                for keep in pass.refusals() {
                    let end = format!(" {}\n", keep.name);
                    let count = texts.iter().filter(|t| t.contains("// refuse: ") && t.contains(&end)).count();
                    assert!(count > 0, "no file of {} has {} refuse {}", folder.display(), pass.name(), keep.name);
                }
            }
        }),
    ]
}

/// The verifiers and their codes; E0198 belongs to patches, what follows E0689 to the interpreter.
const VERIFIERS: [(&str, RangeInclusive<&str>); 3] = [
    ("ir/src/graph/verify.rs", "E0101"..="E0197"),
    ("ir/src/program/verify.rs", "E0501"..="E0599"),
    ("ir/src/kernel/verify.rs", "E0601"..="E0689"),
];

/// Codes of the rules that the module doc of a verifier lists: `- **K1** (E0601) …`.
fn rules_of(verifier: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(verifier)).expect("the verifier's source");
    let rule = |l: &str| Some(l.strip_prefix("//! - **")?.split_once("** (")?.1.split_once(')')?.0.to_string());
    text.lines().filter_map(rule).collect()
}

/// Where diagnostics come from.
const SOURCES: [&str; 5] = ["ir/src", "passes/src", "backends/src", "runtime/src", "src"];

/// Every text below a folder of the checkout with its path from there, but this one, which names codes and tests none.
fn texts(folder: &str) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(root().join(folder)).expect("a folder of the checkout");
    let below = |entry: fs::DirEntry| {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        match fs::read_to_string(entry.path()) {
            Ok(text) if path != "tests/coverage.rs" => vec![(path.into(), text)],
            Err(_) if entry.path().is_dir() => texts(&path),
            _ => Vec::new(),
        }
    };
    entries.filter_map(Result::ok).flat_map(below).collect()
}

/// The part of a text that is tests.
fn tests_of((path, text): (PathBuf, String)) -> String {
    if path.iter().any(|part| part == "tests" || part == "tests.rs") {
        return text;
    }
    text.split_once("#[cfg(test)]\nmod tests {").map_or_else(String::new, |(_, tests)| tests.into())
}

fn is_code(text: &str) -> bool {
    text.len() == 5 && text.strip_prefix('E').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
}
