//! `reorders`: drops reorders that change nothing, joins two that follow each other, and shares equal ones.
//!
//! Where reorders stand is decided by `select-layout`; this pass only removes what is redundant.

use super::{add_reorder, is_op, may_replace};
use crate::pass::{Pass, PassCtx, Refusal, Verdict};
use ir::Diagnostics;
use ir::entity::Node;
use ir::graph::{GraphRef, Patch};

pub struct Reorders;

impl Pass for Reorders {
    fn name(&self) -> &'static str {
        "reorders"
    }

    fn doc(&self) -> &'static str {
        "drops, joins and shares changes of layout"
    }

    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        cx.rewrite(|_, view, n| simplify(view, n))
    }
}

fn simplify(view: &GraphRef, n: Node) -> Verdict<Refusal> {
    let g = view.graph;
    if !is_op(g, n, "reorder") {
        return None;
    }
    let (x, y) = (g.operand(n, 0), g.result(n));
    let mut p = Patch::new("reorders");
    if g.ty(x) == g.ty(y) && may_replace(g, y, x) {
        p.replace(y, x);
        return Some(Ok(p));
    }
    if let Some(before) = g.def(x).filter(|&d| is_op(g, d, "reorder")) {
        let direct = add_reorder(&mut p, g.name(y).into(), g.operand(before, 0), g.ty(y).layout);
        p.replace(y, direct);
        return Some(Ok(p));
    }
    // The first of several equal reorders of a value serves all.
    let equal = |&m: &Node| is_op(g, m, "reorder") && g.ty(g.result(m)) == g.ty(y);
    let first = view.readers[x].iter().copied().find(equal)?;
    if first == n || !may_replace(g, y, g.result(first)) {
        return None;
    }
    p.replace(y, g.result(first));
    Some(Ok(p))
}
