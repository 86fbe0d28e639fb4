//! Lines that a task will touch once or in short rows, too few and too short for the processor to see them coming:
//! those of the result, of the tensors that the epilogue reads with it, and of the next task's image. The register
//! tiles of a task share them out, so that they arrive while the task computes.

use ir::entity::Buf;
use ir::kernel::{Affine, KernelBuilder};

/// f32 elements of a cache line.
const LINE: i64 = 16;

/// Rows of some channel blocks of a blocked image, [N, C/b, H, W, b].
pub struct Rows {
    pub buf: Buf,
    pub image: Affine,
    /// First channel block and first row.
    pub block: Affine,
    pub row: Affine,
    /// Channel blocks, and elements of their rows.
    pub blocks: i64,
    pub elements: i64,
}

impl Rows {
    /// Fetches the part of register tile `number` of `of`.
    pub fn fetch(&self, k: &mut KernelBuilder, number: &Affine, of: i64) {
        let of_block = (self.elements + LINE - 1) / LINE;
        let lines = self.blocks * of_block;
        let first = (number * lines).floordiv(of);
        for i in 0..(lines + of - 1) / of {
            let line = &first + i;
            let block = &self.block + line.floordiv(of_block);
            let place = line.modulo(of_block) * LINE;
            k.prefetch(self.buf, &[self.image.clone(), block, self.row.clone(), 0.into(), place]);
        }
    }
}
