//! `cse`: one value for equal computations: the same op with the same attributes and epilogue on the same
//! operands, and parameters that name the same tensor.
//!
//! Ops have no effects and no randomness, so equal nodes always give equal values.

use super::may_replace;
use crate::pass::{Pass, PassCtx};
use ir::entity::{Node, Value};
use ir::graph::{Def, Patch};
use ir::{Diagnostics, Graph};
use std::collections::HashMap;
use std::fmt::Write;

pub struct Cse;

impl Pass for Cse {
    fn name(&self) -> &'static str {
        "cse"
    }

    fn doc(&self) -> &'static str {
        "computes equal values once"
    }

    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        let patches = duplicates(&cx.graph)
            .into_iter()
            .map(|(twin, first)| {
                let mut p = Patch::new("cse");
                p.replace(twin, first);
                p
            })
            .collect();
        cx.apply(patches).map(|_| ())
    }
}

/// Values that equal an earlier one, and that one. One walk finds all: operands count as what they equal.
fn duplicates(g: &Graph) -> Vec<(Value, Value)> {
    let mut found = Vec::new();
    let mut equals: HashMap<Value, Value> = HashMap::new();
    let mut tensors: HashMap<(&str, String), Value> = HashMap::new();
    for &v in &g.params {
        let Def::Param { tensor, .. } = &g.values[v].def else { continue };
        let first = *tensors.entry((tensor, g.ty(v).to_string())).or_insert(v);
        if first != v {
            equals.insert(v, first);
            if may_replace(g, v, first) {
                found.push((v, first));
            }
        }
    }
    let mut nodes: HashMap<String, Node> = HashMap::new();
    for &n in &g.order {
        let first = *nodes.entry(key(g, n, &equals)).or_insert(n);
        if first == n {
            continue;
        }
        for (&twin, &original) in g.nodes[n].results.iter().zip(&g.nodes[first].results) {
            if may_replace(g, twin, original) {
                found.push((twin, original));
            }
            equals.insert(twin, original);
        }
    }
    found
}

/// Everything that a node's value depends on, as text: attributes are printed so that equal text means equal bits.
fn key(g: &Graph, n: Node, equals: &HashMap<Value, Value>) -> String {
    let d = &g.nodes[n];
    let mut key = d.op.name.to_string();
    for v in &d.operands {
        let _ = write!(key, " {}", equals.get(v).unwrap_or(v));
    }
    for (name, value) in &d.attrs.0 {
        let _ = write!(key, " {name}={value}");
    }
    let _ = write!(key, " {:?} {}", d.epilogue, g.ty(d.results[0]));
    key
}
