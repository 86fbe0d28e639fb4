//! `scale_shift`: y = a[c]·x + b[c], then the epilogue; c is the index of dimension 1. x, y: [N,C,…], same type;
//! a, b: [C].
//!
//! What a batch normalisation with given statistics is, once its four vectors are folded into two.

use super::channels;
use super::common::{self, memory_cost, same_as_first};
use super::map::Map;
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Problem, Properties};

pub const SCALE_SHIFT: OpDef = OpDef {
    name: "scale_shift",
    doc: "y = a[c]*x + b[c] for each channel c, then the epilogue",
    operands: &["x", "a", "b"],
    properties: Properties { epilogue: true, ..Properties::NONE },
    attrs: &[],
    shape: |ctx| {
        let types = same_as_first(ctx)?;
        let Some(&channels) = types[0].shape.get(1) else {
            return Err(Problem::new("E0201", format!("expected [N,C,…], found {}", types[0])).operand(0));
        };
        common::vector(ctx, 1, channels)?;
        common::vector(ctx, 2, channels)?;
        common::check_epilogue(ctx, &types[0])?;
        Ok(types)
    },
    cost: memory_cost,
    body: Body::Map(Map::new(|k, _, x, ab| k.fma(x[0], ab[0], ab[1]))),
    grad: Gradient::Rule(|cx| {
        let (x, a, g) = (cx.operands[0], cx.operands[1], cx.grad());
        if cx.wants(0) {
            let dx = cx.emit("dx", "scale", &[g, a], &[])?;
            cx.send(0, dx);
        }
        let splits = channels::splits_attr(cx.operand(0));
        if cx.wants(1) {
            let da = cx.emit_sum("da", "channel_dot", &[g, x], std::slice::from_ref(&splits))?;
            cx.send(1, da);
        }
        if cx.wants(2) {
            let db = cx.emit_sum("db", "channel_sum", &[g], &[splits])?;
            cx.send(2, db);
        }
        Ok(())
    }),
};
