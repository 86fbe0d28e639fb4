//! `// test pass NAME[,NAME…]`: the graphs of the file after these passes, and what they refused.
//!
//! Tensors that a pass has to look at stand in the file as `// tensor "NAME" = 1, -2, inf`. Constants are evaluated
//! by the interpreter. Every list of passes runs twice: the second run must change nothing and say so.

use crate::filetest::{FileTest, Outcome};
use ir::graph::Def;
use ir::interp::{self, encode};
use ir::store::{MemoryStore, TensorData};
use ir::target::X86_64_V3;
use ir::text::{Module, print};
use ir::{Diagnostics, Graph, Kernel};
use passes::Evaluator;
use passes::pipeline::{Optimised, PassOptions, optimise};
use std::borrow::Cow;
use std::sync::Arc;

pub struct Interpreter;

impl Evaluator for Interpreter {
    fn eval(&self, kernel: &Kernel, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, Diagnostics> {
        interp::kernel::run(kernel, inputs)
    }
}

pub fn run(t: &FileTest) -> Outcome {
    let names: Vec<String> = t.arguments.iter().flat_map(|a| a.split(',')).map(str::to_string).collect();
    let mut refused = String::new();
    let mut after = Vec::new();
    for g in &t.module.graphs {
        let found = g.verify();
        if found.has_errors() {
            return Outcome::Failure(format!("the graph is not valid:\n{found}"));
        }
        match twice(g, tensors(g, &t.text), &names) {
            Ok(o) => {
                for r in o.log.refused {
                    refused += &format!("refuse: %{} {}\n", r.node, r.keep.name);
                }
                after.push(o.graph);
            }
            Err(e) => return Outcome::Failure(e),
        }
    }
    let text = print(&Module { graphs: after, info: t.module.info.clone(), ..Module::default() });
    Outcome::Text(refused + &text)
}

/// The graph after the passes; an error if a second run changes it or if `is_unchanged` is wrong.
fn twice(g: &Graph, store: MemoryStore, names: &[String]) -> Result<Optimised, String> {
    let options = PassOptions { only: Some(names), verify_each: true, ..PassOptions::default() };
    let run = |g: Graph, store| optimise(g, store, &X86_64_V3, 1, &options, &Interpreter).map_err(|d| d.to_string());
    let one = |g: &Graph| print(&Module { graphs: vec![g.clone()], ..Module::default() });
    let once = run(g.clone(), Arc::new(store))?;
    if once.log.passes.iter().all(|p| p.is_unchanged()) && one(g) != one(&once.graph) {
        return Err("the passes changed the graph and say that they did not".into());
    }
    let again = run(once.graph.clone(), once.store.clone())?;
    if one(&once.graph) != one(&again.graph) {
        return Err(format!("a second run changes the graph again:\n{}", one(&again.graph)));
    }
    match again.log.passes.iter().find(|p| !p.is_unchanged()) {
        Some(p) => Err(format!("a second run of {} says that it changed something", p.pass)),
        None => Ok(once),
    }
}

/// The tensors that the file gives, with the shapes that the graph says.
fn tensors(g: &Graph, text: &str) -> MemoryStore {
    let mut store = MemoryStore::default();
    for line in text.lines().filter_map(|l| l.trim().strip_prefix("// tensor ")) {
        let Some((name, numbers)) = line.split_once('=') else { continue };
        let name = name.trim().trim_matches('"');
        let numbers: Vec<f64> = numbers.split(',').filter_map(|x| x.trim().parse().ok()).collect();
        let named = |v: &&ir::entity::Value| matches!(&g.values[**v].def, Def::Param { tensor, .. } if tensor == name);
        if let Some(&v) = g.params.iter().find(named) {
            let ty = g.ty(v);
            // One number stands for all.
            let len = ty.elements(1) as usize;
            let all: Vec<f64> = numbers.iter().copied().cycle().take(len).collect();
            let data = TensorData { dtype: ty.dtype, shape: ty.dims(1), bytes: Cow::Owned(encode(ty.dtype, &all)) };
            store.insert(name, data);
        }
    }
    store
}
