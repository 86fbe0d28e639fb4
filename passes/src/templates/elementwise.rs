//! Maps as vector code. One without vectors of channels does not care about layout and runs over its tensors as rows; the
//! others work on channel blocks.

use super::epilogue;
use super::{Offer, Request, vector_cost_ns};
use ir::entity::{Buf, Reg};
use ir::kernel::build::min_of;
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::op::Body;
use ir::ops::map::Map;
use ir::{DType, Kernel, Layout};

/// Vectors that one task of a flat map handles: some tens of kilobytes.
const VECTORS_PER_TASK: i64 = 1024;

fn is_flat(r: &Request) -> bool {
    (0..r.ctx.operands.len()).all(|i| !r.ctx.is_vector(i))
}

pub fn offers(r: &Request) -> Vec<Offer> {
    let offer = |layout: Layout| {
        let operands = r.ctx.operands.iter().map(|t| if t.dims.len() == 4 { layout } else { Layout::Plain }).collect();
        Offer { operands, result: layout, cost_ns: vector_cost_ns(r) }
    };
    let dims = |t: &ir::op::BufType| t.dims.len() == 4 && t.dims[1] % r.block() == 0;
    let mut out = Vec::new();
    out.extend(dims(&r.ctx.results[0]).then(|| offer(Layout::Blocked(r.target.block))));
    out.extend(is_flat(r).then(|| offer(Layout::Plain)));
    out
}

pub fn build(r: &Request) -> Option<Kernel> {
    let Body::Map(map) = r.op.body else { return None };
    Some(if is_flat(r) { flat(r, map) } else { by_block(r, map) })
}

fn flat(r: &Request, map: Map) -> Kernel {
    let total: i64 = r.ctx.results[0].dims.iter().product();
    let lanes = i64::from(r.target.block);
    let mut k = KernelBuilder::new(format!("{}_{total}", r.op.name));
    let ins: Vec<Buf> =
        (0..r.ctx.operands.len()).map(|i| k.param(&format!("x{i}"), DType::F32, &[total], Role::In)).collect();
    let y = k.param("y", DType::F32, &[total], Role::Out);
    let step = |k: &mut KernelBuilder, at: Affine, lanes: i64| {
        let v: Vec<Reg> = ins.iter().map(|&b| k.load_vec(b, lanes as u32, std::slice::from_ref(&at))).collect();
        let v = (map.element)(k, r.ctx, &v, &[]);
        k.store(y, &[at], v);
    };
    let chunk = VECTORS_PER_TASK * lanes;
    let t = k.tasks((total + chunk - 1) / chunk);
    let vectors = total / lanes;
    k.for_(0, min_of([Affine::constant(VECTORS_PER_TASK), &t * -VECTORS_PER_TASK + vectors]), |k, i| {
        step(k, &t * chunk + i * lanes, lanes);
    });
    if total % lanes > 0 {
        // The elements after the last whole vector, in the task whose chunk they are in.
        let start = &t * -chunk + vectors * lanes;
        let end = min_of([Affine::constant(chunk), &t * -chunk + total]);
        k.for_(ir::kernel::build::max_of([Affine::constant(0), start]), end, |k, i| step(k, &t * chunk + i, 1));
    }
    k.finish()
}

/// One task a channel block of the result.
fn by_block(r: &Request, map: Map) -> Kernel {
    let y = &r.ctx.results[0];
    let lanes = r.target.block;
    let mut k = KernelBuilder::new(format!("{}_{}_{}x{}", r.op.name, y.dims[1], y.dims[2], y.dims[3]));
    let ins: Vec<Buf> = (0..r.ctx.operands.len())
        .map(|i| k.param(&format!("x{i}"), DType::F32, &r.ctx.operands[i].physical(), Role::In))
        .collect();
    let out = k.param("y", DType::F32, &y.physical(), Role::Out);
    let (blocks, h, w) = (y.dims[1] / r.block(), y.dims[2], y.dims[3]);
    let t = k.tasks(y.dims[0] * blocks);
    let (image, block) = (t.floordiv(blocks), t.modulo(blocks));
    let channel = &block * i64::from(lanes);
    let [tensors, vectors] = r.ctx.tensors_and_vectors();
    let vectors: Vec<Reg> =
        vectors.iter().map(|&i| k.load_vec(ins[i], lanes, std::slice::from_ref(&channel))).collect();
    let of_channel = (map.channel)(&mut k, r.ctx, &vectors);
    k.for_(0, h, |k, i| {
        k.for_(0, w, |k, j| {
            let at = [image.clone(), block.clone(), i.clone(), j, 0.into()];
            let x: Vec<Reg> = tensors.iter().map(|&i| k.load_vec(ins[i], lanes, &at)).collect();
            let v = (map.element)(k, r.ctx, &x, &of_channel);
            let v = epilogue::all(k, r.ctx, &ins, &epilogue::At { channel: channel.clone(), index: &at, lanes }, v);
            k.store(out, &at, v);
        });
    });
    k.finish()
}
