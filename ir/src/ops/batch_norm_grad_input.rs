//! `batch_norm_grad_input`: dx = γ/√(σ² + ε) · (g − dβ/M − (x − μ)/√(σ² + ε) · dγ/M), M the elements of a channel: the
//! gradient of `batch_norm` with respect to x, whose own statistics μ and σ² are.
//!
//! g, x, dx: [N,C,…], same shape; gamma, mean, var, dgamma, dbeta: [C]. Ioffe & Szegedy, ICML 2015, section 3.

use super::batch_norm::EPS;
use super::channels;
use super::common::{self, memory_cost, same_as_first};
use super::map::Map;
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Properties};

pub const BATCH_NORM_GRAD_INPUT: OpDef = OpDef {
    name: "batch_norm_grad_input",
    doc: "dx = gamma/sqrt(var + eps) * (g - dbeta/M - (x - mean)/sqrt(var + eps) * dgamma/M)",
    operands: &["g", "x", "gamma", "mean", "var", "dgamma", "dbeta"],
    properties: Properties { counts_images: true, ..Properties::NONE },
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
    body: Body::Map(Map {
        channel: |k, ctx, vectors| {
            let &[gamma, mean, var, dgamma, dbeta] = vectors else { unreachable!("invariant: it has five vectors") };
            let deviation = common::deviation(k, var, ctx.attrs.float(EPS.name));
            let scale = k.div(gamma, deviation);
            let m = k.constant_like(var, channels::elements(&ctx.operands[0].dims) as f64);
            let shift = k.div(dbeta, m);
            let slope = k.mul(deviation, m);
            vec![scale, mean, shift, k.div(dgamma, slope)]
        },
        element: |k, _, x, channel| {
            let &[scale, mean, shift, slope] = channel else { unreachable!("invariant: what `channel` gives") };
            let centred = k.sub(x[1], mean);
            let along = k.mul(centred, slope);
            let rest = k.sub(x[0], shift);
            let rest = k.sub(rest, along);
            k.mul(scale, rest)
        },
    }),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};
