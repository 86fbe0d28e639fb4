//! `plan-memory`: lifetimes and places of all buffers.
//!
//! A buffer lives from the call that writes it to the last call that reads it. Buffers whose lives overlap must not
//! overlap in memory: interval packing, which is hard to do best, so several orders of placing are tried, each
//! buffer at the lowest place that is free during its life, and the smallest arena wins. It is never smaller than
//! the peak of live bytes, so a plan of that size ends the search. Everything is deterministic.
//!
//! Constants are laid out in the order in which calls read them.

use super::arena_uses;
use ir::Program;
use ir::entity::Slot;
use ir::program::Space;

/// Every buffer starts at a cache line, which is also enough for any vector.
const ALIGN: u64 = 64;

pub fn run(p: &mut Program) {
    place_constants(p);
    let lives = lives(p);
    let mut best: Option<(u64, Vec<u64>)> = None;
    for order in orders(&lives) {
        let (size, offsets) = place(&lives, &order);
        if best.as_ref().is_none_or(|(b, _)| size < *b) {
            best = Some((size, offsets));
        }
        if size == peak(&lives) {
            break;
        }
    }
    let (size, offsets) = best.unwrap_or_default();
    p.arena_bytes = size;
    for (l, offset) in lives.iter().zip(offsets) {
        p.slots[l.slot].space = Space::Arena { offset, first: l.first, last: l.last };
    }
}

fn place_constants(p: &mut Program) {
    let used: Vec<Slot> = p.calls.iter().flat_map(|c| c.args.iter().copied()).collect();
    let mut placed = std::collections::HashSet::new();
    let mut end = 0;
    for s in used {
        if let Space::Const { offset } = &mut p.slots[s].space
            && placed.insert(s)
        {
            *offset = end;
            end = (end + p.slots[s].len_bytes()).next_multiple_of(ALIGN);
        }
    }
    p.const_bytes = end;
}

struct Life {
    slot: Slot,
    bytes: u64,
    first: u32,
    last: u32,
}

impl Life {
    fn meets(&self, other: &Life) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Arena buffers in order of their first use.
fn lives(p: &Program) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    let mut known: cranelift_entity::SecondaryMap<Slot, Option<usize>> = Default::default();
    for (i, c) in p.calls.iter().enumerate() {
        let now = u32::try_from(i).expect("invariant: fewer than 2^32 calls");
        for (slot, _) in arena_uses(p, c) {
            match known[slot] {
                Some(l) => lives[l].last = now,
                None => {
                    known[slot] = Some(lives.len());
                    let bytes = p.slots[slot].len_bytes().next_multiple_of(ALIGN);
                    lives.push(Life { slot, bytes, first: now, last: now });
                }
            }
        }
    }
    lives
}

fn peak(lives: &[Life]) -> u64 {
    let calls = lives.iter().map(|l| l.last as usize + 1).max().unwrap_or(0);
    let mut change = vec![0i64; calls + 1];
    for l in lives {
        change[l.first as usize] += l.bytes.cast_signed();
        change[l.last as usize + 1] -= l.bytes.cast_signed();
    }
    let live = change.iter().scan(0, |live, c| {
        *live += c;
        Some(*live)
    });
    live.max().unwrap_or(0).cast_unsigned()
}

/// Orders in which buffers are placed: by size, by size times length of life, by length of life, as they come.
fn orders(lives: &[Life]) -> Vec<Vec<usize>> {
    let length = |l: &Life| u64::from(l.last - l.first + 1);
    let keys: [&dyn Fn(&Life) -> u64; 4] = [&|l| l.bytes, &|l| l.bytes.saturating_mul(length(l)), &length, &|_| 0];
    let by = |key: &dyn Fn(&Life) -> u64| {
        let mut order: Vec<usize> = (0..lives.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(key(&lives[i])));
        order
    };
    keys.into_iter().map(by).collect()
}

/// Size of the arena and the offset of each buffer.
fn place(lives: &[Life], order: &[usize]) -> (u64, Vec<u64>) {
    let mut offsets = vec![0; lives.len()];
    // Placed buffers by offset.
    let mut placed: Vec<usize> = Vec::new();
    let mut size = 0;
    for &i in order {
        let mut at = 0;
        for &j in placed.iter().filter(|&&j| lives[j].meets(&lives[i])) {
            if at + lives[i].bytes <= offsets[j] {
                break;
            }
            at = at.max(offsets[j] + lives[j].bytes);
        }
        offsets[i] = at;
        size = size.max(at + lives[i].bytes);
        let position = placed.partition_point(|&j| offsets[j] <= at);
        placed.insert(position, i);
    }
    (size, offsets)
}
