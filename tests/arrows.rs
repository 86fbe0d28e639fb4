//! Arrows between crates point one way; see ARCHITECTURE.md.

use crate::{root, test};
use cargo_metadata::{DependencyKind, MetadataCommand};
use libtest_mimic::Trial;
use std::collections::BTreeMap;

/// What each crate may use of ours.
const ARROWS: [(&str, &[&str]); 5] = [
    ("rescc", &["rescc-backends", "rescc-ir", "rescc-passes", "rescc-runtime"]),
    ("rescc-backends", &["rescc-ir"]),
    ("rescc-ir", &[]),
    ("rescc-passes", &["rescc-ir"]),
    ("rescc-runtime", &[]),
];

pub fn tests() -> Vec<Trial> {
    vec![test("arrows::crates_use_only_what_they_may", || {
        let metadata = MetadataCommand::new()
            .manifest_path(root().join("Cargo.toml"))
            .no_deps()
            .other_options(["--offline".to_string()])
            .exec()
            .expect("cargo metadata runs");
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for p in &metadata.packages {
            let ours =
                p.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal && d.name.starts_with("rescc"));
            let mut names: Vec<String> = ours.map(|d| d.name.clone()).collect();
            names.sort();
            found.insert(p.name.to_string(), names);
        }
        let want = ARROWS.map(|(p, d)| (p.to_string(), d.iter().map(|s| s.to_string()).collect()));
        assert_eq!(found, BTreeMap::from(want));
    })]
}
