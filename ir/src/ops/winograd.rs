//! Winograd convolution F(m×m, 3×3) at stride 1 and 2: tiles, transform matrices, and sums that share their halves.
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

use super::pool;
use crate::entity::Reg;
use crate::kernel::{Affine, KernelBuilder};
use crate::op::{AttrDef, AttrKind, Attrs, Problem};
use crate::types::Dim;

/// Largest tile.
pub const MAX_TILE: i64 = 4;

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

/// Channel blocks and tiles to allocate for so many, in scratch memory [points, blocks, tiles, block]: a transform writes
/// all points of a tile one after the other, and were they a multiple of 1 KiB apart, as sizes of networks make them, more
/// of them would share a set of the first cache than it has ways.
pub fn apart([blocks, tiles]: [i64; 2], block: i64) -> [i64; 2] {
    let is_apart = |&[blocks, tiles]: &[i64; 2]| blocks * tiles * block * 4 % 1024 != 0;
    let wider = [[blocks, tiles], [blocks, tiles + 1], [blocks + 1, tiles], [blocks + 1, tiles + 1]];
    wider.into_iter().find(is_apart).unwrap_or([blocks, tiles])
}

/// |M|, element by element.
pub fn magnitudes(m: Matrix) -> Matrix {
    m.into_iter().map(|r| r.into_iter().map(f64::abs).collect()).collect()
}

/// How an image is cut into tiles, and the tiles into strips of whole tile rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    pub stride: Stride,
    /// Heights of the tile rows and widths of the tile columns: equal but for smaller ones at the end.
    pub rows: Vec<i64>,
    pub columns: Vec<i64>,
    /// Tile rows of a strip.
    pub strip: i64,
}

/// Attributes that hold a [`Grid`].
pub const ROWS: AttrDef =
    AttrDef { name: "rows", kind: AttrKind::Dims, default: None, doc: "heights of the tile rows" };
pub const COLUMNS: AttrDef =
    AttrDef { name: "columns", kind: AttrKind::Dims, default: None, doc: "widths of the tile columns" };
pub const STRIP: AttrDef =
    AttrDef { name: "strip", kind: AttrKind::Int, default: None, doc: "tile rows that are computed together" };

/// Tiles of one size that are neighbours along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Index of the first, and how many.
    pub first: i64,
    pub count: i64,
    /// Outputs of each, and the first output.
    pub size: i64,
    pub start: i64,
}

impl Grid {
    /// A grid from the attributes of a node.
    ///
    /// Errors: E0209 if the stride is not 1x1 or 2x2, if lengths are not 1..=4, grow, are of more than two sizes, or if
    /// strips do not divide the rows.
    pub fn of(attrs: &Attrs) -> Result<Grid, Problem> {
        let sizes = |name: &str| -> Vec<i64> {
            attrs.dims(name).iter().map(|d| if let Dim::Size(n) = d { n.cast_signed() } else { 0 }).collect()
        };
        let stride = Stride::of_attrs(attrs)?;
        let grid = Grid { stride, rows: sizes("rows"), columns: sizes("columns"), strip: attrs.int("strip") };
        for (name, tiles) in [("rows", &grid.rows), ("columns", &grid.columns)] {
            let fit = !tiles.is_empty() && tiles.iter().all(|m| (1..=MAX_TILE).contains(m));
            let mut sizes = tiles.clone();
            sizes.dedup();
            if !fit || sizes.len() > 2 || !sizes.is_sorted_by(|a, b| a > b) {
                let message =
                    format!("{name}={tiles:?} are not tiles of 1 to {MAX_TILE}, large ones before small ones");
                return Err(Problem::new("E0209", message));
            }
        }
        let count = grid.rows.len() as i64;
        if grid.strip < 1 || count % grid.strip != 0 || (grid.is_mixed() && grid.strip != count) {
            let message = format!("strips of {} do not divide {count} tile rows of one size", grid.strip);
            return Err(Problem::new("E0209", message));
        }
        Ok(grid)
    }

    /// Whether there are tiles of several sizes.
    pub fn is_mixed(&self) -> bool {
        self.rows.first() != self.rows.last() || self.columns.first() != self.columns.last()
    }

    /// Makes strips as short as `fewest` tiles allow; a grid of several sizes of tiles is one strip.
    pub fn cut_into_strips(&mut self, fewest: i64) {
        let (count, columns) = (self.rows.len() as i64, self.columns.len() as i64);
        let is_enough = |&strip: &i64| count % strip == 0 && strip * columns >= fewest && !self.is_mixed();
        self.strip = (1..=count).find(is_enough).unwrap_or(count);
    }

