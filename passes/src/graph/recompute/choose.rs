//! Which values of the forward pass are kept.
//!
//! The forward pass is cut where one value carries all that comes after it: after every block of a residual network. A
//! *segment* is what lies between two cuts; its last value is kept, and of the others those that cost more time for
//! each byte than a *level*. The backward pass goes through the segments from the last to the first, and computes what a
//! segment lacks when it comes to it. Its peak is the largest, over all segments, of what the segments before it keep
//! and what it needs itself.
//!
//! So a choice is a way from cut to cut, whose edges are segments and their levels: the cheapest way under a limit of
//! memory is found by dynamic programming over pairs of memory and time of which none is better in both. With one level
//! and equal segments it is the √n of Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016; the way over
//! cuts of any graph is that of Kusumoto et al., "A Graph Theoretic Framework of Recomputation", NeurIPS 2019.

use super::step::{Memory, Step};
use cranelift_entity::{EntitySet, SecondaryMap};
use ir::entity::Value;
use std::ops::Range;

/// At a cut the largest value has at least four fifths of all bytes.
const CUT: [u64; 2] = [4, 5];
/// Pairs of memory and time that are followed from each cut.
const MOST_LABELS: usize = 256;
/// Levels are powers of √2.
const LEVELS_PER_DOUBLING: f64 = 2.0;

/// What may be kept, and what that takes.
pub struct Choice<'a> {
    step: &'a Step<'a>,
    cuts: Vec<Cut>,
    /// The level from which a free root is computed again.
    level: SecondaryMap<Value, i32>,
    /// Segments by the cut at their end.
    segments: Vec<Vec<Segment>>,
}

/// A place after which the forward pass needs little of what comes before.
struct Cut {
    /// Nodes before the cut.
    at: usize,
    /// Roots that are read across.
    across: Vec<Value>,
    /// Where the backward pass first looks before the cut.
    backward: usize,
}

#[derive(Clone, Copy)]
struct Segment {
    /// Number of the cut where it begins.
    from: usize,
    level: i32,
    /// Bytes kept, most bytes needed beside what the segments before keep, time of what is computed again.
    kept: u64,
    needs: u64,
    ns: f64,
}

/// A way to a cut: its memory and time, and its last step.
#[derive(Clone, Copy)]
struct Label {
    kept: u64,
    ns: f64,
    segment: usize,
    before: usize,
}

/// The level at which nothing is computed again.
const KEEP_ALL: i32 = i32::MIN;

impl<'a> Choice<'a> {
    pub fn new(step: &'a Step<'a>, memory: &mut Memory) -> Choice<'a> {
        let costs = step.costs();
        let mut level: SecondaryMap<Value, i32> = SecondaryMap::new();
        let mut levels = vec![KEEP_ALL];
        for v in forward_roots(step) {
            let ratio = costs[v] / step.bytes(v) as f64;
            level[v] = (ratio.log2() * LEVELS_PER_DOUBLING).ceil() as i32;
            if step.needed.contains(v) {
                levels.push(level[v]);
            }
        }
        levels.sort_unstable();
        levels.dedup();
        let mut choice = Choice { step, cuts: cuts(step), level, segments: Vec::new() };
        // Least memory is at segments of about the root of their number; longer ones only cost time to look at.
        let longest = 4 + (1.5 * (choice.cuts.len() as f64).sqrt()) as usize;
        for to in 0..choice.cuts.len() {
            let mut list = Vec::new();
            for from in to.saturating_sub(longest)..to {
                let mut last = -1.0;
                for &level in &levels {
                    let segment = choice.segment(from, to, level, memory);
                    // A higher level that makes no difference is none.
                    if segment.ns > last {
                        last = segment.ns;
                        list.push(segment);
                    }
                }
            }
            choice.segments.push(list);
        }
        choice
    }

    fn backward(&self, from: usize, to: usize) -> Range<usize> {
        self.cuts[to].backward..self.cuts[from].backward
    }

    fn segment(&self, from: usize, to: usize, level: i32, memory: &mut Memory) -> Segment {
        let (floor, end) = (self.cuts[from].at, &self.cuts[to]);
        let kept = |v: Value| self.is_kept(v, end, level);
        let part = self.step.part(self.backward(from, to), floor, &kept, memory);
        let across = end.across.iter().filter(|&&v| self.step.place(v).is_some_and(|at| at >= floor));
        let across: u64 = across.filter(|&&v| !memory.was_counted(v)).map(|&v| self.step.bytes(v)).sum();
        let kept = part.kept + across;
        Segment { from, level, kept, needs: kept + part.peak, ns: part.ns }
    }

    fn is_kept(&self, v: Value, end: &Cut, level: i32) -> bool {
        self.level[v] > level || end.across.contains(&v)
    }

    /// The ways to each cut that stay within `limit`, none of which is better than another in both memory and time.
    fn labels(&self, limit: u64) -> Vec<Vec<Label>> {
        let mut labels: Vec<Vec<Label>> = vec![vec![Label { kept: 0, ns: 0.0, segment: 0, before: 0 }]];
        for list in &self.segments[1..] {
            let mut here: Vec<Label> = Vec::new();
            for (segment, s) in list.iter().enumerate() {
                let fits = labels[s.from].iter().enumerate().filter(|(_, l)| l.kept + s.needs <= limit);
                here.extend(fits.map(|(before, l)| Label { kept: l.kept + s.kept, ns: l.ns + s.ns, segment, before }));
            }
            here.sort_by(|a, b| a.kept.cmp(&b.kept).then(a.ns.total_cmp(&b.ns)));
            let mut least = f64::INFINITY;
            here.retain(|l| {
                let is_better = l.ns < least;
                least = least.min(l.ns);
                is_better
            });
            // The one of least memory is always followed, so that what is possible is found.
            if here.len() > MOST_LABELS {
                let step = here.len() as f64 / MOST_LABELS as f64;
                here = (0..MOST_LABELS).map(|i| here[(i as f64 * step) as usize]).collect();
            }
            labels.push(here);
        }
        labels
    }

    /// The least limit for which there is a way.
    pub fn least(&self) -> u64 {
        let fits = |limit: u64| {
            let mut kept: Vec<Option<u64>> = vec![Some(0)];
            for list in &self.segments[1..] {
                let ways =
                    list.iter().filter_map(|s| kept[s.from].filter(|k| k + s.needs <= limit).map(|k| k + s.kept));
                kept.push(ways.min());
            }
            kept.last().copied().flatten().is_some()
        };
        let (mut low, mut high) = (0, 1);
        while !fits(high) {
            (low, high) = (high, 2 * high);
        }
        while high - low > 1 {
            let middle = low.midpoint(high);
            if fits(middle) { high = middle } else { low = middle }
        }
        high
    }

    /// The roots that are kept where that takes least time within `limit`, by this model of the memory.
    pub fn within(&self, limit: u64) -> Option<EntitySet<Value>> {
        let labels = self.labels(limit);
        let mut at = self.cuts.len() - 1;
        let last = labels.get(at)?;
        let mut label = *last.iter().min_by(|a, b| a.ns.total_cmp(&b.ns))?;
        let mut kept = EntitySet::new();
        while at > 0 {
            let s = self.segments[at][label.segment];
            let (floor, end) = (self.cuts[s.from].at, &self.cuts[at]);
            for n in &self.step.g.order[floor..end.at] {
                for &v in self.step.g.nodes[*n].results.iter().filter(|&&v| self.is_kept(v, end, s.level)) {
                    kept.insert(v);
                }
            }
            label = labels[s.from][label.before];
            at = s.from;
        }
        Some(kept)
    }
}

