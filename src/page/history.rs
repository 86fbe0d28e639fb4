//! What became of every node: the graph after each pass as lines, and their differences.
//!
//! Passes replace nodes, and what replaces a value takes its name. So a node that is there at the end has its own
//! past, and one that is not belongs to the first node after it, in data flow, that is: the batch norm and the relu
//! that a convolution has taken in.

use ir::Graph;
use ir::graph::Def;
use ir::text::print_node;
use passes::pass::{Log, Refused};
use std::cell::RefCell;
use std::collections::HashMap;

/// A node as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub name: String,
    pub op: &'static str,
    /// Type of the first result.
    pub ty: String,
    /// Names of the nodes that it reads.
    pub reads: Vec<String>,
    /// In the text form.
    pub text: String,
}

/// A graph as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(pub Vec<Line>);

impl Snapshot {
    pub fn of(g: &Graph) -> Snapshot {
        let line = |&n: &ir::entity::Node| {
            let (node, result) = (&g.nodes[n], g.result(n));
            let computed = |v: &&_| matches!(g.values[**v].def, Def::Result(..));
            Line {
                name: g.name(result).to_string(),
                op: node.op.name,
                ty: g.ty(result).to_string(),
                reads: node.operands.iter().filter(computed).map(|&v| g.name(v).to_string()).collect(),
                text: print_node(g, n),
            }
        };
        Snapshot(g.order.iter().map(line).collect())
    }

    fn by_name(&self) -> HashMap<&str, &Line> {
        self.0.iter().map(|l| (l.name.as_str(), l)).collect()
    }
}

/// Takes a snapshot after each pass.
#[derive(Debug, Default)]
pub struct Recorder(RefCell<Vec<(&'static str, Snapshot)>>);

impl Recorder {
    pub fn record(&self, pass: &'static str, g: &Graph) {
        self.0.borrow_mut().push((pass, Snapshot::of(g)));
    }

    /// What the passes have made of `before`.
    pub fn history(self, before: Snapshot, log: &Log) -> History {
        History::new(before, self.0.into_inner(), log)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The node is new, or again there.
    Added = 0,
    /// It reads as in this line now.
    Changed = 1,
    /// It was this line and is gone.
    Removed = 2,
}

/// What one pass did to one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Index into the passes that ran.
    pub pass: usize,
    pub change: Change,
    pub text: String,
}

/// All passes, by what is there at the end.
#[derive(Clone, Debug)]
pub struct History {
    pub before: Snapshot,
    pub after: Snapshot,
    /// The nodes of `after` in order, then those of which nothing is left.
    pub layers: Vec<String>,
    /// For each layer what passes did to its nodes, in order.
    pub events: Vec<Vec<Event>>,
    /// For each layer what passes left alone at its nodes.
    pub refused: Vec<Vec<Refused>>,
    owners: HashMap<String, usize>,
}

impl History {
    fn new(before: Snapshot, steps: Vec<(&'static str, Snapshot)>, log: &Log) -> History {
        let after = steps.last().map_or_else(|| before.clone(), |(_, s)| s.clone());
        let layers: Vec<String> = after.0.iter().map(|l| l.name.clone()).collect();
        let owners = layers.iter().cloned().zip(0..).collect();
        let mut h = History { before, after, layers, events: Vec::new(), refused: Vec::new(), owners };
        for s in std::iter::once(&h.before.clone()).chain(steps.iter().map(|(_, s)| s)) {
            h.adopt(s);
        }
        h.events = vec![Vec::new(); h.layers.len()];
        h.refused = vec![Vec::new(); h.layers.len()];
        let mut last = h.before.clone();
        for (pass, (_, step)) in steps.into_iter().enumerate() {
            h.compare(pass, &last, &step);
            last = step;
        }
        for r in &log.refused {
            if let Some(layer) = h.layer(&r.node) {
                h.refused[layer].push(r.clone());
            }
        }
        h
    }

    /// The layer that the node `name` of any step belongs to.
    pub fn layer(&self, name: &str) -> Option<usize> {
        self.owners.get(name).copied()
    }

    /// Finds the owners of the nodes of `s`: those of their readers, which come later in its order.
    fn adopt(&mut self, s: &Snapshot) {
        let mut reader: HashMap<&str, usize> = HashMap::new();
        for line in s.0.iter().rev() {
            let owner = match (self.layer(&line.name), reader.get(line.name.as_str())) {
                (Some(own), _) => own,
                (None, Some(&owner)) => owner,
                (None, None) => {
                    self.layers.push(line.name.clone());
                    self.layers.len() - 1
                }
            };
            self.owners.insert(line.name.clone(), owner);
            for r in &line.reads {
                // Of several readers the first in order, but rather one of which something is left.
                if owner < self.after.0.len() || !reader.contains_key(r.as_str()) {
                    reader.insert(r, owner);
                }
            }
        }
    }

    fn compare(&mut self, pass: usize, old: &Snapshot, new: &Snapshot) {
        let (was, is) = (old.by_name(), new.by_name());
        let gone = old.0.iter().filter(|l| !is.contains_key(l.name.as_str())).map(|l| (Change::Removed, l));
        let rest = new.0.iter().filter_map(|l| match was.get(l.name.as_str()) {
            None => Some((Change::Added, l)),
            Some(o) if o.text != l.text => Some((Change::Changed, l)),
            Some(_) => None,
        });
        for (change, line) in gone.chain(rest) {
            if let Some(layer) = self.layer(&line.name) {
                self.events[layer].push(Event { pass, change, text: line.text.clone() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, op: &'static str, reads: &[&str]) -> Line {
        let text = format!("%{name} = {op} {}", reads.join(", "));
        Line { name: name.into(), op, ty: String::new(), reads: reads.iter().map(|r| r.to_string()).collect(), text }
    }

    #[test]
    fn what_is_gone_belongs_to_its_reader() {
        let before = Snapshot(vec![
            line("conv", "conv2d", &[]),
            line("bn", "batch_norm", &["conv"]),
            line("dead", "relu", &["bn"]),
            line("relu", "relu", &["bn"]),
            line("out", "dense", &["relu"]),
        ]);
        let dce = Snapshot(before.0.iter().filter(|l| l.name != "dead").cloned().collect());
        let fused = Snapshot(vec![line("relu", "conv2d", &[]), line("out", "dense", &["relu"])]);
        let steps = vec![("dce", dce), ("fuse", fused)];
        let h = History::new(before, steps, &Log::default());
        assert_eq!(h.layers, ["relu", "out", "dead"]);
        assert_eq!(["conv", "bn", "relu", "out", "dead"].map(|n| h.layer(n)), [0, 0, 0, 1, 2].map(Some));
        let of = |layer: usize| h.events[layer].iter().map(|e| (e.pass, e.change, &e.text[..5])).collect::<Vec<_>>();
        let (removed, changed) = (Change::Removed, Change::Changed);
        assert_eq!(of(0), [(1, removed, "%conv"), (1, removed, "%bn ="), (1, changed, "%relu")]);
        assert_eq!(of(1), []);
        assert_eq!(of(2), [(0, removed, "%dead")]);
    }
}
