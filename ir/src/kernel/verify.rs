//! Rejects kernels that are malformed or whose accesses cannot be proven safe.
//!
//! Structure (`structure.rs`):
//! - **K1** (E0601) Declarations: dimensions, tasks and lanes are within their limits; the parameters are exactly
//!   the `in`, `out` and `inout` buffers, in order of declaration; a view is declared like the buffer it looks at.
//! - **K2** (E0602) A register is defined once, before its uses, and used only in the block that defines it or
//!   inside it.
//! - **K3** (E0603) Types agree; `div`, `sqrt`, `exp`, `maxnan` and `fma` are for floats.
//! - **K4** (E0604) Loops: each variable belongs to one loop and is used only inside; steps are positive; carried
//!   values, yields and results correspond.
//! - **K5** (E0605) Accesses: one index per dimension; vectors lie along the last one; views are declared before
//!   use; nothing is stored to an `in` parameter.
//!
//! Proofs, for every value that the variables can take. What cannot be proven is rejected, so a rejected kernel
//! may be right, but an accepted one is never wrong. What takes too many steps is not proven (E0606):
//! - **K6** (E0606) Every load and store lies inside its buffer in each dimension, also through views (`ranges.rs`);
//!   no index and no loop bound overflows.
//! - **K7** (E0607) An element of scratch or of an `out` parameter is read only after the same task has written it
//!   (`written.rs`).
//! - **K8** (E0608) Different tasks never write the same element, and none reads an element of an `inout` parameter
//!   that another writes (`disjoint.rs`).
//!
//! The interpreter checks K6 to K8 at run time; random kernels are run through both (`tests.rs`).
//! `tests/coverage.rs` reads this list: each rule has a test that breaks it.

mod disjoint;
mod ranges;
pub mod structure;
mod written;

#[cfg(test)]
mod tests;

use super::{Affine, Expr, For, Kernel, Role, Stmt};
use crate::diag::{Diagnostic, Diagnostics};
use crate::entity::{Buf, Reg, Var};
use cranelift_entity::{EntityRef, SecondaryMap};
use disjoint::Accesses;
use ranges::{MOST_STEPS, Range, Ranges};
use written::Written;

impl Kernel {
    /// Checks every rule of the [module doc](self). The proofs are tried only for kernels that are well formed.
    pub fn verify(&self) -> Diagnostics {
        let mut out = structure::check(self);
        if !out.has_errors() {
            let mut p = Prover {
                k: self,
                ranges: Ranges::new(self),
                written: Written::new(self),
                shared: Accesses::default(),
                views: SecondaryMap::with_default((Buf::new(0), Vec::new())),
                loops: vec![self.task_var],
                out: Diagnostics::default(),
            };
            p.run();
            out = p.out;
        }
        out
    }
}

/// Errors after which a kernel is given up: unrolled code repeats itself.
const MAX_ERRORS: usize = 20;

struct Prover<'a> {
    k: &'a Kernel,
    ranges: Ranges,
    written: Written,
    /// Accesses to what tasks share, for K8.
    shared: Accesses,
    /// The buffer at the end of a chain of views, and where the view begins there.
    views: SecondaryMap<Buf, (Buf, Vec<Affine>)>,
    /// The task's variable and those of the open loops, outermost first.
    loops: Vec<Var>,
    out: Diagnostics,
}

