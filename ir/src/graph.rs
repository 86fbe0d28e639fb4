//! Graph IR: tensors and operators with attributes; no order beyond data flow, no memory, no loops.
//!
//! Nodes and values are dense ids and are never deleted: a node that no longer counts is only missing from
//! [`Graph::order`]. All edits of a finished graph go through a [`Patch`].

mod build;
mod patch;
pub mod verify;
mod visit;

pub use build::GraphBuilder;
pub use patch::{Patch, Src};
pub use visit::GraphRef;

use crate::entity::{Node, Value};
use crate::epilogue::Step;
use crate::op::{Attrs, OpDef};
use crate::types::TensorType;
use cranelift_entity::{PrimaryMap, SecondaryMap};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Def {
    /// Input of the graph, by position.
    Input(usize),
    /// A tensor of the weights file.
    Param { tensor: String, state: bool },
    /// Result of a node, by position.
    Result(Node, usize),
}

#[derive(Clone, Debug, PartialEq)]
pub struct ValueData {
    /// Unique name without the `%`.
    pub name: String,
    pub ty: TensorType,
    pub def: Def,
}

#[derive(Clone, Debug, PartialEq)]
pub struct NodeData {
    pub op: &'static OpDef,
    pub attrs: Attrs,
    /// The op's own operands, then those of the epilogue.
    pub operands: Vec<Value>,
    pub results: Vec<Value>,
    pub epilogue: Vec<Step>,
}

/// The weights file of a model as its text names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightsRef {
    /// Path relative to the `.rir`.
    pub file: String,
    /// Hex SHA-256 of the file, if it is pinned.
    pub sha256: Option<String>,
}

/// What belongs to a model besides its graph; kept in the `.rir`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelInfo {
    pub weights: Option<WeightsRef>,
    /// How a picture becomes the input.
    pub preprocess: Option<Preprocess>,
    /// Class names in order; empty if unknown.
    pub labels: Vec<String>,
}

/// `preprocess resize=256 crop=224 order=rgb scale=255 mean=0.485,0.456,0.406 std=0.229,0.224,0.225`
///
/// A picture is resized (shorter side, bilinear with antialias as Pillow does), centre-cropped, and becomes
/// `(u8 / scale − mean) / std` per channel in f32, in that order of operations.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    /// Length of the shorter side; `None` leaves the picture as it is.
    pub resize: Option<u32>,
    /// Height and width of the centre crop: the input of the graph.
    pub crop: [u32; 2],
    /// `true` for BGR channel order.
    pub bgr: bool,
    /// Divisor of the pixel values: 255 or 1.
    pub scale: f32,
    /// Mean per channel (in channel order of the input).
    pub mean: Vec<f32>,
    pub std: Vec<f32>,
    /// Tensor of the weights file with a mean per pixel and channel, instead of `mean`.
    pub mean_tensor: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub name: String,
    /// Smallest and largest value of the symbol `N`.
    pub batch: [u64; 2],
    pub nodes: PrimaryMap<Node, NodeData>,
    pub values: PrimaryMap<Value, ValueData>,
    pub inputs: Vec<Value>,
    pub outputs: Vec<Value>,
    /// Live parameters in the order of their declaration.
    pub params: Vec<Value>,
    /// Live nodes in a topological order.
    pub order: Vec<Node>,
    pub info: ModelInfo,
}

impl Graph {
    pub fn op(&self, n: Node) -> &'static OpDef {
        self.nodes[n].op
    }

    /// The node that computes `v`, if any.
    pub fn def(&self, v: Value) -> Option<Node> {
        match self.values[v].def {
            Def::Result(n, _) => Some(n),
            _ => None,
        }
    }

    pub fn operand(&self, n: Node, i: usize) -> Value {
        self.nodes[n].operands[i]
    }

    /// First result of a node.
    pub fn result(&self, n: Node) -> Value {
        self.nodes[n].results[0]
    }

    pub fn ty(&self, v: Value) -> &TensorType {
        &self.values[v].ty
    }

    pub fn name(&self, v: Value) -> &str {
        &self.values[v].name
    }

    pub fn is_output(&self, v: Value) -> bool {
        self.outputs.contains(&v)
    }

    pub fn is_param(&self, v: Value) -> bool {
        matches!(self.values[v].def, Def::Param { .. })
    }

    pub fn value_named(&self, name: &str) -> Option<Value> {
        self.values.iter().find(|(_, d)| d.name == name).map(|(v, _)| v)
    }

    /// Live readers of every value, each node once per operand position that reads it, in order.
    pub fn readers(&self) -> SecondaryMap<Value, Vec<Node>> {
        let mut readers: SecondaryMap<Value, Vec<Node>> = SecondaryMap::new();
        for &n in &self.order {
            for &v in &self.nodes[n].operands {
                readers[v].push(n);
            }
        }
        readers
    }

    /// Types of a node's operands, in order.
    pub fn operand_types(&self, n: Node) -> Vec<TensorType> {
        self.nodes[n].operands.iter().map(|&v| self.ty(v).clone()).collect()
    }

    pub fn result_types(&self, n: Node) -> Vec<TensorType> {
        self.nodes[n].results.iter().map(|&v| self.ty(v).clone()).collect()
    }
}
