//! Program verifier. It guarantees:
//!
//! - **P1** (E0501) Every call has one argument for each parameter of its kernel, of the same element type and number
//!   of bytes.
//! - **P2** (E0502) Inputs and constants are never written.
//! - **P3** (E0503) What a call reads was written by an earlier call, unless it is an input or a constant.
//! - **P4** (E0504) A call writes nothing that it also reads or writes through another parameter.
//! - **P5** (E0505) Arena buffers are 64-byte aligned and inside the arena, constants 64-byte aligned and inside their
//!   section.
//! - **P6** (E0506) Arena buffers are used only while they are alive, and two that overlap in memory are never alive at
//!   once.
//! - **P7** (E0507) Every output is written.
//! - **P8** (E0508) A kernel has at most 16 parameters.
//!
//! `tests/coverage.rs` reads this list: each rule has a test that breaks it.

use super::{Program, SlotData, Space};
use crate::diag::{Diagnostic, Diagnostics, Place};
use crate::entity::Slot;
use crate::kernel::Role;
use std::collections::HashSet;

/// Most parameters of a kernel: the runtime keeps their addresses in an array of that size.
pub const MAX_PARAMS: usize = 16;
/// Alignment of every buffer of ours.
const ALIGN: u64 = 64;

impl Program {
    /// Every violation of the rules above.
    pub fn verify(&self) -> Diagnostics {
        let mut problems = Diagnostics::default();
        let mut report = |code, node: &str, message: String| {
            problems.push(Diagnostic::error(code, message).at(Place::Node(node.to_string()), ""));
        };
        memory(self, &mut report);
        calls(self, &mut report);
        problems
    }
}

type Report<'a> = dyn FnMut(&'static str, &str, String) + 'a;

fn memory(p: &Program, report: &mut Report) {
    let mut arena: Vec<(u64, u64, u32, u32, &SlotData)> = Vec::new();
    for s in p.slots.values() {
        let (offset, room, what) = match s.space {
            Space::Arena { offset, first, last } => {
                if first > last || last as usize >= p.calls.len().max(1) {
                    report("E0506", &s.name, format!("alive from call {first} to {last} of {}", p.calls.len()));
                }
                arena.push((offset, offset.saturating_add(s.len_bytes()), first, last, s));
                (offset, p.arena_bytes, "arena")
            }
            Space::Const { offset } => (offset, p.const_bytes, "constants"),
            Space::Input(_) | Space::Output(_) => continue,
        };
        if offset % ALIGN != 0 || offset.checked_add(s.len_bytes()).is_none_or(|end| end > room) {
            let len = s.len_bytes();
            report(
                "E0505",
                &s.name,
                format!("{len} bytes at {offset} do not lie aligned in the {room} bytes of the {what}"),
            );
        }
    }
    // By start: only buffers that begin before this one ends can overlap it.
    arena.sort_by_key(|a| a.0);
    for (i, a) in arena.iter().enumerate() {
        for b in arena[i + 1..].iter().take_while(|b| b.0 < a.1) {
            if a.2 <= b.3 && b.2 <= a.3 {
                report("E0506", &a.4.name, format!("shares memory with %{} while both are alive", b.4.name));
            }
        }
    }
}

fn calls(p: &Program, report: &mut Report) {
    let mut written: HashSet<Slot> = HashSet::new();
    for (at, c) in p.calls.iter().enumerate() {
        let Some(k) = p.kernels.get(c.kernel) else {
            report("E0501", &c.node, "the call has no kernel".into());
            continue;
        };
        if k.params.len() != c.args.len() {
            report(
                "E0501",
                &c.node,
                format!("{} arguments for {} parameters of @{}", c.args.len(), k.params.len(), k.name),
            );
            continue;
        }
        if k.params.len() > MAX_PARAMS {
            report(
                "E0508",
                &c.node,
                format!("@{} has {} parameters; {MAX_PARAMS} are possible", k.name, k.params.len()),
            );
        }
        for (i, (&arg, &param)) in c.args.iter().zip(&k.params).enumerate() {
            let (s, d) = (&p.slots[arg], &k.bufs[param]);
            if s.dtype != d.dtype || s.len_bytes() != d.len_bytes() {
                let (got, want) = (s.len_bytes(), d.len_bytes());
                report(
                    "E0501",
                    &c.node,
                    format!(
                        "argument {i} has {got} bytes of {}, %{} of @{} {want} of {}",
                        s.dtype, d.name, k.name, d.dtype
                    ),
                );
            }
            let now = u32::try_from(at).unwrap_or(u32::MAX);
            if let Space::Arena { first, last, .. } = s.space
                && !(first..=last).contains(&now)
            {
                report(
                    "E0506",
                    &c.node,
                    format!("call {at} uses %{}, which is alive in calls {first} to {last}", s.name),
                );
            }
            let fixed = matches!(s.space, Space::Input(_) | Space::Const { .. });
            if d.role != Role::In && fixed {
                report("E0502", &c.node, format!("call {at} writes %{}", s.name));
            }
            if d.role != Role::Out && !fixed && !written.contains(&arg) {
                report("E0503", &c.node, format!("call {at} reads %{}, which nothing has written", s.name));
            }
            let again = c.args.iter().zip(&k.params).enumerate().any(|(j, (&other, _))| j != i && other == arg);
            if d.role != Role::In && again {
                report("E0504", &c.node, format!("call {at} writes %{} and uses it a second time", s.name));
            }
        }
        let outs = c.args.iter().zip(&k.params).filter(|(_, b)| k.bufs[**b].role != Role::In);
        written.extend(outs.map(|(&a, _)| a));
    }
    for (s, d) in p.slots.iter() {
        if matches!(d.space, Space::Output(_)) && !written.contains(&s) {
            report("E0507", &d.name, format!("output %{} is never written", d.name));
        }
    }
}
