//! `conv2d_grad_input`: dx[n,c,h,l] = Σ g[n,o,i,j] · w[c,o,R−1−r,S−1−q] over i·s + r·d − p = h and j·s + q·d − p = l: the
//! gradient of `conv2d` with respect to its image, from the filter as `flip_filter` gives it.
//!
//! g: [N, O, P, Q], the gradient of the result; w: [C, O/groups, R, S]; dx: [N, C, H, W] with H, W from the attribute
//! `input`. The sum runs over o, then r, then q. At stride 1 it is also `conv2d g, w` with the pads d·(R − 1) − p where
//! these are not negative, which has more templates.

use super::common::{self, attr};
use super::conv2d::{Conv2d, DILATION, GROUPS, filter};
use super::pool::{PAD, STRIDE};
use crate::entity::Reg;
use crate::grad::Gradient;
use crate::kernel::build::{max_of, min_of};
use crate::kernel::{Affine, Kernel, KernelBuilder};
use crate::op::{AttrDef, AttrKind, Body, BodyCtx, Cost, OpCtx, OpDef, Problem, Properties};
use crate::types::TensorType;

pub const INPUT: AttrDef = attr("input", AttrKind::Pair, None, "size of the convolution's image: height, width");

pub const CONV2D_GRAD_INPUT: OpDef = OpDef {
    name: "conv2d_grad_input",
    doc: "dx[n,c,h,l] = sum of g[n,o,i,j] * w[c,o,R-1-r,S-1-q] where i*s+r*d-p = h and j*s+q*d-p = l",
    operands: &["g", "w"],
    properties: Properties::NONE,
    attrs: &[STRIDE, PAD, DILATION, GROUPS, INPUT],
    shape,
    cost,
    body: Body::Loops(body),
    grad: Gradient::None("part of a gradient; second derivatives are not taken"),
};

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let a = Conv2d::of(ctx.attrs);
    let [o, p, q] = common::image(ctx, 0)?;
    let [channels, of_group, r, s] = filter(ctx, 1)?;
    a.check_groups(o, channels)?;
    if of_group * a.groups != o {
        let message = format!("weight has {of_group} channels in each of {} groups, the gradient has {o}", a.groups);
        return Err(Problem::new("E0203", message).operand(1));
    }
    let input = ctx.attrs.pair(INPUT.name);
    let outputs = a.outputs(input, [r, s])?;
    if outputs != [p, q] {
        let [rows, columns] = outputs;
        let message = format!("an image of {}x{} gives {rows}x{columns}, the gradient is {p}x{q}", input[0], input[1]);
        return Err(Problem::new("E0204", message).operand(0));
    }
    Ok(vec![common::image_like_first(ctx, [channels, input[0], input[1]])])
}

/// As many multiply-adds as the convolution.
fn cost(ctx: &OpCtx) -> Cost {
    let g: u64 = ctx.operands[0].dims(ctx.batch).iter().product();
    let filter: u64 = ctx.operands[1].dims(ctx.batch).iter().product();
    let channels = ctx.operands[0].dims(ctx.batch)[1];
    Cost { macs: g / channels.max(1) * filter, ..common::memory_cost(ctx) }
}

fn body(ctx: &BodyCtx) -> Kernel {
    let a = Conv2d::of(ctx.attrs);
    let (g, w, dx) = (&ctx.operands[0], &ctx.operands[1], &ctx.results[0]);
    let (groups, oc_group) = (a.groups.cast_signed(), w.dims[1]);
    common::elementwise("conv2d_grad_input", ctx, &mut |k, ins, at| {
        let first = if groups == 1 { 0.into() } else { at[1].floordiv(dx.dims[1] / groups) * oc_group };
        let zero = k.constant(dx.dtype, 1, 0.0);
        k.for_carry(0, oc_group, &[zero], |k, o, acc| {
            let sum = fold(k, &a, 0, [w.dims[2], g.dims[2]], &at[2], acc[0], |k, r, i, acc| {
                fold(k, &a, 1, [w.dims[3], g.dims[3]], &at[3], acc, |k, q, j, acc| {
                    let g = common::load(k, ctx, ins, 0, &[at[0].clone(), &first + &o, i.clone(), j.clone()]);
                    let taps = [r * -1 + (w.dims[2] - 1), q * -1 + (w.dims[3] - 1)];
                    let [r, q] = taps;
                    let w = common::load(k, ctx, ins, 1, &[at[1].clone(), o.clone(), r, q]);
                    k.fma(g, w, acc)
                })
            });
            vec![sum]
        })[0]
    })
}

/// Loops over the taps along an axis and the output, if there is one, that a tap joins to position `at` of the image:
/// `f(k, tap, output, accumulator)` gives the next accumulator.
fn fold(
    k: &mut KernelBuilder,
    a: &Conv2d,
    axis: usize,
    [taps, outputs]: [i64; 2],
    at: &Affine,
    acc: Reg,
    f: impl FnOnce(&mut KernelBuilder, &Affine, &Affine, Reg) -> Reg,
) -> Reg {
    let [stride, pad, dilation] = [a.stride[axis], a.pad[axis], a.dilation[axis]].map(u64::cast_signed);
    k.for_carry(0, taps, &[acc], |k, tap, acc| {
        let scaled = at + pad - &tap * dilation;
        // ⌈scaled/s⌉ and ⌊scaled/s⌋ are the output if the stride divides, and otherwise leave no trip.
        let lo = max_of([Affine::constant(0), (&scaled + (stride - 1)).floordiv(stride)]);
        let hi = min_of([Affine::constant(outputs), scaled.floordiv(stride) + 1]);
        k.for_carry(lo, hi, acc, |k, output, acc| vec![f(k, &tap, &output, acc[0])])
    })[0]
}
