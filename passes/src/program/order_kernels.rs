//! `order-kernels`: the order of calls with the least peak of live bytes that a greedy search finds.
//!
//! Among the calls whose operands are there, the one that adds least to what is live (results less operands read
//! for the last time) comes next; on a tie the earlier one. If the peak is not smaller for it, the given order
//! stays, which is also the one that people expect.

use super::arena_uses;
use cranelift_entity::SecondaryMap;
use ir::Program;
use ir::entity::Slot;
use ir::kernel::Role;
use std::collections::BTreeSet;

pub fn run(p: &mut Program) {
    let given: Vec<usize> = (0..p.calls.len()).collect();
    let Some(greedy) = greedy(p) else { return };
    if peak(p, &greedy) < peak(p, &given) {
        let calls = std::mem::take(&mut p.calls);
        p.calls = greedy.into_iter().map(|i| calls[i].clone()).collect();
    }
}

/// Most bytes that are live at once if calls run in this order.
pub fn peak(p: &Program, order: &[usize]) -> u64 {
    let mut left = readers(p);
    let (mut live, mut peak) = (0, 0);
    for &i in order {
        let uses = arena_uses(p, &p.calls[i]);
        live += uses.iter().filter(|(_, w)| *w).map(|(s, _)| p.slots[*s].len_bytes()).sum::<u64>();
        peak = peak.max(live);
        for (s, writes) in uses {
            left[s] -= u32::from(!writes);
            if left[s] == 0 {
                live -= p.slots[s].len_bytes();
            }
        }
    }
    peak
}

/// Number of calls that read each arena buffer.
fn readers(p: &Program) -> SecondaryMap<Slot, u32> {
    let mut left: SecondaryMap<Slot, u32> = SecondaryMap::new();
    for (s, writes) in p.calls.iter().flat_map(|c| arena_uses(p, c)) {
        left[s] += u32::from(!writes);
    }
    left
}

/// `None` if some buffer is written more than once: then only the given order is sure to be right.
fn greedy(p: &Program) -> Option<Vec<usize>> {
    let mut writer: SecondaryMap<Slot, Option<usize>> = SecondaryMap::new();
    for (i, c) in p.calls.iter().enumerate() {
        for (&s, &b) in c.args.iter().zip(&p.kernels[c.kernel].params) {
            match p.kernels[c.kernel].bufs[b].role {
                Role::In => {}
                Role::Out if writer[s].is_none() => writer[s] = Some(i),
                _ => return None,
            }
        }
    }
    let mut waits = vec![0usize; p.calls.len()];
    let mut feeds: Vec<Vec<usize>> = vec![Vec::new(); p.calls.len()];
    for (i, c) in p.calls.iter().enumerate() {
        let before: BTreeSet<usize> = c.args.iter().filter_map(|&s| writer[s]).filter(|&w| w != i).collect();
        waits[i] = before.len();
        for w in before {
            feeds[w].push(i);
        }
    }
    let uses: Vec<Vec<(Slot, bool)>> = p.calls.iter().map(|c| arena_uses(p, c)).collect();
    let mut unread: SecondaryMap<Slot, Vec<usize>> = SecondaryMap::new();
    for (i, uses) in uses.iter().enumerate() {
        uses.iter().filter(|(_, writes)| !writes).for_each(|(s, _)| unread[*s].push(i));
    }
    // What a call adds to the live bytes. It falls when the call becomes the last reader of an operand.
    let bytes = |s: Slot| p.slots[s].len_bytes().cast_signed();
    let adds =
        |s: Slot, writes: bool, readers: usize| if writes { bytes(s) } else { -bytes(s) * i64::from(readers == 1) };
    let growth = |uses: &Vec<(Slot, bool)>| uses.iter().map(|&(s, w)| adds(s, w, unread[s].len())).sum();
    let mut growth: Vec<i64> = uses.iter().map(growth).collect();
    let mut ready: BTreeSet<(i64, usize)> =
        (0..p.calls.len()).filter(|&i| waits[i] == 0).map(|i| (growth[i], i)).collect();
    let mut order = Vec::new();
    while let Some((_, next)) = ready.pop_first() {
        for &(s, _) in uses[next].iter().filter(|(_, writes)| !writes) {
            unread[s].retain(|&i| i != next);
            if let &[last] = &unread[s][..] {
                let was = (growth[last], last);
                growth[last] -= bytes(s);
                if ready.remove(&was) {
                    ready.insert((growth[last], last));
                }
            }
        }
        for &i in &feeds[next] {
            waits[i] -= 1;
            if waits[i] == 0 {
                ready.insert((growth[i], i));
            }
        }
        order.push(next);
    }
    (order.len() == p.calls.len()).then_some(order)
}
