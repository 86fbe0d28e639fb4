//! Bilinear resizing with antialiasing, in the integers that Pillow computes in.
//!
//! For output position `i` of an axis shortened by `scale` (input / output length): centre `c = (i + ½)·scale`,
//! support `max(scale, 1)`, weights of a triangle around `c` normalised in f64, then rounded to 22 fractional bits.
//! Horizontal pass first, rounded to bytes, then vertical. (Pillow 13 swaps the passes for some tall pictures; the
//! difference is at most one level.)
//!
//! Only the window that the crop will keep is computed: neither time nor memory grows with an extreme aspect ratio.

use alloc::vec::Vec;
use core::ops::Range;

const FRACTION_BITS: u32 = 22;
const HALF: i32 = 1 << (FRACTION_BITS - 1);

/// Weights of one output position: `weights[k]` belongs to input position `first + k`.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The weights for output positions `window` of an axis that goes from `input` to `output` positions.
fn taps(input: usize, output: usize, window: Range<usize>) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    let support = scale.max(1.0);
    let steepness = 1.0 / support;
    window
        .map(|i| {
            let centre = (i as f64 + 0.5) * scale;
            // Conversions truncate, as Pillow's do.
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(input);
            let mut weights: Vec<f64> =
                (first..end).map(|x| (1.0 - ((x as f64 - centre + 0.5) * steepness).abs()).max(0.0)).collect();
            let sum: f64 = weights.iter().sum();
            if sum != 0.0 {
                weights.iter_mut().for_each(|w| *w /= sum);
            }
            // Weights are not negative, so adding a half and truncating rounds to nearest.
            let fixed = weights.iter().map(|w| (w * f64::from(1 << FRACTION_BITS) + 0.5) as i32).collect();
            Taps { first, weights: fixed }
        })
        .collect()
}

fn round(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

/// Resizes RGB `pixels` of `width` × `height` to `to` (width, height) and returns the window `columns` × `rows` of it.
///
/// Invariants of the caller: all lengths are positive, the window lies inside `to`, `pixels` has 3 bytes a pixel.
pub fn resize_window(
    pixels: &[u8],
    width: usize,
    height: usize,
    to: (usize, usize),
    columns: Range<usize>,
    rows: Range<usize>,
) -> Vec<u8> {
    let horizontal = taps(width, to.0, columns);
    let vertical = taps(height, to.1, rows);
    let first_row = vertical.iter().map(|t| t.first).min().unwrap_or(0);
    let end_row = vertical.iter().map(|t| t.first + t.weights.len()).max().unwrap_or(0);

    let row_bytes = 3 * horizontal.len();
    let mut narrow = Vec::with_capacity(row_bytes * (end_row - first_row));
    for row in pixels.chunks_exact(3 * width).take(end_row).skip(first_row) {
        for t in &horizontal {
            let mut sums = [HALF; 3];
            for (pixel, &w) in row[3 * t.first..].as_chunks::<3>().0.iter().zip(&t.weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += w * i32::from(value);
                }
            }
            narrow.extend(sums.map(round));
        }
    }

    let mut out = Vec::with_capacity(row_bytes * vertical.len());
    let mut sums = alloc::vec![HALF; row_bytes];
    for t in &vertical {
        sums.fill(HALF);
        let rows = narrow[row_bytes * (t.first - first_row)..].chunks_exact(row_bytes);
        for (row, &w) in rows.zip(&t.weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += w * i32::from(value);
            }
        }
        out.extend(sums.iter().map(|&s| round(s)));
    }
    out
}

/// Lengths after resizing the shorter side to `side`; the other is truncated.
pub fn shorter_side_to(side: usize, width: usize, height: usize) -> (usize, usize) {
    if width <= height {
        (side, ((side as u128 * height as u128) / width as u128) as usize)
    } else {
        (((side as u128 * width as u128) / height as u128) as usize, side)
    }
}
