//! `clamp_grad`: dx = g where lo ≤ x ≤ hi, else 0, elementwise, x the operand of the `clamp`. A NaN in x lets g pass.
//!
//! g, x, dx: any shape, same type.

use super::clamp::{HI, LO};
use super::common::{self, elementwise, memory_cost, same_as_first};
use crate::grad::Gradient;
use crate::kernel::Test;
use crate::op::OpDef;

pub const CLAMP_GRAD: OpDef = OpDef {
    name: "clamp_grad",
    doc: "dx = g where lo <= x <= hi, else 0",
    operands: &["g", "x"],
    variadic: false,
    epilogue: false,
    attrs: &[LO, HI],
    shape: |ctx| {
        common::equal(ctx, 1, &ctx.operands[0])?;
        common::check_clamp(ctx.attrs.float("lo"), ctx.attrs.float("hi"))?;
        same_as_first(ctx)
    },
    cost: memory_cost,
    body: |ctx| {
        let dtype = ctx.results[0].dtype;
        elementwise("clamp_grad", ctx, &mut |k, ins, at| {
            let [g, x] = [0, 1].map(|i| common::load(k, ctx, ins, i, at));
            let [lo, hi] = ["lo", "hi"].map(|a| k.constant(dtype, 1, ctx.attrs.float(a)));
            let zero = k.constant(dtype, 1, 0.0);
            let kept = k.select(Test::Gt, [x, hi], zero, g);
            k.select(Test::Gt, [lo, x], zero, kept)
        })
    },
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};
