//! Arrows between crates point one way (see ARCHITECTURE.md), and to nothing that is not used.

use crate::{root, test};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use libtest_mimic::Trial;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What each crate may use of ours.
const ARROWS: [(&str, &[&str]); 5] = [
    ("rescc", &["rescc-backends", "rescc-ir", "rescc-passes", "rescc-runtime"]),
    ("rescc-backends", &["rescc-ir"]),
    ("rescc-ir", &[]),
    ("rescc-passes", &["rescc-ir"]),
    ("rescc-runtime", &[]),
];

pub fn tests() -> Vec<Trial> {
    vec![
        test("arrows::crates_use_only_what_they_may", only_what_they_may),
        test("arrows::crates_use_what_they_name", what_they_name),
    ]
}

fn packages() -> Vec<Package> {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).no_deps().other_options(["--offline".to_string()]);
    command.exec().expect("cargo metadata runs").packages
}

fn only_what_they_may() {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for p in packages() {
        let ours = p.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal && d.name.starts_with("rescc"));
        let mut names: Vec<String> = ours.map(|d| d.name.clone()).collect();
        names.sort();
        found.insert(p.name.to_string(), names);
    }
    let want = ARROWS.map(|(p, d)| (p.to_string(), d.iter().map(|s| s.to_string()).collect()));
    assert_eq!(found, BTreeMap::from(want));
}

fn what_they_name() {
    for p in packages() {
        let folder = p.manifest_path.parent().expect("a manifest lies in a folder").as_std_path();
        let mut text = String::new();
        ["src", "tests", "examples", "build.rs"].iter().for_each(|at| read(&folder.join(at), &mut text));
        for d in &p.dependencies {
            let name = d.name.trim_start_matches("rescc-").trim_end_matches("-rs").replace('-', "_");
            assert!(text.contains(&format!("{name}::")), "{} names {} and does not use it", p.name, d.name);
        }
    }
}

/// Appends the Rust text at a path.
fn read(path: &Path, text: &mut String) {
    if path.is_dir() {
        fs::read_dir(path).into_iter().flatten().flatten().for_each(|e| read(&e.path(), text));
    } else if path.extension().is_some_and(|e| e == "rs") {
        text.push_str(&fs::read_to_string(path).unwrap_or_default());
    }
}
