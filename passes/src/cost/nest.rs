//! A kernel as nested blocks with what each holds and how often it runs: everything that the estimate knows of it.
//!
//! Trip counts are exact: bounds are affine, so a loop whose variable no inner bound mentions is multiplied, others
//! are enumerated. Kernels with very many tasks are enumerated in part (see [`MOST_STEPS`]).

use super::registers::{Spills, spills};
use ir::entity::{Buf, Reg, Var};
use ir::kernel::{Affine, BinOp, Expr, For, Kernel, Stmt, UnOp};
use std::collections::{HashMap, HashSet};

/// Loop iterations that one kernel's counts may take; beyond that only evenly spread tasks are counted.
const MOST_STEPS: u64 = 4_000_000;

/// Instructions of straight-line code, in vectors of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ops {
    /// Multiply-adds and products.
    pub fmas: u64,
    /// Additions, subtractions, maxima, negations.
    pub adds: u64,
    /// Divisions and roots.
    pub divs: u64,
    pub exps: u64,
    /// Moves of a register's lane to all lanes, conversions, indices as numbers.
    pub moves: u64,
    /// Loads of vectors and of scalars that stay scalar.
    pub loads: u64,
    /// Loads of one element into all lanes.
    pub broadcasts: u64,
    pub stores: u64,
    pub prefetches: u64,
}

/// Where a block reads or writes, views resolved.
#[derive(Clone, Debug)]
pub struct Access {
    pub buf: Buf,
    pub at: Vec<Affine>,
    pub lanes: i64,
    pub is_store: bool,
}

/// The statements between two braces.
#[derive(Clone, Debug, Default)]
pub struct Block {
    pub ops: Ops,
    pub accesses: Vec<Access>,
    pub loops: Vec<Loop>,
    /// Cycles from a value that a loop carries to the next one, along the longest chain.
    pub chain: u64,
    /// The values that it carries come from a loop around that carries them too.
    pub continues: bool,
    /// Vectors that the loop around carries.
    pub carried: u64,
    /// Values that find no register in one run; counted only where no loop is inside.
    pub spills: Spills,
    /// How often it runs, for all tasks.
    pub runs: u64,
    /// Variables that bounds of inner loops mention.
    pub(super) mentions: HashSet<Var>,
}

#[derive(Clone, Debug)]
pub struct Loop {
    pub var: Var,
    pub(super) lo: Vec<Affine>,
    hi: Vec<Affine>,
    pub step: i64,
    /// How often it is reached, for all tasks.
    pub entries: u64,
    pub body: Block,
}

/// Latencies in cycles, for the chains that loops carry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latencies {
    pub fma: u64,
    pub add: u64,
    pub div: u64,
}

/// What counting depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Core {
    /// Bytes of a vector register.
    pub vector_bytes: u64,
    /// Vector registers.
    pub registers: u64,
    pub latencies: Latencies,
}

impl Block {
    /// The body of `kernel` on such a core.
    pub fn of(kernel: &Kernel, core: Core) -> Block {
        let mut builder = Builder { kernel, core, views: HashMap::new(), splatted: splatted(&kernel.body) };
        let mut body = builder.block(&kernel.body, &[], &[]);
        let mut env = HashMap::new();
        let is_uneven = body.mentions.contains(&kernel.task_var);
        let tasks = kernel.tasks.max(0).cast_unsigned();
        if !is_uneven {
            env.insert(kernel.task_var, 0);
            body.count(tasks, &mut env, &mut 0);
            return body;
        }
        let mut steps = 0;
        env.insert(kernel.task_var, 0);
        body.clone().count(1, &mut env, &mut steps);
        // An odd stride meets tasks of either parity.
        let stride = (steps * tasks / MOST_STEPS + 1) | 1;
        let counted: Vec<u64> = (0..tasks).step_by(stride as usize).collect();
        for (i, &t) in counted.iter().enumerate() {
            let next = counted.get(i + 1).copied().unwrap_or(tasks);
            env.insert(kernel.task_var, t.cast_signed());
            body.count(next - t, &mut env, &mut 0);
        }
        body
    }

