//! Gradients of convolutions: every product of the forward sum is walked once, and what it contributes is scattered.

use super::{Call, Tensor, Truth};

/// Geometry of the convolution whose gradient is asked for.
struct Convolution {
    /// Images, channels, rows, columns.
    x: [usize; 4],
    /// Output channels, input channels of a group, rows, columns.
    w: [usize; 4],
    /// Images, channels, rows, columns of the result.
    y: [usize; 4],
}

fn four(dims: &[usize]) -> [usize; 4] {
    dims.try_into().expect("rank 4")
}

/// Calls `f` with the indices in image, filter and result of every product.
fn products(call: &Call, c: &Convolution, mut f: impl FnMut([usize; 4], [usize; 4], [usize; 4])) {
    let ([sh, sw], [dh, dw]) = (call.counts("stride"), call.counts("dilation"));
    let [top, left, _, _] = call.counts("pad");
    let [groups] = call.counts("groups");
    for n in 0..c.y[0] {
        for o in 0..c.y[1] {
            for i in 0..c.y[2] {
                for j in 0..c.y[3] {
                    for ch in 0..c.w[1] {
                        for r in 0..c.w[2] {
                            for q in 0..c.w[3] {
                                let (row, column) = (i * sh + r * dh, j * sw + q * dw);
                                let inside =
                                    (top..top + c.x[2]).contains(&row) && (left..left + c.x[3]).contains(&column);
                                if inside {
                                    let channel = o / (c.y[1] / groups) * c.w[1] + ch;
                                    f([n, channel, row - top, column - left], [o, ch, r, q], [n, o, i, j]);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A tensor under construction: sums, their magnitudes, and the most terms of any.
struct Sums {
    y: Tensor,
    scale: Vec<f64>,
    terms: Vec<usize>,
}

impl Sums {
    fn new(dims: &[usize]) -> Sums {
        let len = dims.iter().product();
        Sums { y: Tensor { dims: dims.to_vec(), data: vec![0.0; len] }, scale: vec![0.0; len], terms: vec![0; len] }
    }

    fn add(&mut self, index: &[usize], term: f64) {
        let at = index.iter().zip(&self.y.dims).fold(0, |p, (i, d)| p * d + i);
        self.y.data[at] += term;
        self.scale[at] += term.abs();
        self.terms[at] += 1;
    }

    /// However the terms are grouped, each of n takes part in at most n roundings.
    fn truth(self) -> Truth {
        let most = self.terms.iter().copied().max().unwrap_or(0);
        Truth::rounded(self.y, self.scale, most + 1)
    }
}

/// Part k takes the images from k·⌈N/splits⌉.
pub fn weight(call: &Call) -> Truth {
    let (x, g) = (call.x(), &call.inputs[1]);
    let ([kh, kw], [splits], [groups]) = (call.counts("kernel"), call.counts("splits"), call.counts("groups"));
    let c = Convolution { x: four(&x.dims), w: [g.dims[1], x.dims[1] / groups, kh, kw], y: four(&g.dims) };
    let part = x.dims[0].div_ceil(splits);
    let mut sums = Sums::new(&[splits, c.w[0], c.w[1], kh, kw]);
    products(call, &c, |at_x, [o, ch, r, q], at_y| {
        sums.add(&[at_y[0] / part, o, ch, r, q], x.at(&at_x) * g.at(&at_y));
    });
    sums.truth()
}

/// The filter comes with the channels of a group exchanged and its taps reversed.
pub fn input(call: &Call) -> Truth {
    let (g, w) = (call.x(), &call.inputs[1]);
    let ([h, width], [groups]) = (call.counts("input"), call.counts("groups"));
    let [channels, o, r, s] = four(&w.dims);
    let filter = [o * groups, channels / groups, r, s];
    let c = Convolution { x: [g.dims[0], channels, h, width], w: filter, y: four(&g.dims) };
    let mut sums = Sums::new(&c.x);
    products(call, &c, |at_x, at_w, at_y| {
        let flipped = [at_x[1], at_w[0] % o, r - 1 - at_w[2], s - 1 - at_w[3]];
        sums.add(&at_x, g.at(&at_y) * w.at(&flipped));
    });
    sums.truth()
}

/// In each group the output channels of one are the input channels of the other, with rows and columns reversed.
pub fn flip_filter(call: &Call) -> Truth {
    let w = call.x();
    let [groups] = call.counts("groups");
    let &[o, c, r, s] = &w.dims[..] else { panic!("a filter has rank 4") };
    let mut y = Tensor { dims: vec![c * groups, o / groups, r, s], data: vec![f64::NAN; w.data.len()] };
    for (i, &v) in w.data.iter().enumerate() {
        let (row, column, channel, out) = (i / s % r, i % s, i / (s * r) % c, i / (s * r * c));
        let group = out / (o / groups);
        let at = ((group * c + channel) * (o / groups) + out % (o / groups)) * r * s;
        y.data[at + (r - 1 - row) * s + (s - 1 - column)] = v;
    }
    Truth::exact(y)
}

/// The order of additions is a promise, but the bound holds for any.
pub fn sum_splits(call: &Call) -> Truth {
    let x = call.x();
    let mut sums = Sums::new(&x.dims[1..]);
    let below = sums.y.data.len();
    for (i, &v) in x.data.iter().enumerate() {
        sums.y.data[i % below] += v;
        sums.scale[i % below] += v.abs();
    }
    Truth::rounded(sums.y, sums.scale, x.dims[0] - 1)
}
