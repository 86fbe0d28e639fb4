//! Names of tensors: prefixes and wrappers of training frameworks, and renaming by a file of rules.

use super::{StateDict, Tensor};
use ir::{Diagnostic, Diagnostics, Place};
use regex_lite::Regex;
use std::collections::HashMap;

/// Prefixes that training frameworks put before every name.
const PREFIXES: [&str; 5] = ["module.", "_orig_mod.", "model.", "backbone.", "net."];

/// Takes off prefixes that all names share, and says so.
pub fn strip_prefixes(dict: &mut StateDict) {
    let Some(first) = dict.tensors.first() else { return };
    let mut end = 0;
    while let Some(prefix) = PREFIXES.iter().find(|p| dict.tensors.iter().all(|t| t.name[end..].starts_with(**p))) {
        end += prefix.len();
    }
    if end == 0 {
        return;
    }
    dict.notes.push(format!("the prefix '{}' was taken off all names", &first.name[..end]));
    for t in &mut dict.tensors {
        t.name.drain(..end);
    }
}

/// One line of a rename file.
struct Rule {
    pattern: Regex,
    /// Replacement with `$1`…; `None` drops the tensor.
    to: Option<String>,
}

/// Rules of the form `PATTERN -> NAME`, a line each; the first that matches a whole name replaces it.
///
/// `*` stands for one part of a dotted name and `$1`, `$2`, … for what the stars matched. A pattern between
/// slashes (`/conv(\d+)_x/`) is a regular expression. An empty right side drops the tensor. `#` begins a comment.
/// On the right, `{$1-1}` stands for the number that the first star matched, less one (`+` likewise).
pub fn rename(dict: &mut StateDict, rules: &str) -> Result<(), Diagnostics> {
    let rules = parse(rules)?;
    let mut kept: Vec<Tensor> = Vec::new();
    let (mut renamed, mut dropped) = (0, 0);
    for mut t in std::mem::take(&mut dict.tensors) {
        let applied = rules.iter().find_map(|r| Some((r, r.pattern.captures(&t.name)?)));
        match applied {
            None => kept.push(t),
            Some((Rule { to: None, .. }, _)) => dropped += 1,
            Some((Rule { to: Some(to), .. }, captures)) => {
                let mut name = String::new();
                captures.expand(to, &mut name);
                t.name = arithmetic(&name);
                renamed += 1;
                kept.push(t);
            }
        }
    }
    dict.tensors = kept;
    dict.notes.push(format!("{renamed} tensors were renamed, {dropped} dropped"));
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut problems = Diagnostics::default();
    for t in &dict.tensors {
        let n = seen.entry(&t.name).or_default();
        *n += 1;
        if *n == 2 {
            let d = Diagnostic::error("E0308", format!("two tensors are renamed to '{}'", t.name));
            problems.push(d.help("make the patterns tell them apart"));
        }
    }
    problems.into_result(())
}

fn parse(text: &str) -> Result<Vec<Rule>, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut rules = Vec::new();
    let mut at = 0;
    for raw in text.split_inclusive('\n') {
        let range = at..at + raw.trim_end().len();
        at += raw.len();
        let line = raw.split(" #").next().unwrap_or(raw).trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut fault = |text: String, help: &str| {
            problems.push(Diagnostic::error("E0308", text).at(Place::Text(range.clone()), "").help(help));
        };
        let Some((from, to)) = line.split_once("->") else {
            fault("a rule has no '->'".into(), "write `pattern -> name`");
            continue;
        };
        let (from, to) = (from.trim(), to.trim());
        let pattern = match from.strip_prefix('/').and_then(|p| p.strip_suffix('/')) {
            Some(regex) => format!("^(?:{regex})$"),
            None => format!("^{}$", regex_lite::escape(from).replace("\\*", "([^.]+)")),
        };
        match Regex::new(&pattern) {
            Ok(pattern) => rules.push(Rule { pattern, to: (!to.is_empty()).then(|| braced(to)) }),
            Err(e) => fault(format!("not a regular expression: {e}"), "see the syntax in the documentation"),
        }
    }
    problems.into_result(rules)
}

/// `$1` as `${1}`, so that letters may follow.
fn braced(to: &str) -> String {
    let dollar = Regex::new(r"\$(\d+)").expect("invariant: a constant pattern");
    dollar.replace_all(to, "$${${1}}").into_owned()
}

/// Replaces `{3-1}` by `2`.
fn arithmetic(name: &str) -> String {
    let sum = Regex::new(r"\{(\d{1,9})([-+])(\d{1,9})\}").expect("invariant: a constant pattern");
    sum.replace_all(name, |c: &regex_lite::Captures| {
        let number = |i: usize| c[i].parse::<i64>().unwrap_or(0);
        let (a, b) = (number(1), number(3));
        (if &c[2] == "-" { a - b } else { a + b }).to_string()
    })
    .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::Element;

    fn dict(names: &[&str]) -> StateDict {
        let tensor =
            |n: &&str| Tensor { name: n.to_string(), element: Element::F32, shape: vec![], strides: vec![], offset: 0 };
        StateDict { tensors: names.iter().map(tensor).collect(), ..StateDict::default() }
    }

    fn names(d: &StateDict) -> Vec<&str> {
        d.tensors.iter().map(|t| t.name.as_str()).collect()
    }

    #[test]
    fn prefixes_go_only_if_all_have_them() {
        let mut d = dict(&["module.model.a", "module.model.b"]);
        strip_prefixes(&mut d);
        assert_eq!(names(&d), ["a", "b"]);
        assert_eq!(d.notes, ["the prefix 'module.model.' was taken off all names"]);
        let mut d = dict(&["model.a", "b"]);
        strip_prefixes(&mut d);
        assert_eq!(names(&d), ["model.a", "b"]);
        let mut d = dict(&[]);
        strip_prefixes(&mut d);
        assert!(d.notes.is_empty());
    }

    #[test]
    fn rules_rename_drop_and_count() {
        let mut d = dict(&["c3.x.1.w", "c2.x.1.w", "fc.fc.w", "junk.7"]);
        let rules =
            "# comment\n/c(\\d)\\.x\\.(\\d+)\\.w/ -> layer{$1-1}.$2.weight\nfc.*.w -> linear.$1 # head\njunk.* ->\n";
        rename(&mut d, rules).unwrap();
        assert_eq!(names(&d), ["layer2.1.weight", "layer1.1.weight", "linear.fc"]);
    }

    #[test]
    fn faulty_rules_are_all_named() {
        let e = rename(&mut dict(&["a"]), "no arrow\n/(/ -> x\n").unwrap_err();
        assert_eq!(e.0.len(), 2);
        let e = rename(&mut dict(&["a.x", "a.y"]), "a.* -> b\n").unwrap_err();
        assert!(e.to_string().contains("two tensors"));
    }
}
