//! Epilogue steps on vectors of output channels.

use ir::entity::{Buf, Reg};
use ir::epilogue::{self, Step};
use ir::kernel::{Affine, KernelBuilder};
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
    steps(k, &ctx.epilogue[done..], ctx, operands, at, v)
}

/// All steps, for what has no accumulator.
pub fn all(k: &mut KernelBuilder, ctx: &BodyCtx, operands: &[Buf], at: &At, v: Reg) -> Reg {
    steps(k, ctx.epilogue, ctx, operands, at, v)
}

fn steps(k: &mut KernelBuilder, steps: &[Step], ctx: &BodyCtx, operands: &[Buf], at: &At, v: Reg) -> Reg {
    let channel = std::slice::from_ref(&at.channel);
    epilogue::apply(k, steps, v, &mut |k, i| {
        k.load_vec(operands[i], at.lanes, if ctx.is_vector(i) { channel } else { at.index })
    })
}
