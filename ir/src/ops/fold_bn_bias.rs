//! `fold_bn_bias`: y = β + (b − μ)·γ/√(σ² + ε): the bias of a layer that absorbs the batch normalisation after it;
//! b is the layer's own bias, 0 if absent. Computed in f64, rounded once.
//!
//! beta, gamma, mean, var, b, y: [C].

use super::batch_norm::EPS;
use super::common;
use super::fold::{shape, shift_body};
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Properties};

pub const FOLD_BN_BIAS: OpDef = OpDef {
    name: "fold_bn_bias",
    doc: "y = beta + (b - mean) * gamma / sqrt(var + eps), computed in f64",
    operands: &["beta", "gamma", "mean", "var", "b?"],
    properties: Properties::NONE,
    attrs: &[EPS],
    shape,
    cost: common::memory_cost,
    body: Body::Loops(|ctx| shift_body("fold_bn_bias", ctx)),
    grad: Gradient::None("made by passes, after gradients are taken"),
};
