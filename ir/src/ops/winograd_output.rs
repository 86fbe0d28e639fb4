//! `winograd_output`: y = Aᵀ[Σ_c u[·,c]·v[·,c]]A for each tile, then the epilogue: the products of a Winograd
//! convolution and their way back to an image.
//!
//! v: [N, strips, points, C/b, tiles, b] of `winograd_input`; u: [O/panel, points, C, panel] of `winograd_weight`;
//! y: [N,O,H,W]. The sum runs over c.

use super::common::{self, bad_attr};
use super::winograd::{
    COLUMNS, Grid, LONGEST_SUM, Matrix, ROWS, STRIDE, STRIP, Stride, Tiles, columns_times, magnitudes,
};
use crate::entity::{Buf, Reg};
use crate::grad::Gradient;
use crate::kernel::{Affine, KernelBuilder};
use crate::layout::Layout;
use crate::op::{Body, BodyCtx, Cost, OpCtx, OpDef, Problem, Properties};
use crate::types::{Dim, TensorType};

pub const WINOGRAD_OUTPUT: OpDef = OpDef {
    name: "winograd_output",
    doc: "y = A^T [sum over c of u*v] A for each tile, then the epilogue",
    operands: &["v", "u"],
    properties: Properties {
        epilogue: true,
        roundings: |ctx| ctx.operands[1].dims[2] + 2 * LONGEST_SUM,
        ..Properties::NONE
    },
    attrs: &[STRIDE, ROWS, COLUMNS, STRIP],
    shape,
    cost,
    body: Body::Loops(body),
    grad: Gradient::None("made by passes, after gradients are taken"),
};

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let grid = Grid::of(ctx.attrs)?;
    let (v, u) = (common::floats(ctx, 0)?, common::floats(ctx, 1)?);
    if ctx.operands[0].layout != Layout::Spaced {
        common::plain(ctx, 0)?;
    }
    common::plain(ctx, 1)?;
    let y = image(&grid, v, u)?;
    common::check_epilogue(ctx, &y)?;
    Ok(vec![y])
}

/// Type of the image that tiles `v` and filters `u` give.
pub fn image(grid: &Grid, v: &TensorType, u: &TensorType) -> Result<TensorType, Problem> {
    let (&[n, strips, points, blocks, tiles, block], &[panels, u_points, channels, panel]) =
        (&v.shape[..], &u.shape[..])
    else {
        let message = format!("expected transformed tiles of rank 6 and filters of rank 4, found {v} and {u}");
        return Err(Problem::new("E0201", message).operand(0));
    };
    let [i, j] = grid.points();
    let expected = [grid.strips(), i * j, grid.tiles()].map(|n| Dim::Size(n.cast_unsigned()));
    if [strips, points, tiles] != expected {
        let [s, p, t] = expected;
        return Err(bad_attr(format!("these tiles make [N,{s},{p},C/b,{t},b], the operand is {v}")));
    }
    let product = |a: Dim, b: Dim| a.size().zip(b.size()).and_then(|(a, b)| a.checked_mul(b));
    if u_points != points || channels.size() != product(blocks, block) {
        return Err(Problem::new("E0203", format!("filters {u} do not fit tiles {v}")).operand(1));
    }
    let outputs = product(panels, panel).ok_or_else(|| bad_attr("the number of output channels is not a number"))?;
    let shape = [n, outputs.into(), grid.height().cast_unsigned().into(), grid.width().cast_unsigned().into()];
    Ok(TensorType::new(v.dtype, shape))
}

/// The multiply-adds between the transforms.
pub fn cost(ctx: &OpCtx) -> Cost {
    let [v, u] = [0, 1].map(|i| ctx.operands[i].dims(ctx.batch));
    let products = Grid::of(ctx.attrs).map_or(0, |g| g.products().cast_unsigned());
    Cost { macs: v[0] * products * u[2] * u[0] * u[3], ..common::memory_cost(ctx) }
}

fn body(ctx: &BodyCtx) -> crate::Kernel {
    build(ctx, &Stride::output_matrix)
}

/// The body on sums of magnitudes: with |u| and |v| as operands it bounds what the transform back can amplify.
pub fn body_of_magnitudes(ctx: &BodyCtx) -> crate::Kernel {
    build(ctx, &|stride, m| magnitudes(stride.output_matrix(m)))
}

fn build(ctx: &BodyCtx, matrix: &dyn Fn(Stride, i64) -> Matrix) -> crate::Kernel {
    let grid =
        Grid::of(ctx.attrs).unwrap_or_else(|p| unreachable!("invariant: the shape rule has checked {}", p.message));
    let (&[images, strips, ..], &[panels, _, _, panel]) = (&ctx.operands[0].dims[..], &ctx.operands[1].dims[..]) else {
        unreachable!("invariant: the shape rule has checked the ranks");
    };
    let mut k = KernelBuilder::new("winograd_output");
    let (ins, out) = common::params(&mut k, ctx);
    let inverse = Inverse::new(&mut k, ctx, matrix, &grid, (&ins, out), ins[0]);
    let digits = common::tasks_over(&mut k, &[images, strips, panels * panel]);
    let [image, strip, channel] = &digits[..] else { unreachable!("invariant: three digits") };
    inverse.strip(&mut k, &At { image, strip, channel, place: [image, strip] });
    k.finish()
}

