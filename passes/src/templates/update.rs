//! The end of a training step, on tensors as rows: partial sums are added, parameters move.

use super::{Offer, Request, vector_cost_ns};
use ir::entity::Buf;
use ir::kernel::build::{max_of, min_of};
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::ops::sgd_step;
use ir::ops::sum_splits::tree;
use ir::{DType, Kernel, Layout};

/// Vectors that one task handles.
const VECTORS_PER_TASK: i64 = 1024;

pub fn offers(r: &Request) -> Vec<Offer> {
    let operands = vec![Layout::Plain; r.ctx.operands.len()];
    vec![Offer { operands, result: Layout::Plain, cost_ns: vector_cost_ns(r) }]
}

pub fn build(r: &Request) -> Option<Kernel> {
    let total: i64 = r.ctx.results[0].dims.iter().product();
    let lanes = i64::from(r.target.block);
    let mut k = KernelBuilder::new(format!("{}_{total}", r.op.name));
    let ins: Vec<Buf> = (0..r.ctx.operands.len())
        .map(|i| {
            let elements: i64 = r.ctx.operands[i].dims.iter().product();
            let shape = if r.op.name == "sum_splits" { vec![elements / total, total] } else { vec![elements] };
            k.param(&format!("x{i}"), DType::F32, &shape, Role::In)
        })
        .collect();
    let outs: Vec<Buf> =
        (0..r.ctx.results.len()).map(|i| k.param(&format!("y{i}"), DType::F32, &[total], Role::Out)).collect();
    let step = |k: &mut KernelBuilder, at: &Affine, lanes: i64| {
        let lanes = lanes as u32;
        let values = match r.op.name {
            "sum_splits" => {
                let splits = k.shape(ins[0])[0];
                vec![tree(k, 0..splits, &mut |k, s| k.load_vec(ins[0], lanes, &[s.into(), at.clone()]))]
            }
            "sgd_step" => {
                let [weight, velocity, g] = [0, 1, 2].map(|i| k.load_vec(ins[i], lanes, std::slice::from_ref(at)));
                let lr = k.load(ins[3], &[0.into()]);
                let lr = k.splat(lr, lanes);
                sgd_step::step(k, r.ctx.attrs, [weight, velocity, g, lr]).to_vec()
            }
            name => unreachable!("invariant: the table lists no {name} for this template"),
        };
        for (&out, v) in outs.iter().zip(values) {
            k.store(out, std::slice::from_ref(at), v);
        }
    };
    let chunk = VECTORS_PER_TASK * lanes;
    let first = k.tasks((total + chunk - 1) / chunk) * chunk;
    let vectors = total / lanes;
    let here = (&first * -1 + vectors * lanes).floordiv(lanes);
    k.for_(0, min_of([Affine::constant(VECTORS_PER_TASK), here]), |k, i| step(k, &(&first + i * lanes), lanes));
    if total % lanes > 0 {
        // The elements after the last whole vector, in the task whose chunk they are in.
        let start = max_of([Affine::constant(0), &first * -1 + vectors * lanes]);
        let end = min_of([Affine::constant(chunk), &first * -1 + total]);
        k.for_(start, end, |k, i| step(k, &(&first + i), 1));
    }
    Some(k.finish())
}
