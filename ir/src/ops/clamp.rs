//! `clamp`: y = min(max(x, lo), hi), elementwise. x, y: any shape, same type. NaN passes through.

use super::common::{self, attr, memory_cost, same_as_first};
use super::map::Map;
use crate::entity::Reg;
use crate::grad::Gradient;
use crate::kernel::KernelBuilder;
use crate::op::{AttrDef, AttrKind, Body, OpDef, Properties, Sign};

pub const LO: AttrDef = attr("lo", AttrKind::Float, None, "least value of the result");
pub const HI: AttrDef = attr("hi", AttrKind::Float, None, "greatest value of the result, not below lo");

pub const CLAMP: OpDef = OpDef {
    name: "clamp",
    doc: "y = min(max(x, lo), hi); NaN passes through",
    operands: &["x"],
    properties: Properties {
        sign: |attrs| if attrs.float("lo") >= 0.0 { Sign::NotNegative } else { Sign::Any },
        ..Properties::NONE
    },
    attrs: &[LO, HI],
    shape: |ctx| {
        common::check_clamp(ctx.attrs.float("lo"), ctx.attrs.float("hi"))?;
        same_as_first(ctx)
    },
    cost: memory_cost,
    body: Body::Map(Map::new(|k, ctx, x, _| clamped(k, x[0], ctx.attrs.float("lo"), ctx.attrs.float("hi")))),
    grad: Gradient::Rule(|cx| {
        let bounds = ["lo", "hi"].map(|a| cx.copied(a));
        let dx = cx.emit("dx", "clamp_grad", &[cx.grad(), cx.operands[0]], &bounds)?;
        cx.send(0, dx);
        Ok(())
    }),
};

/// min(max(x, lo), hi), lane by lane; NaN passes through.
pub fn clamped(k: &mut KernelBuilder, x: Reg, lo: f64, hi: f64) -> Reg {
    let [lo, hi] = [lo, hi].map(|bound| k.constant_like(x, bound));
    let x = k.max(x, lo);
    k.min(x, hi)
}
