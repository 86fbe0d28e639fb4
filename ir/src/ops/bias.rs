//! `bias`: y = x + b[c], c the index of dimension 1. x, y: [N,C,…], same type; b: [C].
//!
//! A step of the epilogue as an op of its own, for a graph whose gradient is taken.

use super::channels;
use super::common::{memory_cost, same_as_first};
use super::map::Map;
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Properties};

pub const BIAS: OpDef = OpDef {
    name: "bias",
    doc: "y = x + b[c] for each channel c",
    operands: &["x", "b"],
    properties: Properties::NONE,
    attrs: &[],
    shape: |ctx| {
        channels::vector(ctx, 1)?;
        same_as_first(ctx)
    },
    cost: memory_cost,
    body: Body::Map(Map::new(|k, _, x, b| k.add(x[0], b[0]))),
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
