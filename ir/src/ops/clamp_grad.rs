//! `clamp_grad`: dx = g where lo ≤ x ≤ hi, else 0, elementwise, x the operand of the `clamp`. A NaN in x lets g pass.
//!
//! g, x, dx: any shape, same type.

use super::clamp::{HI, LO};
use super::common::{self, memory_cost, same_as_first};
use super::map::Map;
use crate::grad::Gradient;
use crate::kernel::Test;
use crate::op::{Body, OpDef, Properties};

pub const CLAMP_GRAD: OpDef = OpDef {
    name: "clamp_grad",
    doc: "dx = g where lo <= x <= hi, else 0",
    operands: &["g", "x"],
    properties: Properties::NONE,
    attrs: &[LO, HI],
    shape: |ctx| {
        common::equal(ctx, 1, &ctx.operands[0])?;
        common::check_clamp(ctx.attrs.float("lo"), ctx.attrs.float("hi"))?;
        same_as_first(ctx)
    },
    cost: memory_cost,
    body: Body::Map(Map::new(|k, ctx, gx, _| {
        let [lo, hi] = ["lo", "hi"].map(|a| k.constant_like(gx[1], ctx.attrs.float(a)));
        let zero = k.constant_like(gx[0], 0.0);
        let kept = k.select(Test::Gt, [gx[1], hi], zero, gx[0]);
        k.select(Test::Gt, [lo, gx[1]], zero, kept)
    })),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};
