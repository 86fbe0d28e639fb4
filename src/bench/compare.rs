//! What each pass gains: the model compiled with all passes, without each of those named, and without all of them; run
//! in turns, so that whatever else the machine does falls on all alike.

use super::report::ms;
use super::{Built, Format, Sampling, Settings, Sheet, Subject, build, measure};
use crate::render::Failure;
use passes::graph::Winograd;
use passes::pipeline::by_name;
use serde_json::{Value, json};
use std::path::Path;

/// Turns that each variant gets.
const TURNS: usize = 5;
/// Not a pass, but a choice of one: convolutions by Winograd's method.
const WINOGRAD: &str = "winograd";

/// A variant and its median time in each turn.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Passes that are left out.
    pub without: Vec<String>,
    turns_us: Vec<f64>,
    pub calls: usize,
}

impl Variant {
    /// Median over the turns.
    pub fn median_us(&self) -> f64 {
        let mut t = self.turns_us.clone();
        t.sort_unstable_by(f64::total_cmp);
        t.get(t.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Least and most over the turns.
    fn spread_us(&self) -> [f64; 2] {
        let ends = |f: fn(f64, f64) -> f64, start| self.turns_us.iter().copied().fold(start, f);
        [ends(f64::min, f64::INFINITY), ends(f64::max, 0.0)]
    }
}

/// Measures `subject` with all passes, without each of `names`, and without all of them.
///
/// Errors: E0401 for a name that is no pass; those of compiling and measuring.
pub fn compare(
    subject: &Subject,
    settings: &Settings,
    names: &[String],
    sampling: Sampling,
    folder: &Path,
) -> Result<Vec<Variant>, Failure> {
    for n in names.iter().filter(|n| *n != WINOGRAD) {
        by_name(n)?;
    }
    let mut sets: Vec<Vec<String>> = vec![Vec::new()];
    sets.extend(names.iter().map(|n| vec![n.clone()]));
    if names.len() > 1 {
        sets.push(names.to_vec());
    }
    let mut built: Vec<Built> = Vec::new();
    for (i, without) in sets.iter().enumerate() {
        let mut passes = settings.passes;
        let skip: Vec<String> = passes.skip.iter().chain(without).filter(|n| *n != WINOGRAD).cloned().collect();
        passes.skip = &skip;
        if without.iter().any(|n| n == WINOGRAD) {
            passes.winograd = Winograd::Off;
        }
        built.push(build(subject, &Settings { passes, ..*settings }, &folder.join(format!("variant{i}")))?);
    }
    let mut out: Vec<Variant> = sets
        .into_iter()
        .zip(&built)
        .map(|(without, b)| Variant { without, turns_us: Vec::new(), calls: b.program.calls.len() })
        .collect();
    let each = Sampling { seconds: sampling.seconds / TURNS as f64, ..sampling };
    let once = Sampling { warmup: Some(0), iterations: Some(1), ..each };
    let first: Vec<f64> = built.iter().map(|b| Ok(measure(&b.exe, once)?.median_us)).collect::<Result<_, Failure>>()?;
    for turn in 0..TURNS {
        for ((v, b), &us) in out.iter_mut().zip(&built).zip(&first) {
            // A variant that takes seconds has no noise that turns would level out.
            let is_slow = us > sampling.seconds * 1e6 / 10.0;
            if is_slow && turn == 0 {
                v.turns_us.push(us);
            }
            if !is_slow {
                v.turns_us.push(measure(&b.exe, each)?.median_us);
            }
        }
    }
    Ok(out)
}

/// A line for each variant; the gain is its time over that with all passes.
pub fn table(variants: &[Variant], format: Format) -> String {
    let Some(all) = variants.first().map(Variant::median_us) else { return String::new() };
    let mut s = Sheet::new(1, &["passes", "calls", "median ms", "least", "most", "gain"]);
    for v in variants {
        let [least, most] = v.spread_us().map(ms);
        let gain = if v.without.is_empty() { String::new() } else { format!("{:.3}x", v.median_us() / all) };
        s.row(vec![name(v), v.calls.to_string(), ms(v.median_us()), least, most, gain]);
    }
    s.print(format)
}

pub fn json(variants: &[Variant]) -> Value {
    let all = variants.first().map_or(f64::NAN, Variant::median_us);
    let one = |v: &Variant| {
        let [least, most] = v.spread_us();
        json!({
            "without": v.without, "calls": v.calls, "median_us": v.median_us(), "least_us": least, "most_us": most,
            "gain": v.median_us() / all,
        })
    };
    variants.iter().map(one).collect()
}

fn name(v: &Variant) -> String {
    if v.without.is_empty() { "all".into() } else { format!("without {}", v.without.join(", ")) }
}
