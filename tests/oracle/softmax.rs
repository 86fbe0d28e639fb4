//! Softmax along the last axis.

use super::{Call, Tensor, Truth};

/// eˣ / Σ eˣ, by way of the maximum.
///
/// With d = x − max: d is rounded (relative error u, so e^d is off by |d|·u), e^d is computed to some 10 units in the
/// last place, n terms are added, one quotient. The sum is off by the mean of its terms' errors.
pub fn softmax(call: &Call) -> Truth {
    let n = *call.x().dims.last().expect("softmax has an axis");
    let (mut y, mut scale) = (Vec::new(), Vec::new());
    for row in call.x().data.chunks(n) {
        // A NaN anywhere, or an infinite maximum, leaves no finite difference.
        let max = row.iter().fold(f64::NEG_INFINITY, |m, &v| if v.is_nan() || v > m { v } else { m });
        let max = if row.iter().any(|v| v.is_nan()) { f64::NAN } else { max };
        let power: Vec<f64> = row.iter().map(|v| (v - max).exp()).collect();
        let sum: f64 = power.iter().sum();
        let size = |i: usize| if power[i] == 0.0 { 0.0 } else { (row[i] - max).abs() };
        let mean: f64 = (0..n).map(|i| power[i] / sum * size(i)).sum();
        for (i, p) in power.iter().enumerate() {
            y.push(p / sum);
            scale.push(p / sum * (1.0 + size(i) + mean));
        }
    }
    Truth::rounded(Tensor { dims: call.x().dims.clone(), data: y }, scale, n + 20)
}
