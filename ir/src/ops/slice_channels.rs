//! `slice_channels`: y[n,c,h,w] = x[n,start + c,h,w]: the gradient of `pad_channels`.
//!
//! x: [N,C,H,W]; y: [N,count,H,W].

use super::common::{self, attr, elementwise, memory_cost};
use crate::grad::Gradient;
use crate::op::{Attr, AttrKind, Body, OpDef, Properties};

pub const SLICE_CHANNELS: OpDef = OpDef {
    name: "slice_channels",
    doc: "y[n,c,h,w] = x[n,start+c,h,w] for `count` channels",
    operands: &["x"],
    properties: Properties::NONE,
    attrs: &[
        attr("start", AttrKind::Int, None, "first channel that is kept"),
        attr("count", AttrKind::Int, None, "number of channels that are kept"),
    ],
    shape: |ctx| {
        let [c, h, w] = common::image(ctx, 0)?;
        let (start, count) = (ctx.attrs.int("start"), ctx.attrs.int("count"));
        let end = start.checked_add(count).filter(|&end| start >= 0 && count > 0 && end.cast_unsigned() <= c);
        if end.is_none() {
            return Err(common::bad_attr(format!("start={start} count={count} are not channels of the {c} there are")));
        }
        Ok(vec![common::image_like_first(ctx, [count.cast_unsigned(), h, w])])
    },
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        let start = ctx.attrs.int("start");
        elementwise("slice_channels", ctx, &mut |k, ins, at| {
            common::load(k, ctx, ins, 0, &[at[0].clone(), &at[1] + start, at[2].clone(), at[3].clone()])
        })
    }),
    grad: Gradient::Rule(|cx| {
        let (start, count) = (cx.attrs.int("start"), cx.attrs.int("count"));
        let after = cx.operand(0).dims(1)[1].cast_signed() - start - count;
        let attrs = [("before", Attr::Int(start)), ("after", Attr::Int(after))];
        let dx = cx.emit("dx", "pad_channels", &[cx.grad()], &attrs)?;
        cx.send(0, dx);
        Ok(())
    }),
};
