//! Where the data of a call's parameters is when the call begins: in the smallest cache that holds all that was touched
//! since it was touched last. A program runs again and again, so the call before the first is the last.
//!
//! Source: Mattson et al., "Evaluation techniques for storage hierarchies", IBM Systems Journal 9(2), 1970: with
//! least-recently-used replacement a cache holds what has a smaller stack distance than its size. A shared L3 is no such
//! cache: it loses data little by little.

use super::{Machine, Place};
use ir::Program;
use ir::entity::Slot;
use ir::program::Space;
use std::ops::Range;

/// A part of L2 is lost to conflicts.
const USABLE: f64 = 0.5;

/// The place of each argument of each call; `is_cold`: weights are in no cache.
pub fn places(program: &Program, machine: &Machine, threads: usize, is_cold: bool) -> Vec<Vec<Place>> {
    let near = machine.l2_bytes as f64 * threads.max(1) as f64 * USABLE;
    let [kept, lost] = machine.l3_keeps.map(|share| machine.l3_bytes as f64 * share);
    // A program that fits into L3 keeps all of it there.
    let footprint = (program.const_bytes + program.arena_bytes) as f64;
    let pressure = (footprint / machine.l3_bytes as f64 - 1.0).clamp(0.0, 1.0);
    let place = |call: usize, slot: Slot| {
        let space = program.slots[slot].space;
        let is_away = is_cold && matches!(space, Space::Const { .. });
        let distance = if is_away { lost } else { distance(program, call, slot, lost) };
        let gone = ((distance - kept) / (lost - kept)).clamp(0.0, 1.0);
        let in_memory = (100.0 * if is_away { 1.0 } else { gone * pressure }) as u8;
        Place {
            in_l3: if distance <= near { 0 } else { 100 - in_memory },
            in_memory,
            is_shared: matches!(space, Space::Arena { .. }),
        }
    };
    let calls = program.calls.iter().enumerate();
    calls.map(|(i, c)| c.args.iter().map(|&slot| place(i, slot)).collect()).collect()
}

/// Bytes that calls have touched from the last one that touched `slot` up to call `at`, or `most`, if that is less.
fn distance(program: &Program, at: usize, slot: Slot, most: f64) -> f64 {
    let n = program.calls.len();
    let wanted = region(program, slot);
    let (mut weights, mut arena) = (0, 0);
    for back in 1..=n {
        let call = &program.calls[(at + n - back) % n];
        let mut is_last = false;
        for &s in &call.args {
            let len = program.slots[s].len_bytes();
            match program.slots[s].space {
                Space::Arena { .. } => arena += len,
                _ => weights += len,
            }
            is_last |= overlap(&region(program, s), &wanted);
        }
        // The arena is used again and again.
        let sum = (weights + arena.min(program.arena_bytes)) as f64;
        if sum > most {
            return most;
        }
        if is_last {
            return sum;
        }
    }
    most
}

/// What a slot is part of, and where in it.
fn region(program: &Program, slot: Slot) -> (usize, Range<u64>) {
    let s = &program.slots[slot];
    let len = s.len_bytes();
    match s.space {
        Space::Arena { offset, .. } => (0, offset..offset + len),
        Space::Const { offset, .. } => (1, offset..offset + len),
        Space::Input(i) => (2 + 2 * i as usize, 0..len),
        Space::Output(i) => (3 + 2 * i as usize, 0..len),
    }
}

fn overlap(a: &(usize, Range<u64>), b: &(usize, Range<u64>)) -> bool {
    a.0 == b.0 && a.1.start < b.1.end && b.1.start < a.1.end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::ZEN3;
    use ir::DType;
    use ir::program::{Call, SlotData};

    /// Two calls, x → t → y, each with weights of its own.
    fn program(weights: u64, tensor: u64) -> Program {
        let mut p = Program {
            name: "p".into(),
            target: "x86-64-v3".into(),
            batch: 1,
            slots: Default::default(),
            kernels: Vec::new(),
            calls: Vec::new(),
            arena_bytes: 3 * tensor,
            const_bytes: 2 * weights,
        };
        let mut slot = |bytes: u64, space: Space| {
            p.slots.push(SlotData { name: String::new(), dtype: DType::F32, dims: vec![bytes / 4], space })
        };
        let tensors = [0, 1, 2].map(|i| slot(tensor, Space::Arena { offset: i * tensor, first: 0, last: 1 }));
        let filters = [0, 1].map(|i| slot(weights, Space::Const { offset: i * weights }));
        let call = |i: usize| Call {
            kernel: 0,
            args: vec![tensors[i], filters[i], tensors[i + 1]],
            node: String::new(),
            op: String::new(),
            macs: 0,
        };
        p.calls = vec![call(0), call(1)];
        p
    }

    fn shares(p: &Program, is_cold: bool) -> Vec<Vec<[u8; 2]>> {
        let of = |c: &Vec<Place>| c.iter().map(|a| [a.in_l3, a.in_memory]).collect();
        places(p, &ZEN3, 1, is_cold).iter().map(of).collect()
    }

    #[test]
    fn small_programs_stay_near() {
        assert_eq!(shares(&program(1 << 10, 1 << 10), false), [[[0, 0]; 3]; 2]);
        let cold = shares(&program(1 << 10, 1 << 10), true);
        assert_eq!(cold, [[[0, 0], [0, 100], [0, 0]]; 2]);
    }

    #[test]
    fn weights_beyond_all_caches_come_from_memory_and_what_was_just_written_from_l3() {
        let p = program(40 << 20, 1 << 20);
        let all = shares(&p, false);
        assert_eq!([all[0][1], all[1][1]], [[0, 100]; 2]);
        // 42 MB of weights and tensors lie between, more than L3 keeps.
        assert_eq!(all[0][0], [0, 100]);
        let fits = shares(&program(4 << 20, 1 << 20), false);
        assert_eq!([fits[0][1], fits[1][0]], [[100, 0]; 2]);
    }

    #[test]
    fn distance_counts_what_was_touched_since() {
        let p = program(1 << 12, 1 << 10);
        let (middle, first) = (p.calls[1].args[0], p.calls[0].args[0]);
        // Written by the call before: its own bytes.
        assert_eq!(distance(&p, 1, middle, 1e9), f64::from((1 << 12) + 3 * (1 << 10) - (1 << 10)));
        // Read a whole run ago: both calls' weights, and the arena once.
        assert_eq!(distance(&p, 0, first, 1e9), f64::from(2 * (1 << 12) + 3 * (1 << 10)));
        assert_eq!(distance(&p, 0, first, 100.0), 100.0);
    }
}