    pub fn strips(&self) -> i64 {
        self.rows.len() as i64 / self.strip
    }

    /// Tiles of one strip.
    pub fn tiles(&self) -> i64 {
        self.strip * self.columns.len() as i64
    }

    /// Points along the height and the width.
    pub fn points(&self) -> [i64; 2] {
        [self.rows[0], self.columns[0]].map(|m| self.stride.points(m))
    }

    /// Output rows.
    pub fn height(&self) -> i64 {
        self.rows.iter().sum()
    }

    /// Output columns.
    pub fn width(&self) -> i64 {
        self.columns.iter().sum()
    }

    /// Large and small tiles along an axis.
    pub fn runs(tiles: &[i64]) -> Vec<Tiles> {
        let mut runs: Vec<Tiles> = Vec::new();
        let mut start = 0;
        for (i, &size) in (0..).zip(tiles) {
            match runs.last_mut() {
                Some(r) if r.size == size => r.count += 1,
                _ => runs.push(Tiles { first: i, count: 1, size, start }),
            }
            start += size;
        }
        runs
    }

    /// Numbers of large and small tiles along an axis.
    fn counts(tiles: &[i64]) -> [i64; 2] {
        let runs = Grid::runs(tiles);
        [runs[0].count, runs.get(1).map_or(0, |r| r.count)]
    }

    /// Position in its strip of the tile in row `row` (counted from the strip's first) and column `column`, both of
    /// which lie in the given runs.
    ///
    /// The order is: large × small, large × large, small × large, small × small, so that the tiles which use a point
    /// are neighbours whichever point it is.
    pub fn position(&self, rows: &Tiles, columns: &Tiles, row: &Affine, column: &Affine) -> Affine {
        let ([large_rows, _], [large, small]) = (Grid::counts(&self.rows), Grid::counts(&self.columns));
        let (row, column) = (row - rows.first, column - columns.first);
        if !self.is_mixed() {
            return row * large + column;
        }
        let (a, b) = (large_rows * small, large_rows * large);
        let small_rows = self.rows.len() as i64 - large_rows;
        match (rows.first > 0, columns.first > 0) {
            (false, true) => row * small + column,
            (false, false) => row * large + column + a,
            (true, false) => row * large + column + (a + b),
            (true, true) => row * small + column + (a + b + small_rows * large),
        }
    }

    /// Products that one image takes for each pair of channels.
    pub fn products(&self) -> i64 {
        let of = |(i, j, t): &([i64; 2], [i64; 2], [i64; 2])| (i[1] - i[0]) * (j[1] - j[0]) * (t[1] - t[0]);
        self.strips() * self.classes().iter().map(of).sum::<i64>()
    }

    /// Blocks of points with the range of tiles that use them: (points along the height, along the width, tiles).
    pub fn classes(&self) -> Vec<([i64; 2], [i64; 2], [i64; 2])> {
        let ([large_rows, small_rows], [large, small]) = (Grid::counts(&self.rows), Grid::counts(&self.columns));
        let [height, width] = self.points();
        let [few_rows, few_columns] =
            [&self.rows, &self.columns].map(|tiles| self.stride.points(tiles.last().copied().unwrap_or(1)));
        let total = self.tiles();
        let wide = [large_rows * small, total - small_rows * small];
        let tall = [0, total - small_rows * (large + small)];
        let all = [
            ([0, few_rows], [0, few_columns], [0, total]),
            ([0, few_rows], [few_columns, width], wide),
            ([few_rows, height], [0, few_columns], tall),
            ([few_rows, height], [few_columns, width], [wide[0], tall[1]]),
        ];
        all.into_iter().filter(|(i, j, _)| i[0] < i[1] && j[0] < j[1]).collect()
    }
}

/// Σ cᵢ·xᵢ; a missing value is zero. `None` if nothing is left.
fn combine(k: &mut KernelBuilder, terms: &[(f64, Option<Reg>)]) -> Option<Reg> {
    let mut terms: Vec<(f64, Reg)> = terms.iter().filter(|t| t.0 != 0.0).filter_map(|&(c, x)| Some((c, x?))).collect();
    // Terms without a product first, a positive one in front.
    terms.sort_by_key(|(c, _)| if *c == 1.0 { 0 } else { 1 + i32::from(c.abs() != 1.0) });
    let (&(c, x), rest) = terms.split_first()?;
    let ty = k.ty(x);
    let mut sum = match c {
        1.0 => x,
        _ => {
            let c = k.constant(ty.dtype, ty.lanes, c);
            k.mul(x, c)
        }
    };
    for &(c, x) in rest {
        sum = match c {
            1.0 => k.add(sum, x),
            -1.0 => k.sub(sum, x),
            _ => {
                let c = k.constant(ty.dtype, ty.lanes, c);
                k.fma(x, c, sum)
            }
        };
    }
    Some(sum)
}

