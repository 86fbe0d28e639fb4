//! From logits to answers.

use alloc::vec::Vec;
use core::cmp::Ordering;

/// A class and its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    pub class: usize,
    pub probability: f64,
}

/// The `k` most likely classes. Equal values: the smaller class first; NaN last.
pub fn top(logits: &[f32], k: usize) -> Vec<Answer> {
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    let k = k.min(classes.len());
    let key = |class: usize| if logits[class].is_nan() { f32::NEG_INFINITY } else { logits[class] };
    // Stable: equal values stay in the order of their classes.
    classes.sort_by(|&a, &b| key(b).partial_cmp(&key(a)).unwrap_or(Ordering::Equal));
    classes.truncate(k);
    let probability = probabilities(logits);
    classes.into_iter().map(|class| Answer { class, probability: probability(class) }).collect()
}

/// The best class, as [`top`] ranks.
pub fn best(logits: &[f32]) -> usize {
    let mut best = 0;
    for (class, &v) in logits.iter().enumerate() {
        if v > logits[best] || logits[best].is_nan() && !v.is_nan() {
            best = class;
        }
    }
    best
}

/// How many classes rank before `class`.
pub fn rank(logits: &[f32], class: usize) -> usize {
    let of = logits[class];
    if of.is_nan() {
        return logits.len() - 1;
    }
    logits.iter().enumerate().filter(|&(c, &v)| v > of || v == of && c < class).count()
}

/// Softmax in f64. Values that are probabilities already (a network that ends in a softmax) stay as they are.
fn probabilities(logits: &[f32]) -> impl Fn(usize) -> f64 {
    let sum: f64 = logits.iter().map(|&v| f64::from(v)).sum();
    let is_done = logits.iter().all(|v| (0.0..=1.0).contains(v)) && (sum - 1.0).abs() < 1e-4;
    let most = logits.iter().fold(f64::NEG_INFINITY, |m, &v| m.max(f64::from(v)));
    let total: f64 = logits.iter().map(|&v| exp(f64::from(v) - most)).sum();
    move |class| {
        let v = f64::from(logits[class]);
        if is_done { v } else { exp(v - most) / total }
    }
}

/// e^x for x ≤ 0, to within a few units in the last place. (`core` has no `exp`.)
fn exp(x: f64) -> f64 {
    if x.is_nan() || x < -700.0 {
        return if x.is_nan() { x } else { 0.0 };
    }
    // x = n·ln 2 + r, |r| ≤ ln 2 / 2; ln 2 in two parts so that n·ln 2 is exact enough.
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let n = (x * core::f64::consts::LOG2_E - 0.5) as i64;
    let r = x - n as f64 * LN2_HIGH - n as f64 * LN2_LOW;
    // Taylor series by Horner's rule: r^14 / 14! is below 2⁻⁵³.
    let sum = (1..=13).rev().fold(1.0, |s, k| 1.0 + r / f64::from(k) * s);
    // 2^n, n ≥ −1010: a normal number.
    sum * f64::from_bits(((1023 + n) as u64) << 52)
}
