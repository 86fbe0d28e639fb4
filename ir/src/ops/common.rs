//! Rules and body pieces that several ops share.

use crate::entity::{Buf, Reg};
use crate::epilogue::Step;
use crate::kernel::{Affine, KernelBuilder, Role};
use crate::op::{BodyCtx, BufType, Cost, OpCtx, Problem};
use crate::types::TensorType;

/// Result has the type of the first operand.
pub fn same_as_first(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    Ok(vec![ctx.operands[0].clone()])
}

/// Bytes of operands and results, no multiply-adds.
pub fn memory_cost(ctx: &OpCtx) -> Cost {
    let bytes = ctx.operands.iter().chain(ctx.results).map(|t| t.len_bytes(ctx.batch)).sum();
    Cost { macs: 0, bytes }
}

/// Output length of a window: ⌊(n + p₀ + p₁ − d(k−1) − 1)/s⌋ + 1, or `None` if the window does not fit.
pub fn window(n: u64, kernel: u64, stride: u64, before: u64, after: u64, dilation: u64) -> Option<u64> {
    let reach = dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
    let room = n.checked_add(before)?.checked_add(after)?.checked_sub(reach)?;
    Some(room.checked_div(stride)? + 1)
}

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

/// One task for each index of the leading dimensions given: returns their indices.
pub fn tasks_over(k: &mut KernelBuilder, dims: &[i64]) -> Vec<Affine> {
    let t = k.tasks(dims.iter().product());
    let mut inner = 1;
    let mut out = Vec::new();
    for (i, &d) in dims.iter().enumerate().rev() {
        let q = t.floordiv(inner);
        out.push(if i == 0 { q } else { q.modulo(d) });
        inner *= d;
    }
    out.reverse();
    out
}

/// Loops over `dims` one inside the other.
pub fn nest(k: &mut KernelBuilder, dims: &[i64], body: &mut dyn FnMut(&mut KernelBuilder, &[Affine])) {
    fn go(
        k: &mut KernelBuilder,
        dims: &[i64],
        at: &mut Vec<Affine>,
        body: &mut dyn FnMut(&mut KernelBuilder, &[Affine]),
    ) {
        match dims.split_first() {
            None => body(k, at),
            Some((&n, rest)) => k.for_(0, n, |k, i| {
                at.push(i);
                go(k, rest, at, body);
                at.pop();
            }),
        }
    }
    go(k, dims, &mut Vec::new(), body);
}

/// Applies epilogue steps to the scalar `acc` of output position `at` (channel is dimension 1).
pub fn epilogue(k: &mut KernelBuilder, ctx: &BodyCtx, ins: &[Buf], at: &[Affine], mut acc: Reg) -> Reg {
    let dtype = k.ty(acc).dtype;
    let vector = |k: &mut KernelBuilder, i: usize| k.load(ins[i], &ctx.operands[i].at(&at[1..2]));
    for step in ctx.epilogue {
        acc = match *step {
            Step::Bias(b) => {
                let b = vector(k, b);
                k.add(acc, b)
            }
            Step::ScaleShift(a, b) => {
                let (a, b) = (vector(k, a), vector(k, b));
                k.fma(acc, a, b)
            }
            Step::Add(s) => {
                let s = k.load(ins[s], &ctx.operands[s].at(at));
                k.add(acc, s)
            }
            Step::Relu => {
                let zero = k.constant(dtype, 1, 0.0);
                k.max(acc, zero)
            }
            Step::Clamp(lo, hi) => {
                let (lo, hi) = (k.constant(dtype, 1, lo.into()), k.constant(dtype, 1, hi.into()));
                let low = k.max(acc, lo);
                k.min(low, hi)
            }
        };
    }
    acc
}

/// Body of an op that maps each element of its first operand: `f(k, element, logical index)`.
pub fn elementwise(
    name: &str,
    ctx: &BodyCtx,
    f: &mut dyn FnMut(&mut KernelBuilder, &[Buf], Reg, &[Affine]) -> Reg,
) -> crate::Kernel {
    let mut k = KernelBuilder::new(name);
    let (ins, y) = params(&mut k, ctx);
    let r: &BufType = &ctx.results[0];
    let outer = r.dims.len().min(2);
    let lead = tasks_over(&mut k, &r.dims[..outer]);
    nest(&mut k, &r.dims[outer..], &mut |k, rest| {
        let at: Vec<Affine> = lead.iter().chain(rest).cloned().collect();
        let x = k.load(ins[0], &ctx.operands[0].at(&at));
        let v = f(k, &ins, x, &at);
        k.store(y, &r.at(&at), v);
    });
    k.finish()
}
