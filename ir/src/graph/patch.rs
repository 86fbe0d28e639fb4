//! The one way to edit a graph: new nodes, new parameters, and which old values they stand for.
//!
//! A pass builds patches against a graph that it only reads; [`Graph::apply`] is the one place that changes it.

use super::Graph;
use crate::entity::Value;
use crate::epilogue::Step;
use crate::op::{Attrs, OpDef};
use crate::types::TensorType;

/// An operand of a patch node: a value of the graph, or something that the patch adds (by number).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Src {
    Old(Value),
    New(usize),
}

impl From<Value> for Src {
    fn from(v: Value) -> Src {
        Src::Old(v)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Added {
    Node {
        op: &'static OpDef,
        attrs: Attrs,
        operands: Vec<Src>,
        epilogue: Vec<Step>,
        name: String,
        layout: Option<crate::Layout>,
    },
    Param {
        name: String,
        tensor: String,
        ty: TensorType,
        state: bool,
    },
}

#[derive(Clone, Debug)]
pub struct Patch {
    /// The pass that made it.
    pub pass: &'static str,
    pub(crate) added: Vec<Added>,
    pub(crate) replaced: Vec<(Value, Src)>,
}

impl Patch {
    pub fn new(pass: &'static str) -> Patch {
        Patch { pass, added: Vec::new(), replaced: Vec::new() }
    }

    /// Adds a node with one result called `name` (made unique when applied). Its type is inferred; `layout`
    /// overrides the layout of the result.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        op: &'static OpDef,
        attrs: Attrs,
        operands: Vec<Src>,
        epilogue: Vec<Step>,
        layout: Option<crate::Layout>,
    ) -> Src {
        self.added.push(Added::Node { op, attrs, operands, epilogue, name: name.into(), layout });
        Src::New(self.added.len() - 1)
    }

    pub fn add_param(
        &mut self,
        name: impl Into<String>,
        tensor: impl Into<String>,
        ty: TensorType,
        state: bool,
    ) -> Src {
        self.added.push(Added::Param { name: name.into(), tensor: tensor.into(), ty, state });
        Src::New(self.added.len() - 1)
    }

    /// All readers of `old` (and the graph's outputs) read `new` instead; if `new` is added here, it takes the
    /// name of `old`, so that a value keeps its name through fusion.
    pub fn replace(&mut self, old: Value, new: impl Into<Src>) {
        self.replaced.push((old, new.into()));
    }
}

impl Graph {
    /// Applies a patch: see [`Patch`]. Nodes that nobody reads afterwards leave the order.
    pub fn apply(&mut self, _patch: Patch) -> Result<(), crate::op::Problem> {
        Err(crate::op::Problem::new("E0199", "patches are not applied yet"))
    }
}
