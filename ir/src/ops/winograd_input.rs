//! `winograd_input`: v[n, s, (i,j), c/b, t, c%b] = Σ Bᵀ[i,r]·x[n, c, s·row + r − 1, s·column + q − 1]·Bᵀ[j,q]: the tiles
//! of an image, padded by one, at the points of a Winograd convolution.
//!
//! x: [N,C,H,W]; v: [N, strips, rows·columns, C/b, tiles of a strip, b], plain or with the room of
//! [`Layout::Spaced`](crate::Layout::Spaced). Points that a smaller tile does not use are zero. [`Grid`] says which tile
//! is which.

use super::common::{self, attr, bad_attr};
use super::winograd::{COLUMNS, Grid, LONGEST_SUM, Matrix, ROWS, STRIDE, STRIP, Stride, Tiles, magnitudes, rows_times};
use crate::entity::{Buf, Reg};
use crate::grad::Gradient;
use crate::kernel::build::{max_of, min_of};
use crate::kernel::{Affine, KernelBuilder};
use crate::op::{AttrKind, Body, BodyCtx, Cost, OpCtx, OpDef, Problem, Properties};
use crate::types::{DType, Dim, TensorType};

pub const WINOGRAD_INPUT: OpDef = OpDef {
    name: "winograd_input",
    doc: "v = B^T x B for each tile and channel of an image padded by one",
    operands: &["x"],
    properties: Properties { roundings: |_| 2 * LONGEST_SUM, ..Properties::NONE },
    attrs: &[
        STRIDE,
        ROWS,
        COLUMNS,
        STRIP,
        attr("block", AttrKind::Int, None, "channels that are neighbours in memory"),
    ],
    shape,
    cost: |ctx| Cost { macs: 0, ..common::memory_cost(ctx) },
    body: Body::Loops(|ctx| build(ctx, 1, &Stride::input_matrix)),
    grad: Gradient::None("made by passes, after gradients are taken"),
};

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let grid = Grid::of(ctx.attrs)?;
    let [c, ..] = common::image(ctx, 0)?;
    let block = u64::try_from(ctx.attrs.int("block")).ok().filter(|&b| b > 0 && c % b == 0);
    let block = block.ok_or_else(|| bad_attr(format!("the block does not divide {c} channels")))?;
    Ok(vec![tiles(ctx, &grid, block)?])
}

/// Type of the transformed tiles of operand 0, in blocks of `block` channels, if it is an image that the grid covers.
pub fn tiles(ctx: &OpCtx, grid: &Grid, block: u64) -> Result<TensorType, Problem> {
    let [c, h, w] = common::image(ctx, 0)?;
    let outputs = [h, w].map(|n| n.div_ceil(grid.stride.step().cast_unsigned()));
    if [grid.height(), grid.width()].map(i64::cast_unsigned) != outputs {
        let [rows, columns] = outputs;
        let message = format!(
            "the tiles make {}x{} outputs, an image of {h}x{w} has {rows}x{columns}",
            grid.height(),
            grid.width()
        );
        return Err(bad_attr(message));
    }
    let x = &ctx.operands[0];
    let [i, j] = grid.points();
    let size = |n: i64| Dim::Size(n.cast_unsigned());
    let blocks = c / block.max(1);
    let shape = [x.shape[0], size(grid.strips()), size(i * j), blocks.into(), size(grid.tiles()), block.into()];
    Ok(TensorType::new(x.dtype, shape))
}

/// The kernel on vectors of `lanes` channels, which are neighbours in `x`: 1, or the block of both layouts.
pub fn kernel(ctx: &BodyCtx, lanes: u32) -> crate::Kernel {
    build(ctx, lanes, &Stride::input_matrix)
}

/// The body on sums of magnitudes: with |x| as operand it bounds what the transform can amplify.
pub fn body_of_magnitudes(ctx: &BodyCtx) -> crate::Kernel {
    build(ctx, 1, &|stride, m| magnitudes(stride.input_matrix(m)))
}

