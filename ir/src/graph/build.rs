//! Builder of graphs: appends nodes in order and infers their types.

use super::{Def, Graph, ModelInfo, NodeData, ValueData};
use crate::entity::{Node, Value};
use crate::epilogue::Step;
use crate::op::{Attr, Attrs, OpCtx, OpDef, Problem, lookup};
use crate::types::TensorType;
use cranelift_entity::PrimaryMap;

pub struct GraphBuilder {
    graph: Graph,
}

impl GraphBuilder {
    pub fn new(name: impl Into<String>) -> GraphBuilder {
        GraphBuilder {
            graph: Graph {
                name: name.into(),
                batch: [1, 1024],
                nodes: PrimaryMap::new(),
                values: PrimaryMap::new(),
                inputs: Vec::new(),
                outputs: Vec::new(),
                params: Vec::new(),
                order: Vec::new(),
                info: ModelInfo::default(),
            },
        }
    }

    /// Goes on with a graph that is there.
    pub fn copy(graph: &Graph) -> GraphBuilder {
        GraphBuilder { graph: graph.clone() }
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub fn input(&mut self, name: &str, ty: TensorType) -> Value {
        let def = Def::Input(self.graph.inputs.len());
        let v = self.graph.values.push(ValueData { name: name.into(), ty, def });
        self.graph.inputs.push(v);
        v
    }

    /// A parameter with the tensor's name as its own.
    pub fn param(&mut self, tensor: &str, ty: TensorType) -> Value {
        self.add_param(tensor, tensor, ty, false)
    }

    /// A parameter that is state (running statistics), not trained.
    pub fn state(&mut self, tensor: &str, ty: TensorType) -> Value {
        self.add_param(tensor, tensor, ty, true)
    }

    pub fn add_param(&mut self, name: &str, tensor: &str, ty: TensorType, state: bool) -> Value {
        let def = Def::Param { tensor: tensor.into(), state };
        let v = self.graph.values.push(ValueData { name: name.into(), ty, def });
        self.graph.params.push(v);
        v
    }

    /// Appends an op with one result. `attrs` override the defaults.
    ///
    /// Errors: what the op's shape rule says.
    pub fn op(
        &mut self,
        result: &str,
        op: &str,
        operands: &[Value],
        attrs: &[(&'static str, Attr)],
    ) -> Result<Value, Problem> {
        self.fused_op(result, op, operands, attrs, Vec::new())
    }

    /// The same with epilogue steps, whose operands stand after the op's own.
    pub fn fused_op(
        &mut self,
        result: &str,
        op: &str,
        operands: &[Value],
        attrs: &[(&'static str, Attr)],
        epilogue: Vec<Step>,
    ) -> Result<Value, Problem> {
        let op = lookup(op).ok_or_else(|| Problem::new("E0101", format!("there is no op '{op}'")))?;
        let all = attrs.iter().cloned().fold(Attrs::defaults(op), |a, (n, v)| a.set(n, v));
        let n = self.graph.append(op, all, operands.to_vec(), epilogue, &[result.to_string()])?;
        self.graph.order.push(n);
        Ok(self.graph.result(n))
    }

    /// Appends an op with as many results as `names`.
    pub fn node(
        &mut self,
        names: &[String],
        op: &str,
        operands: &[Value],
        attrs: &[(&'static str, Attr)],
    ) -> Result<Vec<Value>, Problem> {
        let op = lookup(op).ok_or_else(|| Problem::new("E0101", format!("there is no op '{op}'")))?;
        let all = attrs.iter().cloned().fold(Attrs::defaults(op), |a, (n, v)| a.set(n, v));
        let n = self.graph.append(op, all, operands.to_vec(), Vec::new(), names)?;
        self.graph.order.push(n);
        Ok(self.graph.nodes[n].results.clone())
    }

    /// Gives a result another layout than its op's shape rule.
    pub fn set_layout(&mut self, v: Value, layout: crate::Layout) {
        self.graph.values[v].ty.layout = layout;
    }

    /// `name` must not be taken.
    pub fn rename(&mut self, v: Value, name: String) {
        self.graph.values[v].name = name;
    }

    pub fn output(&mut self, v: Value) {
        self.graph.outputs.push(v);
    }

    pub fn info(&mut self) -> &mut ModelInfo {
        &mut self.graph.info
    }

    pub fn finish(self) -> Graph {
        self.graph
    }
}

impl Graph {
    /// Adds a node and its results to the maps, not to the order.
    pub(crate) fn append(
        &mut self,
        op: &'static OpDef,
        attrs: Attrs,
        operands: Vec<Value>,
        epilogue: Vec<Step>,
        names: &[String],
    ) -> Result<Node, Problem> {
        let types: Vec<TensorType> = operands.iter().map(|&v| self.ty(v).clone()).collect();
        let ctx = OpCtx { operands: &types, attrs: &attrs, epilogue: &epilogue, results: &[], batch: 1 };
        let results = (op.shape)(&ctx)?;
        let node = self.nodes.next_key();
        let values = results
            .into_iter()
            .enumerate()
            .map(|(i, ty)| {
                let name = names.get(i).cloned().unwrap_or_else(|| format!("{node}.{i}"));
                self.values.push(ValueData { name, ty, def: Def::Result(node, i) })
            })
            .collect();
        Ok(self.nodes.push(NodeData { op, attrs, operands, results: values, epilogue }))
    }
}
