//! `pad_channels`: y[n,c,h,w] = x[n,c − before,h,w], and zero in the channels before and after.
//!
//! x: [N,C,H,W]; y: [N,before + C + after,H,W]. With `subsample` the shortcut of option A: He et al., CVPR 2016,
//! section 3.3.

use super::common::{self, attr, bad_attr, elementwise, memory_cost};
use crate::grad::Gradient;
use crate::op::{Attr, AttrKind, Body, OpDef, Properties, Sign};

pub const PAD_CHANNELS: OpDef = OpDef {
    name: "pad_channels",
    doc: "y[n,c,h,w] = x[n,c-before,h,w], zero in the channels before and after",
    operands: &["x"],
    properties: Properties { sign: |_| Sign::OfOperands, ..Properties::NONE },
    attrs: &[
        attr("before", AttrKind::Int, Some("0"), "zero channels before those of x"),
        attr("after", AttrKind::Int, Some("0"), "zero channels after those of x"),
    ],
    shape: |ctx| {
        let [c, h, w] = common::image(ctx, 0)?;
        let [before, after] = ["before", "after"].map(|a| u32::try_from(ctx.attrs.int(a)).ok());
        let (Some(before), Some(after)) = (before, after) else {
            return Err(bad_attr("before and after count channels: 0 or more, below 2^32"));
        };
        let channels = c.saturating_add(u64::from(before) + u64::from(after));
        Ok(vec![common::image_like_first(ctx, [channels, h, w])])
    },
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        let (dtype, before) = (ctx.results[0].dtype, ctx.attrs.int("before"));
        elementwise("pad_channels", ctx, &mut |k, ins, at| {
            let zero = k.constant(dtype, 1, 0.0);
            common::if_inside(k, &(&at[1] - before), ctx.operands[0].dims[1], zero, |k, c| {
                common::load(k, ctx, ins, 0, &[at[0].clone(), c, at[2].clone(), at[3].clone()])
            })
        })
    }),
    grad: Gradient::Rule(|cx| {
        let count = cx.operand(0).dims(1)[1];
        let attrs = [("start", cx.attrs.0["before"].clone()), ("count", Attr::Int(count.cast_signed()))];
        let dx = cx.emit("dx", "slice_channels", &[cx.grad()], &attrs)?;
        cx.send(0, dx);
        Ok(())
    }),
};
