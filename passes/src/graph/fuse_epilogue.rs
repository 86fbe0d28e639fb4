//! `fuse-epilogue`: element-wise ops after a convolution or dense layer become steps of its epilogue.
//!
//! The layer's accumulators are in registers when it ends; each step saves one pass over the tensor. Steps are
//! appended in the order of the chain, so the arithmetic is the same. An `add` is taken by one layer only; the
//! other operands become operands of the step and have to be computed before.

use crate::pass::{Pass, PassCtx, Refusal, Verdict, keep};
use ir::entity::{Node, Value};
use ir::epilogue::Step;
use ir::graph::{GraphRef, Patch, Src};
use ir::program::verify::MAX_PARAMS;
use ir::{DType, Diagnostics, Graph};

pub struct FuseEpilogue;

keep! {
    /// the layer's result is read elsewhere too, before this step
    HasOtherReader,
    /// the layer's result is an output of the graph, before this step
    IsOutput,
    /// another operand of the step is computed from the layer's result
    MakesCycle,
    /// the layer's result is a later term of a sum, which would change the order of additions
    SumOrder,
    /// a tensor that the step reads lies in another layout than the layer's result
    ResidualInOtherLayout,
    /// a bound of the clamp is no f32
    BoundNotF32,
    /// the layer's kernel would have more parameters than the runtime passes
    TooManyOperands,
    /// both branches of an add are layers; the other one has taken it
    OtherBranchTaken,
}

impl Pass for FuseEpilogue {
    fn name(&self) -> &'static str {
        "fuse-epilogue"
    }

    fn doc(&self) -> &'static str {
        "turns bias, scale_shift, add, relu, relu_grad and clamp after a layer into steps of its epilogue"
    }

    fn refusals(&self) -> &'static [Refusal] {
        Keep::ALL
    }

    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        cx.rewrite(|_, view, n| fuse(view, n))?;
        for n in other_branches(&cx.graph) {
            cx.refuse(n, Keep::OtherBranchTaken);
        }
        Ok(())
    }
}

fn is_layer(g: &Graph, v: Value) -> bool {
    g.def(v).is_some_and(|n| g.op(n).properties.epilogue)
}

fn fuse(view: &GraphRef, n: Node) -> Verdict<Keep> {
    let g = view.graph;
    let d = &g.nodes[n];
    match d.op.name {
        "relu" => is_layer(g, d.operands[0]).then(|| append(view, n, 0, &[Step::Relu], &[])),
        "clamp" => is_layer(g, d.operands[0]).then(|| {
            let bound = |name| {
                let x = d.attrs.float(name);
                let exact = f64::from(x as f32) == x || g.ty(d.results[0]).dtype == DType::F32;
                if exact { Ok(x as f32) } else { Err(Keep::BoundNotF32) }
            };
            append(view, n, 0, &[Step::Clamp(bound("lo")?, bound("hi")?)], &[])
        }),
        "bias" => is_layer(g, d.operands[0]).then(|| append(view, n, 0, &[Step::Bias(0)], &[d.operands[1]])),
        "scale_shift" => is_layer(g, d.operands[0]).then(|| {
            // A layer itself: its own steps follow.
            let own = d.epilogue.iter().map(|s| s.moved(|i| i - 1));
            let steps: Vec<Step> = [Step::ScaleShift(0, 1)].into_iter().chain(own).collect();
            append(view, n, 0, &steps, &d.operands[1..])
        }),
        "relu_grad" => is_layer(g, d.operands[0]).then(|| append(view, n, 0, &[Step::ReluGrad(0)], &d.operands[1..])),
        "add" => {
            let layers = (0..d.operands.len()).filter(|&i| is_layer(g, d.operands[i]));
            let verdicts: Vec<_> = layers.map(|i| add(view, n, i)).collect();
            let first = verdicts.iter().position(Result::is_ok).unwrap_or(0);
            verdicts.into_iter().nth(first)
        }
        _ => None,
    }
}

/// Fuses the sum `n` into the layer that computes its term `i`.
fn add(view: &GraphRef, n: Node, i: usize) -> Result<Patch, Keep> {
    let terms = &view.graph.nodes[n].operands;
    // a + b = b + a, but the sum of the first two comes before the third.
    if i > 1 {
        return Err(Keep::SumOrder);
    }
    let others: Vec<Value> = (0..terms.len()).filter(|&j| j != i).map(|j| terms[j]).collect();
    let steps: Vec<Step> = (0..others.len()).map(Step::Add).collect();
    append(view, n, i, &steps, &others)
}

/// Appends `steps`, whose operands are positions in `extra`, to the layer that computes operand `i` of `n`.
fn append(view: &GraphRef, n: Node, i: usize, steps: &[Step], extra: &[Value]) -> Result<Patch, Keep> {
    let g = view.graph;
    let x = g.operand(n, i);
    let layer = g.def(x).expect("invariant: a layer computes the operand");
    let layout = |v: Value| g.ty(v).layout;
    let tensors = steps.iter().filter_map(|s| s.tensor()).map(|t| extra[t]);
    if tensors.chain([x]).any(|v| layout(v) != layout(g.result(n))) {
        return Err(Keep::ResidualInOtherLayout);
    }
    let depends = |&v: &Value| g.def(v).is_some_and(|d| view.depends(d, layer));
    if extra.iter().any(depends) {
        return Err(Keep::MakesCycle);
    }
    if g.is_output(x) {
        return Err(Keep::IsOutput);
    }
    if view.readers[x].len() > 1 {
        return Err(Keep::HasOtherReader);
    }
    let d = &g.nodes[layer];
    let first = d.operands.len();
    if first + extra.len() + 1 > MAX_PARAMS {
        return Err(Keep::TooManyOperands);
    }
    let shifted = steps.iter().map(|s| s.moved(|i| first + i));
    let epilogue = d.epilogue.iter().copied().chain(shifted).collect();
    let operands = d.operands.iter().chain(extra).map(|&v| Src::Old(v)).collect();
    let y = g.result(n);
    let mut p = Patch::new("fuse-epilogue");
    let fused = p.add(g.name(y), d.op, d.attrs.clone(), operands, epilogue, Some(g.ty(y).layout));
    p.replace(y, fused);
    Ok(p)
}

/// Layers whose result is the shortcut of another layer and nothing else: they could have taken the add.
fn other_branches(g: &Graph) -> Vec<Node> {
    let readers = g.readers();
    let taken = |n: &Node| {
        let v = g.result(*n);
        let as_shortcut = |r: &Node| {
            let d = &g.nodes[*r];
            d.epilogue.iter().any(|s| matches!(*s, Step::Add(i) if d.operands[i] == v))
        };
        g.op(*n).properties.epilogue && !g.is_output(v) && matches!(&readers[v][..], [r] if as_shortcut(r))
    };
    g.order.iter().copied().filter(taken).collect()
}
