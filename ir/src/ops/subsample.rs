//! `subsample`: y[n,c,i,j] = x[n,c,i·sh,j·sw]: every sh-th row and sw-th column, from 0.
//!
//! x: [N,C,H,W]; y: [N,C,⌈H/sh⌉,⌈W/sw⌉]. With `pad_channels` the shortcut of option A: He et al., CVPR 2016,
//! section 3.3.

use super::common::{self, attr, bad_attr, elementwise, memory_cost};
use crate::grad::Gradient;
use crate::op::{AttrDef, AttrKind, Body, OpDef, Properties, Sign};

pub const STEP: AttrDef = attr("step", AttrKind::Pair, None, "distance of the rows and columns that are kept");

pub const SUBSAMPLE: OpDef = OpDef {
    name: "subsample",
    doc: "y[n,c,i,j] = x[n,c,i*sh,j*sw]",
    operands: &["x"],
    properties: Properties { sign: |_| Sign::OfOperands, ..Properties::NONE },
    attrs: &[STEP],
    shape: |ctx| {
        let [c, h, w] = common::image(ctx, 0)?;
        let [sh, sw] = ctx.attrs.pair("step");
        if sh == 0 || sw == 0 {
            return Err(bad_attr(format!("step={sh}x{sw} must be 1 or more in both directions")));
        }
        Ok(vec![common::image_like_first(ctx, [c, h.div_ceil(sh), w.div_ceil(sw)])])
    },
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        let [sh, sw] = ctx.attrs.pair("step").map(u64::cast_signed);
        elementwise("subsample", ctx, &mut |k, ins, at| {
            // A step beyond the image keeps row or column 0 alone, whose index is a constant.
            let at = [at[0].clone(), at[1].clone(), &at[2] * sh, &at[3] * sw];
            common::load(k, ctx, ins, 0, &at)
        })
    }),
    grad: Gradient::Rule(|cx| {
        let attrs = [cx.copied("step"), ("input", cx.size(0))];
        let dx = cx.emit("dx", "subsample_grad", &[cx.grad()], &attrs)?;
        cx.send(0, dx);
        Ok(())
    }),
};
