//! Gradient of a max pool on blocked images, a vector of channels at a time: first the place of each window's maximum,
//! which stays in scratch memory, then each pixel's sum over the windows that chose it.

use super::{Offer, Request, vector_cost_ns};
use ir::kernel::{Affine, KernelBuilder, Role, Test};
use ir::ops::max_pool_grad::first_maximum;
use ir::ops::pool::Pool;
use ir::{DType, Kernel, Layout};

pub fn offers(r: &Request) -> Vec<Offer> {
    let blocked = Layout::Blocked(r.target.block);
    let fits = r.ctx.results[0].dims[1] % r.block() == 0;
    fits.then(|| Offer { operands: vec![blocked; 2], result: blocked, cost_ns: vector_cost_ns(r) })
        .into_iter()
        .collect()
}

pub fn build(r: &Request) -> Option<Kernel> {
    let (g, x, dx) = (&r.ctx.operands[0], &r.ctx.operands[1], &r.ctx.results[0]);
    let (pool, lanes) = (Pool::of(r.ctx.attrs), r.target.block);
    let mut k = KernelBuilder::new(format!("max_pool_grad_{}_{}x{}", dx.dims[1], dx.dims[2], dx.dims[3]));
    let gradient = k.param("x0", DType::F32, &g.physical(), Role::In);
    let input = k.param("x1", DType::F32, &x.physical(), Role::In);
    let y = k.param("y", DType::F32, &dx.physical(), Role::Out);
    let windows = [g.dims[2], g.dims[3]];
    let chosen = k.scratch("chosen", DType::F32, &[windows[0], windows[1], r.block()]);
    let blocks = dx.dims[1] / r.block();
    let t = k.tasks(dx.dims[0] * blocks);
    let (image, block) = (t.floordiv(blocks), t.modulo(blocks));
    k.for_(0, windows[0], |k, i| {
        k.for_(0, windows[1], |k, j| {
            let load = &mut |k: &mut KernelBuilder, row: &Affine, column: &Affine| {
                k.load_vec(input, lanes, &[image.clone(), block.clone(), row.clone(), column.clone(), 0.into()])
            };
            let place = first_maximum(k, &pool, [x.dims[2], x.dims[3]], [&i, &j], (DType::F32, lanes), load);
            k.store(chosen, &[i.clone(), j, 0.into()], place);
        });
    });
    k.for_(0, dx.dims[2], |k, row| {
        k.for_(0, dx.dims[3], |k, column| {
            let here = k.index(DType::F32, &row * dx.dims[3] + &column);
            let here = k.splat(here, lanes);
            let zero = k.constant(DType::F32, lanes, 0.0);
            let at = [image.clone(), block.clone(), row.clone(), column.clone()];
            let sum = pool.windows_around(k, windows, &at, zero, |k, i, j, acc| {
                let place = k.load_vec(chosen, lanes, &[i.clone(), j.clone(), 0.into()]);
                let from = [image.clone(), block.clone(), i.clone(), j.clone(), 0.into()];
                let v = k.load_vec(gradient, lanes, &from);
                let v = k.select(Test::Eq, [place, here], v, zero);
                k.add(acc, v)
            });
            k.store(y, &[image.clone(), block.clone(), row.clone(), column, 0.into()], sum);
        });
    });
    Some(k.finish())
}
