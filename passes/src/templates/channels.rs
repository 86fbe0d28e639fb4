//! Sums over everything but the channels, on channel blocks: one task a block of a part of the images.
//!
//! As in the ops' bodies a row is summed in f32 and rows in f64, so that a batch of any size loses no more than a row
//! does; moments are summed in f64 altogether. A row has several running sums, because one would wait for each addition.

use super::{Offer, Request, vector_cost_ns};
use ir::entity::{Buf, Reg};
use ir::kernel::build::min_of;
use ir::kernel::{Affine, KernelBuilder, Role, UnOp};
use ir::ops::batch_norm::EPS;
use ir::ops::splits::images_per_split;
use ir::{DType, Kernel, Layout};

/// Running sums of a row: in f64, which takes twice the registers, half as many.
fn running_sums(r: &Request) -> i64 {
    if r.op.name == "channel_moments" { 2 } else { 4 }
}

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
        (0..results.len()).map(|i| k.param(&format!("y{i}"), results[i].dtype, &results[i].dims, Role::Out)).collect();
    let blocks = channels / r.block();
    let t = k.tasks(results[0].dims[0] * blocks);
    let (split, block) = (t.floordiv(blocks), t.modulo(blocks));
    let channel = [&block * r.block()];
    let mean = (r.op.name == "batch_norm_grad_params").then(|| k.load_vec(ins[2], lanes, &channel));
    let part = images_per_split(images, results[0].dims[0]);
    let first = &split * part;
    let here = min_of([Affine::constant(part), &first * -1 + images]);
    let terms = |k: &mut KernelBuilder, at: &[Affine]| terms(k, r, &ins, mean, at);
    let none = k.constant(DType::F64, lanes, 0.0);
    let sums = k.for_carry(0, here, &vec![none; outs.len()], |k, n, acc| {
        let image = &first + n;
        k.for_carry(0, height, acc, |k, i, acc| {
            let at = |j: Affine| [image.clone(), block.clone(), i.clone(), j, 0.into()];
            let sums = row(k, [width, running_sums(r)], outs.len(), &|k, j| terms(k, &at(j)));
            let wide = |(&a, s): (&Reg, Reg)| {
                let s = k.convert(s, DType::F64);
                k.add(a, s)
            };
            acc.iter().zip(sums).map(wide).collect()
        })
    });
    for ((out, y), sum) in outs.into_iter().zip(0..).zip(sums) {
        let v = finish(&mut k, r, &ins, &channel, y, sum);
        let v = k.convert(v, results[y].dtype);
        k.store(out, &[split.clone(), channel[0].clone()], v);
    }
    k.finish()
}

/// What is added.
enum Term {
    Value(Reg),
    Product(Reg, Reg),
}

impl Term {
    fn value(self, k: &mut KernelBuilder) -> Reg {
        match self {
            Term::Value(a) => a,
            Term::Product(a, b) => k.mul(a, b),
        }
    }

    fn plus(self, k: &mut KernelBuilder, sum: Reg) -> Reg {
        match self {
            Term::Value(a) => k.add(sum, a),
            Term::Product(a, b) => k.fma(a, b, sum),
        }
    }
}

/// Sums of the terms of a row of that width, in so many running sums.
fn row(
    k: &mut KernelBuilder,
    [width, running]: [i64; 2],
    results: usize,
    terms: &dyn Fn(&mut KernelBuilder, Affine) -> Vec<Term>,
) -> Vec<Reg> {
    let running = width.min(running);
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

/// What is added for one pixel, for each result.
fn terms(k: &mut KernelBuilder, r: &Request, ins: &[Buf], mean: Option<Reg>, at: &[Affine]) -> Vec<Term> {
    let lanes = r.target.block;
    let first = k.load_vec(ins[0], lanes, at);
    match (r.op.name, mean) {
        ("channel_moments", _) => {
            let x = k.convert(first, DType::F64);
            vec![Term::Value(x), Term::Product(x, x)]
        }
        ("batch_norm_grad_params", Some(mean)) => {
            let x = k.load_vec(ins[1], lanes, at);
            let centred = k.sub(x, mean);
            vec![Term::Product(first, centred), Term::Value(first)]
        }
        ("channel_dot", _) => {
            let z = k.load_vec(ins[1], lanes, at);
            vec![Term::Product(first, z)]
        }
        _ => vec![Term::Value(first)],
    }
}

/// Result number `y` of its sums in f64.
fn finish(k: &mut KernelBuilder, r: &Request, ins: &[Buf], channel: &[Affine], y: usize, sum: Reg) -> Reg {
    let lanes = r.target.block;
    match (r.op.name, y) {
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
