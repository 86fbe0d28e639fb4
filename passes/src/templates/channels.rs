//! Sums over everything but the channels, on channel blocks: one task a block of a part of the images.
//!
//! As in the ops' bodies a row is summed in f32 and rows in f64, so that a batch of any size loses no more than a row
//! does; moments are summed in f64 altogether. A row has several running sums, because one would wait for each addition.

use super::{Offer, Request, vector_cost_ns};
use ir::entity::{Buf, Reg};
use ir::kernel::build::min_of;
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::op::Body;
use ir::ops::channels::{self, Term};
use ir::ops::splits::images_per_split;
use ir::{DType, Kernel, Layout};

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
    let Body::Sums(sums) = r.op.body else { return None };
    let results = &r.ctx.results;
    let &[images, channels, height, width] = &r.ctx.operands[0].dims[..] else { return None };
    let lanes = r.target.block;
    let mut k = KernelBuilder::new(format!("{}_{channels}_{height}x{width}", r.op.name));
    let ins: Vec<Buf> = (0..r.ctx.operands.len())
        .map(|i| k.param(&format!("x{i}"), DType::F32, &r.ctx.operands[i].physical(), Role::In))
        .collect();
    let outs: Vec<Buf> =
        (0..results.len()).map(|i| k.param(&format!("y{i}"), results[i].dtype, &results[i].dims, Role::Out)).collect();
    let blocks = channels / r.block();
    let t = k.tasks(results[0].dims[0] * blocks);
    let (split, block) = (t.floordiv(blocks), t.modulo(blocks));
    let channel = [&block * r.block()];
    let [tensors, vectors] = r.ctx.tensors_and_vectors();
    let vectors: Vec<Reg> = vectors.iter().map(|&i| k.load_vec(ins[i], lanes, &channel)).collect();
    // In f64, which takes twice the registers, half as many.
    let running = width.min(if results[0].dtype == DType::F64 { 2 } else { 4 });
    let part = images_per_split(images, results[0].dims[0]);
    let first = &split * part;
    let here = min_of([Affine::constant(part), &first * -1 + images]);
    let none = k.constant(DType::F64, lanes, 0.0);
    let totals = k.for_carry(0, here, &vec![none; outs.len()], |k, n, acc| {
        let image = &first + n;
        k.for_carry(0, height, acc, |k, i, acc| {
            let sums = row(k, [width, running], outs.len(), &|k, j| {
                let at = [image.clone(), block.clone(), i.clone(), j, 0.into()];
                let x: Vec<Reg> = tensors.iter().map(|&i| k.load_vec(ins[i], lanes, &at)).collect();
                (sums.terms)(k, &x, &vectors)
            });
            channels::add_row(k, acc, sums)
        })
    });
    let values = (sums.finish)(&mut k, r.ctx, &vectors, &totals);
    for ((out, y), v) in outs.into_iter().zip(results).zip(values) {
        let v = k.convert(v, y.dtype);
        k.store(out, &[split.clone(), channel[0].clone()], v);
    }
    Some(k.finish())
}

/// Sums of the terms of a row of that width, in so many running sums.
fn row(
    k: &mut KernelBuilder,
    [width, running]: [i64; 2],
    results: usize,
    terms: &dyn Fn(&mut KernelBuilder, Affine) -> Vec<Term>,
) -> Vec<Reg> {
    let mut sums: Vec<Reg> = Vec::new();
    for j in 0..running {
        let first = terms(k, j.into());
        sums.extend(first.into_iter().map(|t| t.value(k)));
    }
    let add = |k: &mut KernelBuilder, sums: &mut [Reg], first: &Affine, count: i64| {
        for j in 0..count {
            for (n, term) in (0..).zip(terms(k, first + j)) {
                let sum = &mut sums[j as usize * results + n];
                *sum = term.plus(k, *sum);
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
