//! Graph verifier. It guarantees:
//!
//! - **G1** (E0101) The live nodes are in a topological order: operands are inputs, live parameters or results of
//!   earlier nodes, and a result knows its node.
//! - **G2** (E0102) Names of live values are unique and not empty.
//! - **G3** (E0103) Every node has as many operands as its op takes, besides those of the epilogue.
//! - **G4** (E0104) Every declared attribute is present, of its kind, and no other.
//! - **G5** (E0105) Results have the element type and shape that the op's shape rule gives; inputs, parameters and
//!   results have a layout that fits their shape.
//! - **G6** (E0106) Epilogue steps stand only on ops that allow them; each names operands of its own; vectors have one
//!   element an output channel, an added tensor has the type of the result.
//! - **G7** (E0107) The graph has outputs, and they are inputs, parameters or live results.
//! - **G8** (E0108) `N` ranges over at least one number, from 1 up; `N` only occurs as the first dimension, and not in
//!   parameters.
//!
//! `tests/coverage.rs` reads this list: each rule has a test that breaks it.

use super::{Def, Graph};
use crate::diag::{Diagnostic, Diagnostics, Place};
use crate::entity::{Node, Value};
use crate::layout::Layout;
use crate::op::{Attr, AttrKind, OpCtx};
use crate::types::{DType, Dim, TensorType};
use cranelift_entity::EntitySet;
use std::collections::HashSet;

impl Graph {
    /// Every violation of the rules above.
    pub fn verify(&self) -> Diagnostics {
        let mut v = Verifier { g: self, known: EntitySet::new(), problems: Diagnostics::default() };
        v.graph();
        v.problems
    }
}

struct Verifier<'a> {
    g: &'a Graph,
    /// Values that are defined so far.
    known: EntitySet<Value>,
    problems: Diagnostics,
}

