//! Folding the vectors of a batch normalisation: in f64, rounded once to the element type.

use super::{Call, Tensor, Truth};

/// The result is rounded once; before that at most 8 roundings in f64, relative to the magnitudes in `scale64`.
pub fn once(y: Tensor, scale64: Vec<f64>) -> Truth {
    let scale = y.data.iter().map(|v| v.abs()).collect();
    Truth { y, scale, roundings: 1.0, scale64, roundings64: 8.0 }
}

/// w[o,…]·γ[o]/√(σ²[o] + ε)
pub fn weight(call: &Call) -> Truth {
    let eps = call.number("eps");
    let y = Tensor::build(&call.x().dims, |at| {
        let (gamma, var) = (call.of_channel(1, at[0]), call.of_channel(2, at[0]));
        call.x().at(at) * gamma / (var + eps).sqrt()
    });
    let scale = y.data.iter().map(|v| v.abs()).collect();
    once(y, scale)
}

/// γ/√(σ² + ε)
pub fn bn_scale(call: &Call) -> Truth {
    let eps = call.number("eps");
    let y = Tensor::build(&call.x().dims, |at| call.x().at(at) / (call.of_channel(1, at[0]) + eps).sqrt());
    let scale = y.data.iter().map(|v| v.abs()).collect();
    once(y, scale)
}

/// β + (b − μ)·γ/√(σ² + ε), b = 0 if there is no fifth operand
pub fn bias(call: &Call) -> Truth {
    let eps = call.number("eps");
    let mut scale = Vec::new();
    let y = Tensor::build(&call.x().dims, |at| {
        let [beta, gamma, mean, var] = [0, 1, 2, 3].map(|i| call.of_channel(i, at[0]));
        let b = if call.inputs.len() > 4 { call.of_channel(4, at[0]) } else { 0.0 };
        let shift = (b - mean) * gamma / (var + eps).sqrt();
        scale.push(beta.abs() + shift.abs());
        beta + shift
    });
    once(y, scale)
}
