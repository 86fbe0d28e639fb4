//! `scale`: y = a[c]·x, c the index of dimension 1: the gradient of a scale with respect to what is scaled.
//!
//! x, y: [N,C,…], same type; a: [C].

use super::channels;
use super::common::{memory_cost, same_as_first};
use super::map::Map;
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Properties};

pub const SCALE: OpDef = OpDef {
    name: "scale",
    doc: "y = a[c]*x for each channel c",
    operands: &["x", "a"],
    properties: Properties::NONE,
    attrs: &[],
    shape: |ctx| {
        channels::vector(ctx, 1)?;
        same_as_first(ctx)
    },
    cost: memory_cost,
    body: Body::Map(Map::new(|k, _, x, a| k.mul(x[0], a[0]))),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};
