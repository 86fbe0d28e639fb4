//! `recompute`: of the values that the backward pass of a training step reads, some are not kept until then but computed
//! again.
//!
//! What runs for the second time is the same op on the same bits, so no bit of the new state changes. It reads its first
//! operand through a [`later`](ir::ops::later), which says that it is another value and when it comes: no pass takes
//! the two computations for one, and a graph that has been through here is known by it.
//!
//! [`step`] knows what is live when, [`choose`] decides what is kept. The pass comes after all others, so that it sees
//! what is computed in the end: fused, laid out, by the methods that were selected.

mod choose;
mod step;

use super::{is_op, op};
use crate::pass::{Pass, PassCtx};
use choose::Choice;
use cranelift_entity::{EntitySet, SecondaryMap};
use ir::diag::Class;
use ir::entity::Value;
use ir::graph::{Patch, Src};
use ir::op::Attrs;
use ir::{Diagnostic, Diagnostics, Graph};
use std::collections::HashMap;
use step::{Item, Memory, Step};

pub struct Recompute;

/// How much memory a step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryGoal {
    /// As little as computing everything at most twice allows.
    Least,
    /// At most so many bytes, in as little time as that allows.
    Within(u64),
}

/// What is computed again in a step, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recomputed {
    pub nodes: usize,
    /// Multiply-adds of the step before, and those that are done again.
    pub macs: [u64; 2],
    /// Most bytes live at once, before and after.
    pub peak_bytes: [u64; 2],
}

impl Pass for Recompute {
    fn name(&self) -> &'static str {
        "recompute"
    }

    fn doc(&self) -> &'static str {
        "computes values of a training step again that would be kept for its backward pass"
    }

    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        let g = &cx.graph;
        if g.order.iter().any(|&n| is_op(g, n, "later")) {
            return Ok(());
        }
        let Some(step) = Step::new(g, cx.batch, &cx.target) else { return Ok(()) };
        let mut memory = Memory::default();
        let before = step.peak(&|_| true, &mut memory);
        let Some((kept, after)) = kept(&step, cx.memory, before, &mut memory)? else { return Ok(()) };
        step.schedule(step.loss + 1..g.order.len(), 0, &|v| kept.contains(v), &mut memory);
        let again: Vec<_> = memory.items.iter().filter(|i| i.again).map(|i| i.node).collect();
        let total = g.order.iter().map(|&n| step.macs[n]).sum();
        let done = Recomputed {
            nodes: again.len(),
            macs: [total, again.iter().map(|&n| step.macs[n]).sum()],
            peak_bytes: [before, after],
        };
        let patch = rewrite(&step, &kept, &memory.items);
        if cx.apply(vec![patch])? > 0 {
            cx.log.recomputed = Some(done);
        }
        Ok(())
    }
}

/// The kept roots and the peak that they lead to, or `None` if all are kept.
///
/// Errors: E0408 if no choice stays within the limit.
fn kept(
    step: &Step,
    goal: MemoryGoal,
    before: u64,
    memory: &mut Memory,
) -> Result<Option<(EntitySet<Value>, u64)>, Diagnostics> {
    if matches!(goal, MemoryGoal::Within(limit) if before <= limit) {
        return Ok(None);
    }
    let choice = Choice::new(step, memory);
    let mut try_limit = |limit: u64| {
        let kept = choice.within(limit)?;
        let peak = step.peak(&|v| kept.contains(v), memory);
        Some((kept, peak))
    };
    // The model of the choice looks at one segment at a time; what counts is the peak of the whole step.
    let possible = choice.least();
    if let MemoryGoal::Within(limit) = goal {
        let (mut aim, mut best) = (limit, None);
        for _ in 0..MOST_TRIES {
            match try_limit(aim) {
                Some((kept, peak)) if peak <= limit => {
                    best = Some((kept, peak));
                    if limit - peak <= limit / CLOSE {
                        break;
                    }
                    aim += limit - peak;
                }
                Some((_, peak)) => aim = aim.saturating_sub(peak - limit),
                None if aim >= possible => break,
                None => aim = possible,
            }
        }
        if best.is_some() {
            return Ok(best);
        }
    }
    let percent = |p: u64| possible + possible * p / 100;
    // Of equal peaks that of the widest limit, which costs least time.
    let tries = [20, 10, 5, 2, 0].map(percent).into_iter().filter_map(&mut try_limit);
    let least = tries.min_by_key(|(_, peak)| *peak).filter(|(_, peak)| *peak < before);
    match goal {
        MemoryGoal::Least => Ok(least),
        MemoryGoal::Within(limit) => {
            let peak = least.as_ref().map_or(before, |(_, peak)| *peak);
            if peak <= limit { Ok(least) } else { Err(too_small(limit, peak)) }
        }
    }
}

