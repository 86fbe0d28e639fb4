//! `global_avg_pool`: y[n,c] = (Σ x[n,c,h,w] over h, w) / (H·W), summed row by row.
//!
//! x: [N,C,H,W]; y: [N,C]. Lin et al., Network In Network, 2014, section 3.2.

use super::common::{self, elementwise, memory_cost};
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Properties, Sign};
use crate::types::TensorType;

pub const GLOBAL_AVG_POOL: OpDef = OpDef {
    name: "global_avg_pool",
    doc: "y[n,c] = mean of x[n,c,h,w] over h and w",
    operands: &["x"],
    properties: Properties {
        sign: |_| Sign::OfOperands,
        roundings: |ctx| ctx.operands[0].dims[2..].iter().product(),
        ..Properties::NONE
    },
    attrs: &[],
    shape: |ctx| {
        let [c, ..] = common::image(ctx, 0)?;
        let x = &ctx.operands[0];
        Ok(vec![TensorType::new(x.dtype, [x.shape[0], c.into()])])
    },
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        let dtype = ctx.results[0].dtype;
        let (h, w) = (ctx.operands[0].dims[2], ctx.operands[0].dims[3]);
        elementwise("global_avg_pool", ctx, &mut |k, ins, at| {
            let zero = k.constant(dtype, 1, 0.0);
            let sum = k.for_carry(0, h, &[zero], |k, row, acc| {
                k.for_carry(0, w, acc, |k, column, acc| {
                    let at = [at[0].clone(), at[1].clone(), row, column];
                    let x = common::load(k, ctx, ins, 0, &at);
                    vec![k.add(acc[0], x)]
                })
            })[0];
            // Exact: an image has far fewer than 2^24 positions, or its mean is rounded anyway.
            let count = k.constant(dtype, 1, (h * w) as f64);
            k.div(sum, count)
        })
    }),
    grad: Gradient::Rule(|cx| {
        let input = ("input", cx.size(0));
        let dx = cx.emit("dx", "global_avg_pool_grad", &[cx.grad()], &[input])?;
        cx.send(0, dx);
        Ok(())
    }),
};
