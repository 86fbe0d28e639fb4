//! `conv2d_grad_weight`: dw[k,o,c,r,q] = Σ g[n,o,i,j] · x[n, c, i·s + r·d − p, j·s + q·d − p]: the gradient of
//! `conv2d` with respect to its filter, as `splits` partial sums that [`sum_splits`](super::sum_splits) adds.
//!
//! x: [N, C, H, W]; g: [N, O, P, Q], the gradient of the result; dw: [splits, O, C/groups, R, S] with R, S from the
//! attribute `kernel`. The order of additions is fixed by shapes alone, however many workers share them. Padding counts
//! as zero and is skipped.

use super::common;
use super::conv2d::{Conv2d, DILATION, GROUPS};
use super::pool::{KERNEL, PAD, STRIDE};
use super::splits::{self, SPLITS, images_per_split};
use crate::grad::Gradient;
use crate::kernel::build::min_of;
use crate::kernel::{Affine, Kernel};
use crate::op::{Body, BodyCtx, Cost, OpCtx, OpDef, Problem, Properties};
use crate::types::TensorType;

pub const CONV2D_GRAD_WEIGHT: OpDef = OpDef {
    name: "conv2d_grad_weight",
    doc: "dw[k,o,c,r,q] = sum of g[n,o,i,j] * x[n,c,i*s+r*d-p,j*s+q*d-p] over part k of the images",
    operands: &["x", "g"],
    properties: Properties::NONE,
    attrs: &[STRIDE, PAD, DILATION, GROUPS, KERNEL, SPLITS],
    shape,
    cost,
    body: Body::Loops(body),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};

/// Parts that keep a machine of many cores busy, by the filter's shape alone: large filters are cut by channels. As long
/// as all parts together stay small there are some for every filter: then a task reads its images once, not once for
/// each cut of the channels.
pub fn splits_for(filter: [u64; 4]) -> i64 {
    const PARTS: u64 = 16;
    const CHEAP_PARTS: u64 = 8;
    const CHEAP_ELEMENTS: u64 = 256 << 10;
    let [oc, ic, ..] = filter;
    let by_channels = oc.div_ceil(16) * ic.div_ceil(64);
    let cheap = (CHEAP_ELEMENTS / filter.iter().product::<u64>().max(1)).clamp(1, CHEAP_PARTS);
    let cheap = 1 << cheap.ilog2();
    (PARTS / by_channels.next_power_of_two()).max(cheap).cast_signed()
}

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let a = Conv2d::of(ctx.attrs);
    let ([c, h, w], [o, ..]) = (common::image(ctx, 0)?, common::image(ctx, 1)?);
    let ([r, s], splits) = (ctx.attrs.pair(KERNEL.name), splits::count(ctx.attrs)?);
    a.check_groups(c, o)?;
    let [rows, columns] = a.outputs([h, w], [r, s])?;
    let (x, g) = (&ctx.operands[0], &ctx.operands[1]);
    let y = TensorType::new(x.dtype, [x.shape[0], o.into(), rows.into(), columns.into()]);
    if g.shape != y.shape {
        return Err(Problem::new("E0208", format!("expected {y} like the convolution's result, found {g}")).operand(1));
    }
    Ok(vec![TensorType::new(x.dtype, [splits.into(), o.into(), (c / a.groups).into(), r.into(), s.into()])])
}

/// As many multiply-adds as the convolution.
fn cost(ctx: &OpCtx) -> Cost {
    let g: u64 = ctx.operands[1].dims(ctx.batch).iter().product();
    let filter: u64 = ctx.results[0].dims(ctx.batch)[2..].iter().product();
    Cost { macs: g * filter, ..common::memory_cost(ctx) }
}

fn body(ctx: &BodyCtx) -> Kernel {
    let a = Conv2d::of(ctx.attrs);
    let (x, g, dw) = (&ctx.operands[0], &ctx.operands[1], &ctx.results[0]);
    let &[splits, oc, ic, r, s] = &dw.dims[..] else { unreachable!("invariant: the shape rule gives five dimensions") };
    let (images, part) = (x.dims[0], images_per_split(x.dims[0], splits));
    common::elementwise("conv2d_grad_weight", ctx, &mut |k, ins, at| {
        let [split, o, c, tap_row, tap_column] = at else { unreachable!("invariant: rank 5") };
        let channel = if a.groups == 1 { c.clone() } else { o.floordiv(oc / a.groups.cast_signed()) * ic + c };
        let rows = a.window(0, r.cast_unsigned()).windows_inside(tap_row, x.dims[2], g.dims[2]);
        let columns = a.window(1, s.cast_unsigned()).windows_inside(tap_column, x.dims[3], g.dims[3]);
        let first = split * part;
        let count = min_of([Affine::constant(part), &first * -1 + images]);
        let zero = k.constant(dw.dtype, 1, 0.0);
        k.for_carry(0, count, &[zero], |k, n, acc| {
            let n = &first + n;
            let sum = rows.fold(k, acc[0], |k, i, row, acc| {
                columns.fold(k, acc, |k, j, column, acc| {
                    let g = common::load(k, ctx, ins, 1, &[n.clone(), o.clone(), i.clone(), j.clone()]);
                    let x = common::load(k, ctx, ins, 0, &[n.clone(), channel.clone(), row.clone(), column.clone()]);
                    k.fma(g, x, acc)
                })
            });
            vec![sum]
        })[0]
    })
}
