//! Epilogue steps on vectors of output channels.

use ir::entity::{Buf, Reg};
use ir::epilogue::Step;
use ir::kernel::{Affine, KernelBuilder};
use ir::ops::relu_grad;
use ir::{DType, op::BodyCtx};

/// Where a vector of results goes: its first channel, and its index in the result's memory.
pub struct At<'a> {
    pub channel: Affine,
    pub index: &'a [Affine],
    pub lanes: u32,
}

/// Start value of an accumulator: the bias if the epilogue begins with one, else zero.
pub fn start(k: &mut KernelBuilder, ctx: &BodyCtx, operands: &[Buf], channel: &Affine, lanes: u32) -> Reg {
    match ctx.epilogue.first() {
        Some(&Step::Bias(b)) => k.load_vec(operands[b], lanes, std::slice::from_ref(channel)),
        _ => k.constant(DType::F32, lanes, 0.0),
    }
}

/// The steps that [`start`] has not done already.
pub fn finish(k: &mut KernelBuilder, ctx: &BodyCtx, operands: &[Buf], at: &At, v: Reg) -> Reg {
    let done = usize::from(matches!(ctx.epilogue.first(), Some(Step::Bias(_))));
    steps(k, &ctx.epilogue[done..], operands, at, v)
}

/// All steps, for what has no accumulator.
pub fn all(k: &mut KernelBuilder, ctx: &BodyCtx, operands: &[Buf], at: &At, v: Reg) -> Reg {
    steps(k, ctx.epilogue, operands, at, v)
}

fn steps(k: &mut KernelBuilder, steps: &[Step], operands: &[Buf], at: &At, mut v: Reg) -> Reg {
    let lanes = at.lanes;
    for step in steps {
        let vector =
            |k: &mut KernelBuilder, i: usize| k.load_vec(operands[i], lanes, std::slice::from_ref(&at.channel));
        v = match *step {
            Step::Bias(b) => {
                let b = vector(k, b);
                k.add(v, b)
            }
            Step::ScaleShift(a, b) => {
                let (a, b) = (vector(k, a), vector(k, b));
                k.fma(v, a, b)
            }
            Step::Add(s) => {
                let s = k.load_vec(operands[s], lanes, at.index);
                k.add(v, s)
            }
            Step::Relu => {
                let zero = k.constant(DType::F32, lanes, 0.0);
                k.max(v, zero)
            }
            Step::Clamp(lo, hi) => {
                let (lo, hi) = (k.constant(DType::F32, lanes, lo.into()), k.constant(DType::F32, lanes, hi.into()));
                let low = k.max(v, lo);
                k.min(low, hi)
            }
            Step::ReluGrad(s) => {
                let s = k.load_vec(operands[s], lanes, at.index);
                relu_grad::masked(k, v, s)
            }
        };
    }
    v
}
