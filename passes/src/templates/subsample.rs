//! `subsample` and its gradient, every other pixel of a shortcut, on channel blocks.

use super::{Offer, Request, vector_cost_ns};
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::{DType, Kernel, Layout};

pub fn offers(r: &Request) -> Vec<Offer> {
    let layout = Layout::Blocked(r.target.block);
    let offer = Offer { operands: vec![layout], result: layout, cost_ns: vector_cost_ns(r) };
    (r.ctx.results[0].dims[1] % r.block() == 0).then_some(offer).into_iter().collect()
}

/// One task a channel block of the result.
pub fn build(r: &Request) -> Option<Kernel> {
    let (x, y) = (&r.ctx.operands[0], &r.ctx.results[0]);
    let lanes = r.target.block;
    let step = r.ctx.attrs.pair("step").map(u64::cast_signed);
    let mut k = KernelBuilder::new(format!("{}_{}_{}x{}", r.op.name, y.dims[1], y.dims[2], y.dims[3]));
    let input = k.param("x0", DType::F32, &x.physical(), Role::In);
    let out = k.param("y", DType::F32, &y.physical(), Role::Out);
    let blocks = y.dims[1] / r.block();
    let t = k.tasks(y.dims[0] * blocks);
    let (image, block) = (t.floordiv(blocks), t.modulo(blocks));
    let at = |i: Affine, j: Affine| [image.clone(), block.clone(), i, j, 0.into()];
    let is_gradient = r.op.name == "subsample_grad";
    if is_gradient {
        let zero = k.constant(DType::F32, lanes, 0.0);
        k.for_(0, y.dims[2], |k, i| k.for_(0, y.dims[3], |k, j| k.store(out, &at(i.clone(), j), zero)));
    }
    let few = if is_gradient { x } else { y };
    k.for_(0, few.dims[2], |k, i| {
        k.for_(0, few.dims[3], |k, j| {
            let (few, many) = (at(i.clone(), j.clone()), at(&i * step[0], &j * step[1]));
            let (from, to) = if is_gradient { (few, many) } else { (many, few) };
            let v = k.load_vec(input, lanes, &from);
            k.store(out, &to, v);
        });
    });
    Some(k.finish())
}
