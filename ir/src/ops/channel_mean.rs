//! `channel_mean`: y[k,c] = (Σ x[n,c,…] over part k of the images) / M, M = elements of a channel in the whole batch: the
//! sum of the parts is the mean.
//!
//! x: [N,C,…]; y: [splits,C]. Ioffe & Szegedy, ICML 2015, algorithm 1.

use super::channels;
use super::common::{self, memory_cost};
use super::conv2d_grad_weight::SPLITS;
use crate::DType;
use crate::grad::Gradient;
use crate::op::OpDef;

pub const CHANNEL_MEAN: OpDef = OpDef {
    name: "channel_mean",
    doc: "y[k,c] = sum of x[n,c,...] over part k of the images / elements of a channel",
    operands: &["x"],
    variadic: false,
    epilogue: false,
    attrs: &[SPLITS],
    shape: |ctx| Ok(vec![channels::sums(ctx)?]),
    cost: memory_cost,
    body: |ctx| {
        channels::body(
            "channel_mean",
            ctx,
            &mut |k, ins, at| vec![common::load(k, ctx, ins, 0, at)],
            &mut |k, _, _, sums| {
                let count = k.constant(DType::F64, 1, channels::elements(&ctx.operands[0].dims) as f64);
                vec![k.div(sums[0], count)]
            },
        )
    },
    grad: Gradient::None("batch_norm's rule differentiates through the statistics of its batch"),
};
