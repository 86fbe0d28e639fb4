//! Gradient rules: how an op sends the gradient of its results back to its operands.
//!
//! A rule stands in its op's table entry and appends ordinary nodes to the graph under construction: for each operand
//! that is wanted, the gradient of the loss with respect to it, given those with respect to the results. The sweep
//! over a graph, which calls the rules and adds up what several readers of a value send, knows no op.

use crate::entity::Value;
use crate::graph::GraphBuilder;
use crate::op::{Attr, Attrs, Problem};
use crate::types::TensorType;
use std::collections::HashSet;

/// What the op table says of an op's derivative.
#[derive(Clone, Copy)]
pub enum Gradient {
    Rule(fn(&mut GradCtx) -> Result<(), Problem>),
    /// Why there is none.
    None(&'static str),
}

/// A gradient rule's view of one node.
///
/// Operands and results are values of the graph that is being built, which holds the node itself too.
pub struct GradCtx<'a> {
    pub graph: &'a mut GraphBuilder,
    /// Names that are taken in `graph`.
    pub names: &'a mut HashSet<String>,
    pub operands: &'a [Value],
    pub results: &'a [Value],
    pub attrs: &'a Attrs,
    /// Gradient of each result; `None` where the loss does not depend on it.
    pub grads: &'a [Option<Value>],
    /// Whether the gradient of an operand is asked for.
    pub wanted: &'a [bool],
    /// What the rule has sent to each operand.
    pub sent: Vec<Option<Value>>,
}

impl GradCtx<'_> {
    /// The gradient of the only result.
    pub fn grad(&self) -> Value {
        self.grads[0].expect("invariant: a rule is called where the gradient of some result is known")
    }

    pub fn wants(&self, operand: usize) -> bool {
        self.wanted[operand]
    }

    pub fn ty(&self, v: Value) -> &TensorType {
        self.graph.graph().ty(v)
    }

    /// Type of an operand.
    pub fn operand(&self, i: usize) -> &TensorType {
        self.ty(self.operands[i])
    }

    /// Height and width of an operand, an image, as an attribute.
    pub fn size(&self, operand: usize) -> Attr {
        let dims = self.operand(operand).dims(1);
        Attr::Pair([dims[2], dims[3]])
    }

    /// An attribute of the node, to be given to another.
    pub fn copied(&self, name: &'static str) -> (&'static str, Attr) {
        (name, self.attrs.0[name].clone())
    }

    /// Appends an op with one result, called `RESULT.what` after the node.
    pub fn emit(
        &mut self,
        what: &str,
        op: &str,
        operands: &[Value],
        attrs: &[(&'static str, Attr)],
    ) -> Result<Value, Problem> {
        Ok(self.emit_all(&[what], op, operands, attrs)?[0])
    }

    /// The same for several results.
    pub fn emit_all(
        &mut self,
        what: &[&str],
        op: &str,
        operands: &[Value],
        attrs: &[(&'static str, Attr)],
    ) -> Result<Vec<Value>, Problem> {
        let node = self.graph.graph().name(self.results[0]);
        let names: Vec<String> = what.iter().map(|w| format!("{node}.{w}")).collect();
        let names: Vec<String> = names.iter().map(|n| unique(self.names, n)).collect();
        self.graph.node(&names, op, operands, attrs)
    }

    /// Appends an op whose result is partial sums, and their sum.
    pub fn emit_sum(
        &mut self,
        what: &str,
        op: &str,
        operands: &[Value],
        attrs: &[(&'static str, Attr)],
    ) -> Result<Value, Problem> {
        let parts = self.emit(&format!("{what}.parts"), op, operands, attrs)?;
        self.emit(what, "sum_splits", &[parts], &[])
    }

    /// Sends `grad` to an operand, if it is wanted there.
    pub fn send(&mut self, operand: usize, grad: Value) {
        if self.wanted[operand] {
            self.sent[operand] = Some(grad);
        }
    }
}

/// `name`, or `name.1`, `name.2`, … if that is taken; takes it.
pub fn unique(names: &mut HashSet<String>, name: &str) -> String {
    let mut unique = name.to_string();
    let mut i = 0;
    while !names.insert(unique.clone()) {
        i += 1;
        unique = format!("{name}.{i}");
    }
    unique
}
