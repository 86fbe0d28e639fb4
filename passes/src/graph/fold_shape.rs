//! `fold-shape`: drops changes of shape that change nothing and joins two that follow each other.
//!
//! `flatten` and `reshape` of plain tensors keep every byte where it is, so a chain of them is its last shape. What
//! remains costs nothing: lowering gives operand and result the same memory.

use super::{may_replace, op};
use crate::pass::{Pass, PassCtx, Refusal, Verdict};
use ir::entity::Node;
use ir::graph::{GraphRef, Patch};
use ir::op::{Attr, Attrs};
use ir::{Diagnostics, Graph};

pub struct FoldShape;

impl Pass for FoldShape {
    fn name(&self) -> &'static str {
        "fold-shape"
    }

    fn doc(&self) -> &'static str {
        "drops and joins changes of shape that move no bytes"
    }

    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        cx.rewrite(|_, view, n| fold(view, n))
    }
}

/// Whether all that it does is to state another shape.
pub(super) fn is_shape_change(g: &Graph, n: Node) -> bool {
    matches!(g.op(n).name, "flatten" | "reshape")
}

fn fold(view: &GraphRef, n: Node) -> Verdict<Refusal> {
    let g = view.graph;
    if !is_shape_change(g, n) {
        return None;
    }
    let (x, y) = (g.operand(n, 0), g.result(n));
    let mut p = Patch::new("fold-shape");
    if g.ty(x) == g.ty(y) && may_replace(g, y, x) {
        p.replace(y, x);
        return Some(Ok(p));
    }
    let before = g.def(x).filter(|&d| is_shape_change(g, d))?;
    let reshape = op("reshape");
    let attrs = Attrs::defaults(reshape).set("shape", Attr::Dims(g.ty(y).shape.clone()));
    let joined = p.add(g.name(y), reshape, attrs, vec![g.operand(before, 0).into()], vec![], None);
    p.replace(y, joined);
    Some(Ok(p))
}
