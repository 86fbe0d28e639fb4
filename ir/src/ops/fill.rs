//! `fill`: y = `value` in every element, whatever x holds. x, y: any shape, same type.
//!
//! The gradient of a loss with respect to itself, 1, is where every gradient begins.

use super::common::{attr, elementwise, memory_cost, same_as_first};
use crate::grad::Gradient;
use crate::op::{AttrKind, Body, OpDef, Properties};

pub const FILL: OpDef = OpDef {
    name: "fill",
    doc: "y = value everywhere, in the shape of x",
    operands: &["x"],
    properties: Properties::NONE,
    attrs: &[attr("value", AttrKind::Float, Some("1"), "what every element is")],
    shape: same_as_first,
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        let value = ctx.attrs.float("value");
        elementwise("fill", ctx, &mut |k, _, _| k.constant(ctx.results[0].dtype, 1, value))
    }),
    grad: Gradient::None("its result is constant"),
};
