//! petgraph's visit traits on the IR itself, so that its algorithms run on a graph without a copy of it.
//!
//! [`GraphRef`] is the graph and, since values know only where they come from, the list of their readers. Nodes
//! are the live nodes; an edge is one operand position that reads a result of another node. Inputs and parameters
//! are no nodes.

use super::{Graph, NodeData};
use crate::entity::{Node, Value};
use cranelift_entity::{EntityRef, EntitySet, SecondaryMap};
use petgraph::visit::{
    Data, EdgeRef, GraphBase, GraphProp, IntoEdgeReferences, IntoNeighbors, IntoNeighborsDirected, IntoNodeIdentifiers,
    IntoNodeReferences, NodeIndexable, VisitMap, Visitable,
};
use petgraph::{Directed, Direction};
use std::slice;

/// A graph with the readers of its values. Valid as long as the graph is not edited.
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
    /// often nothing: petgraph's `has_path_connecting` does not know that there is an order.
    pub fn depends(&self, n: Node, on: Node) -> bool {
        let mut open = vec![n];
        let mut seen = EntitySet::new();
        while let Some(n) = open.pop() {
            if n == on {
                return true;
            }
            if self.place[n] > self.place[on] && seen.insert(n) {
                open.extend(self.neighbors_directed(n, Direction::Incoming));
            }
        }
        false
    }
}

/// `operand` of node `target` is `value`, a result of node `source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge<'a> {
    source: Node,
    target: Node,
    operand: usize,
    value: &'a Value,
}

impl<'a> EdgeRef for Edge<'a> {
    type NodeId = Node;
    type EdgeId = (Node, usize);
    type Weight = Value;

    fn source(&self) -> Node {
        self.source
    }

    fn target(&self) -> Node {
        self.target
    }

    fn weight(&self) -> &'a Value {
        self.value
    }

    fn id(&self) -> (Node, usize) {
        (self.target, self.operand)
    }
}

impl GraphBase for GraphRef<'_> {
    type NodeId = Node;
    /// Node and operand position of the reader.
    type EdgeId = (Node, usize);
}

impl Data for GraphRef<'_> {
    type NodeWeight = NodeData;
    type EdgeWeight = Value;
}

impl GraphProp for GraphRef<'_> {
    type EdgeType = Directed;
}

impl NodeIndexable for GraphRef<'_> {
    fn node_bound(&self) -> usize {
        self.graph.nodes.len()
    }

    fn to_index(&self, n: Node) -> usize {
        n.index()
    }

    fn from_index(&self, i: usize) -> Node {
        Node::new(i)
    }
}

impl Visitable for GraphRef<'_> {
    type Map = EntitySet<Node>;

    fn visit_map(&self) -> EntitySet<Node> {
        EntitySet::with_capacity(self.graph.nodes.len())
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

impl<'a> IntoNodeIdentifiers for &'a GraphRef<'_> {
    type NodeIdentifiers = std::iter::Copied<slice::Iter<'a, Node>>;

    fn node_identifiers(self) -> Self::NodeIdentifiers {
        self.graph.order.iter().copied()
    }
}

type Nodes<'a> = Box<dyn Iterator<Item = Node> + 'a>;

impl<'a> IntoNeighbors for &'a GraphRef<'_> {
    type Neighbors = Nodes<'a>;

    fn neighbors(self, n: Node) -> Nodes<'a> {
        self.neighbors_directed(n, Direction::Outgoing)
    }
}

impl<'a> IntoNeighborsDirected for &'a GraphRef<'_> {
    type NeighborsDirected = Nodes<'a>;

    fn neighbors_directed(self, n: Node, direction: Direction) -> Nodes<'a> {
        let node = &self.graph.nodes[n];
        match direction {
            Direction::Outgoing => Box::new(node.results.iter().flat_map(|&v| self.readers[v].iter().copied())),
            Direction::Incoming => Box::new(node.operands.iter().filter_map(|&v| self.graph.def(v))),
        }
    }
}

impl<'a> IntoNodeReferences for &'a GraphRef<'_> {
    type NodeRef = (Node, &'a NodeData);
    type NodeReferences = Box<dyn Iterator<Item = (Node, &'a NodeData)> + 'a>;

    fn node_references(self) -> Self::NodeReferences {
        Box::new(self.graph.order.iter().map(|&n| (n, &self.graph.nodes[n])))
    }
}

impl<'a> IntoEdgeReferences for &'a GraphRef<'_> {
    type EdgeRef = Edge<'a>;
    type EdgeReferences = Box<dyn Iterator<Item = Edge<'a>> + 'a>;

    fn edge_references(self) -> Self::EdgeReferences {
        Box::new(self.graph.order.iter().flat_map(move |&target| {
            self.graph.nodes[target].operands.iter().enumerate().filter_map(move |(operand, value)| {
                Some(Edge { source: self.graph.def(*value)?, target, operand, value })
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::GraphBuilder;
    use crate::types::{Dim, TensorType};
    use petgraph::algo::{dominators, has_path_connecting, is_cyclic_directed, toposort};
    use petgraph::dot::{Config, Dot};

    /// Two convolutions on one input, the second after a relu of the first.
    fn diamond() -> Graph {
        let mut b = GraphBuilder::new("diamond");
        let image = TensorType::new(crate::DType::F32, [Dim::N, 3.into(), 5.into(), 5.into()]);
        let x = b.input("x", image);
        let w = b.param("w", TensorType::f32(&[3, 3, 1, 1]));
        let r = b.op("r", "relu", &[x], &[]).unwrap();
        let left = b.op("left", "conv2d", &[r, w], &[]).unwrap();
        let right = b.op("right", "relu", &[r], &[]).unwrap();
        let y = b.op("y", "conv2d", &[right, w], &[]).unwrap();
        b.output(left);
        b.output(y);
        b.finish()
    }

    fn node(g: &Graph, name: &str) -> Node {
        g.def(g.value_named(name).unwrap()).unwrap()
    }

    #[test]
    fn petgraph_algorithms_run_on_the_graph() {
        let g = diamond();
        let view = GraphRef::new(&g);
        let [r, left, right, y] = ["r", "left", "right", "y"].map(|n| node(&g, n));
        assert!(!is_cyclic_directed(&view));
        let order = toposort(&view, None).unwrap();
        let at = |n| order.iter().position(|&m| m == n).unwrap();
        assert_eq!(order.len(), 4);
        assert!(at(r) < at(left) && at(r) < at(right) && at(right) < at(y));
        assert!(has_path_connecting(&view, r, y, None));
        assert!(!has_path_connecting(&view, left, y, None));
        for (a, b) in [r, left, right, y].into_iter().flat_map(|a| [r, left, right, y].map(|b| (a, b))) {
            assert_eq!(view.depends(b, a), has_path_connecting(&view, a, b, None));
        }
        let tree = dominators::simple_fast(&view, r);
        assert_eq!(tree.immediate_dominator(y), Some(right));
        assert_eq!(tree.immediate_dominator(left), Some(r));
    }

    #[test]
    fn dot_draws_nodes_and_edges() {
        let g = diamond();
        let view = GraphRef::new(&g);
        let config = [Config::NodeNoLabel, Config::EdgeNoLabel];
        let label = |_: &GraphRef, (_, d): (Node, &NodeData)| format!("label = \"{}\"", d.op.name);
        let text = format!("{:?}", Dot::with_attr_getters(&&view, &config, &|_, _| String::new(), &|g, n| label(g, n)));
        assert_eq!(text.matches("relu").count(), 2, "{text}");
        assert_eq!(text.matches("->").count(), 3, "{text}");
    }
}
