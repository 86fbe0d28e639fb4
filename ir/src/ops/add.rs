//! `add`: y = x + y₁ + y₂ + …, elementwise, from left to right. All operands have the type of the result.
//!
//! The shortcut of a residual block: He et al., CVPR 2016, equation (1).

use super::common::{self, elementwise, memory_cost, same_as_first};
use crate::grad::Gradient;
use crate::op::OpDef;

pub const ADD: OpDef = OpDef {
    name: "add",
    doc: "sum of all operands, elementwise, from left to right",
    operands: &["x", "y"],
    variadic: true,
    epilogue: false,
    attrs: &[],
    shape: |ctx| {
        let types = same_as_first(ctx)?;
        for i in 1..ctx.operands.len() {
            common::equal(ctx, i, &types[0])?;
        }
        Ok(types)
    },
    cost: memory_cost,
    body: |ctx| {
        elementwise("add", ctx, &mut |k, ins, at| {
            let first = common::load(k, ctx, ins, 0, at);
            (1..ins.len()).fold(first, |sum, i| {
                let x = common::load(k, ctx, ins, i, at);
                k.add(sum, x)
            })
        })
    },
    grad: Gradient::Rule(|cx| {
        (0..cx.operands.len()).for_each(|i| cx.send(i, cx.grad()));
        Ok(())
    }),
};
