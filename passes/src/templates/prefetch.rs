//! Fetching weights ahead of their use: the register tiles that use the same weights share out the next ones, so that
//! each line is fetched once, at the pace at which weights are used up.

use ir::entity::Buf;
use ir::kernel::build::LINE;
use ir::kernel::{Affine, KernelBuilder};

/// Tile `number` of the `of` that use the same weights one after the other.
pub struct Share {
    pub number: Affine,
    pub of: i64,
}

impl Share {
    /// Fetches this tile's part for its step number `step`. `next` is the index of the first weight to fetch;
    /// a tile takes `steps` steps of `elements` weights each.
    pub fn fetch(
        &self,
        k: &mut KernelBuilder,
        weights: Buf,
        mut next: impl AsMut<[Affine]>,
        step: &Affine,
        [steps, elements]: [i64; 2],
    ) {
        let lines = (elements + LINE * self.of - 1) / (LINE * self.of);
        let position = (&self.number * steps + step) * (lines * LINE);
        let index = next.as_mut();
        let last = index.len() - 1;
        let first = std::mem::take(&mut index[last]);
        for line in 0..lines {
            index[last] = &(&first + &position) + line * LINE;
            k.prefetch(weights, index);
        }
    }
}
