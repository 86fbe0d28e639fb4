//! What training adds: statistics, gradients of everything but convolutions, the loss, the update.

use super::{Call, Tensor, Truth};

/// Sums over everything but the channels, part k over the images k·⌈N/splits⌉ and on: `term(index)` gives a number and
/// the size of what was rounded on the way to it. Also the number of elements of a channel.
fn channel_sums(call: &Call, term: impl Fn(&[usize]) -> [f64; 2]) -> (Tensor, Vec<f64>, f64) {
    let x = call.x();
    let ([splits], channels) = (call.counts("splits"), x.dims[1]);
    let part = x.dims[0].div_ceil(splits);
    let mut y = Tensor { dims: vec![splits, channels], data: vec![0.0; splits * channels] };
    let mut scale = y.data.clone();
    Tensor::build(&x.dims, |at| {
        let [value, size] = term(at);
        y.data[at[0] / part * channels + at[1]] += value;
        scale[at[0] / part * channels + at[1]] += size;
        0.0
    });
    (y, scale, (x.data.len() / channels) as f64)
}

/// More roundings than a row has elements, and than there are rows.
fn enough(call: &Call) -> usize {
    call.x().data.len() / call.x().dims[1] + 8
}

pub fn channel_sum(call: &Call) -> Truth {
    let (y, scale, _) = channel_sums(call, |at| [call.x().at(at), call.x().at(at).abs()]);
    Truth::rounded(y, scale, enough(call))
}

pub fn channel_dot(call: &Call) -> Truth {
    let (y, scale, _) = channel_sums(call, |at| {
        let product = call.x().at(at) * call.inputs[1].at(at);
        [product, product.abs()]
    });
    Truth::rounded(y, scale, enough(call))
}

/// Everything is rounded in f64 alone.
pub fn channel_moments(call: &Call) -> Truth {
    let (y, scale, _) = channel_sums(call, |at| {
        let x = call.x().at(at);
        if call.result == 0 { [x, x.abs()] } else { [x * x, x * x] }
    });
    let (no_f32, roundings64) = (vec![0.0; scale.len()], enough(call) as f64);
    Truth { y, scale: no_f32, roundings: 1.0, scale64: scale, roundings64 }
}

/// Parts are added and divided in f64, and the result is rounded to the element type.
pub fn batch_statistics(call: &Call) -> Truth {
    let [splits, channels] = [0, 1].map(|i| call.inputs[1].dims[i]);
    let count = (call.x().data.len() / channels) as f64;
    let sum =
        |i: usize, c: usize, f: fn(f64) -> f64| (0..splits).map(|k| f(call.inputs[i].at(&[k, c]))).sum::<f64>() / count;
    let mut scale64 = Vec::new();
    let y = Tensor::build(&[channels], |at| {
        let (mean, size) = (sum(1, at[0], |x| x), sum(1, at[0], f64::abs));
        scale64.push(if call.result == 0 { size } else { size * size + sum(2, at[0], f64::abs) });
        let var = sum(2, at[0], |x| x) - mean * mean;
        // Unlike `f64::max` this keeps a NaN.
        if call.result == 0 {
            mean
        } else if var < 0.0 {
            0.0
        } else {
            var
        }
    });
    let scale = y.data.iter().map(|v| v.abs()).collect();
    Truth { y, scale, roundings: 1.0, scale64, roundings64: (2 * splits + 8) as f64 }
}

pub fn running_average(call: &Call) -> Truth {
    let m = call.number("momentum");
    let factor = call.inputs.get(2).map_or(1.0, |x| {
        let count = (x.data.len() / x.dims[1]) as f64;
        count / (count - 1.0)
    });
    let mut scale = Vec::new();
    let y = Tensor::build(&call.x().dims, |at| {
        let (kept, new) = ((1.0 - m) * call.x().at(at), m * factor * call.inputs[1].at(at));
        scale.push(kept.abs() + new.abs());
        kept + new
    });
    Truth::rounded(y, scale, 5)
}

