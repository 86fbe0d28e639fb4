//! The one way to edit a graph: new nodes, new parameters, and which old values they stand for.
//!
//! A pass builds patches against a graph that it only reads; [`Graph::apply_all`] is the one place that changes it.
//! Applying costs one walk over the graph for a whole list of patches, and for each patch what it touches, so a
//! pass collects its patches and applies them together. Patches of one list are built against the same graph and
//! applied one after the other: where an earlier one has replaced a value, later ones mean the new value.

use super::{Def, Graph, ValueData};
use crate::entity::{Node, Value};
use crate::epilogue::Step;
use crate::op::{Attrs, OpDef, Problem};
use crate::types::TensorType;
use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{EntitySet, SecondaryMap};
use petgraph::visit::{Dfs, DfsPostOrder, IntoNeighbors, Visitable};
use std::collections::HashMap;

/// An operand of a patch node: a value of the graph, or something that the patch adds (by number).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Src {
    Old(Value),
    New(usize),
    /// A further result of a node that the patch adds, by number from 1.
    NewResult(usize, usize),
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

    /// All nodes that read `old` before the patch (and the graph's outputs) read `new` instead; what the patch
    /// adds reads what it says. If `new` is added here it takes the name of `old`, and `old` gets the name that
    /// `new` was given, so that a value keeps its name through fusion.
    pub fn replace(&mut self, old: Value, new: impl Into<Src>) {
        self.replaced.push((old, new.into()));
    }
}

impl Graph {
    /// Applies one patch: see [`apply_all`](Self::apply_all).
    pub fn apply(&mut self, patch: Patch) -> Result<(), Problem> {
        self.apply_all([patch])
    }

    /// Applies patches in order, then drops the nodes and parameters that no output needs.
    ///
    /// The order stays topological and otherwise as it was; a new node takes the place of the node that it stands
    /// for. Names of values that are dropped are free again.
    ///
    /// Errors: what a shape rule says; E0198 if a value would be replaced by one of another element type or shape,
    /// or if the graph would get a cycle. The graph is not usable after an error.
    pub fn apply_all(&mut self, patches: impl IntoIterator<Item = Patch>) -> Result<(), Problem> {
        let mut editor = Editor::new(self);
        for patch in patches {
            editor.patch(patch)?;
        }
        let Editor { names, stands_for, .. } = editor;
        self.sort(&stands_for)?;
        self.drop_dead(&names);
        Ok(())
    }

    /// Recomputes [`order`](Graph::order): what the outputs need, operands first, otherwise in the order it had. By
    /// petgraph's walks, which are not recursive: graphs may be chains of any length.
    fn sort(&mut self, stands_for: &Forward) -> Result<(), Problem> {
        let g = &*self;
        let outputs: Vec<Node> = g.outputs.iter().filter_map(|&v| g.def(v)).collect();
        let mut reach = Dfs::from_parts(outputs.clone(), g.visit_map());
        while reach.next(g).is_some() {}
        let needed = reach.discovered;

        let was = g.order.iter().flat_map(|&n| [g.def(stands_for.resolve(g.result(n))), Some(n)]).flatten();
        let mut walk = DfsPostOrder::empty(g);
        let mut order = Vec::new();
        for start in was.filter(|&n| needed.contains(n)).chain(outputs) {
            walk.move_to(start);
            while let Some(n) = walk.next(g) {
                order.push(n);
            }
        }

        let mut before = g.visit_map();
        for &n in &order {
            if let Some(late) = g.neighbors(n).find(|&d| !before.contains(d)) {
                return Err(cycle(g, late));
            }
            before.insert(n);
        }
        self.order = order;
        Ok(())
    }

    /// Keeps the parameters that are read, and takes the names from all values that are not live.
    fn drop_dead(&mut self, names: &Names) {
        let mut live: EntitySet<Value> = EntitySet::new();
        for &n in &self.order {
            for &v in self.nodes[n].operands.iter().chain(&self.nodes[n].results) {
                live.insert(v);
            }
        }
        for &v in self.inputs.iter().chain(&self.outputs) {
            live.insert(v);
        }
        self.params.retain(|&v| live.contains(v));
        for &v in names.owner.values() {
            if !live.contains(v) {
                self.values[v].name.clear();
            }
        }
    }
}

/// The value that stands for an old one, through any number of replacements.
struct Forward(SecondaryMap<Value, PackedOption<Value>>);

impl Forward {
    fn resolve(&self, mut v: Value) -> Value {
        while let Some(next) = self.0[v].expand() {
            v = next;
        }
        v
    }
}

/// Names of live values and of those that patches add.
struct Names {
    owner: HashMap<String, Value>,
    /// The last number that was appended to a name.
    last: HashMap<String, u32>,
}