impl Verifier<'_> {
    fn report(&mut self, code: &'static str, at: Value, message: String) {
        let place = Place::Node(self.g.name(at).to_string());
        self.problems.push(Diagnostic::error(code, message).at(place, ""));
    }

    fn graph(&mut self) {
        let g = self.g;
        let [lo, hi] = g.batch;
        if lo == 0 || lo > hi {
            self.problems.push(Diagnostic::error("E0108", format!("N cannot range from {lo} to {hi}")));
        }
        let mut names = HashSet::new();
        let live = g.inputs.iter().chain(&g.params).copied();
        let results = g.order.iter().flat_map(|&n| g.nodes[n].results.iter().copied());
        for v in live.clone().chain(results) {
            if g.name(v).is_empty() || !names.insert(g.name(v)) {
                self.report("E0102", v, format!("the name '%{}' is empty or taken", g.name(v)));
            }
            let ty = g.ty(v);
            if g.is_param(v) && ty.shape.contains(&Dim::N) {
                self.report("E0108", v, format!("the parameter is {ty}; no tensor of the weights has a batch N"));
            } else if ty.shape.iter().skip(1).any(|d| *d == Dim::N) {
                self.report("E0108", v, format!("N is not the first dimension of {ty}"));
            }
            if !ty.layout.fits(&ty.dims(1)) {
                let message = format!("{} does not fit {}", ty.layout, ty.with_layout(Layout::Plain));
                self.report("E0105", v, message);
            }
        }
        self.known.extend(live);
        for &n in &g.order {
            self.node(n);
            self.known.extend(g.nodes[n].results.iter().copied());
        }
        if g.outputs.is_empty() {
            self.problems.push(Diagnostic::error("E0107", format!("graph @{} has no output", g.name)));
        }
        for &v in &g.outputs {
            if !self.known.contains(v) {
                self.report("E0107", v, "the output is not computed".into());
            }
        }
    }

    fn node(&mut self, n: Node) {
        let (g, data) = (self.g, &self.g.nodes[n]);
        let (op, result) = (data.op, g.result(n));
        for &v in &data.operands {
            if !self.known.contains(v) {
                self.report("E0101", result, format!("%{} is read before it is computed", g.name(v)));
            }
        }
        for (i, &v) in data.results.iter().enumerate() {
            if g.values[v].def != Def::Result(n, i) {
                self.report("E0101", v, "the value does not know the node that computes it".into());
            }
        }
        let in_epilogue: usize = data.epilogue.iter().map(|s| s.operands().len()).sum();
        let own = data.operands.len().saturating_sub(in_epilogue);
        let least = op.operands.iter().filter(|o| !o.ends_with('?')).count();
        if own < least || (own > op.operands.len() && !op.properties.variadic) {
            let takes = op.operands.join(", ");
            self.report("E0103", result, format!("{} takes {takes}; {own} operands are given", op.name));
            return;
        }
        let kinds_fit = op.attrs.iter().all(|a| data.attrs.0.get(a.name).is_some_and(|v| kind(v) == a.kind));
        if !kinds_fit || data.attrs.0.len() != op.attrs.len() {
            self.report("E0104", result, format!("the attributes are not those of {}", op.name));
            return;
        }
        let types = g.operand_types(n);
        let ctx = OpCtx { operands: &types, attrs: &data.attrs, epilogue: &data.epilogue, results: &[], batch: 1 };
        match (op.shape)(&ctx) {
            Err(p) => {
                let mut d = Diagnostic::error(p.code, p.message).at(Place::Node(g.name(result).to_string()), "");
                d.help = p.help;
                self.problems.push(d);
                return;
            }
            Ok(inferred) => self.results(n, &inferred),
        }
        self.epilogue(n, own);
    }

    fn results(&mut self, n: Node, inferred: &[TensorType]) {
        let results = &self.g.nodes[n].results;
        for (&v, want) in results.iter().zip(inferred) {
            let ty = self.g.ty(v);
            if ty.dtype != want.dtype || ty.shape != want.shape {
                self.report("E0105", v, format!("the result is {want}, not {ty}"));
            }
        }
        if results.len() != inferred.len() {
            self.report("E0105", results[0], format!("the op has {} results", inferred.len()));
        }
    }

    /// `own` operands are the op's; the epilogue's follow in the order of its steps.
    fn epilogue(&mut self, n: Node, own: usize) {
        let (g, data) = (self.g, &self.g.nodes[n]);
        let (result, ty) = (g.result(n), g.ty(g.result(n)));
        if !data.epilogue.is_empty() && !data.op.properties.epilogue {
            self.report("E0106", result, format!("{} has no epilogue", data.op.name));
            return;
        }
        let positions: Vec<usize> = data.epilogue.iter().flat_map(|s| s.operands()).collect();
        if !positions.iter().copied().eq(own..data.operands.len()) {
            self.report("E0106", result, "the epilogue's operands are not those after the op's own".into());
            return;
        }
        let channels = ty.shape.get(1).and_then(|d| d.size()).unwrap_or(0);
        let vector = TensorType::f32(&[channels]);
        for step in &data.epilogue {
            for i in step.operands() {
                let got = g.ty(data.operands[i]);
                let is_tensor = step.tensor().is_some();
                let fits = if is_tensor { got == ty } else { got.shape == vector.shape && got.dtype == ty.dtype };
                if !fits {
                    let want = if is_tensor { ty } else { &vector };
                    self.report("E0106", result, format!("epilogue step {} takes {want}, not {got}", step.name()));
                }
            }
        }
        if !data.epilogue.is_empty() && ty.dtype == DType::U8 {
            self.report("E0106", result, "an epilogue works on floating-point results".into());
        }
    }
}

fn kind(a: &Attr) -> AttrKind {
    match a {
        Attr::Int(_) => AttrKind::Int,
        Attr::Float(_) => AttrKind::Float,
        Attr::Bool(_) => AttrKind::Bool,
        Attr::Pair(_) => AttrKind::Pair,
        Attr::Quad(_) => AttrKind::Quad,
        Attr::Dims(_) => AttrKind::Dims,
        Attr::Floats(_) => AttrKind::Floats,
        Attr::Word(_) => AttrKind::Word,
    }
}
