//! `batch_norm`: y = γ(x − μ)/√(σ² + ε) + β with given statistics, for each channel c = index of dimension 1.
//!
//! x, y: [N,C,…], same type; gamma, beta, mean, var: [C]. The form for inference of Ioffe & Szegedy, ICML 2015,
//! algorithm 2.

use super::common::{self, attr, elementwise, memory_cost, same_as_first};
use crate::op::{AttrDef, AttrKind, OpDef, Problem};

/// ε of a batch normalisation, shared by the ops that fold one.
pub const EPS: AttrDef = attr("eps", AttrKind::Float, Some("1e-5"), "added to the variance");

pub const BATCH_NORM: OpDef = OpDef {
    name: "batch_norm",
    doc: "y = gamma*(x - mean)/sqrt(var + eps) + beta for each channel",
    operands: &["x", "gamma", "beta", "mean", "var"],
    variadic: false,
    epilogue: false,
    attrs: &[EPS],
    shape: |ctx| {
        let types = same_as_first(ctx)?;
        let Some(&channels) = types[0].shape.get(1) else {
            return Err(Problem::new("E0201", format!("expected [N,C,…], found {}", types[0])).operand(0));
        };
        for i in 1..5 {
            common::vector(ctx, i, channels)?;
        }
        common::check_eps(ctx)?;
        Ok(types)
    },
    cost: memory_cost,
    body: |ctx| {
        let eps = ctx.attrs.float("eps");
        elementwise("batch_norm", ctx, &mut |k, ins, at| {
            let x = common::load(k, ctx, ins, 0, at);
            let [gamma, beta, mean, var] = [1, 2, 3, 4].map(|i| common::load(k, ctx, ins, i, &at[1..2]));
            let deviation = common::deviation(k, var, eps);
            let scale = k.div(gamma, deviation);
            let centred = k.sub(x, mean);
            k.fma(centred, scale, beta)
        })
    },
};
