//! A plan: choices for convolutions that were measured on a machine, instead of those by the estimates.
//!
//! Convolutions are named by what they compute, see [`signature`], so that a plan serves every network that has them.

use ir::entity::Node;
use ir::graph::Graph;
use ir::op::Attr;
use ir::schedule::{SCHEDULE, Schedule};
use std::collections::BTreeMap;

/// Schedules by signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(pub BTreeMap<String, Schedule>);

/// What a convolution computes: its op, the dimensions of image and filter, what is not usual, the epilogue:
/// `conv2d 1x64x56x56 64x64x3x3 pad=1,1,1,1 epilogue=[bias,add,relu]`. `None` for other nodes.
pub fn signature(g: &Graph, n: Node, batch: u64) -> Option<String> {
    let d = &g.nodes[n];
    if d.op.name != "conv2d" {
        return None;
    }
    let dims = |i: usize| {
        let dims: Vec<String> = g.ty(d.operands[i]).dims(batch).iter().map(u64::to_string).collect();
        dims.join("x")
    };
    let mut text = format!("conv2d {} {}", dims(0), dims(1));
    for a in d.op.attrs.iter().filter(|a| a.name != SCHEDULE.name) {
        let value = &d.attrs.0[a.name];
        if a.default.and_then(|t| Attr::parse(a.kind, t)).as_ref() != Some(value) {
            text += &format!(" {}={value}", a.name);
        }
    }
    if !d.epilogue.is_empty() {
        let steps: Vec<&str> = d.epilogue.iter().map(|s| s.name()).collect();
        text += &format!(" epilogue=[{}]", steps.join(","));
    }
    Some(text)
}
