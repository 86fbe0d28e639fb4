//! `cast`: y = x in another element type, elementwise. x, y: any shape and layout, the same for both.
//!
//! Float to integer truncates towards zero and saturates; NaN becomes 0.

use super::common::{self, attr, bad_attr, elementwise, memory_cost};
use crate::grad::Gradient;
use crate::op::{Attr, AttrKind, Body, OpDef, Properties};
use crate::types::DType;

pub const CAST: OpDef = OpDef {
    name: "cast",
    doc: "y = x in another element type",
    operands: &["x"],
    properties: Properties::NONE,
    attrs: &[attr("to", AttrKind::Word, None, "element type of the result: f32, f64, i32 or u8")],
    shape: |ctx| {
        let to = ctx.attrs.word("to");
        match DType::from_name(to) {
            Some(d) => Ok(vec![ctx.operands[0].with_dtype(d)]),
            None => Err(bad_attr(format!("to={to} is no element type: f32, f64, i32 or u8"))),
        }
    },
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        elementwise("cast", ctx, &mut |k, ins, at| {
            let x = common::load(k, ctx, ins, 0, at);
            k.convert(x, ctx.results[0].dtype)
        })
    }),
    grad: Gradient::Rule(|cx| {
        let to = ("to", Attr::Word(cx.operand(0).dtype.name().into()));
        let dx = cx.emit("dx", "cast", &[cx.grad()], &[to])?;
        cx.send(0, dx);
        Ok(())
    }),
};
