//! `pad2d`: y[n,c,h,w] = x[n,c,h − top,w − left], and `value` around it.
//!
//! x: [N,C,H,W]; y: [N,C,top + H + bottom,left + W + right].

use super::common::{self, attr, bad_attr, elementwise, memory_cost};
use crate::grad::Gradient;
use crate::op::{AttrKind, Body, OpDef, Properties, Sign};

pub const PAD2D: OpDef = OpDef {
    name: "pad2d",
    doc: "y[n,c,h,w] = x[n,c,h-top,w-left], `value` around it",
    operands: &["x"],
    properties: Properties {
        sign: |attrs| if attrs.float("value") >= 0.0 { Sign::OfOperands } else { Sign::Any },
        ..Properties::NONE
    },
    attrs: &[
        attr("pad", AttrKind::Quad, None, "rows and columns added: top, left, bottom, right"),
        attr("value", AttrKind::Float, Some("0"), "what they hold"),
    ],
    shape: |ctx| {
        let [c, h, w] = common::image(ctx, 0)?;
        let [top, left, bottom, right] = ctx.attrs.quad("pad");
        let sum = |parts: [u64; 3]| parts.into_iter().try_fold(0u64, u64::checked_add).filter(|&n| n < 1 << 32);
        match (sum([top, h, bottom]), sum([left, w, right])) {
            (Some(rows), Some(columns)) => Ok(vec![common::image_like_first(ctx, [c, rows, columns])]),
            _ => Err(bad_attr("the padded image has 2^32 or more rows or columns")),
        }
    },
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        let (dtype, x) = (ctx.results[0].dtype, &ctx.operands[0]);
        let [top, left, ..] = ctx.attrs.quad("pad").map(u64::cast_signed);
        let value = ctx.attrs.float("value");
        elementwise("pad2d", ctx, &mut |k, ins, at| {
            let value = k.constant(dtype, 1, value);
            common::if_inside(k, &(&at[2] - top), x.dims[2], value, |k, row| {
                common::if_inside(k, &(&at[3] - left), x.dims[3], value, |k, column| {
                    common::load(k, ctx, ins, 0, &[at[0].clone(), at[1].clone(), row, column])
                })
            })
        })
    }),
    grad: Gradient::Rule(|cx| {
        let dx = cx.emit("dx", "crop2d", &[cx.grad()], &[cx.copied("pad")])?;
        cx.send(0, dx);
        Ok(())
    }),
};
