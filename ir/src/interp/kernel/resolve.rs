//! A kernel with names resolved to positions, so that running it is only arithmetic.
//!
//! Every variable has a slot; so has every distinct floor division and modulo, recomputed when the innermost
//! variable that it depends on changes. An index form is then a plain sum over slots.

use super::arith::{Fun, function};
use crate::entity::{Buf, Reg, Var};
use crate::kernel::{Affine, Expr, Kernel, Stmt, Term, Test};
use crate::types::DType;
use cranelift_entity::{EntityRef, SecondaryMap};
use std::collections::HashMap;
use std::ops::Range;

/// Lanes of a register in the register file.
pub type Lanes = Range<usize>;

/// constant + Σ coefficient · slot
#[derive(Clone)]
pub struct Form {
    pub terms: Vec<(i64, usize)>,
    pub constant: i64,
}

pub struct Access {
    pub buf: Buf,
    pub at: Vec<Form>,
    pub lanes: u32,
}

/// `slots[slot] = of / by` or `of mod by`
#[derive(Clone)]
pub struct Derived {
    pub slot: usize,
    pub of: Form,
    pub by: i64,
    pub modulo: bool,
}

pub enum Code {
    Const {
        dst: Lanes,
        value: f64,
    },
    Index {
        dst: usize,
        dtype: DType,
        at: Form,
    },
    Load {
        dst: Lanes,
        from: Access,
    },
    Splat {
        dst: Lanes,
        a: usize,
    },
    /// As [`Expr::Select`] in every lane; `args` are the first lanes of the operands.
    Select {
        test: Test,
        dst: Lanes,
        args: [usize; 4],
    },
    /// `f` in every lane; `args` are the first lanes of the operands, repeated where there are fewer than three.
    Compute {
        f: Fun,
        dst: Lanes,
        args: [usize; 3],
    },
    Store {
        value: Lanes,
        to: Access,
    },
    View {
        view: Buf,
        of: Buf,
        at: Vec<Form>,
    },
    For(Box<Loop>),
}

pub struct Loop {
    pub var: Var,
    pub lo: Vec<Form>,
    pub hi: Vec<Form>,
    pub step: i64,
    pub params: Vec<Lanes>,
    pub inits: Vec<Lanes>,
    pub body: Vec<Code>,
    pub yields: Vec<Lanes>,
    pub results: Vec<Lanes>,
}

pub struct Resolved {
    pub body: Vec<Code>,
    /// Length of the slot vector.
    pub slots: usize,
    /// Length of the register file.
    pub lanes: usize,
    /// What to recompute when a variable changes, in order.
    pub derived: SecondaryMap<Var, Vec<Derived>>,
}

impl Resolved {
    pub fn new(k: &Kernel) -> Resolved {
        let mut lanes = 0;
        let mut regs = SecondaryMap::with_default(0..0);
        for (r, ty) in k.regs.iter() {
            regs[r] = lanes..lanes + ty.lanes as usize;
            lanes += ty.lanes as usize;
        }
        let mut r = Resolver {
            k,
            regs,
            depth: SecondaryMap::new(),
            slots: k.vars.len(),
            known: HashMap::new(),
            derived: SecondaryMap::new(),
        };
        let body = r.block(&k.body, 1);
        Resolved { body, slots: r.slots, lanes, derived: r.derived }
    }
}

struct Resolver<'a> {
    k: &'a Kernel,
    regs: SecondaryMap<Reg, Lanes>,
    /// How many loops are around a variable's loop; 0 for the task.
    depth: SecondaryMap<Var, u32>,
    slots: usize,
    known: HashMap<Term, usize>,
    derived: SecondaryMap<Var, Vec<Derived>>,
}

