//! File tests: each `.rir` under `tests/rir/` is one test.
//!
//! The first line names the kind: `// test KIND [ARGUMENTS]`. Expected problems stand on their line as
//! `// error: CODE part of the message`, or on a line of their own for problems without one. An expected result
//! follows the text after `// expect:`, each line behind `// `. `RESCC_BLESS=1` rewrites expected results.
//!
//! Whatever else is tested, a file without mistakes is printed, parsed and printed again.

use crate::root;
use ir::text::{Module, line_column, parse, print};
use ir::{Diagnostics, Place};
use libtest_mimic::{Failed, Trial};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A kind of file test: its problems, or the text that it expects. New kinds are lines here.
pub static KINDS: &[(&str, fn(&FileTest) -> Outcome)] = &[
    // Mistakes of the text.
    ("parse", |t| Outcome::Problems(t.problems.clone())),
    // Mistakes of graphs, programs and kernels.
    ("verify", |t| {
        let m = &t.module;
        let graphs = m.graphs.iter().map(ir::Graph::verify);
        let programs = m.programs.iter().map(ir::Program::verify);
        let kernels = m.kernels.iter().map(ir::Kernel::verify);
        Outcome::Problems(Diagnostics(graphs.chain(programs).chain(kernels).flat_map(|d| d.0).collect()))
    }),
    // Graphs after passes.
    ("pass", crate::pass_file::run),
    // Training steps, or why there is none.
    ("grad", crate::training::file),
    // The printed form.
    ("print", |t| Outcome::Text(print(&t.module))),
];

pub enum Outcome {
    Problems(Diagnostics),
    Text(String),
    /// The test cannot even be compared.
    Failure(String),
}

pub struct FileTest {
    /// What follows the kind on the first line.
    pub arguments: Vec<String>,
    /// The text without its expected result.
    pub text: String,
    pub module: Module,
    pub problems: Diagnostics,
}

pub fn tests() -> Vec<Trial> {
    let folder = root().join("tests/rir");
    let mut files = Vec::new();
    find(&folder, &mut files);
    files.sort();
    let trial = |path: PathBuf| {
        let name = path.strip_prefix(&folder).unwrap_or(&path).display().to_string();
        Trial::test(name, move || run(&path).map_err(Failed::from))
    };
    files.into_iter().map(trial).collect()
}

/// Codes of the problems that the files of a kind without arguments have.
pub fn codes_found(kind: &str) -> BTreeSet<&'static str> {
    let (_, check) = KINDS.iter().find(|(k, _)| *k == kind).expect("a kind of file test");
    let mut files = Vec::new();
    find(&root().join("tests/rir"), &mut files);
    let texts = files.iter().filter_map(|p| fs::read_to_string(p).ok());
    let mut codes = BTreeSet::new();
    for text in texts.filter(|t| t.starts_with(&format!("// test {kind}\n"))) {
        let (module, problems) = parse(&text);
        if let Outcome::Problems(found) = check(&FileTest { arguments: Vec::new(), text, module, problems }) {
            codes.extend(found.0.iter().map(|d| d.code));
        }
    }
    codes
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())) {
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|e| e == "rir") {
            files.push(path);
        }
    }
}

const EXPECT: &str = "// expect:\n";

fn run(path: &Path) -> Result<(), String> {
    let file = fs::read_to_string(path).map_err(|e| e.to_string())?;
    let first = file.lines().next().and_then(|l| l.strip_prefix("// test "));
    let mut words = first.ok_or("the first line is not '// test KIND'")?.split_whitespace().map(str::to_string);
    let kind = words.next().unwrap_or_default();
    let (_, check) = KINDS.iter().find(|(k, _)| *k == kind).ok_or_else(|| format!("there is no kind '{kind}'"))?;
    let (text, expected) = match file.split_once(EXPECT) {
        Some((text, expected)) => (text.to_string(), Some(uncomment(expected))),
        None => (file.clone(), None),
    };
    let (module, problems) = parse(&text);
    if kind != "parse" && problems.has_errors() {
        return Err(format!("the text does not parse:\n{problems}"));
    }
    if !problems.has_errors() {
        round_trip(&module)?;
    }
    let test = FileTest { arguments: words.collect(), text, module, problems };
    match check(&test) {
        Outcome::Failure(why) => Err(why),
        Outcome::Problems(found) => compare_problems(&test.text, &found),
        Outcome::Text(got) if expected.as_deref() == Some(got.as_str()) => Ok(()),
        Outcome::Text(got) if std::env::var_os("RESCC_BLESS").is_some() => {
            fs::write(path, format!("{}{EXPECT}{}", test.text, comment(&got))).map_err(|e| e.to_string())
        }
        Outcome::Text(got) => {
            Err(format!("expected:\n{}\ngot:\n{got}\n(RESCC_BLESS=1 accepts this)", expected.unwrap_or_default()))
        }
    }
}

fn round_trip(module: &Module) -> Result<(), String> {
    let once = print(module);
    let (again, problems) = parse(&once);
    if problems.has_errors() {
        return Err(format!("the printed text does not parse:\n{problems}\n{once}"));
    }
    let twice = print(&again);
    if once == twice { Ok(()) } else { Err(format!("printed:\n{once}\nand after parsing:\n{twice}")) }
}

fn compare_problems(text: &str, found: &Diagnostics) -> Result<(), String> {
    // Each expectation is used up by one problem.
    let mut expected: Vec<(usize, &str)> =
        text.lines().enumerate().filter_map(|(i, l)| Some((i + 1, l.split_once("// error: ")?.1.trim()))).collect();
    let mut surplus = Vec::new();
    for d in &found.0 {
        let line = d.labels.iter().find_map(|l| match &l.place {
            Place::Text(r) => Some(line_column(text, r.start).0),
            _ => None,
        });
        let shown = format!("{} {}", d.code, d.message);
        let fits = |(at, what): &(usize, &str)| {
            let (code, part) = what.split_once(' ').unwrap_or((what, ""));
            line.is_none_or(|l| l == *at) && d.code == code && shown.contains(part)
        };
        match expected.iter().position(fits) {
            Some(i) => drop(expected.remove(i)),
            None => surplus.push(format!("line {}: {shown}", line.unwrap_or(0))),
        }
    }
    if expected.is_empty() && surplus.is_empty() {
        return Ok(());
    }
    let missing: Vec<String> = expected.iter().map(|(l, w)| format!("line {l}: {w}")).collect();
    Err(format!("not found:\n  {}\nnot expected:\n  {}", missing.join("\n  "), surplus.join("\n  ")))
}

fn comment(text: &str) -> String {
    text.lines().map(|l| format!("// {l}").trim_end().to_string() + "\n").collect()
}

fn uncomment(text: &str) -> String {
    text.lines().map(|l| l.strip_prefix("// ").or(l.strip_prefix("//")).unwrap_or(l).to_string() + "\n").collect()
}
