//! `max_pool_grad`: dx[n,c,h,w] = Σ g[n,c,i,j] over the windows whose first maximum, row by row, is x[n,c,h,w]: the
//! gradient of `max_pool`.
//!
//! g: [N,C,P,Q]; x, dx: [N,C,H,W]. A NaN in a window is passed over.

use super::common::{self, elementwise, memory_cost};
use super::pool::{self, CEIL_MODE, KERNEL, PAD, Pool, STRIDE};
use crate::entity::{Buf, Reg};
use crate::grad::Gradient;
use crate::kernel::{Affine, Kernel, KernelBuilder, Test};
use crate::op::{BodyCtx, OpCtx, OpDef, Problem};
use crate::types::TensorType;

pub const MAX_POOL_GRAD: OpDef = OpDef {
    name: "max_pool_grad",
    doc: "dx[n,c,h,w] = sum of g[n,c,i,j] over the windows whose first maximum is x[n,c,h,w]",
    operands: &["g", "x"],
    variadic: false,
    epilogue: false,
    attrs: &[KERNEL, STRIDE, PAD, CEIL_MODE],
    shape,
    cost: memory_cost,
    body,
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    common::image(ctx, 1)?;
    let [c, h, w] = common::image(ctx, 1)?;
    let [y] = &pool::shape_of(ctx, 1)?[..] else { unreachable!("invariant: a pool has one result") };
    common::equal(ctx, 0, y)?;
    Ok(vec![common::image_like_first(ctx, [c, h, w])])
}

fn body(ctx: &BodyCtx) -> Kernel {
    let (p, dtype) = (Pool::of(ctx.attrs), ctx.results[0].dtype);
    let x = &ctx.operands[1];
    elementwise("max_pool_grad", ctx, &mut |k, ins, at| {
        let here = k.index(dtype, &at[2] * x.dims[3] + &at[3]);
        let zero = k.constant(dtype, 1, 0.0);
        p.windows_around(k, ctx.operands[0].dims[2..4].try_into().expect("rank 4"), at, zero, |k, i, j, acc| {
            let first = first_maximum(k, ctx, ins, &p, &[at[0].clone(), at[1].clone(), i.clone(), j.clone()]);
            let g = common::load(k, ctx, ins, 0, &[at[0].clone(), at[1].clone(), i.clone(), j.clone()]);
            let g = k.select(Test::Eq, [first, here], g, zero);
            k.add(acc, g)
        })
    })
}

/// Position h·W + w of the first maximum of a window, −1 if all of it is −∞ or NaN.
fn first_maximum(k: &mut KernelBuilder, ctx: &BodyCtx, ins: &[Buf], p: &Pool, at: &[Affine]) -> Reg {
    let x = &ctx.operands[1];
    let (least, nowhere) = (k.constant(x.dtype, 1, f64::NEG_INFINITY), k.constant(x.dtype, 1, -1.0));
    let rows = p.window(0).taps_inside(&at[2], x.dims[2]);
    let columns = p.window(1).taps_inside(&at[3], x.dims[3]);
    let found = rows.fold_many(k, &[least, nowhere], |k, h, acc| {
        columns.fold_many(k, acc, |k, w, acc| {
            let value = common::load(k, ctx, ins, 1, &[at[0].clone(), at[1].clone(), h.clone(), w.clone()]);
            let position = k.index(x.dtype, h * x.dims[3] + w);
            let best = k.select(Test::Gt, [value, acc[0]], value, acc[0]);
            vec![best, k.select(Test::Gt, [value, acc[0]], position, acc[1])]
        })
    });
    found[1]
}