pub fn batch_norm_grad_params(call: &Call) -> Truth {
    let eps = call.number("eps");
    let (y, scale, _) = channel_sums(call, |at| {
        let (g, x) = (call.x().at(at), call.inputs[1].at(at));
        if call.result == 1 {
            return [g, g.abs()];
        }
        let [mean, var] = [2, 3].map(|i| call.of_channel(i, at[1]));
        let term = g * (x - mean) / (var + eps).sqrt();
        [term, term.abs()]
    });
    Truth::rounded(y, scale, enough(call))
}

pub fn batch_norm_grad_input(call: &Call) -> Truth {
    let eps = call.number("eps");
    let count = (call.x().data.len() / call.x().dims[1]) as f64;
    let mut scale = Vec::new();
    let y = Tensor::build(&call.x().dims, |at| {
        let (g, x) = (call.x().at(at), call.inputs[1].at(at));
        let [gamma, mean, var, dgamma, dbeta] = [2, 3, 4, 5, 6].map(|i| call.of_channel(i, at[1]));
        let deviation = (var + eps).sqrt();
        let normal = (x - mean) / deviation;
        let terms = [g, -dbeta / count, -normal * dgamma / count];
        scale.push(terms.iter().map(|t| t.abs()).sum::<f64>() * (gamma / deviation).abs());
        terms.iter().sum::<f64>() * gamma / deviation
    });
    Truth::rounded(y, scale, 16)
}

pub fn scale(call: &Call) -> Truth {
    let y = Tensor::build(&call.x().dims, |at| call.x().at(at) * call.of_channel(1, at[1]));
    let size = y.data.iter().map(|v| v.abs()).collect();
    Truth::rounded(y, size, 1)
}

pub fn bias(call: &Call) -> Truth {
    let mut size = Vec::new();
    let y = Tensor::build(&call.x().dims, |at| {
        let (x, b) = (call.x().at(at), call.of_channel(1, at[1]));
        size.push(x.abs() + b.abs());
        x + b
    });
    Truth::rounded(y, size, 1)
}

pub fn relu_grad(call: &Call) -> Truth {
    Truth::exact(Tensor::build(&call.x().dims, |at| if call.inputs[1].at(at) > 0.0 { call.x().at(at) } else { 0.0 }))
}

pub fn clamp_grad(call: &Call) -> Truth {
    let (lo, hi) = (call.number("lo"), call.number("hi"));
    Truth::exact(Tensor::build(&call.x().dims, |at| {
        let x = call.inputs[1].at(at);
        if x < lo || x > hi { 0.0 } else { call.x().at(at) }
    }))
}

pub fn fill(call: &Call) -> Truth {
    let value = call.number("value");
    Truth::exact(Tensor::build(&call.x().dims, |_| value))
}

/// A tensor that gradients are scattered into, with the sum of their sizes.
struct Scattered {
    y: Tensor,
    scale: Vec<f64>,
}

impl Scattered {
    fn new(dims: &[usize]) -> Scattered {
        let len = dims.iter().product();
        Scattered { y: Tensor { dims: dims.to_vec(), data: vec![0.0; len] }, scale: vec![0.0; len] }
    }

    fn add(&mut self, at: &[usize], v: f64) {
        let i = at.iter().zip(&self.y.dims).fold(0, |p, (i, d)| p * d + i);
        self.y.data[i] += v;
        self.scale[i] += v.abs();
    }
}

/// Calls `f` with each output of a pool: its index, the positions of its window in the image, row by row, and the
/// number of taps in the padded image.
fn windows(call: &Call, [h, w]: [usize; 2], mut f: impl FnMut(&[usize], &[[usize; 2]], usize)) {
    let ([kh, kw], [sh, sw]) = (call.counts("kernel"), call.counts("stride"));
    let [top, left, bottom, right] = call.counts("pad");
    let dims = call.x().dims.clone();
    Tensor::build(&dims, |at| {
        let (mut inside, mut padded) = (Vec::new(), 0);
        for (row, column) in (0..kh).flat_map(|r| (0..kw).map(move |q| (r, q))) {
            let (row, column) = (at[2] * sh + row, at[3] * sw + column);
            padded += usize::from(row < top + h + bottom && column < left + w + right);
            if (top..top + h).contains(&row) && (left..left + w).contains(&column) {
                inside.push([row - top, column - left]);
            }
        }
        f(at, &inside, padded);
        0.0
    });
}

