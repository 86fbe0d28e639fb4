//! How many images of a batch are computed at a time.

use ir::entity::{Node, Value};
use ir::graph::Def;
use ir::{Dim, Graph};

/// Bytes of activations that stay in the caches of a few cores.
pub const CACHE_BYTES: u64 = 8 << 20;

/// Images that share the weights of a layer, whether or not they fit.
const FEW: u64 = 4;

/// Whether groups of images would give another result: some node reduces over the batch (its statistics, the gradient of a
/// weight) or scales by its size. A graph that fixes the number of images is no graph of single ones either.
fn mixes_images(graph: &Graph) -> bool {
    let is_batch = |v: &Value| graph.ty(*v).shape.first() == Some(&Dim::N);
    if !graph.inputs.iter().any(is_batch) {
        return true;
    }
    let mixes = |n: &Node| {
        let d = &graph.nodes[*n];
        d.op.properties.counts_images || (d.operands.iter().any(is_batch) && !d.results.iter().all(is_batch))
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

#[cfg(test)]
mod tests {
    use super::of_batch;
    use crate::tests::parse;

    #[test]
    fn what_counts_images_sees_all_of_them() {
        let of = |node: &str| {
            let text = format!(
                "rir 1\ngraph @g(%x: f32[N,2,2097152], %z: f32[N,4194304], %c: f32[2], %l: i32[N], %o: f32[1]) -> (%y) \
                 where N in 1..64 {{\n  %y = {node}\n}}\n"
            );
            of_batch(&parse(&text), 8)
        };
        assert_eq!(of("relu %x : f32[N,2,2097152]"), 4, "few images whose weights are shared");
        assert_eq!(of("batch_norm_grad_input %x, %x, %c, %c, %c, %c, %c : f32[N,2,2097152]"), 8);
        assert_eq!(of("cross_entropy_grad %z, %l, %o : f32[N,4194304]"), 8);
    }
}
