//! A measurement against an earlier one.

use super::{Format, Run, Sheet, report};
use crate::render::Failure;
use ir::Diagnostic;
use ir::diag::Class;
use serde_json::{Value, json};
use std::path::Path;

/// Longest document that is read.
const MOST_BYTES: u64 = 64 << 20;
/// What is still no regression where nothing is said: a few runs on a shared machine differ by that.
const USUAL_LIMIT: f64 = 0.03;

/// Medians of an earlier `rescc bench --json`.
pub struct Baseline {
    runs: Vec<Earlier>,
    /// What was measured, and the target that it was compiled for.
    name: String,
    target: String,
    /// The processor that they were measured on.
    pub cpu: String,
}

struct Earlier {
    batch: u64,
    threads: u64,
    weights: String,
    median_us: f64,
}

/// One run beside the same run of the baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub batch: u64,
    pub threads: u64,
    pub weights: &'static str,
    pub before_us: f64,
    pub now_us: f64,
}

impl Change {
    /// How much longer it takes now: 0.03 is 3 %.
    pub fn worse_by(&self) -> f64 {
        self.now_us / self.before_us - 1.0
    }
}

/// `3%` or `0.03`.
///
/// Errors: a message for the command line.
pub fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |t| (t, 0.01));
    match number.trim().parse::<f64>() {
        Ok(n) if n.is_finite() && n >= 0.0 => Ok(n * scale),
        _ => Err("a share is written like 3% or 0.03".into()),
    }
}

/// Reads a document.
///
/// Errors: E0805 if it cannot be read, E0815 if it is none of `rescc bench --json`.
pub fn load(path: &Path) -> Result<Baseline, Failure> {
    let bytes = crate::import::read_file(path, MOST_BYTES)?;
    let wrong = || Failure::from(Diagnostic::error("E0815", "this is no result of `rescc bench --json`").help(HELP));
    let document: Value = serde_json::from_slice(&bytes).map_err(|_| wrong().in_file(path))?;
    parse(&document).ok_or_else(|| wrong().in_file(path))
}

const HELP: &str = "make one: rescc bench MODEL --json > baseline.json";

fn parse(document: &Value) -> Option<Baseline> {
    if document["schema"] != "rescc.bench/1" {
        return None;
    }
    let result = &document["result"];
    let one = |r: &Value| {
        Some(Earlier {
            batch: r["batch"].as_u64()?,
            threads: r["threads"].as_u64()?,
            weights: r["weights"].as_str().unwrap_or("hot").into(),
            median_us: r["median_us"].as_f64().filter(|m| *m > 0.0)?,
        })
    };
    let runs = result["runs"].as_array()?.iter().map(one).collect::<Option<Vec<_>>>()?;
    let text = |key: &str| result[key].as_str().map(String::from);
    let cpu = result["machine"]["cpu"].as_str().unwrap_or("unknown").into();
    Some(Baseline { runs, name: text("name")?, target: text("target")?, cpu })
}

impl Baseline {
    /// The runs that both have.
    ///
    /// Errors: E0815 if there is none, or if the baseline is of another network or target.
    pub fn compare(&self, runs: &[Run], path: &Path) -> Result<Vec<Change>, Failure> {
        let pairs = runs.first().map(|r| [(&self.name, &r.times.name), (&self.target, &r.times.target)]);
        if let Some((was, is)) = pairs.into_iter().flatten().find(|(was, is)| was != is) {
            let d = Diagnostic::error("E0815", format!("the baseline is of '{was}', not of '{is}'"));
            return Err(Failure::from(d.help("measure both of one network with the same --target")).in_file(path));
        }
        let change = |r: &Run| {
            let (t, weights) = (&r.times, report::temperature(r));
            let same = |e: &&Earlier| e.batch == t.batch && e.threads == t.threads && e.weights == weights;
            let before_us = self.runs.iter().find(same)?.median_us;
            Some(Change { batch: t.batch, threads: t.threads, weights, before_us, now_us: t.median_us })
        };
        let changes: Vec<Change> = runs.iter().filter_map(change).collect();
        if changes.is_empty() {
            let text = "the baseline has no run with the same batch, threads and weights";
            let d = Diagnostic::error("E0815", text).help("measure both with the same --batch, --threads and --cold");
            return Err(Failure::from(d).in_file(path));
        }
        Ok(changes)
    }
}

/// The error for runs that are worse than `limit` (3 % where nothing is said), if there are any.
pub fn regression(changes: &[Change], limit: Option<f64>, path: &Path) -> Option<Diagnostic> {
    let limit = limit.unwrap_or(USUAL_LIMIT);
    let worse: Vec<&Change> = changes.iter().filter(|c| c.worse_by() > limit).collect();
    let worst = worse.iter().max_by(|a, b| a.worse_by().total_cmp(&b.worse_by()))?;
    let text = format!(
        "{} of {} runs are slower than in '{}' by more than {:.1} %, the worst by {:.1} %",
        worse.len(),
        changes.len(),
        path.display(),
        100.0 * limit,
        100.0 * worst.worse_by()
    );
    let d = Diagnostic::error("E0792", text).class(Class::Negative);
    Some(d.help("measure again on an idle machine; --fail-above sets what is accepted"))
}

pub fn table(changes: &[Change], format: Format) -> String {
    let mut s = Sheet::new(0, &["batch", "threads", "weights", "before ms", "now ms", "change"]);
    for c in changes {
        s.row(vec![
            c.batch.to_string(),
            c.threads.to_string(),
            c.weights.into(),
            report::ms(c.before_us),
            report::ms(c.now_us),
            format!("{:+.1} %", 100.0 * c.worse_by()),
        ]);
    }
    s.print(format)
}

pub fn json(changes: &[Change]) -> Value {
    let one = |c: &Change| {
        json!({
            "batch": c.batch, "threads": c.threads, "weights": c.weights,
            "before_us": c.before_us, "now_us": c.now_us, "change": c.worse_by(),
        })
    };
    changes.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percents_or_numbers() {
        assert_eq!((share("3%"), share("0.05"), share("0")), (Ok(0.03), Ok(0.05), Ok(0.0)));
        assert!(["-1", "x", "%", "nan"].iter().all(|t| share(t).is_err()));
    }

    #[test]
    fn a_regression_is_one_beyond_the_limit() {
        let change = Change { batch: 1, threads: 1, weights: "hot", before_us: 100.0, now_us: 104.0 };
        let worse = |limit| regression(std::slice::from_ref(&change), limit, Path::new("b.json"));
        assert!(worse(Some(0.05)).is_none());
        assert_eq!(worse(None).map(|d| d.code), Some("E0792"));
    }
}
