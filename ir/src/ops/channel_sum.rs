//! `channel_sum`: y[k,c] = Σ x[n,c,…] over part k of the images: the gradient of a bias.
//!
//! x: [N,C,…]; y: [splits,C].

use super::channels::{self, Sums, Term};
use super::common::memory_cost;
use super::splits::SPLITS;
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Properties};

pub const CHANNEL_SUM: OpDef = OpDef {
    name: "channel_sum",
    doc: "y[k,c] = sum of x[n,c,...] over part k of the images",
    operands: &["x"],
    properties: Properties::NONE,
    attrs: &[SPLITS],
    shape: |ctx| Ok(vec![channels::sums(ctx)?]),
    cost: memory_cost,
    body: Body::Sums(Sums::new(|_, x, _| vec![Term::Value(x[0])])),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};