/// M·x. Rows that are equal up to signs (points a and −a) share their even and odd halves.
pub fn rows_times(k: &mut KernelBuilder, matrix: &[Vec<f64>], xs: &[Option<Reg>]) -> Vec<Option<Reg>> {
    let mirrored = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a.abs() == b.abs());
    let mut out = vec![None; matrix.len()];
    let mut done = vec![false; matrix.len()];
    for i in 0..matrix.len() {
        if std::mem::replace(&mut done[i], true) {
            continue;
        }
        let a = &matrix[i];
        let Some(mate) = (i + 1..matrix.len()).find(|&j| !done[j] && mirrored(a, &matrix[j])) else {
            out[i] = combine(k, &a.iter().copied().zip(xs.iter().copied()).collect::<Vec<_>>());
            continue;
        };
        let b = &matrix[mate];
        let mut half = |same: bool| {
            let terms = (0..xs.len()).filter(|&t| (a[t] == b[t]) == same).map(|t| (a[t], xs[t]));
            combine(k, &terms.collect::<Vec<_>>())
        };
        let (even, odd) = (half(true), half(false));
        out[i] = combine(k, &[(1.0, even), (1.0, odd)]);
        out[mate] = combine(k, &[(1.0, even), (-1.0, odd)]);
        done[mate] = true;
    }
    out
}

/// M·x. Columns that are equal up to signs enter through the sum and the difference of their values.
pub fn columns_times(k: &mut KernelBuilder, matrix: &[Vec<f64>], xs: &[Reg]) -> Vec<Reg> {
    let (mut matrix, mut xs) = (matrix.to_vec(), xs.to_vec());
    for a in 0..xs.len() {
        for b in a + 1..xs.len() {
            let mirrored = matrix.iter().all(|r| r[a].abs() == r[b].abs()) && matrix.iter().any(|r| r[a] != r[b]);
            if !mirrored {
                continue;
            }
            let (sum, difference) = (k.add(xs[a], xs[b]), k.sub(xs[a], xs[b]));
            for r in &mut matrix {
                if r[a] == r[b] {
                    r[b] = 0.0;
                } else {
                    (r[a], r[b]) = (0.0, r[a]);
                }
            }
            (xs[a], xs[b]) = (sum, difference);
        }
    }
    let some: Vec<Option<Reg>> = xs.iter().copied().map(Some).collect();
    let sum = |k: &mut KernelBuilder, r: &Vec<f64>| {
        combine(k, &r.iter().copied().zip(some.iter().copied()).collect::<Vec<_>>())
            .expect("invariant: every output has a point")
    };
    matrix.iter().map(|r| sum(k, r)).collect()
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

    #[test]
    fn the_tiles_of_a_point_are_neighbours() {
        for stride in [Stride::One, Stride::Two] {
            tiles_of_a_point(&Grid { stride, rows: vec![4, 4, 4, 2], columns: vec![4, 4, 1], strip: 4 });
        }
    }

    fn tiles_of_a_point(grid: &Grid) {
        let (rows, columns) = (Grid::runs(&grid.rows), Grid::runs(&grid.columns));
        let points = |m| grid.stride.points(m);
        for (i, j, tiles) in grid.classes() {
            let mut users = Vec::new();
            for (r, c) in rows.iter().flat_map(|r| columns.iter().map(move |c| (r, c))) {
                if points(r.size) >= i[1] && points(c.size) >= j[1] {
                    for (row, column) in (0..r.count).flat_map(|a| (0..c.count).map(move |b| (a, b))) {
                        let at = [row + r.first, column + c.first].map(Affine::constant);
                        users.push(grid.position(r, c, &at[0], &at[1]).as_constant());
                    }
                }
            }
            users.sort_unstable();
            assert_eq!(users, (tiles[0]..tiles[1]).map(Some).collect::<Vec<_>>(), "points {i:?} x {j:?}");
        }
    }
}
