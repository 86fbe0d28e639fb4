//! `add`: y = x + y₁ + y₂ + …, elementwise, from left to right. All operands have the type of the result.
//!
//! The shortcut of a residual block: He et al., CVPR 2016, equation (1).

use super::common::{self, memory_cost, same_as_first};
use super::map::Map;
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Properties, Sign};

pub const ADD: OpDef = OpDef {
    name: "add",
    doc: "sum of all operands, elementwise, from left to right",
    operands: &["x", "y"],
    properties: Properties { variadic: true, sign: |_| Sign::OfOperands, ..Properties::NONE },
    attrs: &[],
    shape: |ctx| {
        let types = same_as_first(ctx)?;
        for i in 1..ctx.operands.len() {
            common::equal(ctx, i, &types[0])?;
        }
        Ok(types)
    },
    cost: memory_cost,
    body: Body::Map(Map::new(|k, _, x, _| x[1..].iter().fold(x[0], |sum, &x| k.add(sum, x)))),
    grad: Gradient::Rule(|cx| {
        (0..cx.operands.len()).for_each(|i| cx.send(i, cx.grad()));
        Ok(())
    }),
};
