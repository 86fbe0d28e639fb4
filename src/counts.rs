//! What a graph counts, by the paper's rule: a multiply-add is one, padding taps count in full,
//! additions, normalisation and pooling count nothing.

use crate::format::counted;
use ir::Graph;
use ir::entity::Node;
use ir::graph::Def;
use ir::op::OpCtx;
use passes::graph::Recomputed;
use serde_json::{Value, json};

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub node: Node,
    pub name: String,
    pub op: String,
    /// Type of the result.
    pub out: String,
    /// Trained elements among its operands.
    pub params: u64,
    pub macs: u64,
    /// Bytes of operands and results.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub layers: u64,
    pub convs: u64,
    /// Trained elements.
    pub params: u64,
    /// Elements of state: running statistics.
    pub buffers: u64,
    pub macs: u64,
    pub weights_bytes: u64,
}

/// The nodes in order, for one batch of `batch` images.
pub fn layers(g: &Graph, batch: u64) -> Vec<Layer> {
    let layer = |&n: &Node| {
        let node = &g.nodes[n];
        let (operands, results) = (g.operand_types(n), g.result_types(n));
        let ctx = OpCtx { operands: &operands, attrs: &node.attrs, epilogue: &node.epilogue, results: &results, batch };
        let cost = (node.op.cost)(&ctx);
        let trained = |v: &&_| matches!(g.values[**v].def, Def::Param { state: false, .. });
        let params = node.operands.iter().filter(trained).map(|&v| g.ty(v).elements(1)).sum();
        let steps: Vec<&str> = node.epilogue.iter().map(|s| s.name()).collect();
        let op = if steps.is_empty() { node.op.name.into() } else { format!("{} +{}", node.op.name, steps.join("+")) };
        Layer {
            node: n,
            name: g.name(g.result(n)).to_string(),
            op,
            out: results[0].to_string(),
            params,
            macs: cost.macs,
            bytes: cost.bytes,
        }
    };
    g.order.iter().map(layer).collect()
}

pub fn totals(g: &Graph, layers: &[Layer]) -> Totals {
    let mut t = Totals { layers: layers.len() as u64, ..Totals::default() };
    t.convs = g.order.iter().filter(|&&n| g.op(n).name == "conv2d").count() as u64;
    t.macs = layers.iter().map(|l| l.macs).sum();
    for &p in &g.params {
        let elements = g.ty(p).elements(1);
        t.weights_bytes += g.ty(p).len_bytes(1);
        match g.values[p].def {
            Def::Param { state: true, .. } => t.buffers += elements,
            _ => t.params += elements,
        }
    }
    t
}

/// Layers with weights, as the paper counts the depth of a network.
pub fn weighted_layers(g: &Graph) -> u64 {
    let layers = layers(g, 1);
    layers.iter().filter(|l| l.op.starts_with("conv2d") || l.op.starts_with("dense")).count() as u64
}

pub fn layers_json(layers: &[Layer], totals: &Totals) -> Value {
    let rows: Vec<Value> = layers
        .iter()
        .map(|l| {
            json!({ "name": l.name, "op": l.op, "out": l.out, "params": l.params, "macs": l.macs, "bytes": l.bytes })
        })
        .collect();
    let t = totals;
    json!({ "layers": rows, "totals": {
        "layers": t.layers, "convs": t.convs, "params": t.params, "buffers": t.buffers, "macs": t.macs,
        "weights_bytes": t.weights_bytes,
    }})
}

/// What recomputation does to a step, in one line.
pub fn recomputed(r: &Recomputed) -> String {
    let [before, after] = r.peak_bytes.map(|b| b as f64 / f64::from(1 << 20));
    let [macs, again] = r.macs.map(|m| m as f64);
    format!(
        "{:.0} MiB saved of {before:.0}: {} computed again, {:.1} % more multiply-adds",
        before - after,
        counted(r.nodes as u64, "value"),
        100.0 * again / macs.max(1.0)
    )
}

pub fn recomputed_json(r: &Recomputed) -> Value {
    let ([macs, again], [before, after]) = (r.macs, r.peak_bytes);
    json!({ "nodes": r.nodes, "macs": again, "of_macs": macs, "peak_bytes_before": before, "peak_bytes": after })
}
