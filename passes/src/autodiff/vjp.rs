//! The gradient of any graph, without a loss: what tests of rules compare with differences.

use super::sweep::sweep;
use ir::entity::Value;
use ir::grad::unique;
use ir::graph::GraphBuilder;
use ir::{Diagnostics, Graph};
use std::collections::{HashMap, HashSet};

/// A graph with the inputs of `graph` and one more, `%seed` like its first output y; its outputs are, for each of
/// `wrt`, which are inputs, the gradient of Σ seed·y, or zeros where y does not depend on it.
///
/// Errors: E0406 for an op without a gradient.
pub fn vjp(graph: &Graph, wrt: &[Value]) -> Result<Graph, Diagnostics> {
    let mut b = GraphBuilder::copy(graph);
    let mut names: HashSet<String> = graph.values.values().map(|v| v.name.clone()).collect();
    let y = graph.outputs[0];
    let seed = b.input(&unique(&mut names, "seed"), graph.ty(y).clone());
    let mut grads: HashMap<Value, Value> = HashMap::new();
    sweep(&mut b, &mut names, y, seed, wrt, &mut |_, _, v, g| {
        grads.insert(v, g);
        Ok(())
    })?;
    let mut outputs = Vec::new();
    for &v in wrt {
        outputs.push(match grads.get(&v) {
            Some(&g) => g,
            None => {
                let name = unique(&mut names, &format!("{}.grad", graph.name(v)));
                let zero = [("value", ir::op::Attr::Float(0.0))];
                b.op(&name, "fill", &[v], &zero).map_err(|p| super::at(p, graph.name(v)))?
            }
        });
    }
    let mut g = b.finish();
    g.outputs = outputs;
    g.apply_all([]).map_err(|p| super::at(p, &graph.name))?;
    Ok(g)
}
