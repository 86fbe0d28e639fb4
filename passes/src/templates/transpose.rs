//! Transposed matrices, and the flipped filters of 1×1 convolutions, which are those: square tiles by way of a small
//! scratch tile.
//!
//! The rows of a tile are read, and its columns written, as whole lines one after the other. Without the scratch tile
//! every line would be touched again for each of its elements, and rows a power of two apart share a set of the cache,
//! which has lost the line by then.

use super::{Offer, Request, vector_cost_ns};
use ir::kernel::build::min_of;
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::{DType, Kernel, Layout};

/// Rows and columns of a tile: four lines.
const TILE: i64 = 64;

pub fn offers(r: &Request) -> Vec<Offer> {
    let offer = Offer { operands: vec![Layout::Plain], result: Layout::Plain, cost_ns: vector_cost_ns(r) };
    is_matrix(r).then_some(offer).into_iter().collect()
}

/// Whether the op does no more than exchange the first two dimensions.
fn is_matrix(r: &Request) -> bool {
    let dims = &r.ctx.operands[0].dims;
    dims[2..].iter().all(|&n| n == 1) && (r.op.name == "transpose" || r.ctx.attrs.int("groups") == 1)
}

pub fn build(r: &Request) -> Option<Kernel> {
    let (rows, columns) = (r.ctx.operands[0].dims[0], r.ctx.operands[0].dims[1]);
    let mut k = KernelBuilder::new(format!("{}_{rows}x{columns}", r.op.name));
    let x = k.param("x0", DType::F32, &[rows, columns], Role::In);
    let y = k.param("y", DType::F32, &[columns, rows], Role::Out);
    let tile = k.scratch("tile", DType::F32, &[TILE, TILE]);
    let count = |n: i64| (n + TILE - 1) / TILE;
    let t = k.tasks(count(columns));
    // A task writes whole rows of the result.
    let column = t * TILE;
    let here = |first: &Affine, all: i64| min_of([Affine::constant(TILE), first * -1 + all]);
    let columns = here(&column, columns);
    k.for_(0, count(rows), |k, block| {
        let row = block * TILE;
        let rows = here(&row, rows);
        k.for_(0, rows.clone(), |k, i| {
            k.for_(0, columns.clone(), |k, j| {
                let v = k.load(x, &[&row + &i, &column + &j]);
                k.store(tile, &[j, i.clone()], v);
            });
        });
        k.for_(0, columns.clone(), |k, j| {
            k.for_(0, rows.clone(), |k, i| {
                let v = k.load(tile, &[j.clone(), i.clone()]);
                k.store(y, &[&column + &j, &row + i], v);
            });
        });
    });
    Some(k.finish())
}
