//! Convolution and dense layer, and the steps after their sums.
//!
//! A sum of K products: |err| ≤ γ_K·Σ|x·w| where products and sums are fused, γ_{K+1} where they are not.

use super::{After, Call, Tensor, Truth};

/// y[n,o,i,j] = Σ x[n, c, i·s + r·d − p, j·s + q·d − p] · w[o, c, r, q]
pub fn conv2d(call: &Call) -> Truth {
    let (x, w) = (call.x(), &call.inputs[1]);
    let [sh, sw] = call.counts("stride");
    let [dh, dw] = call.counts("dilation");
    let [top, left, bottom, right] = call.counts("pad");
    let [groups] = call.counts("groups");
    let &[n, channels, h, width] = &x.dims[..] else { panic!("an image has rank 4") };
    let &[oc, ic, kh, kw] = &w.dims[..] else { panic!("a filter has rank 4") };
    let rows = (h + top + bottom - dh * (kh - 1) - 1) / sh + 1;
    let columns = (width + left + right - dw * (kw - 1) - 1) / sw + 1;
    let mut scale = Vec::new();
    let y = Tensor::build(&[n, oc, rows, columns], |at| {
        let &[n, o, i, j] = at else { unreachable!() };
        let first = o / (oc / groups) * (channels / groups);
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for c in 0..ic {
            for r in 0..kh {
                for q in 0..kw {
                    let (row, column) = (i * sh + r * dh, j * sw + q * dw);
                    if row < top || row >= top + h || column < left || column >= left + width {
                        continue;
                    }
                    let term = x.at(&[n, first + c, row - top, column - left]) * w.at(&[o, c, r, q]);
                    sum += term;
                    magnitude += term.abs();
                }
            }
        }
        scale.push(magnitude);
        sum
    });
    finish(call, Truth::rounded(y, scale, ic * kh * kw + 1))
}

/// y[n,o] = Σ x[n,i] · w[o,i]
pub fn dense(call: &Call) -> Truth {
    let (x, w) = (call.x(), &call.inputs[1]);
    let width = x.dims[1];
    let mut scale = Vec::new();
    let y = Tensor::build(&[x.dims[0], w.dims[0]], |at| {
        let terms = (0..width).map(|i| x.at(&[at[0], i]) * w.at(&[at[1], i]));
        scale.push(terms.clone().map(f64::abs).sum());
        terms.sum()
    });
    finish(call, Truth::rounded(y, scale, width + 1))
}

/// Applies the steps in order. A sum adds one rounding, a product with a sum two; relu, clamp and
/// masks move no two values further apart.
pub fn finish(call: &Call, mut t: Truth) -> Truth {
    let dims = t.y.dims.clone();
    let below: usize = dims[2..].iter().product();
    let mut steps = 0.0;
    for step in call.after {
        for i in 0..t.y.data.len() {
            let channel = i / below % dims[1];
            let (y, scale) = (&mut t.y.data[i], &mut t.scale[i]);
            match *step {
                After::Bias(b) => {
                    *y += call.of_channel(b, channel);
                    *scale += call.of_channel(b, channel).abs();
                }
                After::ScaleShift(a, b) => {
                    let (a, b) = (call.of_channel(a, channel), call.of_channel(b, channel));
                    *y = a * *y + b;
                    *scale = a.abs() * *scale + b.abs();
                }
                After::Add(s) => {
                    *y += call.inputs[s].data[i];
                    *scale += call.inputs[s].data[i].abs();
                }
                After::Relu => *y = super::elementwise::clamped(*y, 0.0, f64::INFINITY),
                After::Clamp(lo, hi) => *y = super::elementwise::clamped(*y, lo, hi),
                After::ReluGrad(s) if call.inputs[s].data[i] > 0.0 => {}
                After::ReluGrad(_) => (*y, *scale) = (0.0, 0.0),
            }
        }
        steps += match step {
            After::Bias(_) | After::Add(_) => 1.0,
            After::ScaleShift(..) => 2.0,
            After::Relu | After::Clamp(..) | After::ReluGrad(_) => 0.0,
        };
    }
    t.scale64 = t.scale.clone();
    t.roundings += steps;
    t.roundings64 += steps;
    t
}
