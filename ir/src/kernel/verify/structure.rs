//! Rules K1–K5: what can be said without knowing any range.

use crate::diag::{Diagnostic, Diagnostics};
use crate::entity::{Buf, Reg, Var};
use crate::kernel::{Affine, BinOp, Expr, For, Kernel, Role, Stmt, Term, Ty, UnOp};
use cranelift_entity::{EntityRef, SecondaryMap};

/// Limits that keep every sum in the proofs and in compiled code far from overflow.
pub const MAX_TASKS: i64 = 1 << 31;
pub const MAX_LANES: u32 = 64;
pub const MAX_BYTES: i64 = 1 << 40;
pub const MAX_COEFFICIENT: i64 = 1 << 40;

/// Where a name may be used.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Scope {
    #[default]
    Unknown,
    Visible,
    /// Its block has ended.
    Closed,
}

/// Checks K1–K5.
pub fn check(k: &Kernel) -> Diagnostics {
    let mut c = Checker {
        k,
        out: Diagnostics::default(),
        regs: SecondaryMap::new(),
        vars: SecondaryMap::new(),
        bufs: SecondaryMap::new(),
        roots: SecondaryMap::with_default(Buf::new(0)),
        opened: Vec::new(),
    };
    c.declarations();
    if c.out.has_errors() {
        return c.out;
    }
    c.vars[k.task_var] = Scope::Visible;
    c.stmts(&k.body);
    c.out
}

enum Name {
    Reg(Reg),
    Buf(Buf),
}

struct Checker<'a> {
    k: &'a Kernel,
    out: Diagnostics,
    regs: SecondaryMap<Reg, Scope>,
    vars: SecondaryMap<Var, Scope>,
    /// Views become visible by their statement, the others are from the start.
    bufs: SecondaryMap<Buf, Scope>,
    /// The buffer at the end of a chain of views.
    roots: SecondaryMap<Buf, Buf>,
    /// Names that the open blocks have defined.
    opened: Vec<Name>,
}

