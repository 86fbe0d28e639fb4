//! Winograd convolution F(m×m, 3×3) at stride 1 and 2: its points and matrices; how an image is cut into tiles
//! (`grid.rs`); products with the matrices that share their halves (`sums.rs`).
//!
//! A tile of m outputs along one axis is y = Aᵀ[(G w) ⊙ (Bᵀ x)] with fewer products than the 3m of the definition. Row
//! i of G evaluates the filter at the i-th point, row i of Bᵀ holds the coefficients of the Lagrange polynomial of
//! that point, column i of Aᵀ its powers.
//!
//! - Stride 1: m+2 products of m+2 inputs, at the points 0, ⅝, ∞, −⅝, 1½, −1½: of all whose matrices are exact
//!   in f32 these had the least error over 256 channels, less than half of the usual 0, 1, −1, 2, −2, ∞.
//! - Stride 2: 2m+1 products of 2m+1 inputs. The outer taps meet every second input only: they are a filter of two
//!   taps at stride 1, F(m,2), with m+1 products at the points ½, ∞, −½, 1½, −1½: half the error of 0, ∞, 1, −1, 2.
//!   The middle tap meets the others: one product an output, which is a point too, if one counts as a point what a row
//!   of Bᵀ picks.
//!
//! A tile of m outputs uses the first points of its list. So tiles of different size share one set of transformed
//! weights, and any length is cut exactly: 14 = 4 + 4 + 4 + 2. What the scaling of G demands goes into Bᵀ, whose
//! entries are exact in f32 for every m.
//!
//! Sources: Winograd, "Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks", CVPR 2016; Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd
//! Convolution for Deep Neural Networks", ACM TOMS 46(4), 2020, for the choice of points; Huang et al., "DWM: A
//! Decomposable Winograd Method for Convolution Acceleration", AAAI 2020, for strides.

mod grid;
mod sums;

pub use grid::{COLUMNS, Grid, ROWS, STRIP, Tiles, spaced};
pub use sums::{columns_times, rows_times};

use super::pool;
use crate::op::{AttrDef, Attrs, Problem};

/// Largest tile.
pub const MAX_TILE: i64 = 4;
/// Terms of a row of a transform at most, with their products.
pub const LONGEST_SUM: i64 = 12;

#[derive(Clone, Copy)]
enum Point {
    /// A number a, and the scale 1/d of its row of G: d = Π (a − b) over the other finite points.
    Finite(f64, f64),
    Infinity,
    /// The middle tap of an output, at stride 2.
    Middle(i64),
}

use Point::{Finite, Infinity, Middle};

const STRIDE_1: [Point; 6] = [
    Finite(0.0, 225.0 / 256.0),
    Finite(0.625, -2975.0 / 2048.0),
    Infinity,
    Finite(-0.625, -2975.0 / 2048.0),
    Finite(1.5, 1071.0 / 128.0),
    Finite(-1.5, 1071.0 / 128.0),
];

const STRIDE_2: [Point; 9] = [
    Finite(0.5, -2.0),
    Infinity,
    Middle(0),
    Finite(-0.5, 2.0),
    Middle(1),
    Finite(1.5, 6.0),
    Middle(2),
    Finite(-1.5, -6.0),
    Middle(3),
];

/// A transform: rows of coefficients.
pub type Matrix = Vec<Vec<f64>>;

/// Distance of the windows of neighbouring outputs along both axes: decides on points and matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stride {
    One,
    Two,
}

/// Attribute that holds a [`Stride`].
pub const STRIDE: AttrDef = pool::STRIDE;

impl Stride {
    /// `None` if there is no such method for these strides of height and width.
    pub fn of(stride: [u64; 2]) -> Option<Stride> {
        match stride {
            [1, 1] => Some(Stride::One),
            [2, 2] => Some(Stride::Two),
            _ => None,
        }
    }

    /// The stride of a node.
    ///
    /// Errors: E0209 if it is neither 1x1 nor 2x2.
    pub fn of_attrs(attrs: &Attrs) -> Result<Stride, Problem> {
        let [h, w] = attrs.pair("stride");
        Stride::of([h, w]).ok_or_else(|| Problem::new("E0209", format!("stride={h}x{w} is neither 1x1 nor 2x2")))
    }

