//! Lines that a task will touch once or in short rows, too few and too short for the processor to see them coming:
//! those of the result, of the tensors that the epilogue reads with it, and of the next task's image. The register
//! tiles of a task share them out, so that they arrive while the task computes.

use ir::entity::Buf;
use ir::kernel::build::LINE;
use ir::kernel::{Affine, KernelBuilder};

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
        // Rounded up, so that every block begins on a line.
        let of_block = (self.elements + LINE - 1) / LINE * LINE;
        k.prefetch_part(self.buf, self.blocks * of_block, number, of, |element| {
            let block = &self.block + element.floordiv(of_block);
            vec![self.image.clone(), block, self.row.clone(), 0.into(), element.modulo(of_block)]
        });
    }
}