impl Prover<'_> {
    fn run(&mut self) {
        for (buf, decl) in self.k.bufs.iter().filter(|(_, d)| d.role != Role::View) {
            self.views[buf] = (buf, vec![Affine::default(); decl.shape.len()]);
        }
        self.block(&self.k.body);
        if !self.out.has_errors() {
            for message in self.shared.check(self.k, &mut self.ranges) {
                self.error("E0608", message);
            }
        }
        if self.ranges.is_exhausted() {
            // Whatever else was said may be for want of steps.
            self.out = Diagnostics::default();
            self.loops.clear();
            self.error("E0606", format!("its accesses are not proven within {MOST_STEPS} steps"));
        }
    }

    fn error(&mut self, code: &'static str, message: String) {
        let message = format!("kernel @{}: {message}", self.k.name);
        if self.out.0.iter().any(|d| d.message == message) {
            return;
        }
        let mut d = Diagnostic::error(code, message);
        for &v in &self.loops {
            let r = self.ranges.range(&v.into());
            d = d.note(format!("%{} runs from {} to {}", self.k.vars[v], r.lo, r.hi));
        }
        self.out.push(d);
    }

    fn block(&mut self, stmts: &[Stmt]) {
        for s in stmts {
            if self.out.0.len() >= MAX_ERRORS || self.ranges.is_exhausted() {
                return;
            }
            match s {
                Stmt::Let { dst, expr: Expr::Load { buf, at } } => self.load(*buf, at, *dst),
                Stmt::Let { expr: Expr::Index(at), .. } => self.small(at, "an index"),
                Stmt::Let { .. } => {}
                Stmt::Store { buf, at, value } => self.store(*buf, at, *value),
                Stmt::View { view, of, at, .. } => {
                    let at = self.composed(*of, at);
                    self.views[*view] = (self.views[*of].0, at);
                }
                Stmt::Prefetch { buf, at } => {
                    for at in &self.composed(*buf, at) {
                        self.small(at, "an index");
                    }
                }
                Stmt::For(f) => self.for_(f),
            }
        }
    }

    fn for_(&mut self, f: &For) {
        for bound in f.lo.iter().chain(&f.hi) {
            self.small(bound, "a loop bound");
        }
        if self.ranges.never_runs(f) {
            return;
        }
        let runs = self.ranges.always_runs(f);
        let outer = self.written.open();
        self.ranges.open(f);
        self.loops.push(f.var);
        self.block(&f.body);
        self.loops.pop();
        let joined = self.written.close(f, runs, &mut self.ranges, outer);
        self.ranges.close();
        for (buf, cuboid) in joined {
            self.written.insert(buf, cuboid, &mut self.ranges);
        }
    }

    /// The index in the buffer at the end of the chain of views.
    fn composed(&self, buf: Buf, at: &[Affine]) -> Vec<Affine> {
        self.views[buf].1.iter().zip(at).map(|(base, a)| base + a).collect()
    }

    /// Values that compiled code computes but does not access memory with need only not overflow.
    fn small(&mut self, e: &Affine, what: &str) {
        const LARGEST: i64 = 1 << 60;
        let r = self.ranges.range(e);
        if r.lo < -LARGEST || r.hi > LARGEST {
            self.error("E0606", format!("{what}, {}, may overflow", show(self.k, e)));
        }
    }

    fn load(&mut self, buf: Buf, at: &[Affine], dst: Reg) {
        let lanes = self.k.regs[dst].lanes;
        let at = self.composed(buf, at);
        let root = self.views[buf].0;
        if !self.inside("load", buf, &at, lanes) {
            return;
        }
        match self.k.bufs[root].role {
            Role::Scratch | Role::Out => {
                if !self.written.covers(root, &at, lanes, &mut self.ranges) {
                    let message = format!(
                        "{} may be read before this task has written it",
                        element(self.k, &self.k.bufs[root].name, &at, lanes)
                    );
                    self.error("E0607", message);
                }
            }
            Role::InOut => self.shared.add(root, false, &at, lanes, &mut self.ranges),
            Role::In | Role::View => {}
        }
    }

    fn store(&mut self, buf: Buf, at: &[Affine], value: Reg) {
        let lanes = self.k.regs[value].lanes;
        let at = self.composed(buf, at);
        let root = self.views[buf].0;
        if !self.inside("store", buf, &at, lanes) {
            return;
        }
        let role = self.k.bufs[root].role;
        if matches!(role, Role::Scratch | Role::Out) {
            self.written.add(root, &at, lanes, &mut self.ranges);
        }
        if matches!(role, Role::Out | Role::InOut) {
            self.shared.add(root, true, &at, lanes, &mut self.ranges);
        }
    }

    /// K6 of one access.
    fn inside(&mut self, what: &str, buf: Buf, at: &[Affine], lanes: u32) -> bool {
        let decl = &self.k.bufs[self.views[buf].0];
        let mut ok = true;
        for (d, (e, &len)) in at.iter().zip(&decl.shape).enumerate() {
            let Range { lo, hi } = self.ranges.range(e);
            let width = if d + 1 == at.len() { i64::from(lanes) } else { 1 };
            let last = hi.saturating_add(width - 1);
            let reached = match (lo < 0, last >= len) {
                (false, false) => continue,
                (true, _) => lo,
                (_, true) => last,
            };
            let reached = match reached {
                i64::MIN | i64::MAX => "cannot be bounded".into(),
                n => format!("reaches {n}"),
            };
            let form = show(self.k, e);
            let vector = if width > 1 { format!(" ({width} lanes)") } else { String::new() };
            let name = &decl.name;
            self.error(
                "E0606",
                format!("{what}: index {d} of %{name}, {form}{vector}, {reached}, its length is {len}"),
            );
            ok = false;
        }
        ok
    }
}

fn show(k: &Kernel, e: &Affine) -> String {
    e.display(&|v| format!("%{}", k.vars[v]))
}

/// `%x[%h + 1, 8*%c] (8 lanes)`, for messages.
fn element(k: &Kernel, name: &str, at: &[Affine], lanes: u32) -> String {
    let at: Vec<String> = at.iter().map(|a| show(k, a)).collect();
    let lanes = if lanes > 1 { format!(" ({lanes} lanes)") } else { String::new() };
    format!("%{name}[{}]{lanes}", at.join(", "))
}
