//! Element-wise maps, and every other pixel for a shortcut, as vector code.
//!
//! `relu`, its gradient, `clamp` and `add` do not care about layout: they run over the tensor as one row. `scale`,
//! `scale_shift` with its epilogue, batch norms, `subsample` and their gradients work on channel blocks.

use super::epilogue;
use super::{Offer, Request, vector_cost_ns};
use ir::entity::{Buf, Reg};
use ir::kernel::build::min_of;
use ir::kernel::{Affine, KernelBuilder, Role, UnOp};
use ir::ops::batch_norm::EPS;
use ir::ops::{channels, relu_grad};
use ir::{DType, Kernel, Layout};

/// Vectors that one task of a flat map handles: some tens of kilobytes.
const VECTORS_PER_TASK: i64 = 1024;

fn is_flat(r: &Request) -> bool {
    matches!(r.op.name, "relu" | "relu_grad" | "clamp" | "add")
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
    let given: Vec<Layout> = r.ctx.operands.iter().map(|t| t.layout).collect();
    offers(r).into_iter().find(|o| o.operands == given && o.result == r.ctx.results[0].layout)?;
    Some(if is_flat(r) { flat(r) } else { by_block(r) })
}

fn map(k: &mut KernelBuilder, r: &Request, v: &[Reg], lanes: u32) -> Reg {
    match r.op.name {
        "relu" => {
            let zero = k.constant(DType::F32, lanes, 0.0);
            k.max(v[0], zero)
        }
        "relu_grad" => relu_grad::masked(k, v[0], v[1]),
        "clamp" => {
            let lo = k.constant(DType::F32, lanes, r.ctx.attrs.float("lo"));
            let hi = k.constant(DType::F32, lanes, r.ctx.attrs.float("hi"));
            let low = k.max(v[0], lo);
            k.min(low, hi)
        }
        _ => v[1..].iter().fold(v[0], |sum, &x| k.add(sum, x)),
    }
}

