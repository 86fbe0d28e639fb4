//! Sums over everything but the channels, on channel blocks: one task a block of a part of the images.
//!
//! As in the ops' bodies a row is summed in f32 and rows in f64, so that a batch of any size loses no more than a row
//! does; a row has four running sums, because one would wait for each addition.

use super::{Offer, Request, vector_cost_ns};
use ir::entity::{Buf, Reg};
use ir::kernel::build::min_of;
use ir::kernel::{Affine, KernelBuilder, Role, UnOp};
use ir::ops::batch_norm::EPS;
use ir::ops::channels;
use ir::ops::conv2d_grad_weight::images_per_split;
use ir::{DType, Kernel, Layout};

/// Running sums of a row.
const SUMS: i64 = 4;

pub fn offers(r: &Request) -> Vec<Offer> {
    let x = &r.ctx.operands[0];
    if x.dims.len() != 4 || x.dims[1] % r.block() != 0 {
        return Vec::new();
    }
    let layout = |t: &ir::op::BufType| if t.dims.len() == 4 { Layout::Blocked(r.target.block) } else { Layout::Plain };
    let operands = r.ctx.operands.iter().map(layout).collect();
    vec![Offer { operands, result: Layout::Plain, cost_ns: vector_cost_ns(r) }]
}

pub fn build(r: &Request) -> Option<Kernel> {
    let offer = offers(r).pop()?;
    r.ctx.operands.iter().map(|t| t.layout).eq(offer.operands).then(|| kernel(r))
}

fn kernel(r: &Request) -> Kernel {
    let (x, results) = (&r.ctx.operands[0], &r.ctx.results);
    let &[images, channels, height, width] = &x.dims[..] else { unreachable!("invariant: an offer is for images") };
    let lanes = r.target.block;
    let mut k = KernelBuilder::new(format!("{}_{channels}_{height}x{width}", r.op.name));
    let ins: Vec<Buf> = (0..r.ctx.operands.len())
        .map(|i| k.param(&format!("x{i}"), DType::F32, &r.ctx.operands[i].physical(), Role::In))
        .collect();
    let outs: Vec<Buf> =
        (0..results.len()).map(|i| k.param(&format!("y{i}"), DType::F32, &results[i].dims, Role::Out)).collect();
    let blocks = channels / r.block();
    let t = k.tasks(results[0].dims[0] * blocks);
    let (split, block) = (t.floordiv(blocks), t.modulo(blocks));
    let channel = [&block * r.block()];
    let mean = mean_operand(r).map(|i| k.load_vec(ins[i], lanes, &channel));
    let part = images_per_split(images, results[0].dims[0]);
    let first = &split * part;
    let here = min_of([Affine::constant(part), &first * -1 + images]);
    let terms = |k: &mut KernelBuilder, at: &[Affine]| terms(k, r, &ins, mean, at);
    let none = k.constant(DType::F64, lanes, 0.0);
    let sums = k.for_carry(0, here, &vec![none; outs.len()], |k, n, acc| {
        let image = &first + n;
        k.for_carry(0, height, acc, |k, i, acc| {
            let at = |j: Affine| [image.clone(), block.clone(), i.clone(), j, 0.into()];
            let sums = row(k, width, outs.len(), &|k, j| terms(k, &at(j)));
            let wide = |(&a, s): (&Reg, Reg)| {
                let s = k.convert(s, DType::F64);
                k.add(a, s)
            };
            acc.iter().zip(sums).map(wide).collect()
        })
    });
    for ((out, y), sum) in outs.into_iter().zip(0..).zip(sums) {
        let v = finish(&mut k, r, &ins, &channel, y, sum);
        let v = k.convert(v, DType::F32);
        k.store(out, &[split.clone(), channel[0].clone()], v);
    }
    k.finish()
}

/// Sums of a row's terms.
fn row(
    k: &mut KernelBuilder,
    width: i64,
    results: usize,
    terms: &dyn Fn(&mut KernelBuilder, Affine) -> Vec<Reg>,
) -> Vec<Reg> {
    let running = width.min(SUMS);
    let mut sums: Vec<Reg> = (0..running).flat_map(|j| terms(k, j.into())).collect();
    let add = |k: &mut KernelBuilder, sums: &mut [Reg], first: &Affine, count: i64| {
        for j in 0..count {
            for (n, term) in (0..).zip(terms(k, first + j)) {
                let sum = &mut sums[j as usize * results + n];
                *sum = k.add(*sum, term);
            }
        }
    };
    let steps = width / running;
    if steps > 1 {
        sums = k.for_carry(1, steps, &sums, |k, step, sums| {
            let mut sums = sums.to_vec();
            add(k, &mut sums, &(step * running), running);
            sums
        });
    }
    add(k, &mut sums, &(steps * running).into(), width % running);
    let mut sums: Vec<Vec<Reg>> = sums.chunks(results).map(<[Reg]>::to_vec).collect();
    while sums.len() > 1 {
        let pair = |p: &[Vec<Reg>]| match p {
            [a, b] => a.iter().zip(b).map(|(&a, &b)| k.add(a, b)).collect(),
            _ => p[0].clone(),
        };
        sums = sums.chunks(2).map(pair).collect();
    }
    sums.swap_remove(0)
}

fn mean_operand(r: &Request) -> Option<usize> {
    match r.op.name {
        "channel_variance" => Some(1),
        "batch_norm_grad_params" => Some(2),
        _ => None,
    }
}

/// What is added for one pixel, for each result.
fn terms(k: &mut KernelBuilder, r: &Request, ins: &[Buf], mean: Option<Reg>, at: &[Affine]) -> Vec<Reg> {
    let lanes = r.target.block;
    let first = k.load_vec(ins[0], lanes, at);
    match (r.op.name, mean) {
        ("channel_variance", Some(mean)) => {
            let d = k.sub(first, mean);
            vec![k.mul(d, d)]
        }
        ("batch_norm_grad_params", Some(mean)) => {
            let x = k.load_vec(ins[1], lanes, at);
            let centred = k.sub(x, mean);
            vec![k.mul(first, centred), first]
        }
        ("channel_dot", _) => {
            let z = k.load_vec(ins[1], lanes, at);
            vec![k.mul(first, z)]
        }
        _ => vec![first],
    }
}

/// Result number `y` of its sums in f64.
fn finish(k: &mut KernelBuilder, r: &Request, ins: &[Buf], channel: &[Affine], y: usize, sum: Reg) -> Reg {
    let lanes = r.target.block;
    match (r.op.name, y) {
        ("channel_mean" | "channel_variance", _) => {
            let count = k.constant(DType::F64, lanes, channels::elements(&r.ctx.operands[0].dims) as f64);
            k.div(sum, count)
        }
        ("batch_norm_grad_params", 0) => {
            let var = k.load_vec(ins[3], lanes, channel);
            let var = k.convert(var, DType::F64);
            let eps = k.constant(DType::F64, lanes, r.ctx.attrs.float(EPS.name));
            let shifted = k.add(var, eps);
            let deviation = k.un(UnOp::Sqrt, shifted);
            k.div(sum, deviation)
        }
        _ => sum,
    }
}