/// Choices that are tried for a limit, and how near to it one is good enough.
const MOST_TRIES: usize = 6;
const CLOSE: u64 = 50;

/// The error for a limit that nothing meets; `least` bytes are possible.
pub fn too_small(limit: u64, least: u64) -> Diagnostics {
    let megabytes = |tenths: u64| format!("{}.{}MB", tenths / 10, tenths % 10);
    let text = format!("the step's activations cannot be kept within {}", megabytes(limit / TENTH));
    let d = Diagnostic::error("E0408", text).class(Class::Limit);
    d.help(format!("{} is possible; a smaller batch needs less", megabytes(least.div_ceil(TENTH)))).into()
}

/// Bytes of a tenth of a megabyte.
const TENTH: u64 = 100_000;

/// The step with `items` as its backward pass.
fn rewrite(step: &Step, kept: &EntitySet<Value>, items: &[Item]) -> Patch {
    let g = step.g;
    let mut r = Rewrite { g, p: Patch::new("recompute"), again: HashMap::new(), own: SecondaryMap::new() };
    let is_again = |v: Value| {
        let root = step.root(v);
        step.is_free(root) && !kept.contains(root)
    };
    let mut after = g.result(g.order[step.loss]);
    for item in items {
        let d = &g.nodes[item.node];
        let reads: Vec<bool> = d.operands.iter().map(|&v| is_again(v)).collect();
        if item.again {
            r.again(item, &reads, after);
        } else {
            if reads.contains(&true) {
                r.own(item, &reads);
            }
            after = d.results[0];
        }
    }
    r.finish()
}

struct Rewrite<'a> {
    g: &'a Graph,
    p: Patch,
    /// What is computed again.
    again: HashMap<Value, Src>,
    /// What stands for a value of the backward pass.
    own: SecondaryMap<Value, Option<Src>>,
}

impl Rewrite<'_> {
    fn operands(&self, item: &Item, reads: &[bool]) -> Vec<Src> {
        let operands = self.g.nodes[item.node].operands.iter().zip(reads);
        operands.map(|(&v, &again)| if again { self.again[&v] } else { self.own[v].unwrap_or(v.into()) }).collect()
    }

    fn again(&mut self, item: &Item, reads: &[bool], after: Value) {
        let g = self.g;
        let d = &g.nodes[item.node];
        let mut operands = self.operands(item, reads);
        if !reads.contains(&true) {
            let later = op("later");
            let (x, after) = (d.operands[0], self.own[after].unwrap_or(after.into()));
            let name = format!("{}.later", g.name(x));
            let layout = Some(g.ty(x).layout);
            operands[0] = self.p.add(name, later, Attrs::defaults(later), vec![operands[0], after], vec![], layout);
        }
        for (v, src) in self.add(item, operands, ".again") {
            self.again.insert(v, src);
        }
    }

    fn own(&mut self, item: &Item, reads: &[bool]) {
        let operands = self.operands(item, reads);
        for (v, src) in self.add(item, operands, "") {
            self.own[v] = Some(src);
        }
    }

    /// Adds the node of `item` with other operands. Its results, and what they are now.
    fn add(&mut self, item: &Item, operands: Vec<Src>, suffix: &str) -> Vec<(Value, Src)> {
        let d = &self.g.nodes[item.node];
        let y = d.results[0];
        let name = format!("{}{suffix}", self.g.name(y));
        let layout = Some(self.g.ty(y).layout);
        let src = self.p.add(name, d.op, d.attrs.clone(), operands, d.epilogue.clone(), layout);
        let Src::New(number) = src else { unreachable!("invariant: a patch gives what it adds a number") };
        let result = |(i, &v): (usize, &Value)| (v, if i == 0 { src } else { Src::NewResult(number, i) });
        d.results.iter().enumerate().map(result).collect()
    }

    fn finish(mut self) -> Patch {
        for (v, src) in self.own.iter().filter_map(|(v, src)| Some((v, (*src)?))) {
            self.p.replace(v, src);
        }
        self.p
    }
}
