//! petgraph's traits on a graph itself, so that its walks need no copy: nodes are nodes, and an edge leads from a node
//! to one whose result it reads. Inputs and parameters are no nodes.

use super::Graph;
use crate::entity::{Node, Value};
use cranelift_entity::{EntitySet, SecondaryMap};
use petgraph::algo::has_path_connecting;
use petgraph::visit::{GraphBase, IntoNeighbors, NodeFiltered, VisitMap, Visitable};
use std::iter::Rev;
use std::slice;

/// A graph with the readers of its values, since values know only where they come from. Valid as long as the graph is
/// not edited.
pub struct GraphRef<'a> {
    pub graph: &'a Graph,
    pub readers: SecondaryMap<Value, Vec<Node>>,
    /// Of each live node its place in the order.
    place: SecondaryMap<Node, u32>,
}

impl<'a> GraphRef<'a> {
    pub fn new(graph: &'a Graph) -> GraphRef<'a> {
        let mut place = SecondaryMap::with_capacity(graph.nodes.len());
        for (i, &n) in (0..).zip(&graph.order) {
            place[n] = i;
        }
        GraphRef { graph, readers: graph.readers(), place }
    }

    /// Whether node `n` is `on` or depends on it. Looks only at what stands between the two in the order, which is
    /// often nothing.
    pub fn depends(&self, n: Node, on: Node) -> bool {
        let between = NodeFiltered::from_fn(self.graph, |m: Node| self.place[m] >= self.place[on]);
        has_path_connecting(&between, n, on, None)
    }
}

impl GraphBase for Graph {
    type NodeId = Node;
    /// Node and operand position of the reader.
    type EdgeId = (Node, usize);
}

impl Visitable for Graph {
    type Map = EntitySet<Node>;

    fn visit_map(&self) -> EntitySet<Node> {
        EntitySet::with_capacity(self.nodes.len())
    }

    fn reset_map(&self, map: &mut EntitySet<Node>) {
        map.clear();
    }
}

impl VisitMap<Node> for EntitySet<Node> {
    fn visit(&mut self, n: Node) -> bool {
        self.insert(n)
    }

    fn is_visited(&self, n: &Node) -> bool {
        self.contains(*n)
    }

    fn unvisit(&mut self, n: Node) -> bool {
        self.remove(n)
    }
}

/// The nodes that a node reads, last operand first: a walk into depth takes first what it was given last.
pub struct Reads<'a> {
    graph: &'a Graph,
    operands: Rev<slice::Iter<'a, Value>>,
}

impl Iterator for Reads<'_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        let graph = self.graph;
        self.operands.find_map(|&v| graph.def(v))
    }
}

impl<'a> IntoNeighbors for &'a Graph {
    type Neighbors = Reads<'a>;

    fn neighbors(self, n: Node) -> Reads<'a> {
        Reads { graph: self, operands: self.nodes[n].operands.iter().rev() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::GraphBuilder;
    use crate::types::{Dim, TensorType};
    use petgraph::visit::{DfsPostOrder, Walker};

    /// Two convolutions and a sum that reads them, the second after a relu of what the first reads.
    fn diamond() -> Graph {
        let mut b = GraphBuilder::new("diamond");
        let image = TensorType::new(crate::DType::F32, [Dim::N, 3.into(), 5.into(), 5.into()]);
        let x = b.input("x", image);
        let w = b.param("w", TensorType::f32(&[3, 3, 1, 1]));
        let r = b.op("r", "relu", &[x], &[]).unwrap();
        let right = b.op("right", "relu", &[r], &[]).unwrap();
        let y = b.op("y", "conv2d", &[right, w], &[]).unwrap();
        let left = b.op("left", "conv2d", &[r, w], &[]).unwrap();
        let sum = b.op("sum", "add", &[left, y], &[]).unwrap();
        b.output(sum);
        b.finish()
    }

    #[test]
    fn walks_read_operands_in_their_order() {
        let g = diamond();
        let last = *g.order.last().unwrap();
        let walk: Vec<&str> = DfsPostOrder::new(&g, last).iter(&g).map(|n| g.name(g.result(n))).collect();
        assert_eq!(walk, ["r", "left", "right", "y", "sum"]);
    }

    #[test]
    fn who_depends_on_whom_is_what_petgraph_finds_without_the_order() {
        let g = diamond();
        let view = GraphRef::new(&g);
        let mut count = 0;
        for (&n, &on) in g.order.iter().flat_map(|n| g.order.iter().map(move |on| (n, on))) {
            let found = has_path_connecting(&g, n, on, None);
            assert_eq!(view.depends(n, on), found, "{} on {}", g.name(g.result(n)), g.name(g.result(on)));
            count += usize::from(found);
        }
        // Five on themselves, left and right on r, y on two, the sum on all others.
        assert_eq!(count, 5 + 2 + 2 + 4);
    }
}
