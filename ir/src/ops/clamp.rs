//! `clamp`: y = min(max(x, lo), hi), elementwise. x, y: any shape, same type. NaN passes through.

use super::common::{self, attr, elementwise, memory_cost, same_as_first};
use crate::grad::Gradient;
use crate::op::{AttrDef, AttrKind, OpDef};

pub const LO: AttrDef = attr("lo", AttrKind::Float, None, "least value of the result");
pub const HI: AttrDef = attr("hi", AttrKind::Float, None, "greatest value of the result, not below lo");

pub const CLAMP: OpDef = OpDef {
    name: "clamp",
    doc: "y = min(max(x, lo), hi); NaN passes through",
    operands: &["x"],
    variadic: false,
    epilogue: false,
    attrs: &[LO, HI],
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
    grad: Gradient::Rule(|cx| {
        let bounds = ["lo", "hi"].map(|a| cx.copied(a));
        let dx = cx.emit("dx", "clamp_grad", &[cx.grad(), cx.operands[0]], &bounds)?;
        cx.send(0, dx);
        Ok(())
    }),
};
