//! `winograd_conv2d`: y = Aᵀ[Σ_c u[·,c]·(Bᵀ x B)[·,c]]A for each tile, then the epilogue: `winograd_input` and
//! `winograd_output` in one, whose tiles never leave the caches of the core that makes them.
//!
//! x: [N,C,H,W]; u: [O/panel, points, C, panel] of `winograd_weight`; y: [N,O,P,Q]. The sum runs over c.

use super::common;
use super::winograd::{COLUMNS, Grid, LONGEST_SUM, Matrix, ROWS, STRIDE, STRIP, Stride, magnitudes};
use super::{winograd_input, winograd_output};
use crate::grad::Gradient;
use crate::kernel::{Kernel, KernelBuilder};
use crate::op::{Body, BodyCtx, Cost, OpCtx, OpDef, Problem, Properties};
use crate::types::TensorType;

pub const WINOGRAD_CONV2D: OpDef = OpDef {
    name: "winograd_conv2d",
    doc: "y = A^T [sum over c of u * B^T x B] A for each tile of an image padded by one, then the epilogue",
    operands: &["x", "u"],
    properties: Properties {
        epilogue: true,
        roundings: |ctx| ctx.operands[1].dims[2] + 4 * LONGEST_SUM,
        ..Properties::NONE
    },
    attrs: &[STRIDE, ROWS, COLUMNS, STRIP],
    shape,
    cost,
    body: Body::Loops(|ctx| build(ctx, &Stride::input_matrix, &Stride::output_matrix)),
    grad: Gradient::None("made by passes, after gradients are taken"),
};

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let grid = Grid::of(ctx.attrs)?;
    let [c, ..] = common::image(ctx, 0)?;
    let tiles = winograd_input::tiles(ctx, &grid, c)?;
    common::plain(ctx, 1)?;
    let y = winograd_output::image(&grid, &tiles, common::floats(ctx, 1)?)?;
    common::check_epilogue(ctx, &y)?;
    Ok(vec![y])
}

/// The multiply-adds between the transforms.
fn cost(ctx: &OpCtx) -> Cost {
    Cost { macs: winograd_output::cost(ctx).macs, ..common::memory_cost(ctx) }
}

/// The body on sums of magnitudes: with |x| and |u| as operands it bounds what the transforms can amplify.
pub fn body_of_magnitudes(ctx: &BodyCtx) -> Kernel {
    build(ctx, &|stride, m| magnitudes(stride.input_matrix(m)), &|stride, m| magnitudes(stride.output_matrix(m)))
}

type Matrices<'a> = &'a dyn Fn(Stride, i64) -> Matrix;

fn build(ctx: &BodyCtx, input: Matrices, output: Matrices) -> Kernel {
    let grid =
        Grid::of(ctx.attrs).unwrap_or_else(|p| unreachable!("invariant: the shape rule has checked {}", p.message));
    let (&[images, channels, ..], outputs) = (&ctx.operands[0].dims[..], ctx.results[0].dims[1]) else {
        unreachable!("invariant: the shape rule has checked that this is an image");
    };
    let mut k = KernelBuilder::new("winograd_conv2d");
    let (ins, out) = common::params(&mut k, ctx);
    let [i, j] = grid.points();
    let tiles = k.scratch("tiles", ctx.operands[0].dtype, &[1, 1, i * j, channels, grid.tiles(), 1]);
    let transform = winograd_input::Transform::new(&mut k, ctx, input, &grid, [ins[0], tiles], 1);
    let inverse = winograd_output::Inverse::new(&mut k, ctx, output, &grid, (&ins, out), tiles);
    let digits = common::tasks_over(&mut k, &[images, grid.strips()]);
    let [image, strip] = &digits[..] else { unreachable!("invariant: two digits") };
    let zero = &0.into();
    winograd_input::clear(&mut k, &grid, tiles, ctx.operands[0].dtype, 1);
    k.for_(0, channels, |k, channel| {
        let at =
            winograd_input::At { image, strip, channel_block: &channel, lane: zero, place: [zero, zero, &channel] };
        transform.strip(k, &at);
    });
    k.for_(0, outputs, |k, channel| {
        inverse.strip(k, &winograd_output::At { image, strip, channel: &channel, place: [zero; 2] });
    });
    k.finish()
}
