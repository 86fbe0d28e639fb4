//! `fold-constants`: evaluates what depends on parameters only and stores it as a new parameter.
//!
//! Folds of batch norms and packing of weights are ordinary ops, so this is all there is to preparing weights. Each
//! op runs through its body in the evaluator that was handed in; different constants are computed in parallel. A
//! new tensor is named after the parameter that it comes from and what was done to it:
//! `conv1.weight.fold_bn.OIhw8i16o`. Intermediate results live no longer than the evaluation of their constant.

use crate::pass::{Pass, PassCtx};
use ir::diag::Place;
use ir::entity::{Node, Value};
use ir::graph::{Def, Patch};
use ir::op::{BodyCtx, BufType};
use ir::store::{TensorData, TensorStore};
use ir::{Diagnostic, Diagnostics, Graph, Kernel};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

pub struct FoldConstants;

impl Pass for FoldConstants {
    fn name(&self) -> &'static str {
        "fold-constants"
    }

    fn doc(&self) -> &'static str {
        "evaluates what depends on parameters only"
    }

    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        let mut roots = roots(&cx.graph);
        roots.truncate(cx.budget());
        let job = Job { g: &cx.graph, store: &cx.store, evaluator: cx.evaluator, kernels: Mutex::default() };
        let computed: Vec<Result<Vec<u8>, Diagnostics>> = roots.par_iter().map(|&n| job.evaluate(n)).collect();

        let mut names: HashSet<String> = cx.store.names().into_iter().collect();
        let (mut patches, mut failed) = (Vec::new(), Diagnostics::default());
        for (&n, bytes) in roots.iter().zip(computed) {
            let v = cx.graph.result(n);
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(d) => {
                    failed.0.extend(d.0);
                    continue;
                }
            };
            let name = unique(&mut names, tensor_name(&cx.graph, n));
            let ty = cx.graph.ty(v).clone();
            let data = TensorData { dtype: ty.dtype, shape: ty.physical_dims(1), bytes: Cow::Owned(bytes) };
            cx.store.insert(&name, data);
            let mut p = Patch::new("fold-constants");
            let param = p.add_param(&name, &name, ty, false);
            p.replace(v, param);
            patches.push(p);
        }
        failed.into_result(())?;
        cx.apply(patches).map(|_| ())
    }
}

/// Nodes that depend on parameters only and are read by something that does not.
fn roots(g: &Graph) -> Vec<Node> {
    let constant = super::constants(g);
    let mut needed = super::set(&g.outputs);
    let is_constant = |n: Node| constant.contains(g.result(n));
    for &n in g.order.iter().filter(|&&n| !is_constant(n)) {
        g.nodes[n].operands.iter().for_each(|&v| _ = needed.insert(v));
    }
    g.order.iter().copied().filter(|&n| is_constant(n) && needed.contains(g.result(n))).collect()
}

/// `WEIGHT.what.what`: the tensor at the end of the chain of first operands, and the steps from there.
fn tensor_name(g: &Graph, root: Node) -> String {
    let mut steps = Vec::new();
    let mut v = g.result(root);
    loop {
        match &g.values[v].def {
            Def::Param { tensor, .. } => {
                steps.push(tensor.clone());
                break;
            }
            Def::Result(n, _) => {
                steps.push(match g.op(*n).name {
                    "fold_bn_weight" | "fold_bn_bias" => "fold_bn".to_string(),
                    "bn_scale" => "scale".to_string(),
                    "bn_shift" => "shift".to_string(),
                    "reorder" => g.ty(v).layout.to_string(),
                    other => other.to_string(),
                });
                v = g.operand(*n, 0);
            }
            Def::Input(_) => unreachable!("invariant: constants depend on parameters only"),
        }
    }
    steps.reverse();
    steps.join(".")
}

