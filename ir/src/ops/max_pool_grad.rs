//! `max_pool_grad`: dx[n,c,h,w] = Σ g[n,c,i,j] over the windows whose first maximum, row by row, is x[n,c,h,w]: the
//! gradient of `max_pool`.
//!
//! g: [N,C,P,Q]; x, dx: [N,C,H,W]. A NaN in a window is passed over.

use super::common::{self, elementwise, memory_cost};
use super::pool::{self, CEIL_MODE, KERNEL, PAD, Pool, STRIDE};
use crate::entity::Reg;
use crate::grad::Gradient;
use crate::kernel::{Affine, Kernel, KernelBuilder, Test};
use crate::op::{Body, BodyCtx, OpCtx, OpDef, Problem, Properties};
use crate::types::{DType, TensorType};

pub const MAX_POOL_GRAD: OpDef = OpDef {
    name: "max_pool_grad",
    doc: "dx[n,c,h,w] = sum of g[n,c,i,j] over the windows whose first maximum is x[n,c,h,w]",
    operands: &["g", "x"],
    properties: Properties::NONE,
    attrs: &[KERNEL, STRIDE, PAD, CEIL_MODE],
    shape,
    cost: memory_cost,
    body: Body::Loops(body),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};

/// Places in an image are kept as f32, which has all whole numbers up to here.
const MOST_PIXELS: u64 = 1 << 24;

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let [c, h, w] = common::image(ctx, 1)?;
    if h.saturating_mul(w) > MOST_PIXELS {
        return Err(Problem::new("E0201", format!("expected at most {MOST_PIXELS} pixels, found {h}x{w}")).operand(1));
    }
    let [y] = &pool::shape_of(ctx, 1)?[..] else { unreachable!("invariant: a pool has one result") };
    common::equal(ctx, 0, y)?;
    Ok(vec![common::image_like_first(ctx, [c, h, w])])
}

fn body(ctx: &BodyCtx) -> Kernel {
    let (p, dtype) = (Pool::of(ctx.attrs), ctx.results[0].dtype);
    let (g, x) = (&ctx.operands[0], &ctx.operands[1]);
    elementwise("max_pool_grad", ctx, &mut |k, ins, at| {
        let here = k.index(dtype, &at[2] * x.dims[3] + &at[3]);
        let zero = k.constant(dtype, 1, 0.0);
        let place = |i: &Affine, j: &Affine| [at[0].clone(), at[1].clone(), i.clone(), j.clone()];
        p.windows_around(k, [g.dims[2], g.dims[3]], at, zero, |k, i, j, acc| {
            let load = &mut |k: &mut KernelBuilder, h: &Affine, w: &Affine| common::load(k, ctx, ins, 1, &place(h, w));
            let first = first_maximum(k, &p, [x.dims[2], x.dims[3]], [i, j], (dtype, 1), load);
            let g = common::load(k, ctx, ins, 0, &place(i, j));
            let g = k.select(Test::Eq, [first, here], g, zero);
            k.add(acc, g)
        })
    })
}

/// Position h·W + w of the first maximum of window `at` of an image of `size` H×W, −1 if all of it is −∞ or NaN.
/// `load` gives vectors of this type.
pub fn first_maximum(
    k: &mut KernelBuilder,
    p: &Pool,
    size: [i64; 2],
    at: [&Affine; 2],
    (dtype, lanes): (DType, u32),
    load: &mut dyn FnMut(&mut KernelBuilder, &Affine, &Affine) -> Reg,
) -> Reg {
    let (least, nowhere) = (k.constant(dtype, lanes, f64::NEG_INFINITY), k.constant(dtype, lanes, -1.0));
    let rows = p.window(0).taps_inside(at[0], size[0]);
    let columns = p.window(1).taps_inside(at[1], size[1]);
    let found = rows.fold_many(k, &[least, nowhere], |k, h, acc| {
        columns.fold_many(k, acc, |k, w, acc| {
            let value = load(k, h, w);
            let position = k.index(dtype, h * size[1] + w);
            let position = if lanes > 1 { k.splat(position, lanes) } else { position };
            let best = k.select(Test::Gt, [value, acc[0]], value, acc[0]);
            vec![best, k.select(Test::Gt, [value, acc[0]], position, acc[1])]
        })
    });
    found[1]
}
