//! Nothing that can be said goes unsaid: every diagnostic code has a test that names it.

use crate::{root, test};
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;

pub fn tests() -> Vec<Trial> {
    vec![
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
