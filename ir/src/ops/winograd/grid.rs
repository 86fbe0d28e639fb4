//! How an image is cut into tiles.

use super::{MAX_TILE, Stride};
use crate::kernel::Affine;
use crate::layout::Layout;
use crate::op::{AttrDef, AttrKind, Attrs, Problem};
use crate::types::Dim;

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

    /// Whether f32 holds every number on the way back from products of small integers: at stride 1 powers of ⅝ take more
    /// bits than it has from tiles of 3 on.
    pub fn is_exact_on_integers(&self) -> bool {
        self.stride == Stride::Two || self.rows.iter().chain(&self.columns).all(|&m| m <= 2)
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

/// Dimensions in memory of transformed tiles [images, strips, points, blocks, tiles, block] that are
/// [`Layout::Spaced`].
pub fn spaced(tiles: [i64; 6]) -> Vec<i64> {
    Layout::Spaced.physical(&tiles.map(i64::cast_unsigned)).into_iter().map(u64::cast_signed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
