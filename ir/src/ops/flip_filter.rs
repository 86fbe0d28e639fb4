//! `flip_filter`: y[c,o,r,q] = w[o,c,R−1−r,S−1−q]: the filter of a convolution's gradient with respect to its image.
//!
//! w: [O, C/groups, R, S]; y: [C, O/groups, R, S], in each group output and input channels exchanged.

use super::common::{self, elementwise, memory_cost};
use super::conv2d::{GROUPS, filter};
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Problem, Properties};
use crate::types::TensorType;

pub const FLIP_FILTER: OpDef = OpDef {
    name: "flip_filter",
    doc: "y[c,o,r,q] = w[o,c,R-1-r,S-1-q] in each group",
    operands: &["w"],
    properties: Properties::NONE,
    attrs: &[GROUPS],
    shape: |ctx| {
        let [o, c, r, s] = filter(ctx, 0)?;
        let groups = u64::try_from(ctx.attrs.int(GROUPS.name)).unwrap_or(0);
        if groups == 0 || o % groups != 0 {
            let message = format!("groups={} does not divide {o} output channels", ctx.attrs.int(GROUPS.name));
            return Err(Problem::new("E0202", message).operand(0));
        }
        Ok(vec![TensorType::new(ctx.operands[0].dtype, [c * groups, o / groups, r, s].map(Into::into))])
    },
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        let (w, y) = (&ctx.operands[0], &ctx.results[0]);
        let (c_group, o_group, groups) = (w.dims[1], y.dims[1], ctx.attrs.int(GROUPS.name));
        elementwise("flip_filter", ctx, &mut |k, ins, at| {
            let (o, c) = match groups {
                1 => (at[1].clone(), at[0].clone()),
                _ => (at[0].floordiv(c_group) * o_group + &at[1], at[0].modulo(c_group)),
            };
            let taps = [2, 3].map(|d| &at[d] * -1 + (w.dims[d] - 1));
            let [r, q] = taps;
            common::load(k, ctx, ins, 0, &[o, c, r, q])
        })
    }),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};
