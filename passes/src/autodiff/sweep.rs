//! The reverse sweep: from the gradient of one value to those of all that it depends on.
//!
//! Nodes are visited from the last to the first, so that every reader of a value has sent its share before the value's
//! own node is asked. Shares are added in that order. Only nodes between a wanted value and the root are visited, and a
//! rule is told which operands lie on such a way.

use super::at;
use cranelift_entity::{EntitySet, SecondaryMap};
use ir::entity::{Node, Value};
use ir::grad::{GradCtx, Gradient, unique};
use ir::graph::GraphBuilder;
use ir::op::Problem;
use ir::{Diagnostic, Diagnostics, Place};
use std::collections::HashSet;

/// Called with a wanted value and its gradient, as soon as that is whole.
pub type Done<'a> = &'a mut dyn FnMut(&mut GraphBuilder, &mut HashSet<String>, Value, Value) -> Result<(), Problem>;

/// Appends the gradients of `root`, whose own gradient is `seed`, with respect to each of `wanted`, which are no
/// results of nodes.
///
/// Errors: E0406 for an op without a rule on the way, or one that carries an epilogue; what a rule says.
pub fn sweep(
    b: &mut GraphBuilder,
    names: &mut HashSet<String>,
    root: Value,
    seed: Value,
    wanted: &[Value],
    done: Done,
) -> Result<(), Diagnostics> {
    let order = b.graph().order.clone();
    let (active, last_visited) = ways(b, &order, wanted);
    let mut shares: SecondaryMap<Value, Vec<Value>> = SecondaryMap::new();
    shares[root].push(seed);
    for &n in order.iter().rev() {
        let node = b.graph().nodes[n].clone();
        let is_wanted: Vec<bool> = node.operands.iter().map(|&v| active.contains(v)).collect();
        let name = b.graph().name(node.results[0]).to_string();
        if is_wanted.contains(&true) && node.results.iter().any(|&v| !shares[v].is_empty()) {
            let grads: Vec<Option<Value>> = node
                .results
                .iter()
                .map(|&v| sum(b, names, v, &shares[v]))
                .collect::<Result<_, _>>()
                .map_err(|p| at(p, &name))?;
            if !node.epilogue.is_empty() {
                let d = Diagnostic::error(
                    "E0406",
                    format!("this {} carries an epilogue, which has no gradient", node.op.name),
                );
                return Err(d.at(Place::Node(name), "").help("take gradients before fuse-epilogue").into());
            }
            let rule = match node.op.grad {
                Gradient::Rule(rule) => rule,
                Gradient::None(why) => {
                    let d = Diagnostic::error("E0406", format!("{} has no gradient: {why}", node.op.name));
                    return Err(d.at(Place::Node(name), "").help("start from a graph that no pass has changed").into());
                }
            };
            let mut cx = GradCtx {
                graph: b,
                names,
                operands: &node.operands,
                results: &node.results,
                attrs: &node.attrs,
                grads: &grads,
                wanted: &is_wanted,
                sent: vec![None; node.operands.len()],
            };
            rule(&mut cx).map_err(|p| at(p, &name))?;
            let sent = std::mem::take(&mut cx.sent);
            for (&v, grad) in node.operands.iter().zip(sent) {
                shares[v].extend(grad);
            }
        }
        for &v in &last_visited[n] {
            let grad = sum(b, names, v, &shares[v]).and_then(|g| g.map_or(Ok(()), |g| done(b, names, v, g)));
            grad.map_err(|p| at(p, &name))?;
        }
    }
    Ok(())
}

/// Values that depend on one of `wanted`; and for each node the wanted values of which it is the first reader, so that
/// after it the sweep finds no more.
fn ways(b: &GraphBuilder, order: &[Node], wanted: &[Value]) -> (EntitySet<Value>, SecondaryMap<Node, Vec<Value>>) {
    let mut active = EntitySet::new();
    wanted.iter().for_each(|&v| _ = active.insert(v));
    let mut unread = active.clone();
    let mut first: SecondaryMap<Node, Vec<Value>> = SecondaryMap::new();
    for &n in order {
        let node = &b.graph().nodes[n];
        for &v in &node.operands {
            if unread.remove(v) {
                first[n].push(v);
            }
        }
        if node.operands.iter().any(|&v| active.contains(v)) {
            node.results.iter().for_each(|&v| _ = active.insert(v));
        }
    }
    (active, first)
}

/// The sum of what readers have sent to `v`.
fn sum(
    b: &mut GraphBuilder,
    names: &mut HashSet<String>,
    v: Value,
    shares: &[Value],
) -> Result<Option<Value>, Problem> {
    match shares {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        all => {
            let name = unique(names, &format!("{}.grad", b.graph().name(v)));
            b.op(&name, "add", all, &[]).map(Some)
        }
    }
}