impl Resolver<'_> {
    fn form(&mut self, a: &Affine) -> Form {
        let terms = a.terms().iter().map(|(c, t)| (*c, self.slot(t))).collect();
        Form { terms, constant: a.offset() }
    }

    fn slot(&mut self, t: &Term) -> usize {
        let (inner, by, modulo) = match t {
            Term::Var(v) => return v.index(),
            Term::FloorDiv(e, k) => (e, *k, false),
            Term::Mod(e, k) => (e, *k, true),
        };
        if let Some(&slot) = self.known.get(t) {
            return slot;
        }
        let of = self.form(inner); // terms inside come first in the order of recomputation
        let slot = self.slots;
        self.slots += 1;
        self.known.insert(t.clone(), slot);
        let mut innermost = self.k.task_var;
        inner.for_each_var(&mut |v| {
            if self.depth[v] > self.depth[innermost] {
                innermost = v;
            }
        });
        self.derived[innermost].push(Derived { slot, of, by, modulo });
        slot
    }

    fn forms(&mut self, at: &[Affine]) -> Vec<Form> {
        at.iter().map(|a| self.form(a)).collect()
    }

    fn access(&mut self, buf: Buf, at: &[Affine], value: Reg) -> Access {
        Access { buf, at: self.forms(at), lanes: self.k.regs[value].lanes }
    }

    fn lanes(&self, regs: &[Reg]) -> Vec<Lanes> {
        regs.iter().map(|&r| self.regs[r].clone()).collect()
    }

    fn block(&mut self, stmts: &[Stmt], depth: u32) -> Vec<Code> {
        stmts.iter().filter_map(|s| self.stmt(s, depth)).collect()
    }

    fn stmt(&mut self, s: &Stmt, depth: u32) -> Option<Code> {
        Some(match s {
            Stmt::Let { dst, expr } => self.let_(*dst, expr),
            Stmt::Store { buf, at, value } => {
                Code::Store { value: self.regs[*value].clone(), to: self.access(*buf, at, *value) }
            }
            Stmt::View { view, of, at, .. } => Code::View { view: *view, of: *of, at: self.forms(at) },
            Stmt::Prefetch { .. } => return None,
            Stmt::For(f) => {
                let (lo, hi) = (self.forms(&f.lo), self.forms(&f.hi));
                self.depth[f.var] = depth;
                Code::For(Box::new(Loop {
                    var: f.var,
                    lo,
                    hi,
                    step: f.step,
                    params: self.lanes(&f.params),
                    inits: self.lanes(&f.inits),
                    body: self.block(&f.body, depth + 1),
                    yields: self.lanes(&f.yields),
                    results: self.lanes(&f.results),
                }))
            }
        })
    }

    fn let_(&mut self, dst: Reg, expr: &Expr) -> Code {
        let ty = self.k.regs[dst];
        let lanes = self.regs[dst].clone();
        let start = |r: &Reg| self.regs[*r].start;
        match expr {
            Expr::Const(c) => Code::Const { dst: lanes, value: super::super::elements::to(ty.dtype, *c) },
            Expr::Index(a) => Code::Index { dst: lanes.start, dtype: ty.dtype, at: self.form(a) },
            Expr::Load { buf, at } => Code::Load { dst: lanes, from: self.access(*buf, at, dst) },
            Expr::Splat(a) => Code::Splat { dst: lanes, a: start(a) },
            Expr::Un(_, a) => Code::Compute { f: function(expr, ty.dtype, ty.dtype), dst: lanes, args: [start(a); 3] },
            Expr::Bin(_, a, b) => {
                let args = [start(a), start(b), start(b)];
                Code::Compute { f: function(expr, ty.dtype, ty.dtype), dst: lanes, args }
            }
            Expr::Fma(a, b, c) => {
                let args = [start(a), start(b), start(c)];
                Code::Compute { f: function(expr, ty.dtype, ty.dtype), dst: lanes, args }
            }
            Expr::Select(test, args) => Code::Select { test: *test, dst: lanes, args: args.map(|r| start(&r)) },
            Expr::Convert(a) => {
                let f = function(expr, self.k.regs[*a].dtype, ty.dtype);
                Code::Compute { f, dst: lanes, args: [start(a); 3] }
            }
        }
    }
}
