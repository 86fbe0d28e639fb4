//! `bias`: y = x + b[c], c the index of dimension 1. x, y: [N,C,…], same type; b: [C].
//!
//! A step of the epilogue as an op of its own, for a graph whose gradient is taken.

use super::channels;
use super::common::{self, elementwise, memory_cost, same_as_first};
use crate::grad::Gradient;
use crate::op::OpDef;

pub const BIAS: OpDef = OpDef {
    name: "bias",
    doc: "y = x + b[c] for each channel c",
    operands: &["x", "b"],
    variadic: false,
    epilogue: false,
    attrs: &[],
    shape: |ctx| {
        channels::vector(ctx, 1)?;
        same_as_first(ctx)
    },
    cost: memory_cost,
    body: |ctx| {
        elementwise("bias", ctx, &mut |k, ins, at| {
            let [x, b] = [(0, at), (1, &at[1..2])].map(|(i, at)| common::load(k, ctx, ins, i, at));
            k.add(x, b)
        })
    },
    grad: Gradient::Rule(|cx| {
        cx.send(0, cx.grad());
        if cx.wants(1) {
            let splits = channels::splits_attr(cx.operand(0));
            let db = cx.emit_sum("db", "channel_sum", &[cx.grad()], &[splits])?;
            cx.send(1, db);
        }
        Ok(())
    }),
};