fn flat(r: &Request) -> Kernel {
    let total: i64 = r.ctx.results[0].dims.iter().product();
    let lanes = i64::from(r.target.block);
    let mut k = KernelBuilder::new(format!("{}_{total}", r.op.name));
    let ins: Vec<Buf> =
        (0..r.ctx.operands.len()).map(|i| k.param(&format!("x{i}"), DType::F32, &[total], Role::In)).collect();
    let y = k.param("y", DType::F32, &[total], Role::Out);
    let step = |k: &mut KernelBuilder, at: Affine, lanes: i64| {
        let v: Vec<Reg> = ins.iter().map(|&b| k.load_vec(b, lanes as u32, std::slice::from_ref(&at))).collect();
        let v = map(k, r, &v, lanes as u32);
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
fn by_block(r: &Request) -> Kernel {
    let (x, y) = (&r.ctx.operands[0], &r.ctx.results[0]);
    let lanes = r.target.block;
    let mut k = KernelBuilder::new(format!("{}_{}_{}x{}", r.op.name, y.dims[1], y.dims[2], y.dims[3]));
    let ins: Vec<Buf> = (0..r.ctx.operands.len())
        .map(|i| k.param(&format!("x{i}"), DType::F32, &r.ctx.operands[i].physical(), Role::In))
        .collect();
    let out = k.param("y", DType::F32, &y.physical(), Role::Out);
    let (blocks, h, w) = (y.dims[1] / r.block(), y.dims[2], y.dims[3]);
    let t = k.tasks(y.dims[0] * blocks);
    let (image, block) = (t.floordiv(blocks), t.modulo(blocks));
    let each_pixel = |k: &mut KernelBuilder, f: &mut dyn FnMut(&mut KernelBuilder, &Affine, &Affine)| {
        k.for_(0, h, |k, i| k.for_(0, w, |k, j| f(k, &i, &j)));
    };
    let at = |i: &Affine, j: &Affine| [image.clone(), block.clone(), i.clone(), j.clone(), 0.into()];
    let channel = [&block * i64::from(lanes)];
    match r.op.name {
        "batch_norm" | "batch_norm_grad_input" => {
            let map = norm(&mut k, r, &ins, &channel);
            each_pixel(&mut k, &mut |k, i, j| {
                let v = map(k, &at(i, j));
                k.store(out, &at(i, j), v);
            });
        }
        "scale" => {
            let a = k.load_vec(ins[1], lanes, &channel);
            each_pixel(&mut k, &mut |k, i, j| {
                let v = k.load_vec(ins[0], lanes, &at(i, j));
                let v = k.mul(v, a);
                k.store(out, &at(i, j), v);
            });
        }
        "scale_shift" => {
            let (a, b) = (k.load_vec(ins[1], lanes, &channel), k.load_vec(ins[2], lanes, &channel));
            each_pixel(&mut k, &mut |k, i, j| {
                let v = k.load_vec(ins[0], lanes, &at(i, j));
                let v = k.fma(v, a, b);
                let index = at(i, j);
                let target = epilogue::At { channel: channel[0].clone(), index: &index, lanes };
                let v = epilogue::all(k, r.ctx, &ins, &target, v);
                k.store(out, &index, v);
            });
        }
        "subsample_grad" => {
            let zero = k.constant(DType::F32, lanes, 0.0);
            each_pixel(&mut k, &mut |k, i, j| k.store(out, &at(i, j), zero));
            let step = r.ctx.attrs.pair("step").map(u64::cast_signed);
            k.for_(0, x.dims[2], |k, i| {
                k.for_(0, x.dims[3], |k, j| {
                    let v = k.load_vec(ins[0], lanes, &at(&i, &j));
                    k.store(out, &at(&(&i * step[0]), &(&j * step[1])), v);
                });
            });
        }
        "subsample" => {
            let step = r.ctx.attrs.pair("step").map(u64::cast_signed);
            each_pixel(&mut k, &mut |k, i, j| {
                let v = k.load_vec(ins[0], lanes, &at(&(i * step[0]), &(j * step[1])));
                k.store(out, &at(i, j), v);
            });
        }
        name => unreachable!("invariant: the table lists no {name} for this template"),
    }
    k.finish()
}

/// Batch normalisation, or its gradient, of a channel block: what is the same for all pixels is computed here, the
/// result gives a pixel.
fn norm<'a>(
    k: &mut KernelBuilder,
    r: &'a Request,
    ins: &'a [Buf],
    channel: &[Affine],
) -> Box<dyn Fn(&mut KernelBuilder, &[Affine]) -> Reg + 'a> {
    let lanes = r.target.block;
    let is_forward = r.op.name == "batch_norm";
    // Where gamma, mean and variance are among the operands.
    let [gamma, mean, var] = if is_forward { [1, 3, 4] } else { [2, 3, 4] };
    let vector = |k: &mut KernelBuilder, i: usize| k.load_vec(ins[i], lanes, channel);
    let [gamma, mean, var] = [gamma, mean, var].map(|i| vector(k, i));
    let eps = k.constant(DType::F32, lanes, r.ctx.attrs.float(EPS.name));
    let shifted = k.add(var, eps);
    let deviation = k.un(UnOp::Sqrt, shifted);
    let scale = k.div(gamma, deviation);
    if is_forward {
        let beta = vector(k, 2);
        return Box::new(move |k, at| {
            let x = k.load_vec(ins[0], lanes, at);
            let centred = k.sub(x, mean);
            k.fma(centred, scale, beta)
        });
    }
    let (dgamma, dbeta) = (vector(k, 5), vector(k, 6));
    let count = k.constant(DType::F32, lanes, channels::elements(&r.ctx.operands[0].dims) as f64);
    let shift = k.div(dbeta, count);
    let slope = k.mul(deviation, count);
    let slope = k.div(dgamma, slope);
    Box::new(move |k, at| {
        let [g, x] = [0, 1].map(|i| k.load_vec(ins[i], lanes, at));
        let centred = k.sub(x, mean);
        let along = k.mul(centred, slope);
        let rest = k.sub(g, shift);
        let rest = k.sub(rest, along);
        k.mul(scale, rest)
    })
}
