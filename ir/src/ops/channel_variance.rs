//! `channel_variance`: y[k,c] = (Σ (x[n,c,…] − mean[c])² over part k of the images) / M, M = elements of a channel in the
//! whole batch: the sum of the parts is the variance, biased, as batch normalisation divides by it.
//!
//! x: [N,C,…]; mean: [C]; y: [splits,C]. Ioffe & Szegedy, ICML 2015, algorithm 1. In two passes, because a difference
//! of squares would cancel.

use super::channels;
use super::common::{self, memory_cost};
use super::conv2d_grad_weight::SPLITS;
use crate::DType;
use crate::grad::Gradient;
use crate::op::OpDef;

pub const CHANNEL_VARIANCE: OpDef = OpDef {
    name: "channel_variance",
    doc: "y[k,c] = sum of (x[n,c,...] - mean[c])^2 over part k of the images / elements of a channel",
    operands: &["x", "mean"],
    variadic: false,
    epilogue: false,
    attrs: &[SPLITS],
    shape: |ctx| {
        let y = channels::sums(ctx)?;
        channels::vector(ctx, 1)?;
        Ok(vec![y])
    },
    cost: memory_cost,
    body: |ctx| {
        channels::body(
            "channel_variance",
            ctx,
            &mut |k, ins, at| {
                let [x, mean] = [(0, at), (1, &at[1..2])].map(|(i, at)| common::load(k, ctx, ins, i, at));
                let d = k.sub(x, mean);
                vec![k.mul(d, d)]
            },
            &mut |k, _, _, sums| {
                let count = k.constant(DType::F64, 1, channels::elements(&ctx.operands[0].dims) as f64);
                vec![k.div(sums[0], count)]
            },
        )
    },
    grad: Gradient::None("batch_norm's rule differentiates through the statistics of its batch"),
};
