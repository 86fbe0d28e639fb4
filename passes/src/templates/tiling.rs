//! Dividing rows into register tiles, and work into tasks.

use ir::kernel::{Affine, KernelBuilder};
use ir::target::{Target, Tile};

/// Columns of a filter or window that are unrolled; the bodies of ops loop over wider ones.
pub const MOST_TAPS: i64 = 32;

/// Lengths of the tiles that a row of `len` is cut into: as equal as possible, none above `max`
/// (14 by 6 gives 5 + 5 + 4, not 6 + 6 + 2: narrow tiles leave the multipliers waiting).
pub fn split(len: i64, max: i64) -> Vec<i64> {
    let n = (len + max - 1) / max;
    (0..n).map(|i| len / n + i64::from(i < len % n)).collect()
}

/// The register tile for a row of channel blocks: of those in the target's list whose width divides it the one that
/// is `panel` blocks wide, or else the first.
pub fn pick_tile(target: &Target, channel_blocks: i64, panel: u64) -> Option<Tile> {
    let mut fitting = target.tiles.iter().copied().filter(|t| channel_blocks % i64::from(t.blocks) == 0);
    fitting.clone().find(|t| u64::from(t.blocks) == panel).or_else(|| fitting.next())
}

/// A run of `count` tiles of `pixels` columns from column `start`, all with the same taps outside the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub start: i64,
    pub pixels: i64,
    pub count: i64,
    /// (pixel, tap) pairs that fall into the padding.
    pub skip: Vec<(i64, i64)>,
}

/// Geometry of one row of outputs.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub outputs: i64,
    pub inputs: i64,
    pub taps: i64,
    pub stride: i64,
    pub pad: i64,
    pub dilation: i64,
}

impl Row {
    /// Input column of an output column and tap, possibly outside.
    pub fn column(&self, out: i64, tap: i64) -> i64 {
        out * self.stride + tap * self.dilation - self.pad
    }

    /// Cuts the row into runs of tiles of at most `max` pixels.
    pub fn runs(&self, max: i64) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut start = 0;
        for pixels in split(self.outputs, max) {
            let outside = |p: i64, t: i64| !(0..self.inputs).contains(&self.column(start + p, t));
            let skip: Vec<_> =
                (0..self.taps).flat_map(|t| (0..pixels).map(move |p| (p, t))).filter(|&(p, t)| outside(p, t)).collect();
            match runs.last_mut() {
                Some(r) if r.pixels == pixels && r.skip == skip => r.count += 1,
                _ => runs.push(Run { start, pixels, count: 1, skip }),
            }
            start += pixels;
        }
        runs
    }
}

impl Run {
    /// Emits `body` for every tile of the run with its number in the run and its first column.
    pub fn for_each(&self, k: &mut KernelBuilder, body: impl FnOnce(&mut KernelBuilder, &Affine, &Affine)) {
        let (start, pixels) = (self.start, self.pixels);
        if self.count == 1 {
            body(k, &Affine::constant(0), &Affine::constant(start));
        } else {
            k.for_(0, self.count, |k, q| body(k, &q, &(&q * pixels + start)));
        }
    }
}

/// Most columns of the rows that [`flatten`] makes: with more, one row would be one task.
const LONGEST_ROW: i64 = 64;

/// Rows and columns that a map of `h`×`w` is treated as when its pixels are independent (1×1, stride 1): columns
/// that tile well, yet enough rows to share between workers.
pub fn flatten(h: i64, w: i64, max_pixels: i64) -> (i64, i64) {
    let total = h * w;
    // The narrowest tile decides the speed: prefer row lengths whose tiles are all close to the widest.
    let waste = |len: i64| {
        let tiles = split(len, max_pixels);
        (tiles.len() as i64 * max_pixels - len) * total / len
    };
    let columns = (1..=total.min(LONGEST_ROW)).filter(|c| total % c == 0 && *c >= w.min(28));
    let best = columns.min_by_key(|&c| (waste(c), c)).unwrap_or(w);
    (total / best, best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_evenly() {
        assert_eq!(split(14, 6), [5, 5, 4]);
        assert_eq!(split(7, 6), [4, 3]);
        assert_eq!(split(6, 6), [6]);
    }

    #[test]
    fn border_tiles_skip_their_padding_taps() {
        let row = Row { outputs: 18, inputs: 18, taps: 3, stride: 1, pad: 1, dilation: 1 };
        let runs = row.runs(6);
        assert_eq!(runs.len(), 3);
        assert_eq!(runs[0].skip, [(0, 0)]);
        assert_eq!(runs[1].skip, []);
        assert_eq!(runs[2].skip, [(5, 2)]);
    }

    #[test]
    fn flattened_maps_keep_their_size() {
        for (h, w) in [(7, 7), (14, 14), (28, 28), (56, 56), (1, 1), (5, 13)] {
            let (r, c) = flatten(h, w, 6);
            assert_eq!(r * c, h * w, "{h}x{w}");
        }
    }
}
