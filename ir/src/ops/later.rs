//! `later`, an optimisation barrier: y = x, and known only once `after` is. x, y: the same type, any shape and layout; of
//! `after` nothing is read.
//!
//! What is computed from y is another value than the same computed from x, and cannot come before `after`: so a graph
//! says that something is computed again, and when. It moves no bytes: y lies where x does.

use super::common::{elementwise, load, memory_cost, same_as_first};
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Properties};

pub const LATER: OpDef = OpDef {
    name: "later",
    doc: "y = x, as a value of its own that is known only after another",
    operands: &["x", "after"],
    properties: Properties { moves_no_bytes: |x, y| x == y, ..Properties::NONE },
    attrs: &[],
    shape: same_as_first,
    cost: memory_cost,
    body: Body::Loops(|ctx| elementwise("later", ctx, &mut |k, ins, at| load(k, ctx, ins, 0, at))),
    grad: Gradient::None("it orders a step whose gradients are there"),
};
