//! `dense_grad_weight`: dw[o,i] = Σ g[n,o]·x[n,i] over n: the gradient of `dense` with respect to its weight.
//!
//! x: [N,I], g: [N,O], both plain; dw: [O,I]. The sum runs over ascending n.

use super::common::{self, elementwise, memory_cost};
use crate::grad::Gradient;
use crate::op::{Body, Cost, OpDef, Problem, Properties};
use crate::types::{Dim, TensorType};

pub const DENSE_GRAD_WEIGHT: OpDef = OpDef {
    name: "dense_grad_weight",
    doc: "dw[o,i] = sum of g[n,o] * x[n,i] over n",
    operands: &["x", "g"],
    properties: Properties::NONE,
    attrs: &[],
    shape: |ctx| {
        let (x, g) = (common::floats(ctx, 0)?, common::floats(ctx, 1)?);
        let [n, Dim::Size(i)] = x.shape[..] else {
            return Err(Problem::new("E0201", format!("expected rows [N,I], found {x}")).operand(0));
        };
        let Some(&Dim::Size(o)) = g.shape.get(1).filter(|_| g.shape.len() == 2 && g.shape[0] == n) else {
            return Err(Problem::new("E0211", format!("expected [{n},O] with as many rows as x, found {g}")).operand(1));
        };
        common::plain(ctx, 0)?;
        common::plain(ctx, 1)?;
        Ok(vec![TensorType::new(x.dtype, [o.into(), i.into()])])
    },
    cost: |ctx| {
        let [n, i] = ctx.operands[0].dims(ctx.batch)[..] else { unreachable!("invariant: rows have rank 2") };
        let o = ctx.operands[1].dims(ctx.batch)[1];
        Cost { macs: n * i * o, ..memory_cost(ctx) }
    },
    body: Body::Loops(|ctx| {
        let (dtype, images) = (ctx.results[0].dtype, ctx.operands[0].dims[0]);
        elementwise("dense_grad_weight", ctx, &mut |k, ins, at| {
            let zero = k.constant(dtype, 1, 0.0);
            k.for_carry(0, images, &[zero], |k, n, acc| {
                let x = common::load(k, ctx, ins, 0, &[n.clone(), at[1].clone()]);
                let g = common::load(k, ctx, ins, 1, &[n, at[0].clone()]);
                vec![k.fma(g, x, acc[0])]
            })[0]
        })
    }),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};
