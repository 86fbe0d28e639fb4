//! How many images of a batch are computed at a time.

use ir::entity::{Node, Value};
use ir::graph::Def;
use ir::{Dim, Graph};

/// Bytes of activations that stay in the caches of a few cores.
pub const CACHE_BYTES: u64 = 8 << 20;

/// Images that share the weights of a layer, whether or not they fit.
const FEW: u64 = 4;

/// Whether some node makes one thing of all images: the statistics of a batch, the gradient of a weight. A graph that
/// fixes their number is no graph of single images either.
fn mixes_images(graph: &Graph) -> bool {
    let is_batch = |v: &Value| graph.ty(*v).shape.first() == Some(&Dim::N);
    if !graph.inputs.iter().any(is_batch) {
        return true;
    }
    let mixes = |n: &Node| {
        let d = &graph.nodes[*n];
        d.operands.iter().any(is_batch) && !d.results.iter().all(is_batch)
    };
    graph.order.iter().any(mixes)
}

/// The largest divisor of `batch` for whose images operands and result of every node stay in the caches together, or
/// of few images: small images share barriers and weights, many large ones would only evict each other. The whole batch
/// if the graph mixes its images.
pub fn of_batch(graph: &Graph, batch: u64) -> u64 {
    if mixes_images(graph) {
        return batch;
    }
    let is_activation = |v: &&_| !matches!(graph.values[**v].def, Def::Param { .. });
    let bytes = |n: &_| -> u64 {
        let node = &graph.nodes[*n];
        let values = node.operands.iter().filter(is_activation).chain(&node.results);
        values.map(|&v| graph.ty(v).len_bytes(1)).sum()
    };
    let largest = graph.order.iter().map(bytes).max().unwrap_or(0).max(1);
    (1..=batch).rev().find(|g| batch.is_multiple_of(*g) && (*g <= FEW || g * largest <= CACHE_BYTES)).unwrap_or(1)
}
