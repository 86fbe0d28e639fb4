//! The plan file: a line of JSON for each convolution that is better computed in another way than by the estimates.

use crate::render::Failure;
use ir::Diagnostic;
use ir::diag::{Class, Place};
use ir::schedule::Schedule;
use ir::target::{Target, X86_64_V2};
use passes::plan::Plan;
use serde::{Deserialize, Serialize};
use std::path::Path;

const SCHEMA: &str = "rescc.plan/1";
const MOST_BYTES: u64 = 16 << 20;

/// What was measured, where, and what came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    schema: String,
    /// Version of rescc.
    pub compiler: String,
    pub target: String,
    pub cpu: String,
    pub threads: usize,
    /// Milliseconds of the model with the usual choices and with these, medians of runs in turns.
    pub usual_ms: f64,
    pub tuned_ms: f64,
    pub convolutions: Vec<Entry>,
}

/// One convolution. What is not said is left to the estimates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Entry {
    /// See [`passes::plan::signature`].
    pub what: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub winograd: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub panel: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub rows: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub panels: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub channels: u64,
    /// Microseconds of all convolutions of the model that compute this, as usual and tuned.
    pub usual_us: f64,
    pub tuned_us: f64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Entry {
    pub fn new(what: String, s: Schedule, usual_us: f64, tuned_us: f64) -> Entry {
        let Schedule { winograd, panel, rows, panels, channels } = s;
        Entry { what, winograd, panel, rows, panels, channels, usual_us, tuned_us }
    }

    pub fn schedule(&self) -> Schedule {
        let &Entry { winograd, panel, rows, panels, channels, .. } = self;
        Schedule { winograd, panel, rows, panels, channels }
    }
}

impl File {
    pub fn new(
        target: &Target,
        cpu: String,
        threads: usize,
        [usual_ms, tuned_ms]: [f64; 2],
        convolutions: Vec<Entry>,
    ) -> File {
        let (schema, compiler) = (SCHEMA.into(), env!("CARGO_PKG_VERSION").into());
        File { schema, compiler, target: target.name.into(), cpu, threads, usual_ms, tuned_ms, convolutions }
    }

    pub fn plan(&self) -> Plan {
        Plan(self.convolutions.iter().map(|e| (e.what.clone(), e.schedule())).collect())
    }

    /// JSON with a line for each convolution, so that a change of one is a change of one line.
    pub fn text(&self) -> String {
        let head = File { convolutions: Vec::new(), ..self.clone() };
        let json = |v: Result<String, serde_json::Error>| v.expect("invariant: numbers and strings can be written");
        let head = json(serde_json::to_string_pretty(&head));
        let lines: Vec<String> =
            self.convolutions.iter().map(|e| format!("    {}", json(serde_json::to_string(e)))).collect();
        let list = if lines.is_empty() { "[]".into() } else { format!("[\n{}\n  ]", lines.join(",\n")) };
        format!("{}\n", head.replace("\"convolutions\": []", &format!("\"convolutions\": {list}")))
    }

    /// What differs here from where it was measured, for a note; the plan is right anyhow, if not the best.
    pub fn differs(&self, cpu: &str, threads: usize) -> Option<String> {
        let mut what = Vec::new();
        if self.cpu != cpu {
            what.push(format!("on '{}'", self.cpu));
        }
        if self.threads != threads {
            what.push(format!("with {} threads", self.threads));
        }
        if self.compiler != env!("CARGO_PKG_VERSION") {
            what.push(format!("by rescc {}", self.compiler));
        }
        (!what.is_empty()).then(|| format!("the plan was measured {}", what.join(" and ")))
    }
}

/// Reads a plan for `target`.
///
/// Errors: E0805 if it cannot be read, E0817 with the place if it is no plan, E0818 if it is for another target.
pub fn load(path: &Path, target: &Target) -> Result<File, Failure> {
    let bytes = crate::import::read_file(path, MOST_BYTES)?;
    let wrong = |d: Diagnostic| Failure::from(d.help("`rescc tune MODEL -o PLAN` makes a plan")).in_file(path);
    let file: File = serde_json::from_slice(&bytes).map_err(|e| {
        let (line, column) = (e.line(), e.column());
        let start: usize = bytes.split_inclusive(|&b| b == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
        let at = (start + column.saturating_sub(1)) as u64;
        wrong(Diagnostic::error("E0817", format!("this is no plan: {e}")).at(Place::Byte(at), "here"))
    })?;
    if file.schema != SCHEMA {
        return Err(wrong(Diagnostic::error("E0817", format!("this is no plan: its schema is '{}'", file.schema))));
    }
    if let Some(e) = file.convolutions.iter().find(|e| ![0, 1, 2, 4].contains(&e.winograd)) {
        let text = format!("winograd of '{}' is {}, not 1, 2 or 4", e.what, e.winograd);
        return Err(wrong(Diagnostic::error("E0817", text)));
    }
    if file.target != target.name {
        let text = format!("the plan is for {}, not for {}", file.target, target.name);
        let d = Diagnostic::error("E0818", text).class(Class::Unsupported);
        // Cranelift compiles for this one whatever --target says.
        let backend = if *target == X86_64_V2 { "--backend llvm " } else { "" };
        let help = format!("use {backend}--target {}, or tune for {}", file.target, target.name);
        return Err(Failure::from(d.help(help)).in_file(path));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_reads_back_and_says_only_what_it_decides() {
        let schedule = Schedule { panel: 3, rows: 7, ..Schedule::default() };
        let entries = vec![Entry::new("conv2d 1x8x4x4 8x8x1x1".into(), schedule, 12.5, 11.0)];
        let f = File::new(&ir::target::X86_64_V3, "a cpu".into(), 2, [3.0, 2.5], entries);
        let text = f.text();
        assert!(
            text.contains("\n    {\"what\":\"conv2d 1x8x4x4 8x8x1x1\",\"panel\":3,\"rows\":7,\"usual_us\":12.5"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<File>(&text).expect("it is JSON"), f);
        assert_eq!(f.plan().0["conv2d 1x8x4x4 8x8x1x1"], schedule);
        assert_eq!(f.differs("a cpu", 2), None);
        assert_eq!(f.differs("a cpu", 1), Some("the plan was measured with 2 threads".into()));
    }
}