impl Names {
    /// `name`, or `name.1`, `name.2`, … if another value has it.
    fn take(&mut self, name: &str, v: Value) -> String {
        let mut unique = name.to_string();
        if self.owner.contains_key(name) {
            let last = self.last.entry(name.to_string()).or_default();
            while self.owner.contains_key(&unique) {
                *last += 1;
                unique = format!("{name}.{last}");
            }
        }
        self.owner.insert(unique.clone(), v);
        unique
    }
}

struct Editor<'a> {
    graph: &'a mut Graph,
    readers: SecondaryMap<Value, Vec<Node>>,
    names: Names,
    stands_for: Forward,
}

impl<'a> Editor<'a> {
    fn new(graph: &'a mut Graph) -> Editor<'a> {
        let readers = graph.readers();
        let owner = graph.values.iter().filter(|(_, d)| !d.name.is_empty()).map(|(v, d)| (d.name.clone(), v)).collect();
        Editor {
            graph,
            readers,
            names: Names { owner, last: HashMap::new() },
            stands_for: Forward(SecondaryMap::new()),
        }
    }

    fn patch(&mut self, patch: Patch) -> Result<(), Problem> {
        // Results of what is added, by number.
        let mut new: Vec<Vec<Value>> = Vec::new();
        let mut nodes: Vec<Node> = Vec::new();
        for added in patch.added {
            match added {
                Added::Node { op, attrs, operands, epilogue, name, layout } => {
                    let operands = operands.into_iter().map(|s| self.value(s, &new)).collect();
                    let n = self.graph.append(op, attrs, operands, epilogue, &[])?;
                    nodes.push(n);
                    for (i, v) in self.graph.nodes[n].results.clone().into_iter().enumerate() {
                        let wanted = if i == 0 { name.clone() } else { format!("{name}.{i}") };
                        self.graph.values[v].name = self.names.take(&wanted, v);
                    }
                    if let Some(layout) = layout {
                        let v = self.graph.result(n);
                        self.graph.values[v].ty.layout = layout;
                    }
                    new.push(self.graph.nodes[n].results.clone());
                }
                Added::Param { name, tensor, ty, state } => {
                    let def = Def::Param { tensor, state };
                    let v = self.graph.values.push(ValueData { name: String::new(), ty, def });
                    self.graph.values[v].name = self.names.take(&name, v);
                    self.graph.params.push(v);
                    new.push(vec![v]);
                }
            }
        }
        for (old, src) in patch.replaced {
            let (old, by) = (self.stands_for.resolve(old), self.value(src, &new));
            // An earlier patch may have made `by` an output: two outputs stay two values.
            if old != by && !(self.graph.is_output(old) && self.graph.is_output(by)) {
                self.replace(old, by, !matches!(src, Src::Old(_)))?;
            }
        }
        for n in nodes {
            for &v in &self.graph.nodes[n].operands {
                self.readers[v].push(n);
            }
        }
        Ok(())
    }

    fn value(&self, src: Src, new: &[Vec<Value>]) -> Value {
        match src {
            Src::Old(v) => self.stands_for.resolve(v),
            Src::New(i) => new[i][0],
            Src::NewResult(i, result) => new[i][result],
        }
    }

    fn replace(&mut self, old: Value, by: Value, is_new: bool) -> Result<(), Problem> {
        let (was, is) = (self.graph.ty(old), self.graph.ty(by));
        if was.dtype != is.dtype || was.shape != is.shape {
            let message = format!("%{} of type {was} cannot be replaced by {is}", self.graph.name(old));
            return Err(Problem::new("E0198", message));
        }
        for n in std::mem::take(&mut self.readers[old]) {
            for v in &mut self.graph.nodes[n].operands {
                if *v == old {
                    *v = by;
                }
            }
            self.readers[by].push(n);
        }
        // Outputs keep their names: users know them.
        let is_anonymous = |v| self.graph.def(v).is_some() && !self.graph.is_output(v);
        let take_name = is_new || (self.graph.is_output(old) && is_anonymous(by));
        for v in &mut self.graph.outputs {
            if *v == old {
                *v = by;
            }
        }
        self.stands_for.0[old] = by.into();
        if take_name {
            let given = std::mem::take(&mut self.graph.values[by].name);
            let name = std::mem::replace(&mut self.graph.values[old].name, given);
            self.names.owner.insert(self.graph.values[old].name.clone(), old);
            self.names.owner.insert(name.clone(), by);
            self.graph.values[by].name = name;
        }
        Ok(())
    }
}

fn cycle(graph: &Graph, n: Node) -> Problem {
    Problem::new("E0198", format!("after this edit %{} would depend on itself", graph.name(graph.result(n))))
}

#[cfg(test)]
mod tests;
