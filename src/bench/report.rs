//! Results of `bench` as tables and as JSON.

use super::calls::{self, Row};
use super::{Format, Run, Sheet};
use crate::format::count_or_blank;
use crate::machine::{Measured, cpu};
use serde_json::{Value, json};

/// Difference of the calls' sum from the whole that a quiet machine stays below.
const AGREEMENT: f64 = 0.03;

/// All runs: one line each.
pub fn runs(runs: &[Run], format: Format) -> String {
    let mut s = Sheet::new(
        0,
        &["batch", "threads", "weights", "runs", "median ms", "min", "p90", "p99", "images/s", "GFLOP/s", "effective"],
    );
    for r in runs {
        let t = &r.times;
        s.row(vec![
            t.batch.to_string(),
            t.threads.to_string(),
            temperature(r).into(),
            t.n.to_string(),
            ms(t.median_us),
            ms(t.min_us),
            ms(t.p90_us),
            ms(t.p99_us),
            format!("{:.1}", images_per_s(r)),
            gflops(r).map_or(String::new(), |g| format!("{g:.1}")),
            format!("{:.1}", t.gflops),
        ]);
    }
    s.print(format)
}

/// Microseconds as milliseconds, to the nanosecond where that can be seen.
pub fn ms(us: f64) -> String {
    if us < 1e3 { format!("{:.5}", us / 1e3) } else { format!("{:.3}", us / 1e3) }
}

/// The calls of a run, or its kernels.
pub fn table(rows: &[Row], is_by_kernel: bool, total_us: f64, format: Format) -> String {
    const FIGURES: [&str; 10] =
        ["us", "%", "MACs", "bytes", "GFLOP/s", "% peak", "effective", "roof", "predicted us", "error"];
    let names: &[&str] = if is_by_kernel { &["kernel", "calls"] } else { &["node", "op", "kernel"] };
    let texts = if is_by_kernel { 1 } else { 3 };
    let mut s = Sheet::new(texts, &[names, &FIGURES].concat());
    for r in rows {
        let mut cells = if is_by_kernel {
            vec![r.kernel.clone(), r.calls.to_string()]
        } else {
            vec![r.node.clone(), r.op.clone(), r.kernel.clone()]
        };
        let has_macs = r.macs > 0;
        let if_macs = |text: String| if has_macs { text } else { String::new() };
        cells.extend([
            format!("{:.1}", r.us),
            format!("{:.1}", 100.0 * r.us / total_us),
            count_or_blank(r.macs),
            count_or_blank(r.bytes),
            if_macs(format!("{:.1}", r.gflops)),
            if_macs(format!("{:.1}", 100.0 * r.of_peak)),
            r.effective_gflops.map_or(String::new(), |g| format!("{g:.1}")),
            r.roof.to_string(),
            format!("{:.1}", r.predicted_us),
            format!("{:+.0} %", 100.0 * (r.predicted_us / r.us - 1.0)),
        ]);
        s.row(cells);
    }
    s.print(format)
}

/// What is said under a table of calls.
pub fn summary(run: &Run, rows: &[Row]) -> String {
    let t = &run.times;
    let mut text = format!(
        "sum of the calls {:.1} us, median of the whole {:.1} us: {:+.2} %\n",
        t.sum_us(),
        t.median_us,
        100.0 * t.difference()
    );
    if t.difference().abs() > AGREEMENT {
        text += "they differ because something else ran meanwhile: measure again on an idle machine\n";
    }
    if rows.is_empty() {
        return text;
    }
    text += &format!(
        "peak {:.1} GFLOP/s on {} thread{}; predicted {:.1} us in total, {:.0} % of the calls within 15 %\n",
        run.peak_gflops,
        t.threads,
        if t.threads == 1 { "" } else { "s" },
        rows.iter().map(|r| r.predicted_us).sum::<f64>(),
        100.0 * calls::accuracy(rows, 0.15),
    );
    if rows.iter().any(|r| r.effective_gflops.is_some()) {
        text += "effective: operations of the network as it is written; Winograd's method needs fewer\n";
    }
    text
}

/// One element of `result.runs`.
pub fn run_json(r: &Run) -> Value {
    let t = &r.times;
    json!({
        "batch": t.batch, "threads": t.threads, "weights": temperature(r), "n": t.n,
        "min_us": t.min_us, "median_us": t.median_us, "p90_us": t.p90_us, "p99_us": t.p99_us, "max_us": t.max_us,
        "gflops": gflops(r), "effective_gflops": t.gflops, "peak_gflops": r.peak_gflops, "images_per_s": images_per_s(r),
        "calls_sum_us": t.sum_us(), "calls_difference": t.difference(),
    })
}

/// `result.calls`: those of every run, each with the run's configuration.
pub fn calls_json(runs: &[Run]) -> Vec<Value> {
    let mut out = Vec::new();
    for r in runs {
        let keys = json!({ "batch": r.times.batch, "threads": r.times.threads, "weights": temperature(r) });
        if r.rows.is_empty() {
            out.extend(
                r.times.calls_us.iter().enumerate().map(|(i, us)| merged(&keys, json!({ "call": i, "us": us }))),
            );
        }
        for (i, row) in r.rows.iter().enumerate() {
            let mut value = serde_json::to_value(row).unwrap_or_default();
            if let Some(o) = value.as_object_mut() {
                o.remove("calls");
                o.insert("call".into(), i.into());
            }
            out.push(merged(&keys, value));
        }
    }
    out
}

fn merged(keys: &Value, more: Value) -> Value {
    let mut out = keys.as_object().cloned().unwrap_or_default();
    out.extend(more.as_object().cloned().unwrap_or_default());
    Value::Object(out)
}

/// `result.machine`.
pub fn machine_json(m: Option<&Measured>) -> Value {
    json!({
        "cpu": cpu::name(), "features": cpu::features(), "governor": cpu::governor(), "load": cpu::load(),
        "peaks": m.map(|m| json!({ "fma_gflops": m.fma_gflops, "read": m.read })),
    })
}

/// One line about the machine.
pub fn machine_text(m: Option<&Measured>) -> String {
    let load = cpu::load().map_or(String::new(), |l| format!(", load {l:.2}"));
    let peaks = m.map_or(String::new(), |m| {
        let levels = m.read.iter().map(|l| format!(", {} {:.0} GB/s", l.name, l.gb_per_s.one));
        format!("; {:.1} GFLOP/s{}", m.fma_gflops.one, levels.collect::<String>())
    });
    format!("{}{load}{peaks}\n", cpu::name())
}

/// Where the weights are when a run begins, in a word.
pub fn temperature(r: &Run) -> &'static str {
    if r.cold { "cold" } else { "hot" }
}

/// Pictures a second at the median time.
pub fn images_per_s(r: &Run) -> f64 {
    if r.times.median_us > 0.0 { r.times.batch as f64 * 1e6 / r.times.median_us } else { 0.0 }
}

/// 10⁹ operations a second, two for each multiply-add that the kernels do; unknown without the calls.
fn gflops(r: &Run) -> Option<f64> {
    let macs: u64 = r.rows.iter().map(|row| row.macs).sum();
    let is_known = !r.rows.is_empty() && r.times.median_us > 0.0;
    is_known.then(|| 2.0 * macs as f64 / (r.times.median_us * 1e3))
}
