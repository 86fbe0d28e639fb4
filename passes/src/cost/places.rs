//! Where the data of a call's parameters is when the call begins: in the smallest cache that holds all that was touched
//! since it was touched last. A program runs again and again, so the call before the first is the last.
//!
//! Source: Mattson et al., "Evaluation techniques for storage hierarchies", IBM Systems Journal 9(2), 1970: with
//! least-recently-used replacement a cache holds what has a smaller stack distance than its size. A shared L3 is no such
//! cache: it loses data little by little.

use super::nest::Block;
use super::{Held, Machine, Place, traffic};
use ir::entity::{Buf, Slot};
use ir::program::Space;
use ir::{Kernel, Program};
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
    let tasks: Vec<Task> = program.kernels.iter().map(|k| Task::of(k, machine)).collect();
    let place = |call: usize, slot: Slot| {
        let space = program.slots[slot].space;
        let is_away = is_cold && matches!(space, Space::Const { .. });
        let (distance, is_swept) = if is_away { (lost, false) } else { distance(program, &tasks, call, slot, lost) };
        let gone = ((distance - kept) / (lost - kept)).clamp(0.0, 1.0);
        let in_memory = (100.0 * if is_away { 1.0 } else { gone * pressure }) as u8;
        let held = match space {
            Space::Arena { .. } if is_swept => Held::ByAll,
            Space::Arena { .. } => Held::ByOne,
            _ => Held::AsRead,
        };
        Place { in_l3: if distance <= near { 0 } else { 100 - in_memory }, in_memory, held }
    };
    let calls = program.calls.iter().enumerate();
    calls.map(|(i, c)| c.args.iter().map(|&slot| place(i, slot)).collect()).collect()
}

/// What one task of a kernel touches.
struct Task {
    bytes: f64,
    /// Whether that is all of a parameter, so that the last task has touched it too.
    sweeps: Vec<bool>,
}

impl Task {
    fn of(kernel: &Kernel, machine: &Machine) -> Task {
        let touched = traffic::touched(kernel, &Block::of(kernel, machine.core), 1.0);
        let of = |b: &Buf| touched.get(b).copied().unwrap_or(0.0);
        let sweeps = |b: &Buf| kernel.tasks > 1 && of(b) >= kernel.bufs[*b].len_bytes() as f64 * WHOLE;
        Task { bytes: kernel.params.iter().map(of).sum(), sweeps: kernel.params.iter().map(sweeps).collect() }
    }
}

/// Padding and room need not be touched.
const WHOLE: f64 = 0.9;

/// Bytes that calls have touched from the last one that touched `slot` up to call `at`, or `most`, if that is less, and
/// whether each task of that last call has swept all of the slot: then only its last task counts.
fn distance(program: &Program, tasks: &[Task], at: usize, slot: Slot, most: f64) -> (f64, bool) {
    let n = program.calls.len();
    let wanted = region(program, slot);
    let (mut weights, mut arena) = (0, 0);
    for back in 1..=n {
        let call = &program.calls[(at + n - back) % n];
        let task = &tasks[call.kernel];
        let is_wanted = |&s: &Slot| overlap(&region(program, s), &wanted);
        let is_last = call.args.iter().any(is_wanted);
        let is_swept = |(s, &sweeps): (&Slot, &bool)| sweeps && is_wanted(s);
        if call.args.iter().zip(&task.sweeps).any(is_swept) {
            return ((task.bytes + (weights + arena.min(program.arena_bytes)) as f64).min(most), true);
        }
        for &s in &call.args {
            let len = program.slots[s].len_bytes();
            match program.slots[s].space {
                Space::Arena { .. } => arena += len,
                _ => weights += len,
            }
        }
        // The arena is used again and again.
        let sum = (weights + arena.min(program.arena_bytes)) as f64;
        if sum > most {
            break;
        }
        if is_last {
            return (sum, false);
        }
    }
    (most, false)
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
    use ir::kernel::{KernelBuilder, Role};
    use ir::program::{Call, SlotData};

    /// A task for each element of y, which is one of w, or a sum over all of w.
    fn kernel(weights: u64, tensor: u64, sweeps: bool) -> Kernel {
        let mut k = KernelBuilder::new("k");
        let [n, m] = [tensor, weights].map(|bytes| (bytes / 4).cast_signed());
        let (x, w) = (k.param("x", DType::F32, &[n], Role::In), k.param("w", DType::F32, &[m], Role::In));
        let y = k.param("y", DType::F32, &[n], Role::Out);
        let t = k.tasks(n);
        let v = k.load(x, std::slice::from_ref(&t));
        let sum = k.for_carry(0, if sweeps { m } else { 1 }, &[v], |k, i, v| {
            let w = k.load(w, &[i]);
            vec![k.add(v[0], w)]
        });
        k.store(y, &[t], sum[0]);
        k.finish()
    }

    /// Two calls, x → t → y, each with weights of its own.
    fn program(weights: u64, tensor: u64) -> Program {
        let mut p = Program {
            name: "p".into(),
            target: "x86-64-v3".into(),
            batch: 1,
            slots: Default::default(),
            kernels: vec![kernel(weights, tensor, false)],
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
        let mut p = program(1 << 12, 1 << 10);
        let (weights, middle, first) = (p.calls[0].args[1], p.calls[1].args[0], p.calls[0].args[0]);
        let distance = |p: &Program, at: usize, slot: Slot, most: f64| {
            super::distance(p, &[Task::of(&p.kernels[0], &ZEN3)], at, slot, most)
        };
        // Written by the call before: its own bytes.
        assert_eq!(distance(&p, 1, middle, 1e9), (f64::from((1 << 12) + 2 * (1 << 10)), false));
        // Read a whole run ago: both calls' weights, and the arena once.
        assert_eq!(distance(&p, 0, first, 1e9), (f64::from(2 * (1 << 12) + 3 * (1 << 10)), false));
        assert_eq!(distance(&p, 0, first, 100.0), (100.0, false));
        // The call before has read them for its last task too, with an element of the others.
        p.kernels = vec![kernel(1 << 12, 1 << 10, true)];
        assert_eq!(distance(&p, 1, weights, 1e9), (f64::from((1 << 12) + 4 + 4), true));
        assert_eq!(distance(&p, 1, middle, 1e9), (f64::from((1 << 12) + 2 * (1 << 10)), false));
    }
}
