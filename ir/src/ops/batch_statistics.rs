//! `batch_statistics`: mean[c] = S/M, var[c] = max(Q/M − mean², 0), S and Q the sums of the parts that
//! [`channel_moments`](super::channel_moments) leaves, M the elements of a channel. The variance is biased, as batch
//! normalisation divides by it. Ioffe & Szegedy, ICML 2015, algorithm 1.
//!
//! x: [N,C,…], of which only the type is read; sums, squares: f64[splits,C]; mean, var: [C], elements as x. Parts are
//! added as a tree, all in f64, rounded once.

use super::channels;
use super::common;
use super::splits::{self, MAX_SPLITS};
use super::sum_splits::tree;
use crate::DType;
use crate::grad::Gradient;
use crate::kernel::{BinOp, KernelBuilder};
use crate::op::{Body, OpDef, Problem, Properties};
use crate::types::TensorType;

pub const BATCH_STATISTICS: OpDef = OpDef {
    name: "batch_statistics",
    doc: "mean and biased variance of each channel of x, from the parts of its moments",
    operands: &["x", "sums", "squares"],
    properties: Properties::NONE,
    attrs: &[],
    shape: |ctx| {
        let (channels, sums) = (channels::count(ctx, 0)?.into(), &ctx.operands[1]);
        if sums.dtype != DType::F64 || sums.rank() != 2 || !splits::is_count(sums.shape[0]) || sums.shape[1] != channels
        {
            let message = format!("expected f64[splits,{channels}] of 1 to {MAX_SPLITS} parts, found {sums}");
            return Err(Problem::new("E0201", message).operand(1));
        }
        common::plain(ctx, 1)?;
        common::equal(ctx, 2, sums)?;
        common::plain(ctx, 2)?;
        let y = TensorType::new(ctx.operands[0].dtype, [channels]);
        Ok(vec![y.clone(), y])
    },
    cost: |ctx| common::memory_cost_without(ctx, 0),
    body: Body::Loops(|ctx| {
        let mut k = KernelBuilder::new("batch_statistics");
        let (ins, outs) = common::all_params(&mut k, ctx);
        let [splits, channels] = [0, 1].map(|i| ctx.operands[1].dims[i]);
        let count = channels::elements(&ctx.operands[0].dims) as f64;
        let channel = k.tasks(channels);
        let count = k.constant(DType::F64, 1, count);
        let [mean, square] = [1, 2].map(|i| {
            let sum =
                tree(&mut k, 0..splits, &mut |k, part| common::load(k, ctx, &ins, i, &[part.into(), channel.clone()]));
            k.div(sum, count)
        });
        let of_mean = k.mul(mean, mean);
        let var = k.sub(square, of_mean);
        let zero = k.constant(DType::F64, 1, 0.0);
        // A NaN must stay one: it ends the training.
        let var = k.bin(BinOp::MaxNan, var, zero);
        for ((out, y), v) in outs.into_iter().zip(&ctx.results).zip([mean, var]) {
            let v = k.convert(v, y.dtype);
            k.store(out, &y.at(std::slice::from_ref(&channel)), v);
        }
        k.finish()
    }),
    grad: Gradient::None("batch_norm's rule differentiates through the statistics of its batch"),
};
