//! Ops that compute each element from the elements at its own position.

use super::{Call, Tensor, Truth};

/// A value moved into lo..=hi; NaN stays NaN.
pub fn clamped(x: f64, lo: f64, hi: f64) -> f64 {
    if x < lo {
        lo
    } else if x > hi {
        hi
    } else {
        x
    }
}

fn map(x: &Tensor, f: impl Fn(f64) -> f64) -> Tensor {
    Tensor { dims: x.dims.clone(), data: x.data.iter().map(|&v| f(v)).collect() }
}

pub fn relu(call: &Call) -> Truth {
    Truth::exact(map(call.x(), |v| clamped(v, 0.0, f64::INFINITY)))
}

pub fn clamp(call: &Call) -> Truth {
    Truth::exact(map(call.x(), |v| clamped(v, call.number("lo"), call.number("hi"))))
}

/// Σ xₖ: as many roundings as additions.
pub fn add(call: &Call) -> Truth {
    let (mut y, mut scale) = (call.x().clone(), vec![0.0; call.x().data.len()]);
    y.data.fill(0.0);
    for x in call.inputs {
        for (i, &v) in x.data.iter().enumerate() {
            y.data[i] += v;
            scale[i] += v.abs();
        }
    }
    Truth::rounded(y, scale, call.inputs.len() - 1)
}

/// a[c]·x + b[c]: a product and a sum; then the epilogue.
pub fn scale_shift(call: &Call) -> Truth {
    let mut scale = Vec::new();
    let y = Tensor::build(&call.x().dims, |at| {
        let (a, b, x) = (call.of_channel(1, at[1]), call.of_channel(2, at[1]), call.x().at(at));
        scale.push((a * x).abs() + b.abs());
        a * x + b
    });
    super::convolution::finish(call, Truth::rounded(y, scale, 2))
}

/// γ(x − μ)/√(σ² + ε) + β: rounded are ε, x − μ, the sum under the root, root, quotient, product and sum.
pub fn batch_norm(call: &Call) -> Truth {
    let eps = call.number("eps");
    let mut scale = Vec::new();
    let y = Tensor::build(&call.x().dims, |at| {
        let [gamma, beta, mean, var] = [1, 2, 3, 4].map(|i| call.of_channel(i, at[1]));
        let scaled = gamma * (call.x().at(at) - mean) / (var + eps).sqrt();
        scale.push(scaled.abs() + beta.abs());
        scaled + beta
    });
    Truth::rounded(y, scale, 7)
}

/// (x/s − mean)/std with the channels moved to the front: three operations, and three constants rounded.
pub fn normalize_u8(call: &Call) -> Truth {
    let &[n, h, w, channels] = &call.x().dims[..] else { panic!("a picture has rank 4") };
    let (mean, std, s) = (&call.numbers["mean"], &call.numbers["std"], call.number("scale"));
    let mut scale = Vec::new();
    let y = Tensor::build(&[n, channels, h, w], |at| {
        let from = if call.words["order"] == "bgr" { channels - 1 - at[1] } else { at[1] };
        let x = call.x().at(&[at[0], at[2], at[3], from]) / s;
        let (mean, std) = (mean[at[1]], std[at[1]]);
        scale.push((x.abs() + mean.abs()) / std.abs());
        (x - mean) / std
    });
    Truth::rounded(y, scale, 6)
}

/// To another element type. Floats to integers: the part before the point, within range, NaN to 0.
pub fn cast(call: &Call) -> Truth {
    let whole = |v: f64, lo: f64, hi: f64| if v.is_nan() { 0.0 } else { clamped(v.trunc(), lo, hi) };
    Truth::exact(match call.words["to"].as_str() {
        "f32" => map(call.x(), |v| f64::from(v as f32)),
        "f64" => call.x().clone(),
        "i32" => map(call.x(), |v| whole(v, -2_147_483_648.0, 2_147_483_647.0)),
        "u8" => map(call.x(), |v| whole(v, 0.0, 255.0)),
        other => panic!("no element type {other}"),
    })
}