impl Checker<'_> {
    fn error(&mut self, code: &'static str, message: impl std::fmt::Display) {
        self.out.push(Diagnostic::error(code, format!("kernel @{}: {message}", self.k.name)));
    }

    fn declarations(&mut self) {
        let k = self.k;
        if !(1..=MAX_TASKS).contains(&k.tasks) {
            self.error("E0601", format!("{} tasks, must be 1 to {MAX_TASKS}", k.tasks));
        }
        if k.task_var.index() >= k.vars.len() {
            self.error("E0601", "the task variable is not declared");
        }
        for (reg, ty) in k.regs.iter() {
            if !(1..=MAX_LANES).contains(&ty.lanes) {
                self.error("E0601", format!("%{reg} has {} lanes, must be 1 to {MAX_LANES}", ty.lanes));
            }
        }
        for (buf, d) in k.bufs.iter() {
            let elements = d.shape.iter().try_fold(1i64, |n, &dim| {
                let n = n.checked_mul(dim)?;
                (dim >= 1 && n <= MAX_BYTES / 8).then_some(n)
            });
            if elements.is_none() {
                let message = format!("%{}: dimensions {:?} must be positive and not too large", d.name, d.shape);
                self.error("E0601", message);
            }
            self.roots[buf] = buf;
            if d.role != Role::View {
                self.bufs[buf] = Scope::Visible;
            }
        }
        let params: Vec<Buf> =
            k.bufs.iter().filter(|(_, d)| !matches!(d.role, Role::Scratch | Role::View)).map(|(b, _)| b).collect();
        if params != k.params {
            self.error("E0601", "the parameters are not the in, out and inout buffers in order of declaration");
        }
    }

    fn stmts(&mut self, stmts: &[Stmt]) {
        for s in stmts {
            match s {
                Stmt::Let { dst, expr } => {
                    self.expr(*dst, expr);
                    self.define(*dst);
                }
                Stmt::Store { buf, at, value } => {
                    let ty = self.read(*value);
                    self.access(*buf, at);
                    if let (Some(ty), Some(d)) = (ty, self.k.bufs.get(*buf)) {
                        self.same(ty, Ty { dtype: d.dtype, ..ty }, format_args!("store to %{}", d.name));
                    }
                    if self.k.bufs.get(self.roots[*buf]).is_some_and(|d| d.role == Role::In) {
                        let name = &self.k.bufs[self.roots[*buf]].name;
                        self.error("E0605", format!("store to the in parameter %{name}"));
                    }
                }
                Stmt::View { view, of, at, .. } => self.view(*view, *of, at),
                Stmt::Prefetch { buf, at } => self.access(*buf, at),
                Stmt::For(f) => self.for_(f),
            }
        }
    }

    /// Ends a block: what it defined beyond the first `outer` names goes out of scope.
    fn close(&mut self, outer: usize) {
        for name in self.opened.drain(outer..) {
            match name {
                Name::Reg(r) => self.regs[r] = Scope::Closed,
                Name::Buf(b) => self.bufs[b] = Scope::Closed,
            }
        }
    }

    fn define(&mut self, r: Reg) {
        if self.k.regs.get(r).is_none() {
            return self.error("E0602", format!("%{r} is not declared"));
        }
        if self.regs[r] != Scope::Unknown {
            self.error("E0602", format!("%{r} is defined twice"));
        }
        self.regs[r] = Scope::Visible;
        self.opened.push(Name::Reg(r));
    }

    /// Type of a register that is read here.
    fn read(&mut self, r: Reg) -> Option<Ty> {
        match self.regs[r] {
            Scope::Visible => return self.k.regs.get(r).copied(),
            Scope::Unknown => self.error("E0602", format!("%{r} is used before it is defined")),
            Scope::Closed => self.error("E0602", format!("%{r} is used outside the block that defines it")),
        }
        None
    }

    fn same(&mut self, found: Ty, expected: Ty, what: impl std::fmt::Display) {
        if found != expected {
            let show = |t: Ty| if t.lanes == 1 { t.dtype.to_string() } else { format!("{}x{}", t.dtype, t.lanes) };
            self.error("E0603", format!("{what}: expected {}, found {}", show(expected), show(found)));
        }
    }

    fn expr(&mut self, dst: Reg, expr: &Expr) {
        let Some(&ty) = self.k.regs.get(dst) else { return };
        let floats = |c: &mut Self, name: &str| {
            if !ty.dtype.is_float() {
                c.error("E0603", format!("%{dst}: {name} is for floats, not {}", ty.dtype));
            }
        };
        match expr {
            Expr::Const(_) => {}
            Expr::Index(at) => {
                self.form(at);
                self.same(ty, Ty { lanes: 1, ..ty }, format_args!("%{dst}: an index is one number"));
            }
            Expr::Load { buf, at } => {
                self.access(*buf, at);
                if let Some(d) = self.k.bufs.get(*buf) {
                    self.same(ty, Ty { dtype: d.dtype, ..ty }, format_args!("%{dst}: load from %{}", d.name));
                }
            }
            Expr::Splat(a) => {
                if let Some(a) = self.read(*a) {
                    self.same(a, Ty { lanes: 1, ..ty }, format_args!("%{dst}: splat"));
                }
            }
            Expr::Convert(a) => {
                if let Some(a) = self.read(*a) {
                    self.same(a, Ty { dtype: a.dtype, ..ty }, format_args!("%{dst}: convert"));
                }
            }
            Expr::Un(op, a) => {
                if matches!(op, UnOp::Sqrt | UnOp::Exp | UnOp::Log) {
                    floats(self, op.name());
                }
                self.operands(dst, ty, op.name(), &[*a]);
            }
            Expr::Bin(op, a, b) => {
                if matches!(op, BinOp::Div | BinOp::MaxNan) {
                    floats(self, op.name());
                }
                self.operands(dst, ty, op.name(), &[*a, *b]);
            }
            Expr::Fma(a, b, c) => {
                floats(self, "fma");
                self.operands(dst, ty, "fma", &[*a, *b, *c]);
            }
            Expr::Select(test, args) => self.operands(dst, ty, test.name(), args),
        }
    }

    fn operands(&mut self, dst: Reg, ty: Ty, name: &str, operands: &[Reg]) {
        for &r in operands {
            if let Some(found) = self.read(r) {
                self.same(found, ty, format_args!("%{dst}: {name} of %{r}"));
            }
        }
    }

    /// Variables are in scope and numbers are small enough.
    fn form(&mut self, a: &Affine) {
        if a.offset().unsigned_abs() > MAX_COEFFICIENT.unsigned_abs() {
            self.error("E0604", format!("{} in an index is too large", a.offset()));
        }
        for (c, t) in a.terms() {
            if c.unsigned_abs() > MAX_COEFFICIENT.unsigned_abs() {
                self.error("E0604", format!("{c} in an index is too large"));
            }
            match t {
                Term::Var(v) if self.vars[*v] == Scope::Visible => {}
                Term::Var(v) => {
                    let name = self.k.vars.get(*v).map_or("?", |n| n);
                    self.error("E0604", format!("%{name} is used outside its loop"));
                }
                Term::FloorDiv(e, by) | Term::Mod(e, by) => {
                    if !(1..=MAX_COEFFICIENT).contains(by) {
                        self.error("E0604", format!("divisor {by} must be positive and not too large"));
                    }
                    self.form(e);
                }
            }
        }
    }

    fn access(&mut self, buf: Buf, at: &[Affine]) {
        for a in at {
            self.form(a);
        }
        let Some(d) = self.k.bufs.get(buf) else {
            return self.error("E0605", format!("{buf} is not declared"));
        };
        if self.bufs[buf] != Scope::Visible {
            self.error("E0605", format!("the view %{} is used outside its block or before its statement", d.name));
        }
        if at.len() != d.shape.len() {
            self.error("E0605", format!("%{} has {} dimensions, {} indices given", d.name, d.shape.len(), at.len()));
        }
    }

    fn view(&mut self, view: Buf, of: Buf, at: &[Affine]) {
        self.access(of, at);
        let (Some(d), Some(base)) = (self.k.bufs.get(view), self.k.bufs.get(of)) else {
            return self.error("E0605", "a view is not declared");
        };
        if d.role != Role::View || self.bufs[view] != Scope::Unknown {
            return self.error("E0605", format!("%{} is not a view or is defined twice", d.name));
        }
        if d.dtype != base.dtype || d.shape != base.shape {
            self.error("E0601", format!("the view %{} is not declared like %{}", d.name, base.name));
        }
        self.roots[view] = self.roots[of];
        self.bufs[view] = Scope::Visible;
        self.opened.push(Name::Buf(view));
    }

    fn for_(&mut self, f: &For) {
        let Some(name) = self.k.vars.get(f.var) else {
            return self.error("E0604", "a loop variable is not declared");
        };
        if self.vars[f.var] != Scope::Unknown {
            return self.error("E0604", format!("%{name} belongs to two loops"));
        }
        if !(1..=MAX_COEFFICIENT).contains(&f.step) {
            self.error("E0604", format!("loop %{name}: step {} must be positive and not too large", f.step));
        }
        if f.lo.is_empty() || f.hi.is_empty() {
            self.error("E0604", format!("loop %{name} lacks a bound"));
        }
        for a in f.lo.iter().chain(&f.hi) {
            self.form(a);
        }
        let n = f.params.len();
        if [f.inits.len(), f.yields.len(), f.results.len()] != [n; 3] {
            let (i, y, r) = (f.inits.len(), f.yields.len(), f.results.len());
            return self.error(
                "E0604",
                format!("loop %{name} carries {n} values, has {i} initial ones, {y} yields, {r} results"),
            );
        }
        for (&init, &param) in f.inits.iter().zip(&f.params) {
            if let (Some(found), Some(&ty)) = (self.read(init), self.k.regs.get(param)) {
                self.same(found, ty, format_args!("loop %{name}: initial value of %{param}"));
            }
        }
        let outer = self.opened.len();
        self.vars[f.var] = Scope::Visible;
        for &p in &f.params {
            self.define(p);
        }
        self.stmts(&f.body);
        for (&value, &param) in f.yields.iter().zip(&f.params) {
            if let (Some(found), Some(&ty)) = (self.read(value), self.k.regs.get(param)) {
                self.same(found, ty, format_args!("loop %{name}: next value of %{param}"));
            }
        }
        self.close(outer);
        self.vars[f.var] = Scope::Closed;
        for (&param, &result) in f.params.iter().zip(&f.results) {
            if let (Some(&p), Some(&r)) = (self.k.regs.get(param), self.k.regs.get(result)) {
                self.same(r, p, format_args!("loop %{name}: result %{result}"));
            }
            self.define(result);
        }
    }
}
