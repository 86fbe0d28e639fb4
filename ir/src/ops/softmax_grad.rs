//! `softmax_grad`: dx = y·(g − Σ g·y) along the last axis, y the result of the `softmax`.
//!
//! g, y, dx: any shape of rank 1 or more whose last axis is not the batch, plain, same type.

use super::common::{self, memory_cost, same_as_first};
use super::softmax;
use crate::grad::Gradient;
use crate::kernel::{Affine, Kernel, KernelBuilder};
use crate::op::{Body, BodyCtx, OpDef, Properties};

pub const SOFTMAX_GRAD: OpDef = OpDef {
    name: "softmax_grad",
    doc: "dx = y * (g - sum of g*y along the last axis)",
    operands: &["g", "y"],
    properties: Properties::NONE,
    attrs: &[],
    shape: |ctx| {
        softmax::check_axis(ctx)?;
        common::plain(ctx, 0)?;
        common::plain(ctx, 1)?;
        common::equal(ctx, 1, &ctx.operands[0])?;
        same_as_first(ctx)
    },
    cost: memory_cost,
    body: Body::Loops(body),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};

fn body(ctx: &BodyCtx) -> Kernel {
    let y = &ctx.results[0];
    let mut k = KernelBuilder::new("softmax_grad");
    let (ins, out) = common::params(&mut k, ctx);
    let (&n, rows) = y.dims.split_last().expect("invariant: the shape rule gives rank 1 or more");
    let row = common::tasks_over(&mut k, rows);
    let at = |i: Affine| [&row[..], &[i]].concat();
    let load = |k: &mut KernelBuilder, i: &Affine| [0, 1].map(|o| common::load(k, ctx, &ins, o, &at(i.clone())));
    let zero = k.constant(y.dtype, 1, 0.0);
    let mean = k.for_carry(0, n, &[zero], |k, i, acc| {
        let [g, y] = load(k, &i);
        vec![k.fma(g, y, acc[0])]
    })[0];
    k.for_(0, n, |k, i| {
        let [g, p] = load(k, &i);
        let d = k.sub(g, mean);
        let v = k.mul(p, d);
        k.store(out, &y.at(&at(i)), v);
    });
    k.finish()
}
