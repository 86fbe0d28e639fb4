//! `avg_pool`: y[n,c,i,j] = (Σ x[n,c,i·s + r − p, j·s + q − p] over the taps r, q of the window) / count.
//!
//! x: [N,C,H,W]; y: [N,C,P,Q]. Padding counts as zero. `count` is the number of taps inside the image or, with
//! `count_include_pad`, inside the image and its padding; what `ceil_mode` adds beyond never counts (as ONNX
//! AveragePool since version 19 and PyTorch).

use super::common::{attr, memory_cost};
use super::pool::{self, CEIL_MODE, KERNEL, PAD, Pool, STRIDE};
use super::window::Window;
use crate::entity::Reg;
use crate::grad::Gradient;
use crate::kernel::{Affine, KernelBuilder};
use crate::op::{AttrDef, AttrKind, Body, BodyCtx, OpDef, Properties, Sign};

pub const COUNT_INCLUDE_PAD: AttrDef =
    attr("count_include_pad", AttrKind::Bool, Some("false"), "whether padding counts in the divisor");

pub const AVG_POOL: OpDef = OpDef {
    name: "avg_pool",
    doc: "y[n,c,i,j] = mean of x[n,c,i*s+r-p,j*s+q-p] over the window",
    operands: &["x"],
    properties: Properties {
        sign: |_| Sign::OfOperands,
        roundings: |ctx| ctx.attrs.pair("kernel").iter().product::<u64>().cast_signed(),
        ..Properties::NONE
    },
    attrs: &[KERNEL, STRIDE, PAD, CEIL_MODE, COUNT_INCLUDE_PAD],
    shape: pool::shape,
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        let (p, x) = (Pool::of(ctx.attrs), &ctx.operands[0]);
        let dtype = ctx.results[0].dtype;
        pool::body("avg_pool", ctx, &mut |k, window| {
            let zero = k.constant(dtype, 1, 0.0);
            let sum = window.fold(k, ctx, zero, |k, acc, x| k.add(acc, x));
            let count = count(k, ctx, &p, [x.dims[2], x.dims[3]], [&window.at[2], &window.at[3]]);
            k.div(sum, count)
        })
    }),
    grad: Gradient::Rule(|cx| {
        let attrs = ["kernel", "stride", "pad", "ceil_mode", "count_include_pad"].map(|a| cx.copied(a));
        let input = ("input", cx.size(0));
        let dx = cx.emit("dx", "avg_pool_grad", &[cx.grad()], &[&attrs[..], &[input]].concat())?;
        cx.send(0, dx);
        Ok(())
    }),
};

/// The divisor of the window at an output position, in an image of that size.
pub fn count(k: &mut KernelBuilder, ctx: &BodyCtx, p: &Pool, size: [i64; 2], at: [&Affine; 2]) -> Reg {
    let dtype = ctx.results[0].dtype;
    let include_pad = ctx.attrs.bool(COUNT_INCLUDE_PAD.name);
    let [rows, columns] = [0, 1].map(|axis| {
        let window = p.window(axis);
        let taps = if include_pad { Window::taps_padded } else { Window::taps_inside };
        taps(window, at[axis], size[axis]).count(k, dtype)
    });
    k.mul(rows, columns)
}
