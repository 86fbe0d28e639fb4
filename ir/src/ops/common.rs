//! Rules and body pieces that several ops share.

use crate::entity::{Buf, Reg};
use crate::epilogue::{self, Step};
use crate::kernel::{Affine, Kernel, KernelBuilder, Role};
use crate::layout::Layout;
use crate::op::{AttrDef, AttrKind, BodyCtx, BufType, Cost, OpCtx, Problem};
use crate::types::{DType, Dim, TensorType};

/// Declares an attribute of an op.
pub const fn attr(name: &'static str, kind: AttrKind, default: Option<&'static str>, doc: &'static str) -> AttrDef {
    AttrDef { name, kind, default, doc }
}

// Shape rules

/// Channels, height and width of an image operand [N,C,H,W] of floats.
///
/// Its layout must be plain or blocked.
pub fn image(ctx: &OpCtx, i: usize) -> Result<[u64; 3], Problem> {
    let t = floats(ctx, i)?;
    let [_, Dim::Size(c), Dim::Size(h), Dim::Size(w)] = t.shape[..] else {
        return Err(Problem::new("E0201", format!("expected an image [N,C,H,W], found {t}")).operand(i));
    };
    match t.layout {
        Layout::Plain | Layout::Blocked(_) => Ok([c, h, w]),
        l => Err(wrong_layout(i, l, "an image is plain or blocked by channels")),
    }
}

/// Type of an image result with these channels, rows and columns: the batch, element type and, if the channels
/// allow it, the layout of operand 0. Layout selection may set another.
pub fn image_like_first(ctx: &OpCtx, [c, h, w]: [u64; 3]) -> TensorType {
    let x = &ctx.operands[0];
    let shape = vec![x.shape[0], c.into(), h.into(), w.into()];
    let layout = if x.layout.fits(&[1, c, h, w]) { x.layout } else { Layout::Plain };
    TensorType { dtype: x.dtype, shape, layout }
}

/// An operand of floats; all float operands of an op have the element type of the first.
pub fn floats<'a>(ctx: &OpCtx<'a>, i: usize) -> Result<&'a TensorType, Problem> {
    let (t, first) = (&ctx.operands[i], &ctx.operands[0]);
    if !t.dtype.is_float() {
        return Err(Problem::new("E0205", format!("expected f32 or f64, found {t}")).operand(i));
    }
    if t.dtype != first.dtype {
        return Err(Problem::new("E0205", format!("expected {} as in the first operand, found {t}", first.dtype))
            .operand(i)
            .help("cast one of them"));
    }
    Ok(t)
}

/// Refuses an operand that does not lie in row-major order.
pub fn plain(ctx: &OpCtx, i: usize) -> Result<(), Problem> {
    match ctx.operands[i].layout {
        Layout::Plain => Ok(()),
        l => Err(wrong_layout(i, l, "this op reads row-major order")),
    }
}

pub fn wrong_layout(i: usize, layout: Layout, why: &str) -> Problem {
    Problem::new("E0206", format!("layout {layout} cannot be read here: {why}"))
        .operand(i)
        .help("put `reorder {to=plain}` before it")
}

/// Refuses operand `i` unless it is a vector of `len` floats: one for each channel.
pub fn vector(ctx: &OpCtx, i: usize, len: Dim) -> Result<(), Problem> {
    let t = floats(ctx, i)?;
    if t.shape != [len] {
        return Err(
            Problem::new("E0207", format!("expected {}[{len}], one for each channel, found {t}", t.dtype)).operand(i)
        );
    }
    plain(ctx, i)
}

/// Refuses operand `i` unless it has element type and shape of `other`. Layouts may differ.
pub fn equal(ctx: &OpCtx, i: usize, other: &TensorType) -> Result<(), Problem> {
    let t = &ctx.operands[i];
    if t.dtype != other.dtype || t.shape != other.shape {
        let expected = other.with_layout(Layout::Plain);
        return Err(Problem::new("E0208", format!("expected {expected}, found {t}")).operand(i));
    }
    Ok(())
}

/// Height and width from the attribute `input`, which neither may be 0 nor of 2^32 or more.
pub fn input_size(ctx: &OpCtx) -> Result<[u64; 2], Problem> {
    let size @ [h, w] = ctx.attrs.pair("input");
    let fits = size.iter().all(|n| (1..1 << 32).contains(n));
    if fits { Ok(size) } else { Err(bad_attr(format!("input={h}x{w} is no size of an image"))) }
}

