//! `channel_dot`: y[k,c] = Σ x[n,c,…]·z[n,c,…] over part k of the images: the gradient of a scale.
//!
//! x, z: [N,C,…], same shape; y: [splits,C].

use super::channels::{self, Sums, Term};
use super::common::{self, memory_cost};
use super::splits::SPLITS;
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Properties};

pub const CHANNEL_DOT: OpDef = OpDef {
    name: "channel_dot",
    doc: "y[k,c] = sum of x[n,c,...] * z[n,c,...] over part k of the images",
    operands: &["x", "z"],
    properties: Properties::NONE,
    attrs: &[SPLITS],
    shape: |ctx| {
        let y = channels::sums(ctx)?;
        common::equal(ctx, 1, &ctx.operands[0])?;
        Ok(vec![y])
    },
    cost: memory_cost,
    body: Body::Sums(Sums::new(|_, xz, _| vec![Term::Product(xz[0], xz[1])])),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};
