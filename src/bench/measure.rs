//! One measurement: an executable benches itself and says so in JSON. What is measured is what ships.

use crate::output;
use crate::render::Failure;
use ir::Diagnostic;
use ir::diag::Class;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// How long an executable measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    pub threads: usize,
    /// Time of the measurement without its warm-up.
    pub seconds: f64,
    pub warmup: Option<u32>,
    /// Runs to measure, instead of a time.
    pub iterations: Option<u32>,
    /// Weights are in no cache when a run begins.
    pub cold: bool,
}

/// What an executable said about its runs. Times are in microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    pub name: String,
    pub target: String,
    pub batch: u64,
    pub threads: u64,
    pub n: u64,
    pub min_us: f64,
    pub median_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    /// Arithmetic of the network as it is written, 10⁹ a second: two for each multiply-add.
    pub gflops: f64,
    /// Median time of each kernel call, in the order of calls.
    pub calls_us: Vec<f64>,
}

impl Times {
    /// Sum of the calls' medians.
    pub fn sum_us(&self) -> f64 {
        self.calls_us.iter().sum()
    }

    /// How much the sum of the calls differs from the median of the whole, as a share of that.
    pub fn difference(&self) -> f64 {
        if self.median_us > 0.0 { self.sum_us() / self.median_us - 1.0 } else { 0.0 }
    }
}

/// Lets `exe` measure itself.
///
/// Errors: E0816 if it does not start, fails, or says something else.
pub fn measure(exe: &Path, sampling: Sampling) -> Result<Times, Failure> {
    // A bare name would be looked up in PATH.
    let exe = if exe.components().count() == 1 { Path::new(".").join(exe) } else { exe.to_path_buf() };
    let mut command = Command::new(&exe);
    command.arg("--bench").arg(sampling.seconds.to_string()).args([
        "--json",
        "--threads",
        &sampling.threads.to_string(),
    ]);
    for (name, value) in [("--warmup", sampling.warmup), ("--iterations", sampling.iterations)] {
        if let Some(n) = value {
            command.arg(name).arg(n.to_string());
        }
    }
    command.args(sampling.cold.then_some("--cold"));
    let out = command.output().map_err(|e| broken(&exe, &format!("does not start: {}", output::reason(&e)), ""))?;
    let said = String::from_utf8_lossy(&out.stderr);
    if !out.status.success() {
        return Err(broken(&exe, &format!("failed: {}", out.status), &said));
    }
    let document = serde_json::from_slice(&out.stdout).unwrap_or(Value::Null);
    times(&document).ok_or_else(|| broken(&exe, "does not print what `--bench --json` of an executable prints", &said))
}

fn times(v: &Value) -> Option<Times> {
    if v["schema"] != "rescc.bench/1" {
        return None;
    }
    let text = |key: &str| v[key].as_str().map(String::from);
    let us = |key: &str| v[key].as_f64().map(|ms| ms * 1e3);
    Some(Times {
        name: text("name")?,
        target: text("isa")?,
        batch: v["batch"].as_u64()?,
        threads: v["threads"].as_u64()?,
        n: v["iterations"].as_u64()?,
        min_us: us("min_ms")?,
        median_us: us("median_ms")?,
        p90_us: us("p90_ms")?,
        p99_us: us("p99_ms")?,
        max_us: us("max_ms")?,
        gflops: v["gflops"].as_f64()?,
        calls_us: v["calls_us"].as_array()?.iter().map(Value::as_f64).collect::<Option<_>>()?,
    })
}

fn broken(exe: &Path, what: &str, said: &str) -> Failure {
    let mut d = Diagnostic::error("E0816", format!("'{}' {what}", exe.display())).class(Class::Unsupported);
    for line in said.lines().filter(|l| !l.trim().is_empty()).take(5) {
        d = d.note(line.trim());
    }
    Failure::from(d.help("name a model (.rir) or an executable that `rescc compile` of this version made")).in_file(exe)
}
