//! Kernel IR: one loop nest over scalars and vectors with affine indices.
//!
//! Structured, SSA, and exact about order: instructions run as written; back ends translate and allocate
//! registers, they neither schedule nor vectorise. Unrolling is done by whoever builds the kernel.
//!
//! - Indices are [`Affine`] forms over loop variables; they are not SSA values.
//! - A buffer is a parameter, per-worker scratch, or a [`Stmt::View`] of another buffer. A view shifts indices:
//!   `%v[i, j]` is `%of[at₀ + i, at₁ + j]`; `opaque` forbids a back end to compare its addresses with others'
//!   (otherwise LLVM merges neighbouring filter taps' loads and spills).
//! - A loop runs from the maximum of `lo` to the minimum of `hi` (exclusive), possibly not at all; then its
//!   results are its initial values. A loop of 0 or 1 trips is the guard; there is no other conditional.
//! - `tasks %t in 0..n` is the one outer parallel axis.
//!
//! Calling convention of a compiled kernel, C ABI:
//! `void name(unsigned char *const *params, int64_t lo, int64_t hi, unsigned char *scratch)` runs tasks
//! `lo..hi`; `params` in the order of [`Kernel::params`]; `scratch` is 64-byte aligned and holds
//! [`Kernel::scratch_bytes`] bytes that belong to the calling worker; parameters in the arena and in the weights are
//! 64-byte aligned, the graph's inputs and outputs are the caller's memory and only aligned to an element: code must
//! not use instructions that fault on unaligned addresses.

pub mod build;
pub mod exp;
pub mod log;
pub mod verify;

pub use crate::affine::{Affine, Term};
pub use build::KernelBuilder;

use crate::entity::{Buf, Reg, Var};
use crate::types::DType;
use cranelift_entity::PrimaryMap;

/// Type of a register: `lanes` elements, 1 for a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ty {
    pub dtype: DType,
    pub lanes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    In,
    Out,
    /// Read and written in place.
    InOut,
    /// Memory of the worker that runs the task; undefined at the start of each task.
    Scratch,
    /// Defined by a [`Stmt::View`].
    View,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BufDecl {
    pub name: String,
    pub dtype: DType,
    /// Dimensions, row-major. A view has those of the buffer it looks at.
    pub shape: Vec<i64>,
    pub role: Role,
}

impl BufDecl {
    pub fn elements(&self) -> i64 {
        self.shape.iter().product()
    }

    pub fn len_bytes(&self) -> u64 {
        self.elements().unsigned_abs() * self.dtype.bytes()
    }

    /// Distance in elements between neighbours along each dimension.
    pub fn strides(&self) -> Vec<i64> {
        let mut strides = vec![1; self.shape.len()];
        for i in (1..self.shape.len()).rev() {
            strides[i - 1] = strides[i] * self.shape[i];
        }
        strides
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    pub name: String,
    pub bufs: PrimaryMap<Buf, BufDecl>,
    /// Parameters in calling order.
    pub params: Vec<Buf>,
    pub vars: PrimaryMap<Var, String>,
    pub regs: PrimaryMap<Reg, Ty>,
    pub task_var: Var,
    pub tasks: i64,
    pub body: Vec<Stmt>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnOp {
    Neg,
    Sqrt,
    /// eˣ; compiled by the shared polynomial of [`exp`], so that every back end gives the same bits.
    Exp,
    /// ln x; the same by way of [`log`]
    Log,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinOp {
    Add,
    Sub,
    Mul,
    Div,
    /// a < b ? b : a, so a NaN in `a` passes through
    Max,
    /// a > b ? b : a, so a NaN in `a` passes through
    Min,
    /// IEEE 754-2019 maximum: NaN if either is NaN
    MaxNan,
}

/// What a selection asks of its first two operands. False if either is NaN; 0 and −0 are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    Gt,
    Eq,
}

impl Test {
    pub const ALL: [Test; 2] = [Test::Gt, Test::Eq];
    /// Of the instruction that selects by this test.
    pub fn name(self) -> &'static str {
        match self {
            Test::Gt => "select_gt",
            Test::Eq => "select_eq",
        }
    }
}

impl UnOp {
    pub const ALL: [UnOp; 4] = [UnOp::Neg, UnOp::Sqrt, UnOp::Exp, UnOp::Log];
    pub fn name(self) -> &'static str {
        match self {
            UnOp::Neg => "neg",
            UnOp::Sqrt => "sqrt",
            UnOp::Exp => "exp",
            UnOp::Log => "log",
        }
    }
}

impl BinOp {
    pub const ALL: [BinOp; 7] = [BinOp::Add, BinOp::Sub, BinOp::Mul, BinOp::Div, BinOp::Max, BinOp::Min, BinOp::MaxNan];
    pub fn name(self) -> &'static str {
        match self {
            BinOp::Add => "add",
            BinOp::Sub => "sub",
            BinOp::Mul => "mul",
            BinOp::Div => "div",
            BinOp::Max => "max",
            BinOp::Min => "min",
            BinOp::MaxNan => "maxnan",
        }
    }
}

