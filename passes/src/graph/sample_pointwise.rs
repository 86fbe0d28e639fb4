//! `sample-pointwise`: a strided 1x1 convolution reads a copy of its pixels, and is one at stride 1.
//!
//! Pixels that are apart fill the caches with lines of which half is not read, once for each panel of output channels.
//! The copy reads them once.

use super::{is_op, old_operands, op};
use crate::pass::{Pass, PassCtx, Refusal, Verdict};
use ir::Diagnostics;
use ir::Graph;
use ir::entity::Node;
use ir::graph::{GraphRef, Patch};
use ir::op::{Attr, Attrs};

/// Output channels from which a copy pays: with 128 of them it takes as long as it saves.
const LEAST_CHANNELS: u64 = 256;

pub struct SamplePointwise;

impl Pass for SamplePointwise {
    fn name(&self) -> &'static str {
        "sample-pointwise"
    }

    fn doc(&self) -> &'static str {
        "lets strided 1x1 convolutions read a copy of their pixels"
    }

    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        cx.rewrite(|_, view, n| sample(view, n))
    }
}

/// Whether a node is a convolution of some pixels alone: its filter has one tap and skips the others.
pub(crate) fn reads_a_sample(g: &Graph, n: Node) -> bool {
    let d = &g.nodes[n];
    is_op(g, n, "conv2d")
        && g.ty(d.operands[1]).dims(1)[2..] == [1, 1]
        && d.attrs.pair("stride") != [1, 1]
        && d.attrs.quad("pad") == [0; 4]
}

fn sample(view: &GraphRef, n: Node) -> Verdict<Refusal> {
    let (g, d) = (view.graph, &view.graph.nodes[n]);
    if !reads_a_sample(g, n) || g.ty(d.operands[1]).dims(1)[0] < LEAST_CHANNELS {
        return None;
    }
    let (y, name) = (d.results[0], g.name(d.results[0]));
    let mut p = Patch::new("sample-pointwise");
    let step = Attrs::defaults(op("subsample")).set("step", Attr::Pair(d.attrs.pair("stride")));
    let mut operands = old_operands(g, n);
    operands[0] = p.add(format!("{name}.sample"), op("subsample"), step, vec![operands[0]], vec![], None);
    let attrs = d.attrs.clone().set("stride", Attr::Pair([1, 1]));
    let dense = p.add(name, d.op, attrs, operands, d.epilogue.clone(), Some(g.ty(y).layout));
    p.replace(y, dense);
    Some(Ok(p))
}
