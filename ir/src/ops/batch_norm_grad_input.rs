//! `batch_norm_grad_input`: dx = γ/√(σ² + ε) · (g − dβ/M − (x − μ)/√(σ² + ε) · dγ/M), M the elements of a channel: the
//! gradient of `batch_norm` with respect to x, whose own statistics μ and σ² are.
//!
//! g, x, dx: [N,C,…], same shape; gamma, mean, var, dgamma, dbeta: [C]. Ioffe & Szegedy, ICML 2015, section 3.

use super::batch_norm::EPS;
use super::channels;
use super::common::{self, elementwise, memory_cost, same_as_first};
use crate::grad::Gradient;
use crate::op::OpDef;

pub const BATCH_NORM_GRAD_INPUT: OpDef = OpDef {
    name: "batch_norm_grad_input",
    doc: "dx = gamma/sqrt(var + eps) * (g - dbeta/M - (x - mean)/sqrt(var + eps) * dgamma/M)",
    operands: &["g", "x", "gamma", "mean", "var", "dgamma", "dbeta"],
    variadic: false,
    epilogue: false,
    attrs: &[EPS],
    shape: |ctx| {
        channels::count(ctx, 0)?;
        common::equal(ctx, 1, &ctx.operands[0])?;
        for i in 2..7 {
            channels::vector(ctx, i)?;
        }
        common::check_eps(ctx)?;
        same_as_first(ctx)
    },
    cost: memory_cost,
    body: |ctx| {
        let (eps, dtype) = (ctx.attrs.float("eps"), ctx.results[0].dtype);
        let count = channels::elements(&ctx.operands[0].dims) as f64;
        elementwise("batch_norm_grad_input", ctx, &mut |k, ins, at| {
            let [g, x] = [0, 1].map(|i| common::load(k, ctx, ins, i, at));
            let [gamma, mean, var, dgamma, dbeta] = [2, 3, 4, 5, 6].map(|i| common::load(k, ctx, ins, i, &at[1..2]));
            let deviation = common::deviation(k, var, eps);
            let scale = k.div(gamma, deviation);
            let m = k.constant(dtype, 1, count);
            let shift = k.div(dbeta, m);
            let slope = k.mul(deviation, m);
            let slope = k.div(dgamma, slope);
            let centred = k.sub(x, mean);
            let along = k.mul(centred, slope);
            let rest = k.sub(g, shift);
            let rest = k.sub(rest, along);
            k.mul(scale, rest)
        })
    },
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};
