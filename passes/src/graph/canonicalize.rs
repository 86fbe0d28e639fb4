//! `canonicalize`: one spelling for what can be written in several ways, so that later passes look for one.
//!
//! - An op that changes nothing is its operand: `relu` of what is never negative, `subsample` by 1×1, empty pads.
//! - `clamp` from 0 without upper end is `relu`; the sum of one part is a `reshape`, which moves no bytes.
//! - A sum of more terms than a kernel can have parameters becomes a sum of sums, in the same order of additions.
//! - A `pad2d` becomes the pad of the convolution or pool after it, where that means the same.

use super::{may_replace, old_operands, op};
use crate::pass::{Pass, PassCtx, Refusal, Verdict, keep};
use ir::entity::{Node, Value};
use ir::epilogue::Step;
use ir::graph::{GraphRef, Patch};
use ir::op::{Attr, Attrs, Sign};
use ir::program::verify::MAX_PARAMS;
use ir::types::Dim;
use ir::{Diagnostics, Graph};

pub struct Canonicalize;

keep! {
    /// the pad holds another value than zero, which is what a convolution or an average has around its input
    PadValueNotZero,
    /// the pad holds zeros, a maximum has −∞ around its input, and the input may be negative
    InputMayBeNegative,
    /// the average does not count its own padding, but it does count these zeros
    PadNotCounted,
    /// with ceil_mode the number of windows depends on whether the zeros are input or padding
    CeilModeCountsPadding,
    /// a window of the pool would lie wholly in padding
    WindowInPadding,
}

impl Pass for Canonicalize {
    fn name(&self) -> &'static str {
        "canonicalize"
    }

    fn doc(&self) -> &'static str {
        "brings equal things into one form: pads into convolutions and pools, ops that change nothing away"
    }

    fn refusals(&self) -> &'static [Refusal] {
        Keep::ALL
    }

    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        cx.rewrite(|_, view, n| simplify(view.graph, n).or_else(|| absorb_pad(view, n)))
    }
}

fn simplify(g: &Graph, n: Node) -> Verdict<Keep> {
    let d = &g.nodes[n];
    let &x = d.operands.first()?;
    let y = d.results[0];
    let is_identity = match d.op.name {
        "relu" => is_never_negative(g, x),
        "subsample" => d.attrs.pair("step") == [1, 1],
        "pad2d" => d.attrs.quad("pad") == [0; 4],
        "pad_channels" => d.attrs.int("before") == 0 && d.attrs.int("after") == 0,
        _ => false,
    };
    let mut p = Patch::new("canonicalize");
    if is_identity && g.ty(x) == g.ty(y) && may_replace(g, y, x) {
        p.replace(y, x);
        return Some(Ok(p));
    }
    if d.op.name == "clamp" && d.attrs.float("lo") == 0.0 && d.attrs.float("hi") == f64::INFINITY {
        let relu = op("relu");
        let r = p.add(g.name(y), relu, Attrs::defaults(relu), vec![x.into()], vec![], Some(g.ty(y).layout));
        p.replace(y, r);
        return Some(Ok(p));
    }
    if d.op.name == "sum_splits" && g.ty(x).shape[0] == Dim::Size(1) {
        let reshape = op("reshape");
        let attrs = Attrs::defaults(reshape).set("shape", Attr::Dims(g.ty(y).shape.clone()));
        let r = p.add(g.name(y), reshape, attrs, vec![x.into()], vec![], None);
        p.replace(y, r);
        return Some(Ok(p));
    }
    if d.op.name == "add" && d.operands.len() + 1 > MAX_PARAMS {
        let mut terms = old_operands(g, n);
        let rest = terms.split_off(MAX_PARAMS - 1);
        let layout = Some(g.ty(y).layout);
        let first = p.add(format!("{}.first", g.name(y)), d.op, d.attrs.clone(), terms, vec![], layout);
        let all = [vec![first], rest].concat();
        let sum = p.add(g.name(y), d.op, d.attrs.clone(), all, vec![], layout);
        p.replace(y, sum);
        return Some(Ok(p));
    }
    None
}

/// Nodes that are looked at to prove that a value is not negative.
const PROOF_NODES: usize = 64;

/// Whether every element of `v` is proven to be ≥ 0 or NaN.
fn is_never_negative(g: &Graph, v: Value) -> bool {
    let mut open = vec![v];
    for _ in 0..PROOF_NODES {
        let Some(v) = open.pop() else { return true };
        let Some(n) = g.def(v) else { return false };
        let d = &g.nodes[n];
        match (d.epilogue.last(), (d.op.properties.sign)(&d.attrs)) {
            (Some(Step::Relu), _) | (None, Sign::NotNegative) => {}
            (Some(Step::Clamp(lo, _)), _) if *lo >= 0.0 => {}
            (None, Sign::OfOperands) => open.extend(&d.operands),
            _ => return false,
        }
    }
    false
}

fn absorb_pad(view: &GraphRef, n: Node) -> Verdict<Keep> {
    let g = view.graph;
    let d = &g.nodes[n];
    if !matches!(d.op.name, "conv2d" | "max_pool" | "avg_pool") {
        return None;
    }
    let pad = g.def(d.operands[0]).filter(|&m| g.op(m).name == "pad2d")?;
    Some(absorb(g, n, pad))
}

fn absorb(g: &Graph, n: Node, pad: Node) -> Result<Patch, Keep> {
    let (d, outer) = (&g.nodes[n], &g.nodes[pad]);
    let own = d.attrs.quad("pad");
    let sum = std::array::from_fn(|i| own[i] + outer.attrs.quad("pad")[i]);
    if outer.attrs.float("value") != 0.0 {
        return Err(Keep::PadValueNotZero);
    }
    let mut attrs = d.attrs.clone().set("pad", Attr::Quad(sum));
    if d.op.name != "conv2d" {
        if d.attrs.bool("ceil_mode") {
            return Err(Keep::CeilModeCountsPadding);
        }
        let [h, w] = d.attrs.pair("kernel");
        if sum[0].max(sum[2]) >= h || sum[1].max(sum[3]) >= w {
            return Err(Keep::WindowInPadding);
        }
    }
    match d.op.name {
        "max_pool" if !is_never_negative(g, outer.operands[0]) => return Err(Keep::InputMayBeNegative),
        "avg_pool" if !d.attrs.bool("count_include_pad") => {
            if own != [0; 4] {
                return Err(Keep::PadNotCounted);
            }
            attrs = attrs.set("count_include_pad", Attr::Bool(true));
        }
        _ => {}
    }
    let mut p = Patch::new("canonicalize");
    let mut operands = old_operands(g, n);
    operands[0] = outer.operands[0].into();
    let y = d.results[0];
    let padded = p.add(g.name(y), d.op, attrs, operands, d.epilogue.clone(), Some(g.ty(y).layout));
    p.replace(y, padded);
    Ok(p)
}