    /// Adds `times` runs with the variables around as `env` has them.
    fn count(&mut self, times: u64, env: &mut HashMap<Var, i64>, steps: &mut u64) {
        self.runs += times;
        for l in &mut self.loops {
            *steps += 1;
            l.entries += times;
            let value = |a: &Affine| a.eval(&|v| env.get(&v).copied().unwrap_or(0));
            let lo = l.lo.iter().map(value).max().unwrap_or(0);
            let hi = l.hi.iter().map(value).min().unwrap_or(0);
            let trips = ((hi - lo).max(0) as u64).div_ceil(l.step.max(1).cast_unsigned());
            if trips == 0 {
                continue;
            }
            if l.body.mentions.contains(&l.var) {
                for i in 0..trips.cast_signed() {
                    env.insert(l.var, lo + i * l.step);
                    l.body.count(times, env, steps);
                }
            } else {
                env.insert(l.var, lo);
                l.body.count(times * trips, env, steps);
            }
        }
    }

    /// Sum over this block and all inside it, by how often each runs.
    pub fn total(&self) -> Ops {
        let own = self.ops.times(self.runs);
        self.loops.iter().fold(own, |sum, l| sum.plus(l.body.total()))
    }
}

impl Loop {
    /// Mean number of iterations.
    pub fn trips(&self) -> f64 {
        if self.entries == 0 { 0.0 } else { self.body.runs as f64 / self.entries as f64 }
    }
}

impl Ops {
    fn map2(self, o: Ops, f: impl Fn(u64, u64) -> u64) -> Ops {
        Ops {
            fmas: f(self.fmas, o.fmas),
            adds: f(self.adds, o.adds),
            divs: f(self.divs, o.divs),
            exps: f(self.exps, o.exps),
            moves: f(self.moves, o.moves),
            loads: f(self.loads, o.loads),
            broadcasts: f(self.broadcasts, o.broadcasts),
            stores: f(self.stores, o.stores),
            prefetches: f(self.prefetches, o.prefetches),
        }
    }

    pub fn times(self, n: u64) -> Ops {
        self.map2(Ops::default(), |a, _| a.saturating_mul(n))
    }

    pub fn plus(self, o: Ops) -> Ops {
        self.map2(o, u64::saturating_add)
    }
}

/// Scalars that are only loaded to stand in every lane: their load and splat are one instruction.
fn splatted(body: &[Stmt]) -> HashSet<Reg> {
    fn walk(stmts: &[Stmt], out: &mut HashSet<Reg>) {
        for s in stmts {
            match s {
                Stmt::Let { expr: Expr::Splat(r), .. } => {
                    out.insert(*r);
                }
                Stmt::For(f) => walk(&f.body, out),
                _ => {}
            }
        }
    }
    let mut out = HashSet::new();
    walk(body, &mut out);
    out
}

struct Builder<'a> {
    kernel: &'a Kernel,
    core: Core,
    /// The buffer at the end of a chain of views, and where the view begins there.
    views: HashMap<Buf, (Buf, Vec<Affine>)>,
    splatted: HashSet<Reg>,
}

