//! A training step as its memory sees it: what the forward pass leaves for the backward pass, what it costs to compute
//! that again, and what is live when.
//!
//! The schedule is the order of the graph. A value that is not kept is computed again right before its first reader of
//! the backward pass, and so is, before it, what that needs and is not kept; then it lives until its last reader there.
//! So each value is computed at most twice, and which values are kept decides everything.

use crate::lower::moves_no_bytes;
use crate::templates::STREAM_NS_PER_BYTE;
use cranelift_entity::{EntitySet, SecondaryMap};
use ir::Graph;
use ir::entity::{Node, Value};
use ir::op::OpCtx;
use ir::target::Target;
use std::ops::Range;

/// Every buffer of the arena takes a multiple of it.
const ALIGN: u64 = 64;
/// What is smaller than this part of the largest value is always kept: statistics of batches, for one.
const SMALL: u64 = 64;

/// A node of the schedule, and whether it runs for the second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub node: Node,
    pub again: bool,
}

pub struct Step<'a> {
    pub g: &'a Graph,
    /// Place of each node in the order.
    at: SecondaryMap<Node, u32>,
    /// The place of the loss: nodes up to there are the forward pass.
    pub loss: usize,
    /// The value in whose memory a value lies.
    root: SecondaryMap<Value, Value>,
    /// Bytes of the arena that a root takes.
    bytes: SecondaryMap<Value, u64>,
    /// Roots of the forward pass that may be computed again.
    free: EntitySet<Value>,
    /// Roots of the forward pass that the backward pass reads.
    pub needed: EntitySet<Value>,
    /// Estimated time of each node of the forward pass.
    ns: SecondaryMap<Node, f64>,
    pub macs: SecondaryMap<Node, u64>,
    /// Bytes of what the backward pass computes: live while the node there runs, and written by it.
    gradients: Vec<[u64; 2]>,
}

