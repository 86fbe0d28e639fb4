//! `cross_entropy_grad`: dx[n,k] = g·(softmax(x)[n,k] − t[n,k])/N with the targets t of `cross_entropy`: its gradient.
//!
//! x, dx: [N,K] plain; labels: i32 [N]; g: [1], the gradient of the loss.

use super::common::{self, memory_cost, same_as_first};
use super::cross_entropy::{self, LABEL_SMOOTHING, Row};
use crate::grad::Gradient;
use crate::kernel::{Kernel, KernelBuilder, UnOp};
use crate::op::{Body, BodyCtx, OpDef, Properties};
use crate::types::Dim;

pub const CROSS_ENTROPY_GRAD: OpDef = OpDef {
    name: "cross_entropy_grad",
    doc: "dx[n,k] = g * (softmax(x)[n,k] - target[n,k]) / N",
    operands: &["x", "labels", "g"],
    properties: Properties { counts_images: true, ..Properties::NONE },
    attrs: &[LABEL_SMOOTHING],
    shape: |ctx| {
        cross_entropy::check(ctx)?;
        common::vector(ctx, 2, Dim::Size(1))?;
        same_as_first(ctx)
    },
    cost: memory_cost,
    body: Body::Loops(body),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};

/// One task a row.
fn body(ctx: &BodyCtx) -> Kernel {
    let y = &ctx.results[0];
    let smoothing = ctx.attrs.float(LABEL_SMOOTHING.name);
    let mut k = KernelBuilder::new("cross_entropy_grad");
    let (ins, out) = common::params(&mut k, ctx);
    let n = k.tasks(y.dims[0]);
    let row = Row::new(&mut k, ctx, &ins, &n);
    let sum = row.sum(&mut k);
    let g = k.load(ins[2], &[0.into()]);
    let count = k.constant(y.dtype, 1, y.dims[0] as f64);
    let g = k.div(g, count);
    let alike = smoothing / row.classes() as f64;
    let (alike, labelled) = (k.constant(y.dtype, 1, alike), k.constant(y.dtype, 1, 1.0 - smoothing + alike));
    k.for_(0, row.classes(), |k, i| {
        let d = row.shifted(k, &i);
        let e = k.un(UnOp::Exp, d);
        let p = k.div(e, sum);
        let target = row.if_label(k, &i, labelled, alike);
        let d = k.sub(p, target);
        let v = k.mul(d, g);
        k.store(out, &[n.clone(), i], v);
    });
    k.finish()
}
