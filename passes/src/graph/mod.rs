//! Graph → Graph passes, one a file.

mod apply_plan;
mod canonicalize;
mod cse;
mod dce;
mod fold_bn;
mod fold_constants;
mod fold_shape;
mod fuse_epilogue;
pub(crate) mod recompute;
mod reorders;
pub(crate) mod sample_pointwise;
mod select_algorithm;
mod select_layout;
mod split_bn;

pub use apply_plan::ApplyPlan;
pub use canonicalize::Canonicalize;
pub use cse::Cse;
pub use dce::Dce;
pub use fold_bn::FoldBn;
pub use fold_constants::FoldConstants;
pub use fold_shape::FoldShape;
pub use fuse_epilogue::FuseEpilogue;
pub use recompute::{MemoryGoal, Recompute, Recomputed};
pub use reorders::Reorders;
pub use sample_pointwise::SamplePointwise;
pub use select_algorithm::{SelectAlgorithm, Winograd};
pub use select_layout::SelectLayout;
pub use split_bn::SplitBn;

use cranelift_entity::EntitySet;
use ir::entity::{Node, Value};
use ir::graph::{Patch, Src};
use ir::op::{Attr, Attrs, OpDef};
use ir::{Graph, Layout};

/// The op called `name`.
fn op(name: &str) -> &'static OpDef {
    ir::op::lookup(name).expect("invariant: the op is in the table")
}

fn is_op(g: &Graph, n: Node, name: &str) -> bool {
    g.op(n).name == name
}

/// Whether `x` may take the place of `y`: two outputs stay two values, and one keeps its name, which no input or
/// parameter takes.
fn may_replace(g: &Graph, y: Value, x: Value) -> bool {
    !(g.is_output(y) && (g.is_output(x) || g.def(x).is_none()))
}

fn old_operands(g: &Graph, n: Node) -> Vec<Src> {
    g.nodes[n].operands.iter().map(|&v| v.into()).collect()
}

/// Adds a reorder of `x` to `layout`.
fn add_reorder(p: &mut Patch, name: String, x: impl Into<Src>, layout: Layout) -> Src {
    let reorder = op("reorder");
    let attrs = Attrs::defaults(reorder).set("to", Attr::Word(layout.to_string()));
    p.add(name, reorder, attrs, vec![x.into()], vec![], None)
}

/// Parameters, and results of nodes that depend on parameters only.
fn constants(g: &Graph) -> EntitySet<Value> {
    let mut constant = set(&g.params);
    for &n in &g.order {
        let d = &g.nodes[n];
        if d.operands.iter().all(|&v| constant.contains(v)) {
            d.results.iter().for_each(|&v| _ = constant.insert(v));
        }
    }
    constant
}

fn set(values: &[Value]) -> EntitySet<Value> {
    let mut set = EntitySet::new();
    values.iter().for_each(|&v| _ = set.insert(v));
    set
}