impl<'a> Step<'a> {
    /// `None` if the graph has no loss.
    pub fn new(g: &'a Graph, batch: u64, target: &Target) -> Option<Step<'a>> {
        let loss = g.order.iter().position(|&n| g.op(n).name == "cross_entropy")?;
        let mut s = Step {
            g,
            at: SecondaryMap::new(),
            loss,
            root: SecondaryMap::with_default(Value::from_u32(0)),
            bytes: SecondaryMap::new(),
            free: EntitySet::new(),
            needed: EntitySet::new(),
            ns: SecondaryMap::new(),
            macs: SecondaryMap::new(),
            gradients: Vec::new(),
        };
        g.values.keys().for_each(|v| s.root[v] = v);
        for (i, &n) in (0..).zip(&g.order) {
            s.at[n] = i;
            let d = &g.nodes[n];
            if moves_no_bytes(g, n) {
                s.root[d.results[0]] = s.root[d.operands[0]];
            } else {
                d.results.iter().for_each(|&v| s.bytes[v] = g.ty(v).len_bytes(batch).next_multiple_of(ALIGN));
            }
            let (operands, results) = (g.operand_types(n), g.result_types(n));
            let ctx = OpCtx { operands: &operands, attrs: &d.attrs, epilogue: &d.epilogue, results: &results, batch };
            let cost = (d.op.cost)(&ctx);
            s.macs[n] = cost.macs;
            if !moves_no_bytes(g, n) {
                s.ns[n] = cost.macs as f64 / target.macs_per_ns() + cost.bytes as f64 * STREAM_NS_PER_BYTE;
            }
        }
        // Outputs lie in memory of the caller.
        g.outputs.iter().for_each(|&v| s.bytes[s.root[v]] = 0);
        let forward = &g.order[..=loss];
        let results = || forward.iter().flat_map(|&n| &g.nodes[n].results).copied();
        let largest = results().map(|v| s.bytes[v]).max().unwrap_or(0);
        s.free = results().filter(|&v| s.bytes[v] > largest / SMALL).fold(EntitySet::new(), |mut set, v| {
            set.insert(v);
            set
        });
        for &v in g.order[loss + 1..].iter().flat_map(|&n| &g.nodes[n].operands) {
            s.needed.insert(s.root[v]);
        }
        s.gradients = s.gradients();
        Some(s)
    }

    pub fn root(&self, v: Value) -> Value {
        self.root[v]
    }

    pub fn bytes(&self, root: Value) -> u64 {
        self.bytes[root]
    }

    /// Whether a root is computed by the forward pass, and may be computed again.
    pub fn is_free(&self, root: Value) -> bool {
        self.free.contains(root)
    }

    /// Place of the node that computes `v`.
    pub fn place(&self, v: Value) -> Option<usize> {
        self.g.def(v).map(|n| self.at[n] as usize)
    }

    /// Estimated nanoseconds of computing a free root again where everything else that the backward pass needs is there.
    pub fn costs(&self) -> SecondaryMap<Value, f64> {
        let mut costs: SecondaryMap<Value, f64> = SecondaryMap::new();
        for &n in &self.g.order[..=self.loss] {
            let d = &self.g.nodes[n];
            let operands = d.operands.iter().map(|&v| self.root[v]);
            let before = operands.filter(|&v| self.is_free(v) && !self.needed.contains(v)).map(|v| costs[v]);
            let ns = self.ns[n] + before.sum::<f64>();
            d.results.iter().filter(|&&v| self.root[v] == v).for_each(|&v| costs[v] = ns);
        }
        costs
    }

    fn gradients(&self) -> Vec<[u64; 2]> {
        let from = self.loss + 1;
        let mut last: SecondaryMap<Value, usize> = SecondaryMap::new();
        let backward = &self.g.order[from..];
        for (i, &n) in backward.iter().enumerate() {
            let d = &self.g.nodes[n];
            d.operands.iter().chain(&d.results).for_each(|&v| last[self.root[v]] = i);
        }
        let mut ends = vec![0; backward.len()];
        let mut live = 0;
        let own = |n: Node| self.g.nodes[n].results.iter().copied().filter(|&v| self.root[v] == v);
        for (i, &n) in backward.iter().enumerate() {
            own(n).for_each(|v| ends[last[v].max(i)] += self.bytes[v]);
        }
        let gradients = backward.iter().enumerate().map(|(i, &n)| {
            let written = own(n).map(|v| self.bytes[v]).sum::<u64>();
            live += written;
            let now = [live, written];
            live -= ends[i];
            now
        });
        gradients.collect()
    }

    /// The nodes at the places `backward`, each after what it needs and is not `kept`. What stands before place `floor`
    /// counts as kept.
    pub fn schedule(&self, backward: Range<usize>, floor: usize, kept: &dyn Fn(Value) -> bool, memory: &mut Memory) {
        memory.items.clear();
        memory.turn += 1;
        let turn = memory.turn;
        let missing = |seen: &SecondaryMap<Node, u32>, v: Value| {
            let root = self.root[v];
            let is_again = self.is_free(root) && self.place(root).is_some_and(|at| at >= floor) && !kept(root);
            self.g.def(v).filter(|&n| is_again && seen[n] != turn)
        };
        let mut stack: Vec<(Node, usize, bool)> = Vec::new();
        for &n in &self.g.order[backward] {
            stack.push((n, 0, false));
            while let Some((n, next, again)) = stack.pop() {
                if again && memory.seen[n] == turn {
                    continue;
                }
                let operands = &self.g.nodes[n].operands;
                let before = (next..operands.len()).find_map(|i| Some((i, missing(&memory.seen, operands[i])?)));
                match before {
                    Some((i, d)) => stack.extend([(n, i + 1, again), (d, 0, true)]),
                    None => {
                        if again {
                            memory.seen[n] = turn;
                        }
                        memory.items.push(Item { node: n, again });
                    }
                }
            }
        }
    }

    /// Bytes that the backward pass at `backward` needs at most beside what stands before place `floor`, and the time of
    /// what is computed again. What is kept counts as live all the while.
    pub fn part(
        &self,
        backward: Range<usize>,
        floor: usize,
        kept: &dyn Fn(Value) -> bool,
        memory: &mut Memory,
    ) -> Part {
        self.schedule(backward.clone(), floor, kept, memory);
        let Memory { items, turn, last, counted, change, .. } = memory;
        let mut part = Part::default();
        let is_mine = |v: Value| self.is_free(v) && self.place(v).is_some_and(|at| at >= floor);
        for (i, item) in (0..).zip(items.iter()) {
            let d = &self.g.nodes[item.node];
            if item.again {
                part.ns += self.ns[item.node];
                d.results.iter().for_each(|&v| last[self.root[v]] = i);
            }
            for v in d.operands.iter().map(|&v| self.root[v]).filter(|&v| is_mine(v)) {
                if !kept(v) {
                    last[v] = i;
                } else if std::mem::replace(&mut counted[v], *turn) != *turn {
                    part.kept += self.bytes[v];
                }
            }
        }
        change.clear();
        change.resize(items.len() + 1, 0);
        for (i, item) in items.iter().enumerate().filter(|(_, item)| item.again) {
            for &v in self.g.nodes[item.node].results.iter().filter(|&&v| self.root[v] == v) {
                change[i] += self.bytes[v];
                // Differences of neighbours, wrapping: what is taken away was added before, so no sum is negative.
                change[last[v] as usize + 1] = change[last[v] as usize + 1].wrapping_sub(self.bytes[v]);
            }
        }
        let (mut live, mut at) = (0u64, backward.start - self.loss - 1);
        for (item, change) in items.iter().zip(change.iter()) {
            live = live.wrapping_add(*change);
            let [during, written] = self.gradients[at];
            let gradients = if item.again { during - written } else { during };
            part.peak = part.peak.max(live + gradients);
            at += usize::from(!item.again);
        }
        part
    }

    /// Most bytes of the arena that are live at once, over the whole step.
    pub fn peak(&self, kept: &dyn Fn(Value) -> bool, memory: &mut Memory) -> u64 {
        self.schedule(self.loss + 1..self.g.order.len(), 0, kept, memory);
        let forward = self.g.order[..=self.loss].iter().map(|&node| Item { node, again: false });
        let items: Vec<Item> = forward.chain(memory.items.iter().copied()).collect();
        // Last readers of what is computed first, and of what is computed again.
        let mut last: [SecondaryMap<Value, u32>; 2] = Default::default();
        for (i, item) in (0..).zip(&items) {
            let d = &self.g.nodes[item.node];
            let is_late = item.again || i > self.loss as u32;
            for v in d.operands.iter().map(|&v| self.root[v]) {
                let again = is_late && self.is_free(v) && !kept(v);
                last[usize::from(again)][v] = i;
            }
            d.results.iter().for_each(|&v| last[usize::from(item.again)][self.root[v]] = i);
        }
        let mut ends = vec![0; items.len()];
        let (mut live, mut peak) = (0, 0);
        for (i, item) in items.iter().enumerate() {
            for &v in self.g.nodes[item.node].results.iter().filter(|&&v| self.root[v] == v) {
                live += self.bytes[v];
                ends[last[usize::from(item.again)][v] as usize] += self.bytes[v];
            }
            peak = peak.max(live);
            live -= ends[i];
        }
        peak
    }
}

/// What a part of the backward pass takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Part {
    /// Bytes kept for it.
    pub kept: u64,
    /// Most bytes live at once beside them.
    pub peak: u64,
    /// Time of what is computed again.
    pub ns: f64,
}

impl Memory {
    /// Whether the part that was looked at last has counted `v` as kept.
    pub fn was_counted(&self, v: Value) -> bool {
        self.turn > 0 && self.counted[v] == self.turn
    }
}

/// What scheduling writes on; used again and again.
#[derive(Default)]
pub struct Memory {
    /// The schedule that was made last.
    pub items: Vec<Item>,
    /// Number of that schedule: an entry of another turn counts as empty.
    turn: u32,
    seen: SecondaryMap<Node, u32>,
    last: SecondaryMap<Value, u32>,
    counted: SecondaryMap<Value, u32>,
    change: Vec<u64>,
}