/// Free roots of the forward pass.
fn forward_roots<'a>(step: &'a Step) -> impl Iterator<Item = Value> + 'a {
    let forward = &step.g.order[..=step.loss];
    forward.iter().flat_map(|&n| &step.g.nodes[n].results).copied().filter(|&v| step.is_free(v))
}

/// The begin of the forward pass, the places where one value carries nearly everything and the backward pass needs it
/// too, and the end.
fn cuts(step: &Step) -> Vec<Cut> {
    let (g, end) = (step.g, step.loss + 1);
    // Last reader in the forward pass of each root.
    let mut last: SecondaryMap<Value, usize> = SecondaryMap::new();
    for (i, &n) in g.order[..end].iter().enumerate() {
        g.nodes[n].operands.iter().for_each(|&v| last[step.root(v)] = i);
    }
    let mut cuts = vec![Cut { at: 0, across: Vec::new(), backward: g.order.len() }];
    let mut live: Vec<Value> = Vec::new();
    let mut of_last = None;
    for (i, &n) in g.order[..end - 1].iter().enumerate() {
        live.extend(g.nodes[n].results.iter().filter(|&&v| step.is_free(v)));
        live.retain(|&v| last[v] > i);
        let bytes = live.iter().map(|&v| step.bytes(v)).sum::<u64>();
        let Some(&largest) = live.iter().max_by_key(|&&v| step.bytes(v)) else { continue };
        let is_cut = step.bytes(largest) * CUT[1] >= bytes * CUT[0] && step.needed.contains(largest);
        // While the same value carries everything, the first place is as good as any.
        if is_cut && of_last != Some(largest) {
            of_last = Some(largest);
            cuts.push(Cut { at: i + 1, across: live.clone(), backward: 0 });
        }
    }
    cuts.push(Cut { at: end, across: Vec::new(), backward: end });
    for i in 1..cuts.len() - 1 {
        let (at, across) = (cuts[i].at, &cuts[i].across);
        let is_before = |v: Value| {
            let root = step.root(v);
            step.is_free(root) && step.place(root).is_some_and(|p| p < at) && !across.contains(&root)
        };
        let looks = |n: &ir::entity::Node| g.nodes[*n].operands.iter().any(|&v| is_before(v));
        cuts[i].backward = g.order[end..].iter().position(looks).map_or(g.order.len(), |p| end + p);
    }
    // The backward pass goes through the segments in order.
    for i in (1..cuts.len() - 1).rev() {
        cuts[i].backward = cuts[i].backward.max(cuts[i + 1].backward);
    }
    cuts
}