fn build(ctx: &BodyCtx, lanes: u32, matrix: &dyn Fn(Stride, i64) -> Matrix) -> crate::Kernel {
    let grid =
        Grid::of(ctx.attrs).unwrap_or_else(|p| unreachable!("invariant: the shape rule has checked {}", p.message));
    let v = &ctx.results[0];
    let (&[images, strips, _, blocks, tiles, block], &[_, _, points, all_blocks, all_tiles, _]) =
        (&v.dims[..], &v.physical()[..])
    else {
        unreachable!("invariant: the shape rule gives six dimensions");
    };
    let mut k = KernelBuilder::new(format!("winograd_input_{}x{}_{}", grid.height(), grid.width(), blocks * block));
    let (ins, out) = common::params(&mut k, ctx);
    let parts = block / i64::from(lanes);
    let digits = common::tasks_over(&mut k, &[images, strips, all_blocks, parts]);
    // With room for a block more one task fills it.
    let [image, strip, room, part] = &digits[..] else { unreachable!("invariant: four digits") };
    let lane = &(part * i64::from(lanes));
    let transform = Transform::new(&mut k, ctx, matrix, &grid, [ins[0], out], lanes);
    let fill = |k: &mut KernelBuilder, [first, end]: [i64; 2]| {
        let zero = k.constant(v.dtype, lanes, 0.0);
        common::nest(k, &[points, end - first], &mut |k, at| {
            let tile = &at[1] + first;
            k.store(out, &[image, strip, &at[0], room, &tile, lane].map(Affine::clone), zero);
        });
    };
    let whole = |k: &mut KernelBuilder, channel_block: &Affine| {
        transform.strip(k, &At { image, strip, channel_block, lane, place: [image, strip, room] });
        fill(k, [tiles, all_tiles]);
    };
    if blocks == all_blocks {
        whole(&mut k, room);
    } else {
        let next = room + 1;
        k.for_(room.clone(), min_of([next.clone(), blocks.into()]), |k, block| whole(k, &block));
        k.for_(max_of([room.clone(), blocks.into()]), next, |k, _| fill(k, [0, all_tiles]));
    }
    k.finish()
}

/// Runs in which all tiles reach equally far out of the image: the first and the last stand alone.
fn split_borders(runs: Vec<Tiles>) -> Vec<Tiles> {
    let total = runs.iter().map(|r| r.count).sum::<i64>();
    let part = |r: &Tiles, from: i64, to: i64| Tiles {
        first: from,
        count: to - from,
        start: r.start + (from - r.first) * r.size,
        ..*r
    };
    let mut out = Vec::new();
    for r in runs {
        let end = r.first + r.count;
        let cuts = [r.first, 1.clamp(r.first, end), (total - 1).max(1).clamp(r.first, end), end];
        out.extend(cuts.windows(2).filter(|c| c[0] < c[1]).map(|c| part(&r, c[0], c[1])));
    }
    out
}

/// Makes scratch memory for tiles zero where there are several strips or sizes of tiles: the loops over the parts that
/// they have in common, with each other and with the image's border, fill all of it, but the verifier cannot see it.
pub fn clear(k: &mut KernelBuilder, grid: &Grid, tiles: Buf, dtype: DType, lanes: u32) {
    if grid.strips() == 1 && !grid.is_mixed() {
        return;
    }
    let zero = k.constant(dtype, lanes, 0.0);
    let mut dims = k.shape(tiles).to_vec();
    dims[5] /= i64::from(lanes);
    common::nest(k, &dims, &mut |k, at| {
        let [outer @ .., lane] = at else { unreachable!("invariant: tiles have six dimensions") };
        k.store(tiles, &[outer, &[lane * i64::from(lanes)]].concat(), zero);
    });
}

/// What is transformed, and where the tiles go.
pub struct At<'a> {
    pub image: &'a Affine,
    pub strip: &'a Affine,
    pub channel_block: &'a Affine,
    /// First channel inside the block.
    pub lane: &'a Affine,
    /// Image, strip and channel block among the tiles.
    pub place: [&'a Affine; 3],
}

/// Bᵀ x B of strips of operand 0.
pub struct Transform<'a> {
    ctx: &'a BodyCtx<'a>,
    matrix: &'a dyn Fn(Stride, i64) -> Matrix,
    grid: &'a Grid,
    x: Buf,
    out: Buf,
    /// Bᵀ x, before the columns are transformed.
    half: Buf,
    lanes: u32,
    /// Channels of a block of the tiles.
    block: i64,
    dtype: DType,
}

