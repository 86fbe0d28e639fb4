//! `sgd_step`: d = g + λ·w, v' = μ·v + d, w' = w − lr·v'; with `nesterov` w' = w − lr·(d + μ·v'): one step of stochastic
//! gradient descent with momentum μ and weight decay λ, as PyTorch defines it.
//!
//! w, v, g and the results w', v': any shape, plain, same type; lr: [1].

use super::common::{self, attr, memory_cost};
use crate::entity::Reg;
use crate::grad::Gradient;
use crate::kernel::{Kernel, KernelBuilder, UnOp};
use crate::op::{AttrKind, Attrs, Body, BodyCtx, OpDef, Properties};
use crate::types::Dim;

pub const SGD_STEP: OpDef = OpDef {
    name: "sgd_step",
    doc: "d = g + decay*w, v' = momentum*v + d, w' = w - lr*v'",
    operands: &["w", "v", "g", "lr"],
    properties: Properties::NONE,
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
    let w = &ctx.results[0];
    let mut k = KernelBuilder::new("sgd_step");
    let (ins, outs) = common::all_params(&mut k, ctx);
    common::tasks_then_nest(&mut k, &w.dims, &mut |k, at| {
        let [weight, velocity, g] = [0, 1, 2].map(|i| common::load(k, ctx, &ins, i, at));
        let lr = k.load(ins[3], &[0.into()]);
        let after = step(k, ctx.attrs, [weight, velocity, g, lr]);
        for ((&out, y), v) in outs.iter().zip(&ctx.results).zip(after) {
            k.store(out, &y.at(at), v);
        }
    });
    k.finish()
}

/// The new weight and velocity, lane by lane.
pub fn step(k: &mut KernelBuilder, attrs: &Attrs, [weight, velocity, g, lr]: [Reg; 4]) -> [Reg; 2] {
    let [momentum, decay] = ["momentum", "weight_decay"].map(|a| k.constant_like(weight, attrs.float(a)));
    let d = k.fma(weight, decay, g);
    let velocity = k.fma(velocity, momentum, d);
    let along = if attrs.bool("nesterov") { k.fma(velocity, momentum, d) } else { velocity };
    let back = k.un(UnOp::Neg, along);
    [k.fma(back, lr, weight), velocity]
}
