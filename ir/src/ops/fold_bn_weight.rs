//! `fold_bn_weight`: y[o,…] = w[o,…] · γ[o] / √(σ²[o] + ε): the weight of a layer that absorbs the batch
//! normalisation after it. Computed in f64, rounded once.
//!
//! w, y: [O,…], same type; gamma, var: [O].

use super::batch_norm::EPS;
use super::common::{self, elementwise, memory_cost, same_as_first};
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Problem, Properties};

pub const FOLD_BN_WEIGHT: OpDef = OpDef {
    name: "fold_bn_weight",
    doc: "y[o,...] = w[o,...] * gamma[o] / sqrt(var[o] + eps), computed in f64",
    operands: &["w", "gamma", "var"],
    properties: Properties::NONE,
    attrs: &[EPS],
    shape: |ctx| {
        let types = same_as_first(ctx)?;
        let Some(&channels) = types[0].shape.first() else {
            return Err(Problem::new("E0201", "expected a weight [O,…], found a scalar").operand(0));
        };
        common::vector(ctx, 1, channels)?;
        common::vector(ctx, 2, channels)?;
        common::check_eps(ctx)?;
        Ok(types)
    },
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        let eps = ctx.attrs.float("eps");
        elementwise("fold_bn_weight", ctx, &mut |k, ins, at| {
            let w = common::load_f64(k, ctx, ins, 0, at);
            let [gamma, var] = [1, 2].map(|i| common::load_f64(k, ctx, ins, i, &at[..1]));
            let deviation = common::deviation(k, var, eps);
            let scaled = k.mul(w, gamma);
            let folded = k.div(scaled, deviation);
            k.convert(folded, ctx.results[0].dtype)
        })
    }),
    grad: Gradient::None("made by passes, after gradients are taken"),
};
