//! `clamp`: y = min(max(x, lo), hi), elementwise. x, y: any shape, same type. NaN passes through.

use super::common::{self, attr, elementwise, memory_cost, same_as_first};
use crate::op::{AttrKind, OpDef};

pub const CLAMP: OpDef = OpDef {
    name: "clamp",
    doc: "y = min(max(x, lo), hi); NaN passes through",
    operands: &["x"],
    variadic: false,
    epilogue: false,
    attrs: &[
        attr("lo", AttrKind::Float, None, "least value of the result"),
        attr("hi", AttrKind::Float, None, "greatest value of the result, not below lo"),
    ],
    shape: |ctx| {
        common::check_clamp(ctx.attrs.float("lo"), ctx.attrs.float("hi"))?;
        same_as_first(ctx)
    },
    cost: memory_cost,
    body: |ctx| {
        let (lo, hi) = (ctx.attrs.float("lo"), ctx.attrs.float("hi"));
        elementwise("clamp", ctx, &mut |k, ins, at| {
            let x = common::load(k, ctx, ins, 0, at);
            common::clamp(k, x, lo, hi)
        })
    },
};
