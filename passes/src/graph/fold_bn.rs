//! `fold-bn`: a batch normalisation with given statistics becomes part of the convolution or dense layer before it.
//!
//! γ(Wx + b − μ)/√(σ² + ε) + β = (W·γ/√(σ² + ε))x + (β + (b − μ)·γ/√(σ² + ε)): a new weight and a new bias, both
//! ordinary ops on parameters (`fold_bn_weight`, `fold_bn_bias`) that `fold-constants` evaluates in f64 and rounds
//! once. The old weight stays for whoever else reads it.

use super::op;
use crate::pass::{Pass, PassCtx, Refusal, keep};
use ir::entity::{Node, Value};
use ir::epilogue::Step;
use ir::graph::{Def, GraphRef, Patch, Src};
use ir::interp::decode;
use ir::op::Attrs;
use ir::store::TensorStore;
use ir::{DType, Diagnostics, Graph, Layout};

pub struct FoldBn;

keep! {
    /// the layer's result is read elsewhere too, where it must not be normalised
    HasOtherReader,
    /// the layer's result is an output of the graph
    IsOutput,
    /// an activation stands between the layer and the batch norm
    ActivationBetween,
    /// the layer's epilogue does more than add a bias before the batch norm
    EpilogueBetween,
    /// the batch norm stands before a convolution; through its zero padding the border would need another bias
    BeforeConvolution,
    /// gamma, beta, mean or variance, or the folded weight, is not a finite number
    NotFinite,
    /// a variance plus eps is not positive
    VarianceNotPositive,
}

impl Pass for FoldBn {
    fn name(&self) -> &'static str {
        "fold-bn"
    }

    fn doc(&self) -> &'static str {
        "folds batch norms into the weights and biases of the layers before them"
    }

    fn refusals(&self) -> &'static [Refusal] {
        Keep::ALL
    }

    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        cx.rewrite(|cx, view, n| {
            (view.graph.op(n).name == "batch_norm").then(|| fold(cx, view, n)).and_then(Result::transpose)
        })
    }
}

fn is_layer(g: &Graph, n: Node) -> bool {
    matches!(g.op(n).name, "conv2d" | "dense")
}

/// The patch, or `None` if this batch norm has nothing to do with a layer.
fn fold(cx: &PassCtx, view: &GraphRef, bn: Node) -> Result<Option<Patch>, Keep> {
    let g = view.graph;
    let (x, y) = (g.operand(bn, 0), g.result(bn));
    let layer = match g.def(x) {
        Some(d) if is_layer(g, d) => d,
        Some(d)
            if matches!(g.op(d).name, "relu" | "clamp") && g.def(g.operand(d, 0)).is_some_and(|c| is_layer(g, c)) =>
        {
            return Err(Keep::ActivationBetween);
        }
        _ if view.readers[y].iter().any(|&r| g.op(r).name == "conv2d") => return Err(Keep::BeforeConvolution),
        _ => return Ok(None),
    };
    if g.is_output(x) {
        return Err(Keep::IsOutput);
    }
    if view.readers[x].len() > 1 {
        return Err(Keep::HasOtherReader);
    }
    let d = &g.nodes[layer];
    let bias = match d.epilogue[..] {
        [] => None,
        [Step::Bias(b)] => Some(d.operands[b]),
        [.., Step::Relu | Step::Clamp(..)] => return Err(Keep::ActivationBetween),
        _ => return Err(Keep::EpilogueBetween),
    };
    check_numbers(cx, g, bn, layer, bias)?;

    let [_, gamma, beta, mean, var] = g.nodes[bn].operands[..] else {
        unreachable!("invariant: batch_norm has five operands")
    };
    let (input, weight) = (d.operands[0], d.operands[1]);
    let mut p = Patch::new("fold-bn");
    let eps = g.nodes[bn].attrs.0["eps"].clone();
    let mut folded = |name: &str, of: Value, operands: Vec<Value>| {
        let attrs = Attrs::defaults(op(name)).set("eps", eps.clone());
        p.add(
            format!("{}.fold_bn", g.name(of)),
            op(name),
            attrs,
            operands.into_iter().map(Src::Old).collect(),
            vec![],
            None,
        )
    };
    let w = folded("fold_bn_weight", weight, vec![weight, gamma, var]);
    let b = folded("fold_bn_bias", beta, [beta, gamma, mean, var].into_iter().chain(bias).collect());
    let layout = Some(g.ty(y).layout);
    let z = p.add(g.name(y), d.op, d.attrs.clone(), vec![input.into(), w, b], vec![Step::Bias(2)], layout);
    p.replace(y, z);
    Ok(Some(p))
}

/// Refuses statistics whose fold is no finite f32. What is not at hand (a graph without its weights) is taken to be
/// fine; the fold itself needs it.
fn check_numbers(cx: &PassCtx, g: &Graph, bn: Node, layer: Node, bias: Option<Value>) -> Result<(), Keep> {
    let data = |v: Value| numbers(&cx.store, g, v);
    let [gamma, beta, mean, var] = [1, 2, 3, 4].map(|i| data(g.operand(bn, i)));
    let (Some(gamma), Some(beta), Some(mean), Some(var)) = (gamma, beta, mean, var) else { return Ok(()) };
    if ![&gamma, &beta, &mean, &var].iter().all(|v| v.iter().all(|x| x.is_finite())) {
        return Err(Keep::NotFinite);
    }
    let eps = g.nodes[bn].attrs.float("eps");
    if var.iter().any(|v| v + eps <= 0.0) {
        return Err(Keep::VarianceNotPositive);
    }
    let fits = |x: f64| g.ty(g.result(bn)).dtype == DType::F64 && x.is_finite() || (x as f32).is_finite();
    let scale: Vec<f64> = gamma.iter().zip(&var).map(|(g, v)| g / (v + eps).sqrt()).collect();
    let bias = bias.and_then(data).unwrap_or_else(|| vec![0.0; scale.len()]);
    let shift = (0..scale.len()).map(|i| beta[i] + (bias[i] - mean[i]) * scale[i]);
    if !scale.iter().copied().chain(shift).all(fits) {
        return Err(Keep::NotFinite);
    }
    // A weight can only leave the range if it grows.
    let most = scale.iter().fold(0.0, |most: f64, s| most.max(s.abs()));
    let weight = g.operand(layer, 1);
    if most > 1.0
        && let Some(elements) = elements(&cx.store, g, weight)
    {
        let row = elements.len() / scale.len();
        // Elements of a packed one are not in the order of channels.
        let by = |i: usize| if g.ty(weight).layout == Layout::Plain { scale[i / row] } else { most };
        if !elements.iter().enumerate().all(|(i, w)| fits(w * by(i))) {
            return Err(Keep::NotFinite);
        }
    }
    Ok(())
}

/// Elements of a parameter in their order, if the store has it and it is not packed.
fn numbers(store: &dyn TensorStore, g: &Graph, v: Value) -> Option<Vec<f64>> {
    if g.ty(v).layout == Layout::Plain { elements(store, g, v) } else { None }
}

/// Elements of a parameter as they are stored, if the store has it.
fn elements(store: &dyn TensorStore, g: &Graph, v: Value) -> Option<Vec<f64>> {
    let Def::Param { tensor, .. } = &g.values[v].def else { return None };
    let data = store.get(tensor)?;
    Some(decode(data.dtype, &data.bytes))
}
