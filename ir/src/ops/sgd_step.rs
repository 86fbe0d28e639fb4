//! `sgd_step`: d = g + λ·w, v' = μ·v + d, w' = w − lr·v'; with `nesterov` w' = w − lr·(d + μ·v'): one step of stochastic
//! gradient descent with momentum μ and weight decay λ, as PyTorch defines it.
//!
//! w, v, g and the results w', v': any shape, plain, same type; lr: [1].

use super::common::{self, attr, memory_cost};
use crate::grad::Gradient;
use crate::kernel::{Kernel, KernelBuilder, UnOp};
use crate::op::{AttrKind, Body, BodyCtx, OpDef};
use crate::types::Dim;

pub const SGD_STEP: OpDef = OpDef {
    name: "sgd_step",
    doc: "d = g + decay*w, v' = momentum*v + d, w' = w - lr*v'",
    operands: &["w", "v", "g", "lr"],
    variadic: false,
    epilogue: false,
    attrs: &[
        attr("momentum", AttrKind::Float, Some("0"), "share of the velocity that stays"),
        attr("weight_decay", AttrKind::Float, Some("0"), "factor of the weight in its own gradient"),
        attr("nesterov", AttrKind::Bool, Some("false"), "step along what the velocity will be"),
    ],
    shape: |ctx| {
        let w = common::floats(ctx, 0)?.clone();
        for i in 0..3 {
            common::plain(ctx, i)?;
            common::equal(ctx, i, &w)?;
        }
        common::vector(ctx, 3, Dim::Size(1))?;
        for name in ["momentum", "weight_decay"] {
            let value = ctx.attrs.float(name);
            if !(value >= 0.0 && value.is_finite()) {
                return Err(common::bad_attr(format!("{name}={value} is not a number >= 0")));
            }
        }
        Ok(vec![w.clone(), w])
    },
    cost: memory_cost,
    body: Body::Loops(body),
    grad: Gradient::None("a step is the end of what is differentiated"),
};

fn body(ctx: &BodyCtx) -> Kernel {
    let (w, dtype) = (&ctx.results[0], ctx.results[0].dtype);
    let mut k = KernelBuilder::new("sgd_step");
    let (ins, outs) = common::all_params(&mut k, ctx);
    common::tasks_then_nest(&mut k, &w.dims, &mut |k, at| {
        let [weight, velocity, g] = [0, 1, 2].map(|i| common::load(k, ctx, &ins, i, at));
        let lr = k.load(ins[3], &[0.into()]);
        let [momentum, decay] = ["momentum", "weight_decay"].map(|a| k.constant(dtype, 1, ctx.attrs.float(a)));
        let d = k.fma(weight, decay, g);
        let velocity = k.fma(velocity, momentum, d);
        let step = if ctx.attrs.bool("nesterov") { k.fma(velocity, momentum, d) } else { velocity };
        let step = k.un(UnOp::Neg, step);
        let weight = k.fma(step, lr, weight);
        k.store(outs[0], &ctx.results[0].at(at), weight);
        k.store(outs[1], &ctx.results[1].at(at), velocity);
    });
    k.finish()
}
