//! `crop2d`: y[n,c,h,w] = x[n,c,h + top,w + left]: the gradient of `pad2d`.
//!
//! x: [N,C,H,W]; y: [N,C,H − top − bottom,W − left − right].

use super::common::{self, attr, elementwise, memory_cost};
use crate::grad::Gradient;
use crate::op::{Attr, AttrKind, Body, OpDef, Properties};

pub const CROP2D: OpDef = OpDef {
    name: "crop2d",
    doc: "y[n,c,h,w] = x[n,c,h+top,w+left], without the last `bottom` rows and `right` columns",
    operands: &["x"],
    properties: Properties::NONE,
    attrs: &[attr("pad", AttrKind::Quad, None, "rows and columns taken away: top, left, bottom, right")],
    shape: |ctx| {
        let [c, h, w] = common::image(ctx, 0)?;
        let pad @ [top, left, bottom, right] = ctx.attrs.quad("pad");
        let rest = |n: u64, a: u64, b: u64| n.checked_sub(a)?.checked_sub(b).filter(|&rest| rest > 0);
        match (rest(h, top, bottom), rest(w, left, right)) {
            (Some(rows), Some(columns)) => Ok(vec![common::image_like_first(ctx, [c, rows, columns])]),
            _ => Err(common::bad_attr(format!("pad={} leaves nothing of {h}x{w}", Attr::Quad(pad)))),
        }
    },
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        let [top, left, ..] = ctx.attrs.quad("pad").map(u64::cast_signed);
        elementwise("crop2d", ctx, &mut |k, ins, at| {
            common::load(k, ctx, ins, 0, &[at[0].clone(), at[1].clone(), &at[2] + top, &at[3] + left])
        })
    }),
    grad: Gradient::Rule(|cx| {
        let dx = cx.emit("dx", "pad2d", &[cx.grad()], &[cx.copied("pad")])?;
        cx.send(0, dx);
        Ok(())
    }),
};
