//! Nothing that can be said goes unsaid: ops, verifier rules, refusals of passes and diagnostic codes all have tests.

use crate::oracle::oracle;
use crate::{conformance, filetest, root, rules, test};
use libtest_mimic::Trial;
use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

pub fn tests() -> Vec<Trial> {
    vec![
        test("coverage::every_op_has_an_oracle_and_a_case", || {
            let cases = conformance::ops();
            for op in ir::op::OPS {
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
            let mut text = String::new();
            for folder in ["tests", "ir/src", "passes/src", "backends/src", "runtime/src", "src"] {
                read_tests(&root().join(folder), &mut text);
            }
            let missing: Vec<&str> = ir::diag::CODES.iter().map(|(c, _)| *c).filter(|c| !text.contains(c)).collect();
            assert!(missing.is_empty(), "no test names {}", missing.join(", "));
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

/// Appends the text of every file that holds tests.
fn read_tests(folder: &Path, text: &mut String) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|e| Some(e.ok()?.path())) {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if path.is_dir() {
            read_tests(&path, text);
        } else if path.starts_with(root().join("tests")) || name.contains("tests") {
            text.push_str(&fs::read_to_string(&path).unwrap_or_default());
        } else if let Some((_, tests)) = fs::read_to_string(&path).unwrap_or_default().split_once("#[cfg(test)]") {
            text.push_str(tests);
        }
    }
}
