//! `split-bn`: turns a batch normalisation that is left after `fold-bn` into a `scale_shift` with two vectors,
//! computed from its four at compile time.

use super::op;
use crate::pass::{Pass, PassCtx, Refusal, Verdict};
use ir::Diagnostics;
use ir::entity::Node;
use ir::graph::{GraphRef, Patch};
use ir::op::Attrs;

pub struct SplitBn;

impl Pass for SplitBn {
    fn name(&self) -> &'static str {
        "split-bn"
    }

    fn doc(&self) -> &'static str {
        "turns batch norms that could not be folded into scale_shift"
    }

    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        cx.rewrite(|_, view, n| split(view, n))
    }
}

fn split(view: &GraphRef, n: Node) -> Verdict<Refusal> {
    let d = &view.graph.nodes[n];
    if d.op.name != "batch_norm" {
        return None;
    }
    let &[x, gamma, beta, mean, var] = &d.operands[..] else { return None };
    let name = view.graph.name(d.results[0]);
    let mut p = Patch::new("split-bn");
    let eps = d.attrs.0["eps"].clone();
    let with_eps = |name| Attrs::defaults(op(name)).set("eps", eps.clone());
    let scale = [gamma, var].map(Into::into).to_vec();
    let scale = p.add(format!("{name}.scale"), op("bn_scale"), with_eps("bn_scale"), scale, vec![], None);
    let shift = [beta, gamma, mean, var].map(Into::into).to_vec();
    let shift = p.add(format!("{name}.shift"), op("bn_shift"), with_eps("bn_shift"), shift, vec![], None);
    let scale_shift = op("scale_shift");
    let y = p.add(
        name,
        scale_shift,
        Attrs::defaults(scale_shift),
        vec![x.into(), scale, shift],
        vec![],
        Some(view.graph.ty(d.results[0]).layout),
    );
    p.replace(d.results[0], y);
    Some(Ok(p))
}
