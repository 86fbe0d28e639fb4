//! `bn_scale`: y = γ/√(σ² + ε): the factor of the `scale_shift` that a batch normalisation is. Computed in f64,
//! rounded once.
//!
//! gamma, var, y: [C].

use super::batch_norm::EPS;
use super::common::{self, elementwise};
use super::fold::shape;
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Properties};

pub const BN_SCALE: OpDef = OpDef {
    name: "bn_scale",
    doc: "y = gamma / sqrt(var + eps), computed in f64",
    operands: &["gamma", "var"],
    properties: Properties::NONE,
    attrs: &[EPS],
    shape,
    cost: common::memory_cost,
    body: Body::Loops(|ctx| {
        let eps = ctx.attrs.float("eps");
        elementwise("bn_scale", ctx, &mut |k, ins, at| {
            let [gamma, var] = [0, 1].map(|i| common::load_f64(k, ctx, ins, i, at));
            let deviation = common::deviation(k, var, eps);
            let scale = k.div(gamma, deviation);
            k.convert(scale, ctx.results[0].dtype)
        })
    }),
    grad: Gradient::None("made by passes, after gradients are taken"),
};
