//! `pad_channels` and its gradient `slice_channels`, the option-A shortcut, on channel blocks: they move channels by a
//! number that need not be a whole block, but whose greatest common divisor with it is a vector.

use super::{Offer, Request, vector_cost_ns};
use ir::entity::Buf;
use ir::kernel::build::{max_of, min_of};
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::{DType, Kernel, Layout};

/// Fewer channels at a time are no better than the body.
const FEWEST_LANES: i64 = 4;

/// By how many channels those of the result come before the operand's; the unit in which they move.
fn shift(r: &Request) -> [i64; 2] {
    let channels = match r.op.name {
        "pad_channels" => r.ctx.attrs.int("before"),
        "slice_channels" => -r.ctx.attrs.int("start"),
        name => unreachable!("invariant: the table lists no {name} for this template"),
    };
    let unit = (1..=r.block()).rev().find(|n| r.block() % n == 0 && channels % n == 0);
    [channels, unit.unwrap_or(1)]
}

pub fn offers(r: &Request) -> Vec<Offer> {
    let is_blocked = |t: &ir::op::BufType| t.dims.len() == 4 && t.dims[1] % r.block() == 0;
    let [_, unit] = shift(r);
    if unit < FEWEST_LANES || !is_blocked(&r.ctx.operands[0]) || !is_blocked(&r.ctx.results[0]) {
        return Vec::new();
    }
    let layout = Layout::Blocked(r.target.block);
    vec![Offer { operands: vec![layout], result: layout, cost_ns: vector_cost_ns(r) }]
}

/// One task a channel block of the result.
pub fn build(r: &Request) -> Option<Kernel> {
    let (x, y) = (&r.ctx.operands[0], &r.ctx.results[0]);
    let [channels, unit] = shift(r);
    let (lanes, parts) = (u32::try_from(unit).ok()?, r.block() / unit);
    let mut k = KernelBuilder::new(format!("{}_{}_{}x{}", r.op.name, y.dims[1], y.dims[2], y.dims[3]));
    let from = k.param("x0", DType::F32, &x.physical(), Role::In);
    let to = k.param("y", DType::F32, &y.physical(), Role::Out);
    let (blocks, h, w) = (y.dims[1] / r.block(), y.dims[2], y.dims[3]);
    let t = k.tasks(y.dims[0] * blocks);
    let (image, block) = (t.floordiv(blocks), t.modulo(blocks));
    let each_pixel = |k: &mut KernelBuilder, f: &mut dyn FnMut(&mut KernelBuilder, Affine, Affine)| {
        k.for_(0, h, |k, i| k.for_(0, w, |k, j| f(k, i.clone(), j)));
    };
    let store = |k: &mut KernelBuilder, lane: i64, [i, j]: [Affine; 2], v| {
        k.store(to, &[image.clone(), block.clone(), i, j, lane.into()], v);
    };
    let load = |k: &mut KernelBuilder, buf: Buf, at: &Affine, [i, j]: [Affine; 2]| {
        k.load_vec(buf, lanes, &[image.clone(), at.floordiv(parts), i, j, at.modulo(parts) * unit])
    };
    let is_padded = y.dims[1] > x.dims[1];
    if is_padded {
        let zero = k.constant(DType::F32, r.target.block, 0.0);
        each_pixel(&mut k, &mut |k, i, j| store(k, 0, [i, j], zero));
    }
    for part in 0..parts {
        let source = &block * parts + (part - channels / unit);
        // Runs once for units that come from the operand, not at all for the zeros around them.
        let (lo, hi) = match is_padded {
            true => (max_of([0.into(), source.clone()]), min_of([source + 1, (x.dims[1] / unit).into()])),
            false => (source.clone().into(), (source + 1).into()),
        };
        k.for_(lo, hi, |k, at| {
            each_pixel(k, &mut |k, i, j| {
                let v = load(k, from, &at, [i.clone(), j.clone()]);
                store(k, part * unit, [i, j], v);
            });
        });
    }
    Some(k.finish())
}
