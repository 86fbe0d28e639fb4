//! `bn_shift`: y = β − μ·γ/√(σ² + ε): the summand of the `scale_shift` that a batch normalisation is. Computed in
//! f64, rounded once.
//!
//! beta, gamma, mean, var, y: [C].

use super::batch_norm::EPS;
use super::common;
use super::fold::{shape, shift_body};
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Properties};

pub const BN_SHIFT: OpDef = OpDef {
    name: "bn_shift",
    doc: "y = beta - mean * gamma / sqrt(var + eps), computed in f64",
    operands: &["beta", "gamma", "mean", "var"],
    properties: Properties::NONE,
    attrs: &[EPS],
    shape,
    cost: common::memory_cost,
    body: Body::Loops(|ctx| shift_body("bn_shift", ctx)),
    grad: Gradient::None("made by passes, after gradients are taken"),
};
