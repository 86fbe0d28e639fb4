//! Values of straight-line code that find no register: how often they are stored and loaded again.
//!
//! The value whose next use is farthest away makes room (Belady, "A study of replacement algorithms", 1966), which no
//! allocator does better. Values from outside and constants are loaded when they are first used.

use ir::entity::Reg;
use ir::kernel::{Expr, Stmt};
use std::collections::{HashMap, HashSet};

/// Moves between registers and the stack in one run of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spills {
    pub loads: u64,
    pub stores: u64,
}

/// Spills of `stmts` with that many registers. `held` are there when it begins and are wanted at its end as `yields`;
/// `size` gives the registers that a value takes (0 for one that needs none).
pub fn spills(stmts: &[Stmt], held: &[Reg], yields: &[Reg], registers: u64, size: &dyn Fn(Reg) -> u64) -> Spills {
    let mut uses: HashMap<Reg, Vec<usize>> = HashMap::new();
    let mut free_again: HashSet<Reg> = HashSet::new();
    for (i, s) in stmts.iter().enumerate() {
        for r in reads(s) {
            uses.entry(r).or_default().push(i);
        }
        // What can be loaded or made again need not be stored.
        if let Stmt::Let { dst, expr: Expr::Const(_) | Expr::Load { .. } } = s {
            free_again.insert(*dst);
        }
    }
    for &y in yields {
        uses.entry(y).or_default().push(stmts.len());
    }
    for u in uses.values_mut() {
        u.reverse();
    }
    let mut state = State { uses, free_again, saved: HashSet::new(), inside: Vec::new(), out: Spills::default() };
    for &r in held {
        state.insert(r, 0, registers, size);
    }
    for (i, s) in stmts.iter().enumerate() {
        let wanted = reads(s);
        for &r in &wanted {
            if !state.inside.contains(&r) && size(r) > 0 {
                state.out.loads += size(r);
                state.saved.insert(r);
                state.insert(r, i, registers, size);
            }
        }
        state.pass(i);
        if let Stmt::Let { dst, .. } = s {
            state.insert(*dst, i + 1, registers, size);
        }
    }
    state.out
}

struct State {
    /// Places of the uses that are left, the next one last.
    uses: HashMap<Reg, Vec<usize>>,
    free_again: HashSet<Reg>,
    /// Already on the stack, or in memory anyway.
    saved: HashSet<Reg>,
    inside: Vec<Reg>,
    out: Spills,
}

impl State {
    fn next(&self, r: Reg) -> usize {
        self.uses.get(&r).and_then(|u| u.last()).copied().unwrap_or(usize::MAX)
    }

    /// Statement `i` is done: what is not used again gives its register back.
    fn pass(&mut self, i: usize) {
        for u in self.uses.values_mut() {
            while u.last().is_some_and(|&at| at <= i) {
                u.pop();
            }
        }
        let uses = &self.uses;
        self.inside.retain(|r| uses.get(r).is_some_and(|u| !u.is_empty()));
    }

    fn insert(&mut self, r: Reg, at: usize, registers: u64, size: &dyn Fn(Reg) -> u64) {
        if size(r) == 0 || self.next(r) == usize::MAX || self.inside.contains(&r) {
            return;
        }
        self.inside.push(r);
        while self.inside.iter().map(|&r| size(r)).sum::<u64>() > registers {
            let farthest = self.inside.iter().copied().filter(|&o| self.next(o) != at || o != r);
            let Some(out) = farthest.max_by_key(|&o| self.next(o)) else { return };
            self.inside.retain(|&o| o != out);
            if !self.free_again.contains(&out) && self.saved.insert(out) {
                self.out.stores += size(out);
            }
            if out == r {
                return;
            }
        }
    }
}

fn reads(s: &Stmt) -> Vec<Reg> {
    match s {
        Stmt::Let { expr, .. } => match expr {
            Expr::Splat(r) | Expr::Un(_, r) | Expr::Convert(r) => vec![*r],
            Expr::Bin(_, a, b) => vec![*a, *b],
            Expr::Fma(a, b, c) => vec![*a, *b, *c],
            Expr::Select(_, args) => args.to_vec(),
            Expr::Const(_) | Expr::Index(_) | Expr::Load { .. } => vec![],
        },
        Stmt::Store { value, .. } => vec![*value],
        Stmt::For(f) => f.inits.clone(),
        Stmt::View { .. } | Stmt::Prefetch { .. } => vec![],
    }
}
