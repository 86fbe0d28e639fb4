//! Gradient of a dense layer's weight: a sum of outer products, one an image, in register tiles of output × input
//! features.
//!
//! A tile has P rows of the result × B vectors of its columns. For each image it loads B vectors of `x`, broadcasts P
//! elements of `g` and multiplies each with each, in the order of additions of the op's body. A task takes the whole
//! width of P rows, which are stored one after another; `x` is read again for each task and stays in L2.

use super::register_tile::Scalars;
use super::{Offer, Request, tiling, vector_cost_ns};
use ir::entity::{Buf, Reg};
use ir::kernel::build::{max_of, min_of};
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::target::Tile;
use ir::{DType, Kernel, Layout};

pub fn offers(r: &Request) -> Vec<Offer> {
    let offer = Offer { operands: vec![Layout::Plain; 2], result: Layout::Plain, cost_ns: vector_cost_ns(r) };
    tile(r).map(|_| offer).into_iter().collect()
}

/// The register tile, if whole vectors make up a row of the result.
fn tile(r: &Request) -> Option<Tile> {
    let columns = r.ctx.results[0].dims[1];
    (columns % r.block() == 0).then(|| tiling::pick_tile(r.target, columns / r.block(), 0)).flatten()
}

pub fn build(r: &Request) -> Option<Kernel> {
    let tile = tile(r)?;
    let (x, g, dw) = (&r.ctx.operands[0], &r.ctx.operands[1], &r.ctx.results[0]);
    let mut k = KernelBuilder::new(format!("dense_grad_weight_{}x{}", dw.dims[0], dw.dims[1]));
    let x = k.param("x0", DType::F32, &x.dims, Role::In);
    let g = k.param("x1", DType::F32, &g.dims, Role::In);
    let dw = k.param("y", DType::F32, &dw.dims, Role::Out);
    let e = Emitter { r, vectors: tile.blocks.into(), x, g, dw };

    // The first tasks may have a row more than the others. A loop of at most one trip tells them apart.
    let rows = tiling::split(r.ctx.results[0].dims[0], tile.pixels.into());
    let fewest = rows[rows.len() - 1];
    let wider = rows.iter().filter(|&&n| n > fewest).count() as i64;
    let t = k.tasks(rows.len() as i64);
    let once = || Affine::constant(1);
    if wider > 0 {
        k.for_(0, min_of([once(), &t * -1 + wider]), |k, _| e.rows(k, &(&t * (fewest + 1)), fewest + 1));
    }
    k.for_(max_of([Affine::constant(0), &t * -1 + wider]), once(), |k, _| e.rows(k, &(&t * fewest + wider), fewest));
    Some(k.finish())
}

struct Emitter<'a> {
    r: &'a Request<'a>,
    /// Vectors of a register tile.
    vectors: i64,
    x: Buf,
    g: Buf,
    dw: Buf,
}

impl Emitter<'_> {
    /// `count` rows of the result from row `first`.
    fn rows(&self, k: &mut KernelBuilder, first: &Affine, count: i64) {
        let (lanes, block) = (self.r.target.block, self.r.block());
        let (images, columns) = (self.r.ctx.operands[0].dims[0], self.r.ctx.results[0].dims[1]);
        let width = self.vectors * block;
        k.for_(0, columns / width, |k, tile| {
            let column = |b: i64| &tile * width + b * block;
            let zero = k.constant(DType::F32, lanes, 0.0);
            let sums = k.for_carry(0, images, &vec![zero; (count * self.vectors) as usize], |k, n, sums| {
                let x: Vec<Reg> =
                    (0..self.vectors).map(|b| k.load_vec(self.x, lanes, &[n.clone(), column(b)])).collect();
                let g = Scalars::new(k, self.r.target, self.g, &[n.clone(), first.clone()], self.vectors, false);
                let mut sums = sums.to_vec();
                for (row, sums) in (0..).zip(sums.chunks_mut(x.len())) {
                    g.multiply_add(k, &[0.into(), row.into()], &x, sums);
                }
                sums
            });
            for (row, sums) in (0..).zip(sums.chunks(self.vectors as usize)) {
                for (b, &sum) in (0..).zip(sums) {
                    k.store(self.dw, &[first + row, column(b)], sum);
                }
            }
        });
    }
}
