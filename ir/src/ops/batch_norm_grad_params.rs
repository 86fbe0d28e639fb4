//! `batch_norm_grad_params`: dgamma[k,c] = Σ g·(x − μ)/√(σ² + ε), dbeta[k,c] = Σ g, both over part k of the images: the
//! gradients of `batch_norm` with respect to γ and β.
//!
//! g, x: [N,C,…], same shape; mean, var: [C]; results: [splits,C]. Ioffe & Szegedy, ICML 2015, section 3.

use super::batch_norm::EPS;
use super::channels;
use super::common::{self, memory_cost};
use super::splits::SPLITS;
use crate::grad::Gradient;
use crate::op::OpDef;

pub const BATCH_NORM_GRAD_PARAMS: OpDef = OpDef {
    name: "batch_norm_grad_params",
    doc: "dgamma[k,c] = sum of g*(x - mean)/sqrt(var + eps), dbeta[k,c] = sum of g over part k of the images",
    operands: &["g", "x", "mean", "var"],
    variadic: false,
    epilogue: false,
    attrs: &[EPS, SPLITS],
    shape: |ctx| {
        let y = channels::sums(ctx)?;
        common::equal(ctx, 1, &ctx.operands[0])?;
        channels::vector(ctx, 2)?;
        channels::vector(ctx, 3)?;
        common::check_eps(ctx)?;
        Ok(vec![y.clone(), y])
    },
    cost: memory_cost,
    body: |ctx| {
        let eps = ctx.attrs.float("eps");
        channels::body(
            "batch_norm_grad_params",
            ctx,
            &mut |k, ins, at| {
                let [g, x, mean] = [(0, at), (1, at), (2, &at[1..2])].map(|(i, at)| common::load(k, ctx, ins, i, at));
                let centred = k.sub(x, mean);
                vec![k.mul(g, centred), g]
            },
            &mut |k, ins, channel, sums| {
                let var = common::load_f64(k, ctx, ins, 3, channel);
                let deviation = common::deviation(k, var, eps);
                vec![k.div(sums[0], deviation), sums[1]]
            },
        )
    },
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};
