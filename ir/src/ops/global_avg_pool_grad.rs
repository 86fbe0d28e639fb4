//! `global_avg_pool_grad`: dx[n,c,h,w] = g[n,c] / (H·W): the gradient of `global_avg_pool`.
//!
//! g: [N,C]; dx: [N,C,H,W] with H, W from the attribute `input`.

use super::channels;
use super::common::{self, elementwise, memory_cost};
use super::conv2d_grad_input::INPUT;
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Problem, Properties};
use crate::types::TensorType;

pub const GLOBAL_AVG_POOL_GRAD: OpDef = OpDef {
    name: "global_avg_pool_grad",
    doc: "dx[n,c,h,w] = g[n,c] / (H*W)",
    operands: &["g"],
    properties: Properties::NONE,
    attrs: &[INPUT],
    shape: |ctx| {
        let channels = channels::count(ctx, 0)?;
        let g = &ctx.operands[0];
        let &[n, _] = &g.shape[..] else {
            return Err(Problem::new("E0201", format!("expected [N,C], found {g}")).operand(0));
        };
        common::plain(ctx, 0)?;
        let [h, w] = common::input_size(ctx)?;
        Ok(vec![TensorType::new(g.dtype, [n, channels.into(), h.into(), w.into()])])
    },
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        let y = &ctx.results[0];
        elementwise("global_avg_pool_grad", ctx, &mut |k, ins, at| {
            let g = common::load(k, ctx, ins, 0, &at[..2]);
            let count = k.constant(y.dtype, 1, (y.dims[2] * y.dims[3]) as f64);
            k.div(g, count)
        })
    }),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};