fn unique(names: &mut HashSet<String>, name: String) -> String {
    let mut unique = name.clone();
    let mut i = 0;
    while !names.insert(unique.clone()) {
        i += 1;
        unique = format!("{name}.{i}");
    }
    unique
}

struct Job<'a> {
    g: &'a Graph,
    store: &'a dyn TensorStore,
    evaluator: &'a dyn crate::Evaluator,
    /// Bodies by what they are built from: a deep network has few different ones.
    kernels: Mutex<HashMap<String, Arc<Kernel>>>,
}

impl<'a> Job<'a> {
    fn evaluate(&self, root: Node) -> Result<Vec<u8>, Diagnostics> {
        let order = self.cone(root);
        let mut uses: HashMap<Value, usize> = HashMap::new();
        for v in order.iter().flat_map(|&n| &self.g.nodes[n].operands) {
            *uses.entry(*v).or_default() += 1;
        }
        let mut values: HashMap<Value, Cow<'a, [u8]>> = HashMap::new();
        for &n in &order {
            let operands = &self.g.nodes[n].operands;
            for &v in operands {
                if let Def::Param { tensor, .. } = &self.g.values[v].def
                    && !values.contains_key(&v)
                {
                    values.insert(v, self.tensor(v, tensor)?);
                }
            }
            let inputs: Vec<&[u8]> = operands.iter().map(|v| &values[v][..]).collect();
            let results = self.evaluator.eval(&self.kernel(n), &inputs)?;
            for v in operands {
                let left = uses.get_mut(v).expect("invariant: every operand was counted");
                *left -= 1;
                if *left == 0 {
                    values.remove(v);
                }
            }
            for (&v, bytes) in self.g.nodes[n].results.iter().zip(results) {
                values.insert(v, Cow::Owned(bytes));
            }
        }
        let bytes = values.remove(&self.g.result(root)).expect("invariant: the root is the last of its cone");
        Ok(bytes.into_owned())
    }

    /// `root` and the nodes that it depends on, operands first.
    fn cone(&self, root: Node) -> Vec<Node> {
        let (mut seen, mut order, mut stack) = (HashSet::new(), Vec::new(), vec![(root, false)]);
        while let Some((n, done)) = stack.pop() {
            if done {
                order.push(n);
            } else if seen.insert(n) {
                stack.push((n, true));
                stack.extend(self.g.nodes[n].operands.iter().filter_map(|&v| self.g.def(v)).map(|d| (d, false)));
            }
        }
        order
    }

    fn tensor(&self, v: Value, tensor: &str) -> Result<Cow<'a, [u8]>, Diagnostics> {
        let wrong =
            |what: String| Diagnostics::from(Diagnostic::error("E0403", what).at(Place::Tensor(tensor.into()), ""));
        let data = self.store.get(tensor).ok_or_else(|| wrong(format!("the weights have no tensor '{tensor}'")))?;
        let ty = self.g.ty(v);
        if data.dtype != ty.dtype || data.bytes.len() as u64 != ty.len_bytes(1) {
            return Err(wrong(format!("tensor '{tensor}' is {}{:?}, the graph says {ty}", data.dtype, data.shape)));
        }
        Ok(data.bytes)
    }

    fn kernel(&self, n: Node) -> Arc<Kernel> {
        let d = &self.g.nodes[n];
        let types = |list: &[Value]| list.iter().map(|&v| BufType::of(self.g.ty(v), 1)).collect::<Vec<_>>();
        let ctx = BodyCtx {
            operands: types(&d.operands),
            results: types(&d.results),
            attrs: &d.attrs,
            epilogue: &d.epilogue,
        };
        let key = format!("{} {:?} {:?} {:?} {:?}", d.op.name, ctx.operands, ctx.results, d.attrs, d.epilogue);
        let mut kernels = self.kernels.lock().expect("invariant: no holder of the lock panics");
        kernels.entry(key).or_insert_with(|| Arc::new(d.op.kernel(&ctx))).clone()
    }
}
