//! `subsample_grad`: dx[n,c,i·sh,j·sw] = g[n,c,i,j], and zero elsewhere: the gradient of `subsample`.
//!
//! g: [N,C,⌈H/sh⌉,⌈W/sw⌉]; dx: [N,C,H,W] with H, W from the attribute `input`.

use super::common::{self, elementwise, memory_cost};
use super::conv2d_grad_input::INPUT;
use super::subsample::STEP;
use crate::grad::Gradient;
use crate::kernel::Affine;
use crate::kernel::build::min_of;
use crate::op::{Body, OpDef, Properties};

pub const SUBSAMPLE_GRAD: OpDef = OpDef {
    name: "subsample_grad",
    doc: "dx[n,c,i*sh,j*sw] = g[n,c,i,j], zero elsewhere",
    operands: &["g"],
    properties: Properties::NONE,
    attrs: &[STEP, INPUT],
    shape: |ctx| {
        let [c, p, q] = common::image(ctx, 0)?;
        let ([sh, sw], [h, w]) = (ctx.attrs.pair("step"), common::input_size(ctx)?);
        if sh == 0 || sw == 0 || [h.div_ceil(sh), w.div_ceil(sw)] != [p, q] {
            return Err(common::bad_attr(format!("step={sh}x{sw} of input={h}x{w} does not give {p}x{q}")));
        }
        Ok(vec![common::image_like_first(ctx, [c, h, w])])
    },
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        let (dtype, g) = (ctx.results[0].dtype, &ctx.operands[0]);
        let step = ctx.attrs.pair("step").map(u64::cast_signed);
        elementwise("subsample_grad", ctx, &mut |k, ins, at| {
            let zero = k.constant(dtype, 1, 0.0);
            // ⌈h/s⌉ and ⌊h/s⌋ are the row if the step divides, and otherwise leave no trip.
            let bounds = |axis: usize| {
                let (h, s) = (&at[axis + 2], step[axis]);
                let hi = min_of([Affine::constant(g.dims[axis + 2]), h.floordiv(s) + 1]);
                ((h + (s - 1)).floordiv(s), hi)
            };
            let [(top, bottom), (left, right)] = [0, 1].map(bounds);
            k.for_carry(top, bottom, &[zero], |k, i, zero| {
                k.for_carry(left, right, zero, |k, j, _| {
                    vec![common::load(k, ctx, ins, 0, &[at[0].clone(), at[1].clone(), i, j])]
                })
            })[0]
        })
    }),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};
