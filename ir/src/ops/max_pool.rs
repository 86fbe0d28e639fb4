//! `max_pool`: y[n,c,i,j] = max of x[n,c,i·s + r − p, j·s + q − p] over the taps r, q of the window.
//!
//! x: [N,C,H,W]; y: [N,C,P,Q]. Padding counts as −∞, so it is skipped. A NaN in the window gives NaN.

use super::common::memory_cost;
use super::pool::{self, CEIL_MODE, KERNEL, PAD, STRIDE};
use crate::grad::Gradient;
use crate::kernel::BinOp;
use crate::op::{Body, OpDef, Properties, Sign};

pub const MAX_POOL: OpDef = OpDef {
    name: "max_pool",
    doc: "y[n,c,i,j] = max of x[n,c,i*s+r-p,j*s+q-p] over the window; padding counts as -inf",
    operands: &["x"],
    properties: Properties { sign: |_| Sign::OfOperands, ..Properties::NONE },
    attrs: &[KERNEL, STRIDE, PAD, CEIL_MODE],
    shape: pool::shape,
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        let dtype = ctx.results[0].dtype;
        pool::body("max_pool", ctx, &mut |k, window| {
            let least = k.constant(dtype, 1, f64::NEG_INFINITY);
            window.fold(k, ctx, least, |k, acc, x| k.bin(BinOp::MaxNan, acc, x))
        })
    }),
    grad: Gradient::Rule(|cx| {
        let attrs = ["kernel", "stride", "pad", "ceil_mode"].map(|a| cx.copied(a));
        let dx = cx.emit("dx", "max_pool_grad", &[cx.grad(), cx.operands[0]], &attrs)?;
        cx.send(0, dx);
        Ok(())
    }),
};