/// An attribute outside of what the op is defined for.
pub fn bad_attr(message: impl Into<String>) -> Problem {
    Problem::new("E0209", message)
}

/// Result has the type of the first operand, which is of floats.
pub fn same_as_first(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    Ok(vec![floats(ctx, 0)?.clone()])
}

/// Refuses epilogue operands that do not fit a result of type `y`.
pub fn check_epilogue(ctx: &OpCtx, y: &TensorType) -> Result<(), Problem> {
    for step in ctx.epilogue {
        match *step {
            Step::Bias(b) => vector(ctx, b, y.shape[1])?,
            Step::ScaleShift(a, b) => {
                vector(ctx, a, y.shape[1])?;
                vector(ctx, b, y.shape[1])?;
            }
            Step::Add(s) | Step::ReluGrad(s) => equal(ctx, s, y)?,
            Step::Relu => {}
            Step::Clamp(lo, hi) => check_clamp(lo.into(), hi.into())?,
        }
    }
    Ok(())
}

pub fn check_clamp(lo: f64, hi: f64) -> Result<(), Problem> {
    if lo <= hi { Ok(()) } else { Err(bad_attr(format!("clamp needs lo <= hi, found {lo} and {hi}"))) }
}

/// `eps` must keep the square root of a variance of 0 away from 0 or at it, never below.
pub fn check_eps(ctx: &OpCtx) -> Result<(), Problem> {
    let eps = ctx.attrs.float("eps");
    if eps >= 0.0 && eps.is_finite() { Ok(()) } else { Err(bad_attr(format!("eps={eps} is not a number >= 0"))) }
}

// Costs

/// Bytes of operands and results, no multiply-adds.
pub fn memory_cost(ctx: &OpCtx) -> Cost {
    let bytes = ctx.operands.iter().chain(ctx.results).map(|t| t.len_bytes(ctx.batch)).sum();
    Cost { macs: 0, bytes }
}

/// As [`memory_cost`], without operand `i`, of which only the type is read.
pub fn memory_cost_without(ctx: &OpCtx, i: usize) -> Cost {
    let unread = ctx.operands.get(i).map_or(0, |t| t.len_bytes(ctx.batch));
    let all = memory_cost(ctx);
    Cost { bytes: all.bytes - unread, ..all }
}

/// As many multiply-adds for each result element as the weight (operand 1) has elements in one output channel.
pub fn weighted_cost(ctx: &OpCtx) -> Cost {
    let y: u64 = ctx.results[0].dims(ctx.batch).iter().product();
    let w: u64 = ctx.operands[1].dims(ctx.batch)[1..].iter().product();
    Cost { macs: y * w, ..memory_cost(ctx) }
}

// Bodies

/// Declares the operands and the first result as kernel parameters, in order.
pub fn params(k: &mut KernelBuilder, ctx: &BodyCtx) -> (Vec<Buf>, Buf) {
    let ins = ctx
        .operands
        .iter()
        .enumerate()
        .map(|(i, t)| k.param(&format!("x{i}"), t.dtype, &t.physical(), Role::In))
        .collect();
    let r = &ctx.results[0];
    (ins, k.param("y", r.dtype, &r.physical(), Role::Out))
}

/// Declares the operands and all results as kernel parameters, in order.
pub fn all_params(k: &mut KernelBuilder, ctx: &BodyCtx) -> (Vec<Buf>, Vec<Buf>) {
    let (ins, first) = params(k, ctx);
    let more = ctx.results.iter().enumerate().skip(1);
    let rest = more.map(|(i, t)| k.param(&format!("y{i}"), t.dtype, &t.physical(), Role::Out));
    (ins, [first].into_iter().chain(rest).collect())
}

/// One task for each index of the leading dimensions given: returns their indices.
///
/// They are digits of the task number in mixed radix, so that different tasks have different indices.
pub fn tasks_over(k: &mut KernelBuilder, dims: &[i64]) -> Vec<Affine> {
    let t = k.tasks(dims.iter().product());
    let mut below = 1;
    let mut out = Vec::new();
    for (i, &d) in dims.iter().enumerate().rev() {
        let leads = dims[..i].iter().all(|&d| d == 1);
        out.push(match d {
            1 => Affine::constant(0),
            _ if leads => t.floordiv(below),
            _ => t.floordiv(below).modulo(d),
        });
        below *= d;
    }
    out.reverse();
    out
}

