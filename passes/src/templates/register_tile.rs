//! The arithmetic of a register tile: scalars × vectors, every product added to a sum of its own that stays in a register.
//!
//! A scalar is spread over the lanes of a register and used by all vectors. Where multiply-adds spread a scalar from memory
//! themselves, each loads it again: 24 products take 26 instructions instead of 38, which counts when a core's other
//! thread takes half of its decoders.

use ir::entity::{Buf, Reg};
use ir::kernel::{Affine, KernelBuilder};
use ir::target::Target;

/// What the scalars of a tile are read through.
pub struct Scalars {
    /// One view, or as many as there are vectors: a code generator that knew them to be the same memory would load once.
    views: Vec<Buf>,
}

impl Scalars {
    /// Scalars of `buf` from `corner`, for that many vectors. With `overlaps` the same elements are also read through
    /// other corners, and a code generator that sees it keeps them in registers, of which there are too few.
    pub fn new(
        k: &mut KernelBuilder,
        target: &Target,
        buf: Buf,
        corner: &[Affine],
        vectors: i64,
        overlaps: bool,
    ) -> Scalars {
        // Three views and more would need more address registers than a loop has.
        let count = if target.embeds_broadcast && vectors == 2 { 2 } else { 1 };
        Scalars { views: (0..count).map(|i| k.view(buf, corner, overlaps || i > 0)).collect() }
    }

    /// sums[b] += scalar·vectors[b], the scalar at `index` from the corner.
    pub fn multiply_add(&self, k: &mut KernelBuilder, index: &[Affine], vectors: &[Reg], sums: &mut [Reg]) {
        let lanes = k.ty(vectors[0]).lanes;
        let spread = |k: &mut KernelBuilder, view: Buf| {
            let v = k.load(view, index);
            k.splat(v, lanes)
        };
        let first = spread(k, self.views[0]);
        for (b, (&vector, sum)) in vectors.iter().zip(sums).enumerate() {
            let scalar = self.views.get(b).filter(|_| b > 0).map_or(first, |&view| spread(k, view));
            *sum = k.fma(scalar, vector, *sum);
        }
    }
}