    pub fn step(self) -> i64 {
        match self {
            Stride::One => 1,
            Stride::Two => 2,
        }
    }

    /// Points that a tile of `m` outputs uses: as many as it has inputs.
    pub fn points(self, m: i64) -> i64 {
        (m - 1) * self.step() + 3
    }

    fn used(self, m: i64) -> &'static [Point] {
        let all: &[Point] = match self {
            Stride::One => &STRIDE_1,
            Stride::Two => &STRIDE_2,
        };
        &all[..self.points(m) as usize]
    }

    /// Row `i` of G: what filter taps 0, 1, 2 count for at point `i`.
    pub fn filter_row(self, i: usize) -> [f64; 3] {
        match (self, self.used(MAX_TILE)[i]) {
            (Stride::One, Finite(a, d)) => [1.0 / d, a / d, a * a / d],
            (Stride::Two, Finite(a, d)) => [1.0 / d, 0.0, a / d],
            (_, Infinity) => [0.0, 0.0, 1.0],
            (_, Middle(_)) => [0.0, 1.0, 0.0],
        }
    }

    /// Bᵀ for a tile of `m` outputs: points × inputs.
    pub fn input_matrix(self, m: i64) -> Matrix {
        let used = self.used(m);
        let finite: Vec<f64> = used.iter().filter_map(|p| if let Finite(a, _) = p { Some(*a) } else { None }).collect();
        let row = |point: &Point| {
            let mut row = vec![0.0; used.len()];
            let (own, d) = match *point {
                Finite(a, d) => (Some(a), d),
                Infinity => (None, 1.0),
                Middle(j) => {
                    row[(2 * j + 1) as usize] = 1.0;
                    return row;
                }
            };
            let (mut coefficients, mut divisor) = (vec![1.0], 1.0);
            for &a in finite.iter().filter(|&&a| Some(a) != own) {
                // times (x − a)
                let mut next = vec![0.0; coefficients.len() + 1];
                for (i, c) in coefficients.iter().enumerate() {
                    next[i + 1] += c;
                    next[i] -= a * c;
                }
                coefficients = next;
                divisor *= own.map_or(1.0, |p| p - a);
            }
            // The inputs that outer taps meet are as far apart as windows are.
            for (input, c) in row.iter_mut().step_by(self.step() as usize).zip(coefficients) {
                *input = if c == 0.0 { 0.0 } else { c * d / divisor };
            }
            row
        };
        used.iter().map(row).collect()
    }

    /// Aᵀ for a tile of `m` outputs: outputs × points.
    pub fn output_matrix(self, m: i64) -> Matrix {
        let entry = |j: i64, point: &Point| match *point {
            Finite(a, _) => a.powi(i32::try_from(j).expect("invariant: tiles are small")),
            Infinity => f64::from(u8::from(j == m - 1)),
            Middle(of) => f64::from(u8::from(j == of)),
        };
        (0..m).map(|j| self.used(m).iter().map(|p| entry(j, p)).collect()).collect()
    }
}

/// |M|, element by element.
pub fn magnitudes(m: Matrix) -> Matrix {
    m.into_iter().map(|r| r.into_iter().map(f64::abs).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The defining identity: y_j = Σ_k x_{j·stride + k}·w_k.
    #[test]
    fn matrices_compute_correlations_of_every_size() {
        for (stride, m) in [Stride::One, Stride::Two].into_iter().flat_map(|s| (1..=MAX_TILE).map(move |m| (s, m))) {
            let (at, bt, points) = (stride.output_matrix(m), stride.input_matrix(m), stride.points(m) as usize);
            assert!(bt.iter().flatten().all(|&c| f64::from(c as f32) == c), "{bt:?}");
            for (j, k, t) in (0..m as usize).flat_map(|j| (0..3).flat_map(move |k| (0..points).map(move |t| (j, k, t))))
            {
                let sum: f64 = (0..points).map(|i| at[j][i] * stride.filter_row(i)[k] * bt[i][t]).sum();
                let expected = f64::from(u8::from(t == j * stride.step() as usize + k));
                assert!((sum - expected).abs() < 1e-12, "{stride:?} m {m} j {j} k {k} t {t}: {sum}");
            }
        }
    }
}