impl Builder<'_> {
    fn block(&mut self, stmts: &[Stmt], params: &[Reg], yields: &[Reg]) -> Block {
        let mut b = Block::default();
        // Cycles since a carried value, for registers that depend on one.
        let mut since: HashMap<Reg, u64> = params.iter().map(|&p| (p, 0)).collect();
        let mut loaded: HashSet<Reg> = HashSet::new();
        for s in stmts {
            match s {
                Stmt::Let { dst, expr } => self.let_(&mut b, *dst, expr, &mut since, &mut loaded),
                Stmt::Store { buf, at, value } => {
                    b.ops.stores += self.vectors(*value);
                    b.accesses.push(self.access(*buf, at, self.kernel.regs[*value].lanes, true));
                }
                Stmt::View { view, of, at, .. } => {
                    let (root, base) = self.resolve(*of, at);
                    self.views.insert(*view, (root, base));
                }
                Stmt::Prefetch { .. } => b.ops.prefetches += 1,
                Stmt::For(f) => {
                    let mut inner = self.loop_(f);
                    inner.body.continues = f.inits.iter().any(|i| since.contains_key(i));
                    b.mentions.extend(inner.body.mentions.iter().copied());
                    for bound in f.lo.iter().chain(&f.hi) {
                        bound.for_each_var(&mut |v| {
                            b.mentions.insert(v);
                        });
                    }
                    // What comes out of the loop depends on what went in; its own chain is counted inside.
                    for (init, result) in f.inits.iter().zip(&f.results) {
                        if let Some(&t) = since.get(init) {
                            since.insert(*result, t);
                        }
                    }
                    b.loops.push(inner);
                }
            }
        }
        b.chain = yields.iter().filter_map(|y| since.get(y)).copied().max().unwrap_or(0);
        b.carried = params.iter().map(|&p| self.vectors(p)).sum();
        if b.loops.is_empty() {
            // A scalar that is loaded into every lane has no register of its own.
            let size = |r: Reg| if self.splatted.contains(&r) { 0 } else { self.vectors(r) };
            b.spills = spills(stmts, params, yields, self.core.registers, &size);
        }
        b
    }

    fn loop_(&mut self, f: &For) -> Loop {
        let body = self.block(&f.body, &f.params, &f.yields);
        Loop { var: f.var, lo: f.lo.clone(), hi: f.hi.clone(), step: f.step, entries: 0, body }
    }

    fn let_(&mut self, b: &mut Block, dst: Reg, expr: &Expr, since: &mut HashMap<Reg, u64>, loaded: &mut HashSet<Reg>) {
        let n = self.vectors(dst);
        let l = self.core.latencies;
        let (reads, latency): (Vec<Reg>, u64) = match expr {
            Expr::Const(_) => return,
            Expr::Index(_) => {
                b.ops.moves += 1;
                return;
            }
            Expr::Load { buf, at } => {
                b.accesses.push(self.access(*buf, at, self.kernel.regs[dst].lanes, false));
                if self.splatted.contains(&dst) {
                    b.ops.broadcasts += 1;
                    loaded.insert(dst);
                } else {
                    b.ops.loads += n;
                }
                return;
            }
            Expr::Splat(r) => {
                if !loaded.contains(r) {
                    b.ops.moves += n;
                }
                (vec![*r], 1)
            }
            Expr::Convert(r) => {
                b.ops.moves += n;
                (vec![*r], l.add)
            }
            Expr::Un(UnOp::Sqrt, r) => {
                b.ops.divs += n;
                (vec![*r], l.div)
            }
            Expr::Un(UnOp::Exp, r) => {
                b.ops.exps += n;
                (vec![*r], 12 * l.fma)
            }
            // An expansion of the same kind with a quotient in it.
            Expr::Un(UnOp::Log, r) => {
                b.ops.exps += n;
                b.ops.divs += n;
                (vec![*r], 12 * l.fma + l.div)
            }
            Expr::Un(UnOp::Neg, r) => {
                b.ops.adds += n;
                (vec![*r], 1)
            }
            Expr::Bin(op, x, y) => {
                let latency = match op {
                    BinOp::Div => l.div,
                    BinOp::Mul | BinOp::Add | BinOp::Sub => l.add,
                    BinOp::Max | BinOp::Min => 1,
                    // A maximum, a comparison and a blend for NaN.
                    BinOp::MaxNan => 3,
                };
                match op {
                    BinOp::Div => b.ops.divs += n,
                    BinOp::Mul => b.ops.fmas += n,
                    BinOp::MaxNan => b.ops.adds += 3 * n,
                    _ => b.ops.adds += n,
                }
                (vec![*x, *y], latency)
            }
            Expr::Fma(x, y, z) => {
                b.ops.fmas += n;
                (vec![*x, *y, *z], l.fma)
            }
            // A comparison and a blend.
            Expr::Select(_, args) => {
                b.ops.adds += 2 * n;
                (args.to_vec(), l.add + 1)
            }
        };
        if let Some(t) = reads.iter().filter_map(|r| since.get(r)).max() {
            since.insert(dst, t + latency);
        }
    }

    /// Registers of the machine that hold one of the kernel.
    fn vectors(&self, r: Reg) -> u64 {
        let ty = self.kernel.regs[r];
        (u64::from(ty.lanes) * ty.dtype.bytes()).div_ceil(self.core.vector_bytes)
    }

    fn resolve(&self, buf: Buf, at: &[Affine]) -> (Buf, Vec<Affine>) {
        match self.views.get(&buf) {
            Some((root, base)) => (*root, base.iter().zip(at).map(|(b, a)| b + a).collect()),
            None => (buf, at.to_vec()),
        }
    }

    fn access(&self, buf: Buf, at: &[Affine], lanes: u32, is_store: bool) -> Access {
        let (buf, at) = self.resolve(buf, at);
        Access { buf, at, lanes: i64::from(lanes), is_store }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
