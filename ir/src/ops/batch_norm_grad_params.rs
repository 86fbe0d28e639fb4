//! `batch_norm_grad_params`: dgamma[k,c] = Σ g·(x − μ)/√(σ² + ε), dbeta[k,c] = Σ g, both over part k of the images: the
//! gradients of `batch_norm` with respect to γ and β.
//!
//! g, x: [N,C,…], same shape; mean, var: [C]; results: [splits,C]. Ioffe & Szegedy, ICML 2015, section 3.

use super::batch_norm::EPS;
use super::channels::{self, Sums, Term};
use super::common::{self, memory_cost};
use super::splits::SPLITS;
use crate::DType;
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Properties};

pub const BATCH_NORM_GRAD_PARAMS: OpDef = OpDef {
    name: "batch_norm_grad_params",
    doc: "dgamma[k,c] = sum of g*(x - mean)/sqrt(var + eps), dbeta[k,c] = sum of g over part k of the images",
    operands: &["g", "x", "mean", "var"],
    properties: Properties::NONE,
    attrs: &[EPS, SPLITS],
    shape: |ctx| {
        let y = channels::sums(ctx)?;
        common::equal(ctx, 1, &ctx.operands[0])?;
        channels::vector(ctx, 2)?;
        channels::vector(ctx, 3)?;
        common::check_eps(ctx)?;
        Ok(vec![y.clone(), y])
    },
    cost: memory_cost,
    body: Body::Sums(Sums {
        terms: |k, gx, vectors| {
            let centred = k.sub(gx[1], vectors[0]);
            vec![Term::Product(gx[0], centred), Term::Value(gx[0])]
        },
        finish: |k, ctx, vectors, sums| {
            let var = k.convert(vectors[1], DType::F64);
            let deviation = common::deviation(k, var, ctx.attrs.float(EPS.name));
            vec![k.div(sums[0], deviation), sums[1]]
        },
    }),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};
