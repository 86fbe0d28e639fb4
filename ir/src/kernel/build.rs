//! Builder of kernels: closures for loops, operators for indices.
//!
//! ```
//! use ir::kernel::{Affine, KernelBuilder, Role};
//! use ir::DType;
//! let mut k = KernelBuilder::new("relu");
//! let x = k.param("x", DType::F32, &[4, 9], Role::In);
//! let y = k.param("y", DType::F32, &[4, 9], Role::Out);
//! let t = k.tasks(4);
//! let zero = k.constant(DType::F32, 1, 0.0);
//! k.for_(0, 9, |k, i| {
//!     let v = k.load(x, &[t.clone(), i.clone()]);
//!     let v = k.max(v, zero);
//!     k.store(y, &[t.clone(), i], v);
//! });
//! let kernel = k.finish();
//! assert_eq!(kernel.tasks, 4);
//! ```

use super::{Affine, BinOp, BufDecl, Expr, For, Kernel, Role, Stmt, Test, Ty, UnOp};
use crate::entity::{Buf, Reg, Var};
use crate::types::DType;
use cranelift_entity::PrimaryMap;

/// f32 elements of a cache line.
pub const LINE: i64 = 16;

/// A loop bound: one affine form, or several of which the tightest counts.
#[derive(Clone)]
pub struct Bound(Vec<Affine>);

impl<T: Into<Affine>> From<T> for Bound {
    fn from(a: T) -> Bound {
        Bound(vec![a.into()])
    }
}

/// The largest of several lower bounds. Constants among them are merged.
pub fn max_of(bounds: impl IntoIterator<Item = Affine>) -> Bound {
    Bound(merge(bounds, i64::max))
}

/// The smallest of several upper bounds. Constants among them are merged.
pub fn min_of(bounds: impl IntoIterator<Item = Affine>) -> Bound {
    Bound(merge(bounds, i64::min))
}

fn merge(bounds: impl IntoIterator<Item = Affine>, pick: fn(i64, i64) -> i64) -> Vec<Affine> {
    let mut constant: Option<i64> = None;
    let mut out: Vec<Affine> = Vec::new();
    for b in bounds {
        match b.as_constant() {
            Some(c) => constant = Some(constant.map_or(c, |d| pick(c, d))),
            None if !out.contains(&b) => out.push(b),
            None => {}
        }
    }
    out.extend(constant.map(Affine::constant));
    out
}

pub struct KernelBuilder {
    kernel: Kernel,
    /// Open blocks, outermost first.
    blocks: Vec<Vec<Stmt>>,
}

impl KernelBuilder {
    /// Starts a kernel with one task; [`tasks`](Self::tasks) sets more.
    pub fn new(name: impl Into<String>) -> KernelBuilder {
        let mut vars = PrimaryMap::new();
        let task_var = vars.push("t".to_string());
        let kernel = Kernel {
            name: name.into(),
            bufs: PrimaryMap::new(),
            params: Vec::new(),
            vars,
            regs: PrimaryMap::new(),
            task_var,
            tasks: 1,
            body: Vec::new(),
        };
        KernelBuilder { kernel, blocks: vec![Vec::new()] }
    }

    pub fn param(&mut self, name: &str, dtype: DType, shape: &[i64], role: Role) -> Buf {
        let buf = self.kernel.bufs.push(BufDecl { name: name.into(), dtype, shape: shape.to_vec(), role });
        self.kernel.params.push(buf);
        buf
    }

    pub fn scratch(&mut self, name: &str, dtype: DType, shape: &[i64]) -> Buf {
        self.kernel.bufs.push(BufDecl { name: name.into(), dtype, shape: shape.to_vec(), role: Role::Scratch })
    }

    /// Sets the number of tasks; the result is the index of the running one.
    pub fn tasks(&mut self, n: i64) -> Affine {
        self.kernel.tasks = n;
        Affine::var(self.kernel.task_var)
    }

    pub fn shape(&self, buf: Buf) -> &[i64] {
        &self.kernel.bufs[buf].shape
    }

    pub fn ty(&self, r: Reg) -> Ty {
        self.kernel.regs[r]
    }

    fn push(&mut self, s: Stmt) {
        self.blocks.last_mut().expect("invariant: a block is open").push(s);
    }

    fn let_(&mut self, ty: Ty, expr: Expr) -> Reg {
        let dst = self.kernel.regs.push(ty);
        self.push(Stmt::Let { dst, expr });
        dst
    }

    pub fn constant(&mut self, dtype: DType, lanes: u32, c: f64) -> Reg {
        self.let_(Ty { dtype, lanes }, Expr::Const(c))
    }

    /// `c` in every lane, of the type of `like`.
    pub fn constant_like(&mut self, like: Reg, c: f64) -> Reg {
        let ty = self.ty(like);
        self.let_(ty, Expr::Const(c))
    }

    /// The value of an index form, as a scalar.
    pub fn index(&mut self, dtype: DType, at: impl Into<Affine>) -> Reg {
        self.let_(Ty { dtype, lanes: 1 }, Expr::Index(at.into()))
    }

    /// One element: an index for each dimension of `buf`, a buffer or a view.
    pub fn load(&mut self, buf: Buf, at: &[Affine]) -> Reg {
        self.load_vec(buf, 1, at)
    }

    /// `lanes` elements from `at` on, along the last dimension.
    pub fn load_vec(&mut self, buf: Buf, lanes: u32, at: &[Affine]) -> Reg {
        let dtype = self.kernel.bufs[buf].dtype;
        self.let_(Ty { dtype, lanes }, Expr::Load { buf, at: at.to_vec() })
    }

