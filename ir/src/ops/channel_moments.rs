//! `channel_moments`: sums[k,c] = Σ x[n,c,…], squares[k,c] = Σ x[n,c,…]², both over part k of the images, in f64.
//!
//! x: [N,C,…] of floats; results: f64[splits,C]. [`batch_statistics`](super::batch_statistics) makes mean and variance of
//! them. A difference of squares cancels what mean² exceeds the variance by: f64 has 2²⁹ to spare over f32, so one pass
//! over x is enough.

use super::channels::{self, Sums, Term};
use super::common::memory_cost;
use super::splits::SPLITS;
use crate::DType;
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Properties};

pub const CHANNEL_MOMENTS: OpDef = OpDef {
    name: "channel_moments",
    doc: "sums[k,c] = sum of x[n,c,...], squares[k,c] = sum of x[n,c,...]^2 over part k of the images, in f64",
    operands: &["x"],
    properties: Properties::NONE,
    attrs: &[SPLITS],
    shape: |ctx| {
        let y = channels::sums(ctx)?.with_dtype(DType::F64);
        Ok(vec![y.clone(), y])
    },
    cost: memory_cost,
    body: Body::Sums(Sums::new(|k, x, _| {
        let x = k.convert(x[0], DType::F64);
        vec![Term::Value(x), Term::Product(x, x)]
    })),
    grad: Gradient::None("batch_norm's rule differentiates through the statistics of its batch"),
};
