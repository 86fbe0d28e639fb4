//! Pools: a window slides over the padded image; only its part inside the image is read.

use super::{Call, Tensor, Truth};

/// Number of windows along one dimension. With `ceil`, a last one may stick out behind, but must begin inside the
/// image or the padding before it.
fn windows(n: usize, kernel: usize, stride: usize, before: usize, after: usize, ceil: bool) -> usize {
    let mut count = 0;
    loop {
        let start = count * stride;
        let fits = start + kernel <= n + before + after;
        // A window that sticks out counts with `ceil` only if the one before it left something over.
        let partial = ceil && (count == 0 || start - stride + kernel < n + before + after) && start < n + before;
        if !fits && !partial {
            return count;
        }
        count += 1;
    }
}

/// For each output element: the elements of its window inside the image, and the number of taps inside the padded
/// image.
fn pool(call: &Call, mut f: impl FnMut(&[f64], usize) -> f64) -> Tensor {
    let &[n, c, h, w] = &call.x().dims[..] else { panic!("an image has rank 4") };
    let [kh, kw] = call.counts("kernel");
    let [sh, sw] = call.counts("stride");
    let [top, left, bottom, right] = call.counts("pad");
    let ceil = call.flag("ceil_mode");
    let dims = [n, c, windows(h, kh, sh, top, bottom, ceil), windows(w, kw, sw, left, right, ceil)];
    Tensor::build(&dims, |at| {
        let (mut inside, mut padded) = (Vec::new(), 0);
        for row in at[2] * sh..at[2] * sh + kh {
            for column in at[3] * sw..at[3] * sw + kw {
                if row < top + h + bottom && column < left + w + right {
                    padded += 1;
                }
                if (top..top + h).contains(&row) && (left..left + w).contains(&column) {
                    inside.push(call.x().at(&[at[0], at[1], row - top, column - left]));
                }
            }
        }
        f(&inside, padded)
    })
}

/// The greatest element of the window; NaN if there is one.
pub fn max_pool(call: &Call) -> Truth {
    Truth::exact(pool(call, |window, _| {
        let mut best = f64::NEG_INFINITY;
        for &v in window {
            if v.is_nan() || v > best {
                best = v;
            }
            if v.is_nan() {
                break;
            }
        }
        best
    }))
}

/// Σ x / count: K − 1 sums and a quotient (or a product with a rounded reciprocal).
pub fn avg_pool(call: &Call) -> Truth {
    let include_pad = call.flag("count_include_pad");
    let mut scale = Vec::new();
    let y = pool(call, |window, padded| {
        let count = if include_pad { padded } else { window.len() } as f64;
        scale.push(window.iter().map(|v| v.abs()).sum::<f64>() / count);
        window.iter().sum::<f64>() / count
    });
    let [kh, kw] = call.counts("kernel");
    Truth::rounded(y, scale, kh * kw + 1)
}

/// Σ x / (H·W)
pub fn global_avg_pool(call: &Call) -> Truth {
    let &[n, c, h, w] = &call.x().dims[..] else { panic!("an image has rank 4") };
    let mut scale = Vec::new();
    let y = Tensor::build(&[n, c], |at| {
        let first = (at[0] * c + at[1]) * h * w;
        let image = &call.x().data[first..first + h * w];
        scale.push(image.iter().map(|v| v.abs()).sum::<f64>() / (h * w) as f64);
        image.iter().sum::<f64>() / (h * w) as f64
    });
    Truth::rounded(y, scale, h * w + 1)
}
