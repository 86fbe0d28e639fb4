//! `batch_norm`: y = γ(x − μ)/√(σ² + ε) + β with given statistics, for each channel c = index of dimension 1.
//!
//! x, y: [N,C,…], same type; gamma, beta, mean, var: [C]. The form for inference of Ioffe & Szegedy, ICML 2015,
//! algorithm 2.

use super::channels;
use super::common::{self, attr, memory_cost, same_as_first};
use super::map::Map;
use crate::entity::Value;
use crate::grad::{GradCtx, Gradient};
use crate::op::{AttrDef, AttrKind, Body, OpDef, Problem, Properties};

/// ε of a batch normalisation, shared by the ops that fold one.
pub const EPS: AttrDef = attr("eps", AttrKind::Float, Some("1e-5"), "added to the variance");

pub const BATCH_NORM: OpDef = OpDef {
    name: "batch_norm",
    doc: "y = gamma*(x - mean)/sqrt(var + eps) + beta for each channel",
    operands: &["x", "gamma", "beta", "mean", "var"],
    properties: Properties::NONE,
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
    body: Body::Map(Map {
        channel: |k, ctx, vectors| {
            let &[gamma, beta, mean, var] = vectors else { unreachable!("invariant: a batch norm has four vectors") };
            let deviation = common::deviation(k, var, ctx.attrs.float(EPS.name));
            vec![k.div(gamma, deviation), beta, mean]
        },
        element: |k, _, x, channel| {
            let &[scale, beta, mean] = channel else { unreachable!("invariant: what `channel` gives") };
            let centred = k.sub(x[0], mean);
            k.fma(centred, scale, beta)
        },
    }),
    grad: Gradient::Rule(grad),
};

/// If mean and variance are those of x in this batch, the gradient of x is the whole one, through them too.
fn grad(cx: &mut GradCtx) -> Result<(), Problem> {
    let &[x, gamma, _, mean, var] = cx.operands else { unreachable!("invariant: batch_norm has five operands") };
    let (g, eps) = (cx.grad(), cx.copied(EPS.name));
    let of_batch = is_statistic(cx, mean, 0, x) && is_statistic(cx, var, 1, x);
    if !of_batch && (cx.wants(3) || cx.wants(4)) {
        let message =
            "mean and variance of a batch norm are given, or those of its own operand; these depend on parameters";
        return Err(Problem::new("E0406", message));
    }
    let mut params = Vec::new();
    if cx.wants(1) || cx.wants(2) || (of_batch && cx.wants(0)) {
        let attrs = [eps.clone(), channels::splits_attr(cx.operand(0))];
        let parts =
            cx.emit_all(&["dgamma.parts", "dbeta.parts"], "batch_norm_grad_params", &[g, x, mean, var], &attrs)?;
        for (i, name) in ["dgamma", "dbeta"].into_iter().enumerate() {
            let sum = cx.emit(name, "sum_splits", &[parts[i]], &[])?;
            cx.send(1 + i, sum);
            params.push(sum);
        }
    }
    if cx.wants(0) {
        let dx = if of_batch {
            cx.emit("dx", "batch_norm_grad_input", &[g, x, gamma, mean, var, params[0], params[1]], &[eps])?
        } else {
            let scale = cx.emit("scale", "bn_scale", &[gamma, var], &[eps])?;
            cx.emit("dx", "scale", &[g, scale], &[])?
        };
        cx.send(0, dx);
    }
    Ok(())
}

/// Whether `v` is result `which` of the `batch_statistics` of x.
fn is_statistic(cx: &GradCtx, v: Value, which: usize, x: Value) -> bool {
    let g = cx.graph.graph();
    let made_by = |v: Value, op: &str| g.def(v).filter(|&n| g.op(n).name == op);
    made_by(v, "batch_statistics").is_some_and(|n| {
        let moments = |i: usize| {
            let parts = g.operand(n, 1 + i);
            made_by(parts, "channel_moments").filter(|&m| g.operand(m, 0) == x && g.nodes[m].results[i] == parts)
        };
        g.nodes[n].results[which] == v && moments(0).is_some() && moments(1).is_some()
    })
}