impl<'a> Transform<'a> {
    /// From the image in `x` to the tiles in `out`, [images, strips, points, blocks, tiles, block], on vectors of
    /// `lanes` channels.
    pub fn new(
        k: &mut KernelBuilder,
        ctx: &'a BodyCtx<'a>,
        matrix: &'a dyn Fn(Stride, i64) -> Matrix,
        grid: &'a Grid,
        [x, out]: [Buf; 2],
        lanes: u32,
    ) -> Transform<'a> {
        let (dtype, [i, j]) = (ctx.operands[0].dtype, grid.points());
        let half = k.scratch("half", dtype, &[i * j, i64::from(lanes)]);
        let block = k.shape(out).last().copied().unwrap_or(1);
        Transform { ctx, matrix, grid, x, out, half, lanes, block, dtype }
    }

    /// Transforms a block of channels of a strip.
    pub fn strip(&self, k: &mut KernelBuilder, at: &At) {
        let (grid, strip) = (self.grid, at.strip);
        for rows in split_borders(Grid::runs(&grid.rows)) {
            let first = max_of([Affine::constant(rows.first), strip * grid.strip]);
            let end = min_of([Affine::constant(rows.first + rows.count), strip * grid.strip + grid.strip]);
            k.for_(first, end, |k, row| {
                for columns in split_borders(Grid::runs(&grid.columns)) {
                    k.for_(columns.first, columns.first + columns.count, |k, column| {
                        self.tile(k, at, (&rows, &row), (&columns, &column));
                    });
                }
            });
        }
    }

    fn tile(&self, k: &mut KernelBuilder, at: &At, rows: (&Tiles, &Affine), columns: (&Tiles, &Affine)) {
        let ((rows, row), (columns, column)) = (rows, columns);
        let stride = self.grid.stride;
        let [height, width] = [rows.size, columns.size].map(|m| stride.points(m));
        let [by_rows, by_columns] = [rows.size, columns.size].map(|m| (self.matrix)(stride, m));
        let zero = k.constant(self.dtype, self.lanes, 0.0);
        let (top, left) = (self.origin(rows, row), self.origin(columns, column));
        let [.., image_height, image_width] = self.ctx.operands[0].dims[..] else {
            unreachable!("invariant: the shape rule has checked that this is an image");
        };
        let (inside_rows, inside_columns) = (self.inside(rows, image_height), self.inside(columns, image_width));

        for q in (0..width).filter(|q| inside_columns.contains(q)) {
            let xs: Vec<Option<Reg>> = (0..height)
                .map(|r| inside_rows.contains(&r).then(|| self.load(k, at, &(&top + r), &(&left + q))))
                .collect();
            for (i, v) in (0..).zip(rows_times(k, &by_rows, &xs)) {
                k.store(self.half, &[Affine::constant(i * width + q), 0.into()], v.unwrap_or(zero));
            }
        }
        // Opaque, or a back end keeps all of them in registers that it does not have.
        let half = k.view(self.half, &[0.into(), 0.into()], true);
        // Tiles are counted from the first row of the strip; a mixed grid has one strip.
        let row = row - &(at.strip * self.grid.strip);
        let (rows, columns) = self.runs_of(rows, columns);
        let tile = self.grid.position(&rows, &columns, &row, column);
        let [all_rows, all_columns] = self.grid.points();
        for i in 0..all_rows {
            let xs: Vec<Option<Reg>> = (0..width)
                .map(|q| {
                    (i < height && inside_columns.contains(&q))
                        .then(|| k.load_vec(half, self.lanes, &[Affine::constant(i * width + q), 0.into()]))
                })
                .collect();
            let mut vs = rows_times(k, &by_columns, &xs);
            vs.resize(all_columns as usize, None);
            for (j, v) in (0..).zip(vs) {
                let ([image, strip, block], point) = (at.place.map(Affine::clone), i * all_columns + j);
                let index = [image, strip, point.into(), block, tile.clone(), at.lane.clone()];
                k.store(self.out, &index, v.unwrap_or(zero));
            }
        }
    }

    /// The runs of equal tiles that the given parts belong to.
    fn runs_of(&self, rows: &Tiles, columns: &Tiles) -> (Tiles, Tiles) {
        let whole = |tiles: &[i64], part: &Tiles| {
            let mut runs = Grid::runs(tiles).into_iter();
            runs.find(|r| r.size == part.size).expect("invariant: a part belongs to a run")
        };
        (whole(&self.grid.rows, rows), whole(&self.grid.columns, columns))
    }

    fn load(&self, k: &mut KernelBuilder, at: &At, row: &Affine, column: &Affine) -> Reg {
        let x = &self.ctx.operands[0];
        let channel = at.channel_block * self.block + at.lane;
        k.load_vec(self.x, self.lanes, &x.at(&[at.image.clone(), channel, row.clone(), column.clone()]))
    }

    /// First input row (or column) of a tile: one before that of its first output.
    fn origin(&self, tiles: &Tiles, index: &Affine) -> Affine {
        let step = self.grid.stride.step();
        (index - tiles.first) * (tiles.size * step) + (tiles.start * step - 1)
    }

    /// Inputs of every tile of a run that lie inside `len` elements.
    fn inside(&self, tiles: &Tiles, len: i64) -> std::ops::Range<i64> {
        let step = self.grid.stride.step();
        let last = (tiles.start + (tiles.count - 1) * tiles.size) * step - 1;
        (1 - tiles.start * step).max(0)..self.grid.stride.points(tiles.size).min(len - last)
    }
}
