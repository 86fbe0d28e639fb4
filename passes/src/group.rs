//! How many images of a batch are computed at a time.

use ir::Graph;
use ir::graph::Def;

/// Bytes of activations that stay in the caches of a few cores.
const CACHE_BYTES: u64 = 8 << 20;

/// Images that share the weights of a layer, whether or not they fit.
const FEW: u64 = 4;

/// The largest divisor of `batch` for whose images operands and result of every node stay in the caches together, or
/// of few images: small images share barriers and weights, many large ones would only evict each other.
pub fn of_batch(graph: &Graph, batch: u64) -> u64 {
    let is_activation = |v: &&_| !matches!(graph.values[**v].def, Def::Param { .. });
    let bytes = |n: &_| -> u64 {
        let node = &graph.nodes[*n];
        let values = node.operands.iter().filter(is_activation).chain(&node.results);
        values.map(|&v| graph.ty(v).len_bytes(1)).sum()
    };
    let largest = graph.order.iter().map(bytes).max().unwrap_or(0).max(1);
    (1..=batch).rev().find(|g| batch.is_multiple_of(*g) && (*g <= FEW || g * largest <= CACHE_BYTES)).unwrap_or(1)
}