/// Loops over `dims` one inside the other. Dimensions of 1 need no loop.
pub fn nest(k: &mut KernelBuilder, dims: &[i64], body: &mut dyn FnMut(&mut KernelBuilder, &[Affine])) {
    fn go(
        k: &mut KernelBuilder,
        dims: &[i64],
        at: &mut Vec<Affine>,
        body: &mut dyn FnMut(&mut KernelBuilder, &[Affine]),
    ) {
        match dims.split_first() {
            None => body(k, at),
            Some((&n, rest)) => {
                let mut inner = |k: &mut KernelBuilder, i: Affine| {
                    at.push(i);
                    go(k, rest, at, body);
                    at.pop();
                };
                if n == 1 { inner(k, Affine::constant(0)) } else { k.for_(0, n, inner) }
            }
        }
    }
    go(k, dims, &mut Vec::new(), body);
}

/// Calls `f` with every index of `dims`: tasks over the first two dimensions, loops over the others.
pub fn tasks_then_nest(k: &mut KernelBuilder, dims: &[i64], f: &mut dyn FnMut(&mut KernelBuilder, &[Affine])) {
    let (outer, inner) = dims.split_at(dims.len().min(2));
    let lead = tasks_over(k, outer);
    nest(k, inner, &mut |k, rest| f(k, &[&lead, rest].concat()));
}

/// Body of an op that computes each element of its result for itself: `f(k, operands, logical index)`.
pub fn elementwise(
    name: &str,
    ctx: &BodyCtx,
    f: &mut dyn FnMut(&mut KernelBuilder, &[Buf], &[Affine]) -> Reg,
) -> Kernel {
    let mut k = KernelBuilder::new(name);
    let (ins, out) = params(&mut k, ctx);
    let y: &BufType = &ctx.results[0];
    tasks_then_nest(&mut k, &y.dims, &mut |k, at| {
        let v = f(k, &ins, at);
        k.store(out, &y.at(at), v);
    });
    k.finish()
}

/// Loads operand `i` at a logical index.
pub fn load(k: &mut KernelBuilder, ctx: &BodyCtx, ins: &[Buf], i: usize, at: &[Affine]) -> Reg {
    k.load(ins[i], &ctx.operands[i].at(at))
}

/// Loads operand `i` as f64, whatever its element type: for values that are computed once and rounded once.
pub fn load_f64(k: &mut KernelBuilder, ctx: &BodyCtx, ins: &[Buf], i: usize, at: &[Affine]) -> Reg {
    let v = load(k, ctx, ins, i, at);
    k.convert(v, DType::F64)
}

/// √(v + ε)
pub fn deviation(k: &mut KernelBuilder, variance: Reg, eps: f64) -> Reg {
    let eps = k.constant_like(variance, eps);
    let v = k.add(variance, eps);
    k.un(crate::kernel::UnOp::Sqrt, v)
}

/// `inner(k, i)` if the index `i` lies in 0..n, else `otherwise`: a loop of no or one trip.
pub fn if_inside(
    k: &mut KernelBuilder,
    i: &Affine,
    n: i64,
    otherwise: Reg,
    inner: impl FnOnce(&mut KernelBuilder, Affine) -> Reg,
) -> Reg {
    use crate::kernel::build::{max_of, min_of};
    let (lo, hi) = (max_of([Affine::constant(0), i.clone()]), min_of([Affine::constant(n), i + 1]));
    k.for_carry(lo, hi, &[otherwise], |k, i, _| vec![inner(k, i)])[0]
}

/// Applies the epilogue to the scalar `acc` of output position `at` (channel is dimension 1).
pub fn epilogue(k: &mut KernelBuilder, ctx: &BodyCtx, ins: &[Buf], at: &[Affine], acc: Reg) -> Reg {
    epilogue::apply(k, ctx.epilogue, acc, &mut |k, i| {
        load(k, ctx, ins, i, if ctx.is_vector(i) { &at[1..2] } else { at })
    })
}