/// Right side of an assignment. The register on the left has the type of the result.
#[derive(Clone, Debug)]
pub enum Expr {
    /// A constant in every lane.
    Const(f64),
    /// A loop index as a number (scalar).
    Index(Affine),
    /// Consecutive elements along the last dimension, as many as the result has lanes.
    Load {
        buf: Buf,
        at: Vec<Affine>,
    },
    /// A scalar in every lane.
    Splat(Reg),
    Un(UnOp, Reg),
    Bin(BinOp, Reg, Reg),
    /// a·b + c, rounded once where the target can
    Fma(Reg, Reg, Reg),
    /// `[a, b, x, y]`: x where the test holds for a and b, y elsewhere, lane by lane. All of one type.
    Select(Test, [Reg; 4]),
    /// To the result's element type, lane by lane; float to integer truncates and saturates.
    Convert(Reg),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    Let {
        dst: Reg,
        expr: Expr,
    },
    Store {
        buf: Buf,
        at: Vec<Affine>,
        value: Reg,
    },
    View {
        view: Buf,
        of: Buf,
        at: Vec<Affine>,
        opaque: bool,
    },
    /// A hint; its address need not be in bounds.
    Prefetch {
        buf: Buf,
        at: Vec<Affine>,
    },
    For(Box<For>),
}

/// `results = for var in max(lo)..min(hi) step s carry (params = inits) { body; yield yields }`
#[derive(Clone, Debug, PartialEq)]
pub struct For {
    pub var: Var,
    pub lo: Vec<Affine>,
    pub hi: Vec<Affine>,
    pub step: i64,
    pub params: Vec<Reg>,
    pub inits: Vec<Reg>,
    pub body: Vec<Stmt>,
    pub yields: Vec<Reg>,
    pub results: Vec<Reg>,
}

/// Constants are compared by bits: kernels that differ in 0.0 and −0.0 differ, and one with a NaN equals itself.
impl PartialEq for Expr {
    fn eq(&self, other: &Expr) -> bool {
        match (self, other) {
            (Expr::Const(c), Expr::Const(d)) => c.to_bits() == d.to_bits(),
            (Expr::Index(a), Expr::Index(b)) => a == b,
            (Expr::Load { buf: a, at: i }, Expr::Load { buf: b, at: j }) => (a, i) == (b, j),
            (Expr::Splat(a), Expr::Splat(b)) | (Expr::Convert(a), Expr::Convert(b)) => a == b,
            (Expr::Un(o, a), Expr::Un(p, b)) => (o, a) == (p, b),
            (Expr::Bin(o, a, b), Expr::Bin(p, c, d)) => (o, a, b) == (p, c, d),
            (Expr::Fma(a, b, c), Expr::Fma(d, e, f)) => (a, b, c) == (d, e, f),
            (Expr::Select(s, a), Expr::Select(t, b)) => (s, a) == (t, b),
            _ => false,
        }
    }
}

impl Eq for Expr {}
impl Eq for Stmt {}
impl Eq for For {}

impl std::hash::Hash for Expr {
    fn hash<H: std::hash::Hasher>(&self, h: &mut H) {
        std::mem::discriminant(self).hash(h);
        match self {
            Expr::Const(c) => c.to_bits().hash(h),
            Expr::Index(a) => a.hash(h),
            Expr::Load { buf, at } => (buf, at).hash(h),
            Expr::Splat(r) | Expr::Convert(r) => r.hash(h),
            Expr::Un(o, r) => (o, r).hash(h),
            Expr::Bin(o, a, b) => (o, a, b).hash(h),
            Expr::Fma(a, b, c) => (a, b, c).hash(h),
            Expr::Select(t, args) => (t, args).hash(h),
        }
    }
}

impl std::hash::Hash for Stmt {
    fn hash<H: std::hash::Hasher>(&self, h: &mut H) {
        std::mem::discriminant(self).hash(h);
        match self {
            Stmt::Let { dst, expr } => (dst, expr).hash(h),
            Stmt::Store { buf, at, value } => (buf, at, value).hash(h),
            Stmt::View { view, of, at, opaque } => (view, of, at, opaque).hash(h),
            Stmt::Prefetch { buf, at } => (buf, at).hash(h),
            Stmt::For(f) => {
                (f.var, &f.lo, &f.hi, f.step, &f.params, &f.inits, &f.body, &f.yields, &f.results).hash(h);
            }
        }
    }
}

impl Kernel {
    /// Bytes of scratch that one worker needs: every scratch buffer at a 64-byte boundary.
    pub fn scratch_bytes(&self) -> u64 {
        self.bufs
            .values()
            .filter(|b| b.role == Role::Scratch)
            .fold(0, |end: u64, b| end.next_multiple_of(64) + b.len_bytes())
    }

    /// Offset of each scratch buffer in the worker's scratch memory, in order of declaration.
    pub fn scratch_offsets(&self) -> Vec<(Buf, u64)> {
        let mut end = 0u64;
        let mut out = Vec::new();
        for (b, d) in self.bufs.iter().filter(|(_, d)| d.role == Role::Scratch) {
            let at = end.next_multiple_of(64);
            out.push((b, at));
            end = at + d.len_bytes();
        }
        out
    }

    /// The buffer that a chain of views ends at.
    pub fn is_param(&self, buf: Buf) -> bool {
        self.params.contains(&buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_equal_where_their_bits_are() {
        let kernel = |c: f64| {
            let mut k = KernelBuilder::new("k");
            let y = k.param("y", DType::F32, &[1], Role::Out);
            let v = k.constant(DType::F32, 1, c);
            k.store(y, &[0.into()], v);
            k.finish()
        };
        assert_eq!(kernel(f64::NAN), kernel(f64::NAN));
        assert_ne!(kernel(0.0), kernel(-0.0));
        assert_ne!(kernel(0.0), kernel(1.0));
    }
}