/// Each gradient goes to the first of the greatest elements of its window.
pub fn max_pool_grad(call: &Call) -> Truth {
    let x = &call.inputs[1];
    let mut out = Scattered::new(&x.dims);
    windows(call, [x.dims[2], x.dims[3]], |at, inside, _| {
        let value = |p: &[usize; 2]| x.at(&[at[0], at[1], p[0], p[1]]);
        let greatest = inside.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
        let first = inside.iter().find(|p| value(p) == greatest).expect("a window is not empty");
        out.add(&[at[0], at[1], first[0], first[1]], call.x().at(at));
    });
    let [kh, kw] = call.counts("kernel");
    Truth::rounded(out.y, out.scale, kh * kw)
}

pub fn avg_pool_grad(call: &Call) -> Truth {
    let [h, w] = call.counts("input");
    let mut out = Scattered::new(&[call.x().dims[0], call.x().dims[1], h, w]);
    let include_pad = call.flag("count_include_pad");
    windows(call, [h, w], |at, inside, padded| {
        let count = if include_pad { padded } else { inside.len() } as f64;
        inside.iter().for_each(|p| out.add(&[at[0], at[1], p[0], p[1]], call.x().at(at) / count));
    });
    let [kh, kw] = call.counts("kernel");
    Truth::rounded(out.y, out.scale, kh * kw + 1)
}

pub fn global_avg_pool_grad(call: &Call) -> Truth {
    let ([h, w], x) = (call.counts("input"), call.x());
    let y = Tensor::build(&[x.dims[0], x.dims[1], h, w], |at| x.at(&at[..2]) / (h * w) as f64);
    let size = y.data.iter().map(|v| v.abs()).collect();
    Truth::rounded(y, size, 2)
}

pub fn subsample_grad(call: &Call) -> Truth {
    let ([h, w], [sh, sw], g) = (call.counts("input"), call.counts("step"), call.x());
    let mut out = Scattered::new(&[g.dims[0], g.dims[1], h, w]);
    Tensor::build(&g.dims, |at| {
        out.add(&[at[0], at[1], at[2] * sh, at[3] * sw], g.at(at));
        0.0
    });
    Truth::exact(out.y)
}

pub fn slice_channels(call: &Call) -> Truth {
    let ([start], [count], x) = (call.counts("start"), call.counts("count"), call.x());
    let dims = [x.dims[0], count, x.dims[2], x.dims[3]];
    Truth::exact(Tensor::build(&dims, |at| x.at(&[at[0], at[1] + start, at[2], at[3]])))
}

pub fn crop2d(call: &Call) -> Truth {
    let ([top, left, bottom, right], x) = (call.counts("pad"), call.x());
    let dims = [x.dims[0], x.dims[1], x.dims[2] - top - bottom, x.dims[3] - left - right];
    Truth::exact(Tensor::build(&dims, |at| x.at(&[at[0], at[1], at[2] + top, at[3] + left])))
}

pub fn transpose(call: &Call) -> Truth {
    let x = call.x();
    Truth::exact(Tensor::build(&[x.dims[1], x.dims[0]], |at| x.at(&[at[1], at[0]])))
}

pub fn dense_grad_weight(call: &Call) -> Truth {
    let (x, g) = (call.x(), &call.inputs[1]);
    let images = x.dims[0];
    let mut size = Vec::new();
    let y = Tensor::build(&[g.dims[1], x.dims[1]], |at| {
        let terms: Vec<f64> = (0..images).map(|n| g.at(&[n, at[0]]) * x.at(&[n, at[1]])).collect();
        size.push(terms.iter().map(|t| t.abs()).sum());
        terms.iter().sum()
    });
    Truth::rounded(y, size, images + 1)
}

