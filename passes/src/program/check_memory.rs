//! Proves a memory plan by replaying it: every byte that a call reads still belongs to the buffer that it means.
//!
//! Independent of the planner and of the program verifier: it does not look at declared lifetimes, only at where
//! buffers lie and what calls do. Ownership of bytes is kept as intervals, so the arena may be of any size.

use ir::diag::{Class, Place};
use ir::entity::Slot;
use ir::kernel::Role;
use ir::program::{Call, Space};
use ir::{Diagnostic, Diagnostics, Program};
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

/// Errors: E0405 for a read of bytes that something else was written to, a write to bytes that another argument of
/// the call has, and a buffer that leaves the arena or is not 64-byte aligned.
pub fn check(p: &Program) -> Result<(), Diagnostics> {
    let mut replay = Replay { p, owner: BTreeMap::new(), written: HashSet::new(), problems: Diagnostics::default() };
    for (i, call) in p.calls.iter().enumerate() {
        replay.call(i, call);
    }
    replay.problems.into_result(())
}

struct Replay<'a> {
    p: &'a Program,
    /// Start of an interval of the arena → its end and the buffer whose bytes were written there last.
    owner: BTreeMap<u64, (u64, Slot)>,
    /// Outputs that were written.
    written: HashSet<Slot>,
    problems: Diagnostics,
}

impl Replay<'_> {
    fn call(&mut self, i: usize, call: &Call) {
        let kernel = &self.p.kernels[call.kernel];
        let args: Vec<(Slot, Role)> =
            call.args.iter().copied().zip(kernel.params.iter().map(|&b| kernel.bufs[b].role)).collect();
        for &(slot, role) in args.iter().filter(|(_, role)| *role != Role::Out) {
            if !self.is_intact(slot) {
                let name = &self.p.slots[slot].name;
                self.report(call, format!("call {i} reads %{name}, but not all of it is there ({role:?})"));
            }
        }
        for (at, &(slot, _)) in args.iter().enumerate().filter(|(_, (_, role))| *role != Role::In) {
            for &(other, _) in args.iter().enumerate().filter(|(j, _)| *j != at).map(|(_, a)| a) {
                if self.overlap(slot, other) {
                    let [a, b] = [slot, other].map(|s| &self.p.slots[s].name);
                    self.report(call, format!("call {i} writes %{a} over its argument %{b}"));
                }
            }
        }
        for &(slot, _) in args.iter().filter(|(_, role)| *role != Role::In) {
            self.write(i, call, slot);
        }
    }

    fn report(&mut self, call: &Call, message: String) {
        let d = Diagnostic::error("E0405", message).class(Class::Internal).at(Place::Node(call.node.clone()), "");
        self.problems.push(d);
    }

    fn range(&self, slot: Slot) -> Option<Range<u64>> {
        let s = &self.p.slots[slot];
        match s.space {
            Space::Arena { offset, .. } => Some(offset..offset + s.len_bytes()),
            _ => None,
        }
    }

    fn overlap(&self, a: Slot, b: Slot) -> bool {
        match (self.range(a), self.range(b)) {
            (Some(a), Some(b)) => a.start < b.end && b.start < a.end,
            _ => a == b,
        }
    }

    fn is_intact(&self, slot: Slot) -> bool {
        match self.p.slots[slot].space {
            Space::Input(_) | Space::Const { .. } => true,
            Space::Output(_) => self.written.contains(&slot),
            // Intervals are whole writes or what is left of them: a buffer is intact if one of them is all of it.
            Space::Arena { offset, .. } => {
                self.range(slot).is_some_and(|r| self.owner.get(&offset) == Some(&(r.end, slot)) || r.is_empty())
            }
        }
    }

    fn write(&mut self, i: usize, call: &Call, slot: Slot) {
        let Some(range) = self.range(slot) else {
            if matches!(self.p.slots[slot].space, Space::Output(_)) {
                self.written.insert(slot);
            } else {
                let name = &self.p.slots[slot].name;
                self.report(call, format!("call {i} writes %{name}, which is read-only"));
            }
            return;
        };
        if range.end > self.p.arena_bytes || !range.start.is_multiple_of(64) {
            let name = &self.p.slots[slot].name;
            self.report(call, format!("%{name} does not lie aligned in the arena"));
        }
        // What overlaps loses its bytes; the parts outside stay.
        let first = self.owner.range(..range.start).next_back().map(|(&s, _)| s).unwrap_or(range.start);
        let hit: Vec<(u64, (u64, Slot))> = self
            .owner
            .range(first..range.end)
            .filter(|(_, (end, _))| *end > range.start)
            .map(|(&start, &rest)| (start, rest))
            .collect();
        for (start, (end, owner)) in hit {
            self.owner.remove(&start);
            if start < range.start {
                self.owner.insert(start, (range.start, owner));
            }
            if end > range.end {
                self.owner.insert(range.end, (end, owner));
            }
        }
        self.owner.insert(range.start, (range.end, slot));
    }
}
