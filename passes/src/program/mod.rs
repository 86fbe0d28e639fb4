//! Program → Program passes: the order of calls, the place of every buffer, and the proof that both are right.
//!
//! Buffers are not reused in place yet: no kernel declares an `inout` parameter, so what a call writes never shares
//! memory with what it reads.

pub mod check_memory;
pub mod order_kernels;
pub mod plan_memory;

#[cfg(test)]
mod tests;

use ir::Program;
use ir::entity::Slot;
use ir::kernel::Role;
use ir::program::{Call, Space};

/// Arena buffers that a call uses, each once, and whether it writes them.
fn arena_uses(p: &Program, c: &Call) -> Vec<(Slot, bool)> {
    let k = &p.kernels[c.kernel];
    let mut uses: Vec<(Slot, bool)> = Vec::new();
    for (&slot, &param) in c.args.iter().zip(&k.params) {
        if !matches!(p.slots[slot].space, Space::Arena { .. }) {
            continue;
        }
        let writes = k.bufs[param].role != Role::In;
        match uses.iter_mut().find(|(s, _)| *s == slot) {
            Some((_, w)) => *w |= writes,
            None => uses.push((slot, writes)),
        }
    }
    uses
}