    /// As many elements as `value` has lanes, from `at` on, along the last dimension.
    pub fn store(&mut self, buf: Buf, at: &[Affine], value: Reg) {
        self.push(Stmt::Store { buf, at: at.to_vec(), value });
    }

    /// `of` with `at` as its origin. A compiler cannot see where an `opaque` one begins, so it does not merge its loads with
    /// those of its neighbours.
    pub fn view(&mut self, of: Buf, at: &[Affine], opaque: bool) -> Buf {
        let decl = BufDecl {
            name: format!("{}_v", self.kernel.bufs[of].name),
            role: Role::View,
            ..self.kernel.bufs[of].clone()
        };
        let view = self.kernel.bufs.push(decl);
        self.push(Stmt::View { view, of, at: at.to_vec(), opaque });
        view
    }

    pub fn prefetch(&mut self, buf: Buf, at: &[Affine]) {
        self.push(Stmt::Prefetch { buf, at: at.to_vec() });
    }

    /// Prefetches share `number` of `of` equal shares of `elements` consecutive f32. `at` maps the number of an element that
    /// begins a cache line to its index.
    pub fn prefetch_part(
        &mut self,
        buf: Buf,
        elements: i64,
        number: &Affine,
        of: i64,
        at: impl Fn(Affine) -> Vec<Affine>,
    ) {
        let lines = (elements + LINE - 1) / LINE;
        let first = (number * lines).floordiv(of);
        for i in 0..(lines + of - 1) / of {
            self.prefetch(buf, &at((&first + i) * LINE));
        }
    }

    /// `a` in every lane; the register itself if `lanes` is 1.
    pub fn splat(&mut self, a: Reg, lanes: u32) -> Reg {
        if lanes == 1 {
            return a;
        }
        let dtype = self.ty(a).dtype;
        self.let_(Ty { dtype, lanes }, Expr::Splat(a))
    }

    /// To another element type; the register itself if it has that type.
    pub fn convert(&mut self, a: Reg, dtype: DType) -> Reg {
        let ty = self.ty(a);
        if ty.dtype == dtype {
            return a;
        }
        self.let_(Ty { dtype, lanes: ty.lanes }, Expr::Convert(a))
    }

    pub fn un(&mut self, op: UnOp, a: Reg) -> Reg {
        let ty = self.ty(a);
        self.let_(ty, Expr::Un(op, a))
    }

    pub fn bin(&mut self, op: BinOp, a: Reg, b: Reg) -> Reg {
        let ty = self.ty(a);
        self.let_(ty, Expr::Bin(op, a, b))
    }

    pub fn fma(&mut self, a: Reg, b: Reg, c: Reg) -> Reg {
        let ty = self.ty(c);
        self.let_(ty, Expr::Fma(a, b, c))
    }

    /// `x` where `test` holds for `a` and `b`, else `y`.
    pub fn select(&mut self, test: Test, [a, b]: [Reg; 2], x: Reg, y: Reg) -> Reg {
        let ty = self.ty(x);
        self.let_(ty, Expr::Select(test, [a, b, x, y]))
    }

    pub fn add(&mut self, a: Reg, b: Reg) -> Reg {
        self.bin(BinOp::Add, a, b)
    }

    pub fn sub(&mut self, a: Reg, b: Reg) -> Reg {
        self.bin(BinOp::Sub, a, b)
    }

    pub fn mul(&mut self, a: Reg, b: Reg) -> Reg {
        self.bin(BinOp::Mul, a, b)
    }

    pub fn div(&mut self, a: Reg, b: Reg) -> Reg {
        self.bin(BinOp::Div, a, b)
    }

    pub fn max(&mut self, a: Reg, b: Reg) -> Reg {
        self.bin(BinOp::Max, a, b)
    }

    pub fn min(&mut self, a: Reg, b: Reg) -> Reg {
        self.bin(BinOp::Min, a, b)
    }

    /// A loop without carried values.
    pub fn for_(&mut self, lo: impl Into<Bound>, hi: impl Into<Bound>, body: impl FnOnce(&mut Self, Affine)) {
        self.for_carry(lo, hi, &[], |k, i, _| {
            body(k, i);
            Vec::new()
        });
    }

    /// A loop that carries values: `body` gets the index and the current values and returns the next ones.
    pub fn for_carry(
        &mut self,
        lo: impl Into<Bound>,
        hi: impl Into<Bound>,
        inits: &[Reg],
        body: impl FnOnce(&mut Self, Affine, &[Reg]) -> Vec<Reg>,
    ) -> Vec<Reg> {
        let var: Var = self.kernel.vars.push(format!("i{}", self.kernel.vars.len()));
        let params: Vec<Reg> = inits.iter().map(|&r| self.same(r)).collect();
        self.blocks.push(Vec::new());
        let yields = body(self, Affine::var(var), &params);
        assert_eq!(yields.len(), inits.len(), "invariant: a loop yields as many values as it carries");
        let stmts = self.blocks.pop().expect("invariant: the loop's block is open");
        let results: Vec<Reg> = inits.iter().map(|&r| self.same(r)).collect();
        let (lo, hi) = (lo.into().0, hi.into().0);
        self.push(Stmt::For(Box::new(For {
            var,
            lo,
            hi,
            step: 1,
            params,
            inits: inits.to_vec(),
            body: stmts,
            yields,
            results: results.clone(),
        })));
        results
    }

    fn same(&mut self, r: Reg) -> Reg {
        let ty = self.ty(r);
        self.kernel.regs.push(ty)
    }

    pub fn finish(mut self) -> Kernel {
        assert_eq!(self.blocks.len(), 1, "invariant: every loop is closed");
        self.kernel.body = self.blocks.pop().unwrap_or_default();
        self.kernel
    }
}
