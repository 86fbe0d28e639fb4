//! Runs a graph: the body of each op, node after node, in the kernel interpreter.

use super::elements::{decode, encode};
use super::kernel;
use crate::diag::{Diagnostic, Diagnostics, Place};
use crate::entity::{Node, Value};
use crate::graph::{Def, Graph};
use crate::op::{BodyCtx, BufType};
use crate::store::TensorStore;
use crate::types::{DType, TensorType};
use cranelift_entity::SecondaryMap;

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The number that `N` stands for.
    pub batch: u64,
    /// Computes in f64 whatever is f32: inputs and parameters are widened, values come out as f64.
    pub widen: bool,
}

impl Options {
    fn dtype(self, dtype: DType) -> DType {
        if self.widen && dtype == DType::F32 { DType::F64 } else { dtype }
    }

    /// The type of a value's bytes, as a body sees it.
    pub fn buf_type(self, ty: &TensorType) -> BufType {
        BufType { dtype: self.dtype(ty.dtype), ..BufType::of(ty, self.batch) }
    }
}

/// The bytes of the graph's outputs, in order. See [`evaluate`].
pub fn run(
    g: &Graph,
    inputs: &[&[u8]],
    store: &dyn TensorStore,
    options: Options,
) -> Result<Vec<Vec<u8>>, Diagnostics> {
    let values = evaluate(g, inputs, store, options)?;
    Ok(g.outputs.iter().map(|&v| values[v].clone()).collect())
}

/// The bytes of every value, little-endian elements as they lie in memory; empty for values that no live node
/// reads or computes.
///
/// `inputs` are in the order of [`Graph::inputs`], with the element types of the graph. Errors: E0697 for inputs
/// and tensors that do not fit the graph, and faults of the kernel interpreter, placed at their node.
pub fn evaluate(
    g: &Graph,
    inputs: &[&[u8]],
    store: &dyn TensorStore,
    options: Options,
) -> Result<SecondaryMap<Value, Vec<u8>>, Diagnostics> {
    if inputs.len() != g.inputs.len() {
        let message = format!("the graph has {} inputs, {} are given", g.inputs.len(), inputs.len());
        return Err(Diagnostic::error("E0697", message).into());
    }
    let mut values: SecondaryMap<Value, Vec<u8>> = SecondaryMap::new();
    for (&v, bytes) in g.inputs.iter().zip(inputs) {
        values[v] = take(g, v, g.ty(v).dtype, bytes, options)?;
    }
    for &v in &g.params {
        values[v] = param(g, v, store, options)?;
    }
    for &n in &g.order {
        let data = &g.nodes[n];
        let ctx = BodyCtx {
            operands: data.operands.iter().map(|&v| options.buf_type(g.ty(v))).collect(),
            results: data.results.iter().map(|&v| options.buf_type(g.ty(v))).collect(),
            attrs: &data.attrs,
            epilogue: &data.epilogue,
        };
        let operands: Vec<&[u8]> = data.operands.iter().map(|&v| &values[v][..]).collect();
        let results = kernel::run(&data.op.kernel(&ctx), &operands).map_err(|d| at_node(g, n, d))?;
        for (&v, bytes) in data.results.iter().zip(results) {
            values[v] = bytes;
        }
    }
    Ok(values)
}

fn param(g: &Graph, v: Value, store: &dyn TensorStore, options: Options) -> Result<Vec<u8>, Diagnostics> {
    let Def::Param { tensor, .. } = &g.values[v].def else {
        unreachable!("invariant: the params of a graph are defined as such")
    };
    let missing = || Diagnostic::error("E0697", format!("there is no tensor '{tensor}'"));
    let data = store.get(tensor).ok_or_else(|| missing().at(Place::Tensor(tensor.clone()), ""))?;
    let ty = g.ty(v);
    // A packed tensor is stored as it lies in memory, and none has a batch.
    if data.dtype != ty.dtype || data.shape != ty.physical_dims(1) {
        let message = format!("tensor '{tensor}' is {}{:?}, the graph says {ty}", data.dtype, data.shape);
        return Err(Diagnostic::error("E0697", message).at(Place::Tensor(tensor.clone()), "").into());
    }
    take(g, v, data.dtype, &data.bytes, options)
}

/// Bytes of an input or parameter, widened if asked for.
fn take(g: &Graph, v: Value, dtype: DType, bytes: &[u8], options: Options) -> Result<Vec<u8>, Diagnostics> {
    let expected = g.ty(v).len_bytes(options.batch);
    if bytes.len() as u64 != expected {
        let message = format!("%{} holds {expected} bytes, {} are given", g.name(v), bytes.len());
        return Err(Diagnostic::error("E0697", message).into());
    }
    let wide = options.dtype(dtype);
    Ok(if wide == dtype { bytes.to_vec() } else { encode(wide, &decode(dtype, bytes)) })
}

fn at_node(g: &Graph, n: Node, mut d: Diagnostics) -> Diagnostics {
    for d in &mut d.0 {
        d.labels.push(crate::diag::Label { place: Place::Node(g.name(g.result(n)).into()), text: String::new() });
    }
    d
}
