//! `relu_grad`: dx = g where y > 0, else 0, elementwise, y the result of the `relu`: its gradient is taken to be 0 at 0.
//!
//! g, y, dx: any shape, same type.

use super::common::{self, memory_cost, same_as_first};
use super::map::Map;
use crate::entity::Reg;
use crate::grad::Gradient;
use crate::kernel::{KernelBuilder, Test};
use crate::op::{Body, OpDef, Properties};

pub const RELU_GRAD: OpDef = OpDef {
    name: "relu_grad",
    doc: "dx = g where y > 0, else 0",
    operands: &["g", "y"],
    properties: Properties::NONE,
    attrs: &[],
    shape: |ctx| {
        common::equal(ctx, 1, &ctx.operands[0])?;
        same_as_first(ctx)
    },
    cost: memory_cost,
    body: Body::Map(Map::new(|k, _, x, _| masked(k, x[0], x[1]))),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};

/// g where y > 0, else 0, lane by lane.
pub fn masked(k: &mut KernelBuilder, g: Reg, y: Reg) -> Reg {
    let zero = k.constant_like(g, 0.0);
    k.select(Test::Gt, [y, zero], g, zero)
}
