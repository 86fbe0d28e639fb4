//! `softmax`: y = e^(x − m) / Σ e^(x − m), m = max x, along the last axis.
//!
//! x, y: any shape of rank 1 or more whose last axis is not the batch, plain, same type. Subtracting the maximum changes
//! nothing mathematically and keeps e^x in range. A NaN in a row makes the row NaN.

use super::common::{self, memory_cost, same_as_first};
use crate::grad::Gradient;
use crate::kernel::{Affine, BinOp, Kernel, KernelBuilder, UnOp};
use crate::op::{Body, BodyCtx, OpCtx, OpDef, Problem, Properties, Sign};
use crate::types::Dim;

/// Units in the last place that [`exp`](crate::kernel::exp) may add, with the division after it.
const ROUNDINGS: i64 = 160;

pub const SOFTMAX: OpDef = OpDef {
    name: "softmax",
    doc: "y = exp(x - max x) / sum of exp(x - max x) along the last axis",
    operands: &["x"],
    properties: Properties {
        sign: |_| Sign::NotNegative,
        roundings: |ctx| ctx.operands[0].dims[ctx.operands[0].dims.len() - 1] + ROUNDINGS,
        ..Properties::NONE
    },
    attrs: &[],
    shape: |ctx| {
        common::plain(ctx, 0)?;
        check_axis(ctx)?;
        same_as_first(ctx)
    },
    cost: memory_cost,
    body: Body::Loops(body),
    grad: Gradient::Rule(|cx| {
        let dx = cx.emit("dx", "softmax_grad", &[cx.grad(), cx.results[0]], &[])?;
        cx.send(0, dx);
        Ok(())
    }),
};

/// Refuses an operand without a last axis, or whose last axis is the batch: its images are no part of each other.
pub fn check_axis(ctx: &OpCtx) -> Result<(), Problem> {
    let problem = |message| Err(Problem::new("E0201", message).operand(0));
    match ctx.operands[0].shape.last() {
        None => problem("softmax needs an axis, found a scalar"),
        Some(Dim::N) => problem("softmax runs along the last axis, which is the batch here"),
        Some(Dim::Size(_)) => Ok(()),
    }
}

fn body(ctx: &BodyCtx) -> Kernel {
    let y = &ctx.results[0];
    let mut k = KernelBuilder::new("softmax");
    let (ins, out) = common::params(&mut k, ctx);
    let (&n, rows) = y.dims.split_last().expect("invariant: the shape rule gives rank 1 or more");
    let row = common::tasks_over(&mut k, rows);
    let at = |i: Affine| [&row[..], &[i]].concat();
    let load = |k: &mut KernelBuilder, i: Affine| common::load(k, ctx, &ins, 0, &at(i));

    let least = k.constant(y.dtype, 1, f64::NEG_INFINITY);
    let max = k.for_carry(0, n, &[least], |k, i, acc| {
        let x = load(k, i);
        vec![k.bin(BinOp::MaxNan, acc[0], x)]
    })[0];
    let power = |k: &mut KernelBuilder, i: Affine| {
        let x = load(k, i);
        let d = k.sub(x, max);
        k.un(UnOp::Exp, d)
    };
    let zero = k.constant(y.dtype, 1, 0.0);
    let sum = k.for_carry(0, n, &[zero], |k, i, acc| {
        let e = power(k, i);
        vec![k.add(acc[0], e)]
    })[0];
    k.for_(0, n, |k, i| {
        let e = power(k, i.clone());
        let v = k.div(e, sum);
        k.store(out, &y.at(&at(i)), v);
    });
    k.finish()
}
