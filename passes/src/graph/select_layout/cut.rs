//! The choice as a minimum cut: whoever is on the source's side is plain, the others are blocked.

use crate::templates::Offer;
use petgraph::algo::dinics;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

/// What a node may do: for labels of its first operand and of its result (0 plain, 1 blocked) the best offer.
pub(super) struct Menu {
    pub(super) offers: [[Option<Offer>; 2]; 2],
}

impl Menu {
    fn cost(&self, input: usize, output: usize) -> i64 {
        self.offers[input][output].as_ref().map_or(NEVER, |o| (o.cost_ns.round() as i64).clamp(0, NEVER / 2))
    }
}

/// More than any graph costs, in nanoseconds; thousands of it still fit an i64.
pub(super) const NEVER: i64 = 1 << 44;

/// Label of an image: fixed, or a variable of the cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Plain,
    Blocked,
    Var(NodeIndex),
}

/// The network: who is on the source's side of the cut is plain, the others are blocked.
pub(super) struct Cut {
    network: DiGraph<(), u64>,
    source: NodeIndex,
    sink: NodeIndex,
}

impl Cut {
    pub(super) fn new() -> Cut {
        let mut network = DiGraph::new();
        let (source, sink) = (network.add_node(()), network.add_node(()));
        Cut { network, source, sink }
    }

    fn end(&self, l: Label) -> NodeIndex {
        match l {
            Label::Plain => self.source,
            Label::Blocked => self.sink,
            Label::Var(v) => v,
        }
    }

    fn var(&mut self) -> Label {
        Label::Var(self.network.add_node(()))
    }

    /// Pays `cost` if `a` is plain and `b` is blocked.
    pub(super) fn pay(&mut self, a: Label, b: Label, cost: i64) {
        let (a, b) = (self.end(a), self.end(b));
        if a != b && cost > 0 && a != self.sink && b != self.source {
            self.network.add_edge(a, b, cost.cast_unsigned());
        }
    }

    /// Pays `cost`, which may be negative, if `a` is blocked.
    fn pay_blocked(&mut self, a: Label, cost: i64) {
        if cost > 0 {
            self.pay(Label::Plain, a, cost);
        } else {
            self.pay(a, Label::Blocked, -cost);
        }
    }

    /// Labels of a node's first operand and of its result. One variable if they cannot differ.
    pub(super) fn node(&mut self, menu: &Menu) -> (Label, Label) {
        let c = |i, o| menu.cost(i, o);
        let never = |i: usize, o: usize| menu.offers[i][o].is_none();
        match (never(0, 1) && never(1, 1), never(1, 0) && never(1, 1)) {
            (true, true) => (Label::Plain, Label::Plain),
            (true, false) => {
                let input = self.var();
                self.pay_blocked(input, c(1, 0) - c(0, 0));
                (input, Label::Plain)
            }
            (false, true) => {
                let output = self.var();
                self.pay_blocked(output, c(0, 1) - c(0, 0));
                (Label::Plain, output)
            }
            (false, false) if never(0, 1) && never(1, 0) => {
                let both = self.var();
                self.pay_blocked(both, c(1, 1) - c(0, 0));
                (both, both)
            }
            (false, false) => {
                let (input, output) = (self.var(), self.var());
                self.pay_blocked(input, c(1, 0) - c(0, 0));
                self.pay_blocked(output, c(1, 1) - c(1, 0));
                // A cut needs submodular costs, c01 + c10 ≥ c00 + c11, and what templates offer is: equal layouts cost no
                // more than a mixture. Where an offer breaks that, the difference counts as 0.
                self.pay(input, output, c(0, 1) + c(1, 0) - c(0, 0) - c(1, 1));
                (input, output)
            }
        }
    }

    /// A value with these readers: one reorder to each layout that is read and is not its own.
    pub(super) fn value(&mut self, has: Label, readers: &[Label], cost: i64) {
        if readers.iter().all(|&r| r == has) {
            return;
        }
        if let [reader] = *readers {
            self.pay(has, reader, cost);
            self.pay(reader, has, cost);
            return;
        }
        let (to_blocked, to_plain) = (self.var(), self.var());
        self.pay(has, to_blocked, cost);
        self.pay(to_plain, has, cost);
        for &r in readers {
            self.pay(to_blocked, r, NEVER);
            self.pay(r, to_plain, NEVER);
        }
    }

    /// A label of least cost for each variable: 1 if it is blocked.
    pub(super) fn solve(self) -> impl Fn(Label) -> usize {
        let (_, flows) = dinics(&self.network, self.source, self.sink);
        // Plain is what the source still reaches.
        let mut plain = vec![false; self.network.node_count()];
        plain[self.source.index()] = true;
        let mut open = vec![self.source];
        while let Some(v) = open.pop() {
            let out = self.network.edges(v).filter(|e| flows[e.id().index()] < *e.weight()).map(|e| e.target());
            let back = self
                .network
                .edges_directed(v, petgraph::Direction::Incoming)
                .filter(|e| flows[e.id().index()] > 0)
                .map(|e| e.source());
            for w in out.chain(back) {
                if !std::mem::replace(&mut plain[w.index()], true) {
                    open.push(w);
                }
            }
        }
        move |l| match l {
            Label::Plain => 0,
            Label::Blocked => 1,
            Label::Var(v) => usize::from(!plain[v.index()]),
        }
    }
}
