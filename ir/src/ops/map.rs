//! Ops that compute each element of their result for itself, and what their bodies and fast code share: the arithmetic,
//! lane by lane, on scalars as on vectors.

use super::common::{elementwise, epilogue, load};
use crate::entity::Reg;
use crate::kernel::{Kernel, KernelBuilder};
use crate::op::BodyCtx;

/// What an element of the result is. All operands have the shape of the result, or are vectors with an element for each
/// channel (dimension 1); operands of the epilogue are not among them.
#[derive(Clone, Copy)]
pub struct Map {
    /// What is the same for all elements of a channel, of its elements of the vectors.
    pub channel: fn(&mut KernelBuilder, &BodyCtx, &[Reg]) -> Vec<Reg>,
    /// An element, of those of the tensors at its place and of what `channel` gave.
    pub element: fn(&mut KernelBuilder, &BodyCtx, &[Reg], &[Reg]) -> Reg,
}

impl Map {
    /// A map that reads its vectors, if it has any, as they are.
    pub const fn new(element: fn(&mut KernelBuilder, &BodyCtx, &[Reg], &[Reg]) -> Reg) -> Map {
        Map { channel: |_, _, vectors| vectors.to_vec(), element }
    }

    /// Element by element.
    pub fn body(self, name: &str, ctx: &BodyCtx) -> Kernel {
        let [tensors, vectors] = ctx.tensors_and_vectors();
        elementwise(name, ctx, &mut |k, ins, at| {
            let x: Vec<Reg> = tensors.iter().map(|&i| load(k, ctx, ins, i, at)).collect();
            let vectors: Vec<Reg> = vectors.iter().map(|&i| load(k, ctx, ins, i, &at[1..2])).collect();
            let channel = (self.channel)(k, ctx, &vectors);
            let v = (self.element)(k, ctx, &x, &channel);
            epilogue(k, ctx, ins, at, v)
        })
    }
}