/// What is computed, and from which tiles.
pub struct At<'a> {
    pub image: &'a Affine,
    pub strip: &'a Affine,
    pub channel: &'a Affine,
    /// Image and strip among the tiles.
    pub place: [&'a Affine; 2],
}

/// Aᵀ[Σ_c u·v]A of strips, one output channel at a time.
pub struct Inverse<'a> {
    ctx: &'a BodyCtx<'a>,
    matrix: &'a dyn Fn(Stride, i64) -> Matrix,
    grid: &'a Grid,
    ins: &'a [Buf],
    out: Buf,
    tiles: Buf,
    products: Buf,
}

impl<'a> Inverse<'a> {
    /// From `tiles`, [images, strips, points, blocks, tiles, block], and operand 1 to the image in `out`.
    pub fn new(
        k: &mut KernelBuilder,
        ctx: &'a BodyCtx<'a>,
        matrix: &'a dyn Fn(Stride, i64) -> Matrix,
        grid: &'a Grid,
        (ins, out): (&'a [Buf], Buf),
        tiles: Buf,
    ) -> Inverse<'a> {
        let [height, width] = grid.points();
        let products = k.scratch("products", ctx.results[0].dtype, &[height, width, grid.tiles()]);
        Inverse { ctx, matrix, grid, ins, out, tiles, products }
    }

    pub fn strip(&self, k: &mut KernelBuilder, at: &At) {
        let (grid, channel, y) = (self.grid, at.channel, &self.ctx.results[0]);
        let [_, width] = grid.points();
        let (&[_, _, channels, panel], &[.., block]) = (&self.ctx.operands[1].dims[..], k.shape(self.tiles)) else {
            unreachable!("invariant: the shape rule has checked the ranks");
        };
        for (i, j, t) in grid.classes() {
            k.for_(i[0], i[1], |k, i| {
                k.for_(j[0], j[1], |k, j| {
                    let point = &i * width + &j;
                    k.for_(t[0], t[1], |k, t| {
                        let zero = k.constant(y.dtype, 1, 0.0);
                        let sum = k.for_carry(0, channels / block, &[zero], |k, c, sum| {
                            k.for_carry(0, block, sum, |k, b, sum| {
                                let v = [at.place[0], at.place[1], &point, &c, &t, &b].map(Affine::clone);
                                let row = &c * block + &b;
                                let u = [channel.floordiv(panel), point.clone(), row, channel.modulo(panel)];
                                let (v, u) = (k.load(self.tiles, &v), k.load(self.ins[1], &u));
                                vec![k.fma(v, u, sum[0])]
                            })
                        })[0];
                        k.store(self.products, &[i.clone(), j.clone(), t], sum);
                    });
                });
            });
        }
        for_tiles(k, grid, at.strip, &mut |k, tile| {
            let load = |k: &mut KernelBuilder, i: i64, j: i64| {
                k.load(self.products, &[i.into(), j.into(), tile.position.clone()])
            };
            let matrices = [tile.rows.size, tile.columns.size].map(|m| (self.matrix)(grid.stride, m));
            for (r, row) in (0..).zip(inverse(k, matrices, load)) {
                for (c, v) in (0..).zip(row) {
                    let at = [at.image.clone(), channel.clone(), &tile.row + r, &tile.column + c];
                    let v = common::epilogue(k, self.ctx, self.ins, &at, v);
                    k.store(self.out, &y.at(&at), v);
                }
            }
        });
    }
}

/// A tile inside a loop over tiles.
pub struct Tile {
    pub rows: Tiles,
    pub columns: Tiles,
    /// Its place in the strip.
    pub position: Affine,
    /// Its first output.
    pub row: Affine,
    pub column: Affine,
}

/// Emits `body` for every tile of strip number `strip`.
pub fn for_tiles(k: &mut KernelBuilder, grid: &Grid, strip: &Affine, body: &mut dyn FnMut(&mut KernelBuilder, &Tile)) {
    for rows in Grid::runs(&grid.rows) {
        // With several strips all rows are of one size.
        let count = if grid.strips() > 1 { grid.strip } else { rows.count };
        k.for_(rows.first, rows.first + count, |k, row| {
            for columns in Grid::runs(&grid.columns) {
                k.for_(columns.first, columns.first + columns.count, |k, column| {
                    let tile = Tile {
                        rows,
                        columns,
                        position: grid.position(&rows, &columns, &row, &column),
                        row: (&row - rows.first + strip * grid.strip) * rows.size + rows.start,
                        column: (&column - columns.first) * columns.size + columns.start,
                    };
                    body(k, &tile);
                });
            }
        });
    }
}

/// Aᵀ M A of one tile, with Aᵀ for rows and for columns; `load` gives M[i][j].
pub fn inverse(
    k: &mut KernelBuilder,
    [for_rows, for_columns]: [Matrix; 2],
    mut load: impl FnMut(&mut KernelBuilder, i64, i64) -> Reg,
) -> Vec<Vec<Reg>> {
    let points = |matrix: &Matrix| 0..matrix[0].len() as i64;
    let by_columns: Vec<Vec<Reg>> = points(&for_columns)
        .map(|j| {
            let column: Vec<Reg> = points(&for_rows).map(|i| load(k, i, j)).collect();
            columns_times(k, &for_rows, &column)
        })
        .collect();
    (0..for_rows.len())
        .map(|r| {
            let row: Vec<Reg> = by_columns.iter().map(|c| c[r]).collect();
            columns_times(k, &for_columns, &row)
        })
        .collect()
}
