//! Affine indices and addresses as Cranelift values.
//!
//! An address is `base + variable part`, and the constant part goes into the offset of the load or store. Sums are
//! built from the outermost variable inwards and remembered for the block they were computed in, so accesses that
//! differ by a constant share one register; [`Addresses::enter`] opens a block, and [`Addresses::address`] with
//! `outer_only` computes ahead of a loop what its body will start from.

use cranelift::prelude::*;
use ir::entity::Var;
use ir::kernel::{Affine, Term};
use std::collections::HashMap;

/// Where a buffer starts: `base + offset` bytes.
#[derive(Clone, Copy)]
pub struct Place {
    pub base: Value,
    pub offset: i64,
}

/// What is already computed, block by block, outermost first.
#[derive(Default)]
pub struct Addresses {
    blocks: Vec<Known>,
    /// Value of each loop variable in scope, and the number of blocks that were open when it was defined.
    vars: HashMap<Var, (Value, usize)>,
}

#[derive(Default)]
struct Known {
    sums: HashMap<(Value, Affine), Value>,
    terms: HashMap<Term, Value>,
}

impl Addresses {
    /// Opens the block of a loop over `var`, whose value is `value` there.
    pub fn enter(&mut self, var: Var, value: Value) {
        self.blocks.push(Known::default());
        self.vars.insert(var, (value, self.blocks.len()));
    }

    pub fn leave(&mut self, var: Var) {
        self.blocks.pop();
        self.vars.remove(&var);
    }

    /// `Σ strideᵢ·atᵢ` in bytes.
    pub fn bytes(at: &[Affine], strides: &[i64], element: i64) -> Affine {
        at.iter().zip(strides).fold(Affine::constant(0), |sum, (a, &s)| sum + a * (s * element))
    }

    /// `base + the variable part of bytes`. With `outer_only`, only of the terms that are known here already, for
    /// use inside the loop that is about to be opened.
    pub fn address(&mut self, b: &mut FunctionBuilder, base: Value, bytes: &Affine, outer_only: bool) -> Value {
        let mut terms: Vec<(usize, i64, &Term)> = Vec::new();
        for (c, t) in bytes.terms() {
            match self.depth(t) {
                Some(depth) => terms.push((depth, *c, t)),
                None => assert!(outer_only, "invariant: an index uses variables of open loops"),
            }
        }
        terms.sort_by_key(|&(depth, _, _)| depth); // stable: terms of one depth keep their order
        let (mut sum, mut value) = (Affine::constant(0), base);
        for (_, c, t) in terms {
            sum = sum + single(t) * c;
            value = match self.known_sum(base, &sum) {
                Some(v) => v,
                None => {
                    let scaled = self.scaled(b, c, t);
                    let v = b.ins().iadd(value, scaled);
                    self.here().sums.insert((base, sum.clone()), v);
                    v
                }
            };
        }
        value
    }

    /// Value of an affine form.
    pub fn value(&mut self, b: &mut FunctionBuilder, a: &Affine) -> Value {
        let mut sum: Option<Value> = None;
        for (c, t) in a.terms() {
            let v = self.scaled(b, *c, t);
            sum = Some(match sum {
                Some(s) => b.ins().iadd(s, v),
                None => v,
            });
        }
        match (sum, a.offset()) {
            (Some(s), 0) => s,
            (Some(s), c) => b.ins().iadd_imm_s(s, c),
            (None, c) => b.ins().iconst(types::I64, c),
        }
    }

    fn here(&mut self) -> &mut Known {
        self.blocks.last_mut().expect("invariant: the task loop is open")
    }

    fn known_sum(&self, base: Value, sum: &Affine) -> Option<Value> {
        // The key owns its form; one clone a lookup is cheaper than a second index.
        let key = (base, sum.clone());
        self.blocks.iter().rev().find_map(|k| k.sums.get(&key).copied())
    }

    /// Open blocks at the definition of the term's innermost variable; `None` if one is not defined yet.
    fn depth(&self, t: &Term) -> Option<usize> {
        let mut depth = Some(0);
        single(t).for_each_var(&mut |v| {
            depth = depth.and_then(|d| self.vars.get(&v).map(|&(_, e)| d.max(e)));
        });
        depth
    }

    fn scaled(&mut self, b: &mut FunctionBuilder, c: i64, t: &Term) -> Value {
        let v = self.term(b, t);
        match c {
            1 => v,
            c if c > 0 && c.count_ones() == 1 => b.ins().ishl_imm_u(v, i64::from(c.trailing_zeros())),
            c => b.ins().imul_imm_s(v, c),
        }
    }

    fn term(&mut self, b: &mut FunctionBuilder, t: &Term) -> Value {
        if let Term::Var(v) = t {
            return self.vars[v].0;
        }
        if let Some(v) = self.blocks.iter().rev().find_map(|k| k.terms.get(t).copied()) {
            return v;
        }
        let value = match t {
            Term::Var(_) => unreachable!("invariant: variables are handled above"),
            Term::FloorDiv(e, k) => {
                let n = self.value(b, e);
                floor_div(b, n, *k)
            }
            Term::Mod(e, k) if k.count_ones() == 1 => {
                let n = self.value(b, e);
                b.ins().band_imm_s(n, k - 1)
            }
            Term::Mod(e, k) => {
                let n = self.value(b, e);
                let q = self.term(b, &Term::FloorDiv(e.clone(), *k));
                let whole = b.ins().imul_imm_s(q, *k);
                b.ins().isub(n, whole)
            }
        };
        self.here().terms.insert(t.clone(), value);
        value
    }
}

fn single(t: &Term) -> Affine {
    match t {
        Term::Var(v) => Affine::var(*v),
        Term::FloorDiv(e, k) => e.floordiv(*k),
        Term::Mod(e, k) => e.modulo(*k),
    }
}

/// ⌊n / k⌋, k > 0.
fn floor_div(b: &mut FunctionBuilder, n: Value, k: i64) -> Value {
    if k.count_ones() == 1 {
        return b.ins().sshr_imm_u(n, i64::from(k.trailing_zeros()));
    }
    // Division truncates; a negative remainder (sign bit −1) says that it rounded up.
    let q = b.ins().sdiv_imm_s(n, k);
    let whole = b.ins().imul_imm_s(q, k);
    let rest = b.ins().isub(n, whole);
    let sign = b.ins().sshr_imm_u(rest, 63);
    b.ins().iadd(q, sign)
}
