//! `running_average`: y = (1 − m)·running + m·f·batch, m the `momentum`: the statistics that inference uses.
//!
//! running, batch, y: [C]. f is 1; with `x`, [N,C,…], whose biased variance `batch` is, f = M/(M − 1) makes that
//! unbiased, M the elements of a channel; of x only the shape is read. As PyTorch's BatchNorm. One element a channel has
//! no unbiased variance: f is infinite then.

use super::channels;
use super::common::{self, attr, elementwise};
use crate::grad::Gradient;
use crate::op::{AttrDef, AttrKind, Body, OpDef, Problem, Properties};

pub const MOMENTUM: AttrDef = attr("momentum", AttrKind::Float, Some("0.1"), "weight of the batch's statistics");

pub const RUNNING_AVERAGE: OpDef = OpDef {
    name: "running_average",
    doc: "y = (1 - momentum)*running + momentum*batch, unbiased if batch is the variance of x",
    operands: &["running", "batch", "x?"],
    properties: Properties::NONE,
    attrs: &[MOMENTUM],
    shape: |ctx| {
        let running = common::floats(ctx, 0)?.clone();
        let &[channels] = &running.shape[..] else {
            return Err(Problem::new("E0201", format!("expected a vector [C], found {running}")).operand(0));
        };
        common::plain(ctx, 0)?;
        common::vector(ctx, 1, channels)?;
        if let Some(x) = ctx.operands.get(2)
            && channels::count(ctx, 2)? != channels.at(1)
        {
            return Err(Problem::new("E0207", format!("expected [N,{channels},…], found {x}")).operand(2));
        }
        let m = ctx.attrs.float(MOMENTUM.name);
        if !(0.0..=1.0).contains(&m) {
            return Err(common::bad_attr(format!("momentum={m} is not in 0..1")));
        }
        Ok(vec![running])
    },
    cost: |ctx| common::memory_cost_without(ctx, 2),
    body: Body::Loops(|ctx| {
        let m = ctx.attrs.float(MOMENTUM.name);
        let unbiased = ctx.operands.get(2).map_or(1.0, |x| {
            let count = channels::elements(&x.dims) as f64;
            count / (count - 1.0)
        });
        elementwise("running_average", ctx, &mut |k, ins, at| {
            let [running, batch] = [0, 1].map(|i| common::load(k, ctx, ins, i, at));
            let dtype = ctx.results[0].dtype;
            let (keep, take) = (k.constant(dtype, 1, 1.0 - m), k.constant(dtype, 1, m * unbiased));
            let kept = k.mul(running, keep);
            k.fma(batch, take, kept)
        })
    }),
    grad: Gradient::None("the loss does not depend on running statistics"),
};
