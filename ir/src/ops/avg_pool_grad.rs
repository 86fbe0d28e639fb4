//! `avg_pool_grad`: dx[n,c,h,w] = Σ g[n,c,i,j]/count[i,j] over the windows that x[n,c,h,w] is in: the gradient of
//! `avg_pool`, whose `count` it divides by.
//!
//! g: [N,C,P,Q]; dx: [N,C,H,W] with H, W from the attribute `input`.

use super::avg_pool::{COUNT_INCLUDE_PAD, count};
use super::common::{self, elementwise, memory_cost};
use super::conv2d_grad_input::INPUT;
use super::pool::{self, CEIL_MODE, KERNEL, PAD, Pool, STRIDE};
use crate::grad::Gradient;
use crate::kernel::Kernel;
use crate::op::{Body, BodyCtx, OpCtx, OpDef, Problem, Properties};
use crate::types::TensorType;

pub const AVG_POOL_GRAD: OpDef = OpDef {
    name: "avg_pool_grad",
    doc: "dx[n,c,h,w] = sum of g[n,c,i,j] / count[i,j] over the windows that hold h,w",
    operands: &["g"],
    properties: Properties::NONE,
    attrs: &[KERNEL, STRIDE, PAD, CEIL_MODE, COUNT_INCLUDE_PAD, INPUT],
    shape,
    cost: memory_cost,
    body: Body::Loops(body),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let [c, p, q] = common::image(ctx, 0)?;
    let input @ [h, w] = common::input_size(ctx)?;
    if pool::outputs(ctx, input)? != [p, q] {
        return Err(common::bad_attr(format!("a pool of input={h}x{w} does not give {p}x{q}")));
    }
    Ok(vec![common::image_like_first(ctx, [c, h, w])])
}

fn body(ctx: &BodyCtx) -> Kernel {
    let (g, dx) = (&ctx.operands[0], &ctx.results[0]);
    let p = Pool::of(ctx.attrs);
    elementwise("avg_pool_grad", ctx, &mut |k, ins, at| {
        let zero = k.constant(dx.dtype, 1, 0.0);
        p.windows_around(k, [g.dims[2], g.dims[3]], at, zero, |k, i, j, acc| {
            let g = common::load(k, ctx, ins, 0, &[at[0].clone(), at[1].clone(), i.clone(), j.clone()]);
            let count = count(k, ctx, &p, [dx.dims[2], dx.dims[3]], [i, j]);
            let share = k.div(g, count);
            k.add(acc, share)
        })
    })
}