pub fn softmax_grad(call: &Call) -> Truth {
    let (g, y) = (call.x(), &call.inputs[1]);
    let n = *g.dims.last().expect("softmax has an axis");
    let (mut out, mut size) = (Vec::new(), Vec::new());
    for (g, y) in g.data.chunks(n).zip(y.data.chunks(n)) {
        let mean: f64 = g.iter().zip(y).map(|(g, y)| g * y).sum();
        let mean_size: f64 = g.iter().zip(y).map(|(g, y)| (g * y).abs()).sum();
        for (g, y) in g.iter().zip(y) {
            out.push(y * (g - mean));
            size.push(y.abs() * (g.abs() + mean_size));
        }
    }
    Truth::rounded(Tensor { dims: g.dims.clone(), data: out }, size, n + 3)
}

/// For each row: its logits less their maximum, their softmax, and the targets.
fn rows(call: &Call, mut f: impl FnMut(&[f64], &[f64], &[f64])) {
    let (n, smoothing) = (call.x().dims[1], call.number("label_smoothing"));
    for (row, &label) in call.x().data.chunks(n).zip(&call.inputs[1].data) {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shifted: Vec<f64> = row.iter().map(|v| v - max).collect();
        let sum: f64 = shifted.iter().map(|v| v.exp()).sum();
        let p: Vec<f64> = shifted.iter().map(|v| v.exp() / sum).collect();
        let target = |k: usize| smoothing / n as f64 + if k as f64 == label { 1.0 - smoothing } else { 0.0 };
        f(&shifted, &p, &(0..n).map(target).collect::<Vec<_>>());
    }
}

/// −Σ t·log p, the mean over rows. Errors as those of `softmax`, whose sums these are.
pub fn cross_entropy(call: &Call) -> Truth {
    let (mut loss, mut size) = (0.0, 0.0);
    rows(call, |x, p, t| {
        loss -= t.iter().zip(p).map(|(t, p)| if *t == 0.0 { 0.0 } else { t * p.ln() }).sum::<f64>();
        let distance = x.iter().map(|x| x.abs()).fold(0.0, f64::max);
        size += 1.0 + distance + (p.len() as f64).ln();
    });
    let images = call.x().dims[0] as f64;
    Truth::rounded(Tensor { dims: vec![1], data: vec![loss / images] }, vec![size / images], call.x().dims[1] + 20)
}

pub fn cross_entropy_grad(call: &Call) -> Truth {
    let (mut y, mut size) = (Vec::new(), Vec::new());
    let g = call.inputs[2].data[0] / call.x().dims[0] as f64;
    rows(call, |x, p, t| {
        let mean: f64 = x.iter().zip(p).map(|(x, p)| x.abs() * p).sum();
        for ((x, p), t) in x.iter().zip(p).zip(t) {
            y.push(g * (p - t));
            size.push(g.abs() * (p * (1.0 + x.abs() + mean) + t));
        }
    });
    Truth::rounded(Tensor { dims: call.x().dims.clone(), data: y }, size, call.x().dims[1] + 24)
}

pub fn sgd_step(call: &Call) -> Truth {
    let [w, v, g] = [0, 1, 2].map(|i| &call.inputs[i]);
    let (lr, momentum, decay) = (call.inputs[3].data[0], call.number("momentum"), call.number("weight_decay"));
    let mut size = Vec::new();
    let y = Tensor::build(&w.dims, |at| {
        let (w, v, g) = (w.at(at), v.at(at), g.at(at));
        let d = g + decay * w;
        let d_size = g.abs() + (decay * w).abs();
        let (next, next_size) = (momentum * v + d, (momentum * v).abs() + d_size);
        if call.result == 1 {
            size.push(next_size);
            return next;
        }
        let nesterov = call.flag("nesterov");
        let along = if nesterov { d + momentum * next } else { next };
        let along_size = if nesterov { d_size + momentum * next_size } else { next_size };
        size.push(w.abs() + lr.abs() * along_size);
        w - lr * along
    });
    Truth::rounded(y, size, 8)
}
