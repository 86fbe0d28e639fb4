//! Pooling on blocked images, a vector of channels at a time.
//!
//! Rows outside the image are skipped by loop bounds, columns by tile variants, as in
//! [`conv_direct`](super::conv_direct).

use super::tiling::{self, Row, Run};
use super::{Offer, Request, vector_cost_ns};
use ir::entity::{Buf, Reg};
use ir::kernel::build::{max_of, min_of};
use ir::kernel::{Affine, BinOp, KernelBuilder, Role};
use ir::ops::conv2d::Tap;
use ir::{DType, Kernel, Layout};

/// Outputs of one row that are computed together, to share the row loop.
const PIXELS: i64 = 4;
/// Rows of one task.
const ROWS: i64 = 8;

fn fits(r: &Request) -> bool {
    r.ctx.operands[0].dims.len() == 4 && r.ctx.operands[0].dims[1] % r.block() == 0
}

pub fn offers(r: &Request) -> Vec<Offer> {
    // An average over windows of different size is left to the body.
    let even = r.op.name == "max_pool" || (r.ctx.attrs.quad("pad") == [0; 4] && !r.ctx.attrs.bool("ceil_mode"));
    let is_narrow = r.ctx.attrs.pair("kernel")[1] <= tiling::MOST_TAPS.cast_unsigned();
    if !fits(r) || !even || !is_narrow {
        return Vec::new();
    }
    let blocked = Layout::Blocked(r.target.block);
    vec![Offer { operands: vec![blocked], result: blocked, cost_ns: vector_cost_ns(r) }]
}

pub fn global_offers(r: &Request) -> Vec<Offer> {
    if !fits(r) || r.ctx.results[0].dims.len() != 2 {
        return Vec::new();
    }
    let blocked = Layout::Blocked(r.target.block);
    vec![Offer { operands: vec![blocked], result: Layout::Plain, cost_ns: vector_cost_ns(r) }]
}

pub fn build(r: &Request) -> Option<Kernel> {
    let (x, y) = (&r.ctx.operands[0], &r.ctx.results[0]);
    let (window, stride, pad) = (r.ctx.attrs.pair("kernel"), r.ctx.attrs.pair("stride"), r.ctx.attrs.quad("pad"));
    let is_max = r.op.name == "max_pool";
    let (size, lanes) = (window.map(u64::cast_signed), r.target.block);

    let mut k = KernelBuilder::new(format!("{}{}x{}_{}x{}", r.op.name, size[0], size[1], x.dims[2], x.dims[3]));
    let input = k.param("x", DType::F32, &x.physical(), Role::In);
    let output = k.param("y", DType::F32, &y.physical(), Role::Out);
    let &[n, blocks, rows, columns, _] = &y.physical()[..] else { return None };
    let row_blocks = (rows + ROWS - 1) / ROWS;
    let t = k.tasks(n * blocks * row_blocks);
    let (image, block) = (t.floordiv(row_blocks).floordiv(blocks), t.floordiv(row_blocks).modulo(blocks));
    let first = t.modulo(row_blocks) * ROWS;
    let geometry = Row {
        outputs: columns,
        inputs: x.dims[3],
        taps: size[1],
        stride: stride[1].cast_signed(),
        pad: pad[1].cast_signed(),
        dilation: 1,
    };
    let runs = geometry.runs(PIXELS);
    k.for_(0, min_of([Affine::constant(ROWS), &first * -1 + rows]), |k, row| {
        let row = &first + row;
        let tap = Tap::new(&row, stride[0], pad[0], 1, x.dims[2], size[0]);
        for run in &runs {
            run.for_each(k, |k, _, column| {
                let start = k.constant(DType::F32, lanes, if is_max { f64::NEG_INFINITY } else { 0.0 });
                let start = vec![start; run.pixels as usize];
                let out = k.for_carry(max_of(tap.lo.clone()), min_of(tap.hi.clone()), &start, |k, i, acc| {
                    let corner = [image.clone(), block.clone(), tap.at(&i), column * geometry.stride, 0.into()];
                    window_row(k, input, &corner, run, &geometry, lanes, is_max, acc)
                });
                for (p, &v) in (0..).zip(&out) {
                    let v = if is_max {
                        v
                    } else {
                        let count = k.constant(DType::F32, lanes, (size[0] * size[1]) as f64);
                        k.div(v, count)
                    };
                    k.store(output, &[image.clone(), block.clone(), row.clone(), column + p, 0.into()], v);
                }
            });
        }
    });
    Some(k.finish())
}

/// One row of the windows of a run's tile.
#[allow(clippy::too_many_arguments)]
fn window_row(
    k: &mut KernelBuilder,
    x: Buf,
    corner: &[Affine; 5],
    run: &Run,
    row: &Row,
    lanes: u32,
    is_max: bool,
    acc: &[Reg],
) -> Vec<Reg> {
    let op = if is_max { BinOp::MaxNan } else { BinOp::Add };
    let mut acc = acc.to_vec();
    for s in 0..row.taps {
        for p in (0..run.pixels).filter(|&p| !run.skip.contains(&(p, s))) {
            let [n, c, h, w, l] = corner.clone();
            let v = k.load_vec(x, lanes, &[n, c, h, w + row.column(p, s), l]);
            let a = &mut acc[p as usize];
            *a = k.bin(op, *a, v);
        }
    }
    acc
}

pub fn build_global(r: &Request) -> Option<Kernel> {
    let (x, y) = (&r.ctx.operands[0], &r.ctx.results[0]);
    let lanes = r.target.block;
    let &[n, blocks, h, w, _] = &x.physical()[..] else { return None };
    let mut k = KernelBuilder::new(format!("global_avg_pool_{h}x{w}_{}", x.dims[1]));
    let input = k.param("x", DType::F32, &x.physical(), Role::In);
    let output = k.param("y", DType::F32, &y.physical(), Role::Out);
    // A few channel blocks a task; the group size divides their number.
    let group = (1..=8).rev().find(|g| blocks % g == 0).unwrap_or(1);
    let t = k.tasks(n * blocks / group);
    let (image, first) = (t.floordiv(blocks / group), t.modulo(blocks / group) * group);
    k.for_(0, group, |k, g| {
        let block = &first + g;
        let zero = k.constant(DType::F32, lanes, 0.0);
        let sum = k.for_carry(0, h, &[zero], |k, i, sum| {
            k.for_carry(0, w, sum, |k, j, sum| {
                let v = k.load_vec(input, lanes, &[image.clone(), block.clone(), i.clone(), j, 0.into()]);
                vec![k.add(sum[0], v)]
            })
        });
        let count = k.constant(DType::F32, lanes, (h * w) as f64);
        let mean = k.div(sum[0], count);
        k.store(output, &[image.clone(), block * i64::from(lanes)], mean);
    });
    Some(k.finish())
}
