//! `scale`: y = a[c]·x, c the index of dimension 1: the gradient of a scale with respect to what is scaled.
//!
//! x, y: [N,C,…], same type; a: [C].

use super::channels;
use super::common::{self, elementwise, memory_cost, same_as_first};
use crate::grad::Gradient;
use crate::op::OpDef;

pub const SCALE: OpDef = OpDef {
    name: "scale",
    doc: "y = a[c]*x for each channel c",
    operands: &["x", "a"],
    variadic: false,
    epilogue: false,
    attrs: &[],
    shape: |ctx| {
        channels::vector(ctx, 1)?;
        same_as_first(ctx)
    },
    cost: memory_cost,
    body: |ctx| {
        elementwise("scale", ctx, &mut |k, ins, at| {
            let [x, a] = [(0, at), (1, &at[1..2])].map(|(i, at)| common::load(k, ctx, ins, i, at));
            k.mul(x, a)
        })
    },
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};
