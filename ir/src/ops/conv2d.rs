//! `conv2d`: y[n,o,i,j] = Σ x[n, c, i·s + r·d − p, j·s + q·d − p] · w[o, c, r, q], then the epilogue.
//!
//! x: [N, ic, H, W]; w: [oc, ic/groups, R, S]; y: [N, oc, P, Q]. Padding counts as zero and is skipped, not read.
//! A bias is a step of the epilogue. The sum runs over c, then r, then q.

use super::common::{self, attr};
use super::conv2d_grad_weight::splits_for;
use super::pool::{PAD, STRIDE};
use super::splits::SPLITS;
pub use super::window::Tap;
use super::window::Window;
use crate::grad::{GradCtx, Gradient};
use crate::kernel::Kernel;
use crate::layout::Layout;
use crate::op::{Attr, AttrDef, AttrKind, Attrs, Body, BodyCtx, OpCtx, OpDef, Problem, Properties};
use crate::schedule::{SCHEDULE, Schedule};
use crate::types::{Dim, TensorType};

pub const DILATION: AttrDef = attr("dilation", AttrKind::Pair, Some("1x1"), "distance of filter taps: height, width");
pub const GROUPS: AttrDef = attr("groups", AttrKind::Int, Some("1"), "independent channel groups");

pub const CONV2D: OpDef = OpDef {
    name: "conv2d",
    doc: "y[n,o,i,j] = sum of x[n,c,i*s+r*d-p,j*s+q*d-p] * w[o,c,r,q], then the epilogue",
    operands: &["x", "w"],
    properties: Properties {
        epilogue: true,
        roundings: |ctx| ctx.operands[1].dims[1..].iter().product(),
        ..Properties::NONE
    },
    attrs: &[STRIDE, PAD, DILATION, GROUPS, SCHEDULE],
    shape,
    cost: common::weighted_cost,
    body: Body::Loops(body),
    grad: Gradient::Rule(grad),
};

/// The attributes, typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    pub stride: [u64; 2],
    /// top, left, bottom, right
    pub pad: [u64; 4],
    pub dilation: [u64; 2],
    pub groups: u64,
}

impl Conv2d {
    pub fn of(attrs: &Attrs) -> Conv2d {
        Conv2d {
            stride: attrs.pair("stride"),
            pad: attrs.quad("pad"),
            dilation: attrs.pair("dilation"),
            groups: attrs.int("groups").cast_unsigned(),
        }
    }

    /// The window of `taps` filter taps along the height (0) or the width (1).
    pub fn window(&self, axis: usize, taps: u64) -> Window {
        Window {
            taps,
            stride: self.stride[axis],
            dilation: self.dilation[axis],
            pad: [self.pad[axis], self.pad[axis + 2]],
            ceil: false,
        }
    }

    /// Rows and columns of the result for an image of `h`×`w` and a filter of `r`×`s`. Operand 0 is at fault if there
    /// are none.
    pub fn outputs(&self, [h, w]: [u64; 2], [r, s]: [u64; 2]) -> Result<[u64; 2], Problem> {
        let (Some(rows), Some(columns)) = (self.window(0, r).count(h), self.window(1, s).count(w)) else {
            return Err(Problem::new(
                "E0204",
                format!("the {r}x{s} filter does not fit into {h}x{w} with these pads, strides and dilations"),
            )
            .operand(0));
        };
        Ok([rows, columns])
    }

    /// Refuses groups that do not divide both numbers of channels. Operand 1 is at fault.
    pub fn check_groups(&self, ic: u64, oc: u64) -> Result<(), Problem> {
        if self.groups == 0 || !ic.is_multiple_of(self.groups) || !oc.is_multiple_of(self.groups) {
            let groups = self.groups.cast_signed();
            let message = format!("groups={groups} does not divide {ic} input and {oc} output channels");
            return Err(Problem::new("E0202", message).operand(1));
        }
        Ok(())
    }
}

/// Output and input channels, height and width of a filter operand.
pub fn filter(ctx: &OpCtx, i: usize) -> Result<[u64; 4], Problem> {
    let w = common::floats(ctx, i)?;
    let [Dim::Size(oc), Dim::Size(ic), Dim::Size(r), Dim::Size(s)] = w.shape[..] else {
        return Err(Problem::new("E0201", format!("expected a filter [O,C,R,S], found {w}")).operand(i));
    };
    match w.layout {
        Layout::Plain | Layout::Filter { .. } => Ok([oc, ic, r, s]),
        l => Err(common::wrong_layout(i, l, "a filter is plain or in panels")),
    }
}

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let a = Conv2d::of(ctx.attrs);
    let [c, h, width] = common::image(ctx, 0)?;
    let [oc, ic, r, s] = filter(ctx, 1)?;
    if Schedule::parse(ctx.attrs).is_none() {
        let message = format!("schedule={} is not five numbers, the first 0, 1, 2 or 4", ctx.attrs.0["schedule"]);
        return Err(common::bad_attr(message));
    }
    a.check_groups(c, oc)?;
    if ic != c / a.groups {
        let groups = if a.groups == 1 { String::new() } else { format!(" in each of {} groups", a.groups) };
        let p = Problem::new("E0203", format!("weight has {ic} input channels, input has {}{groups}", c / a.groups));
        let fitting = c.checked_div(ic).filter(|g| g * ic == c && oc % g == 0);
        return Err(match fitting {
            Some(g) => p.operand(1).help(format!("groups={g} makes this a grouped convolution")),
            None => p.operand(1),
        });
    }
    let [rows, columns] = a.outputs([h, width], [r, s])?;
    let y = common::image_like_first(ctx, [oc, rows, columns]);
    common::check_epilogue(ctx, &y)?;
    Ok(vec![y])
}

fn body(ctx: &BodyCtx) -> Kernel {
    let a = Conv2d::of(ctx.attrs);
    let (x, w, y) = (&ctx.operands[0], &ctx.operands[1], &ctx.results[0]);
    let (ic_group, oc_group) = (w.dims[1], y.dims[1] / a.groups.cast_signed());
    let [r, s] = [w.dims[2], w.dims[3]].map(i64::cast_unsigned);
    common::elementwise("conv2d", ctx, &mut |k, ins, at| {
        let rows = a.window(0, r).taps_inside(&at[2], x.dims[2]);
        let columns = a.window(1, s).taps_inside(&at[3], x.dims[3]);
        let first = if a.groups == 1 { 0.into() } else { at[1].floordiv(oc_group) * ic_group };
        let zero = k.constant(y.dtype, 1, 0.0);
        let sum = k.for_carry(0, ic_group, &[zero], |k, c, acc| {
            let sum = rows.fold(k, acc[0], |k, r, row, acc| {
                columns.fold(k, acc, |k, s, column, acc| {
                    let x = k.load(ins[0], &x.at(&[at[0].clone(), &first + &c, row.clone(), column.clone()]));
                    let w = k.load(ins[1], &w.at(&[at[1].clone(), c.clone(), r.clone(), s.clone()]));
                    k.fma(x, w, acc)
                })
            });
            vec![sum]
        })[0];
        common::epilogue(k, ctx, ins, at, sum)
    })
}

/// At stride 1 the gradient of the image is a convolution with the flipped filter, where its pads are not negative.
fn grad(cx: &mut GradCtx) -> Result<(), Problem> {
    let (x, w, g) = (cx.operands[0], cx.operands[1], cx.grad());
    let a = Conv2d::of(cx.attrs);
    let filter: [u64; 4] = cx.operand(1).dims(1).try_into().expect("invariant: the shape rule demands a filter");
    let [_, _, r, s] = filter;
    let copied = ["stride", "pad", "dilation", "groups"].map(|name| cx.copied(name));
    if cx.wants(0) {
        let reach = [r, s].map(|n| n - 1);
        let pads: [Option<u64>; 4] = std::array::from_fn(|i| (reach[i % 2] * a.dilation[i % 2]).checked_sub(a.pad[i]));
        let flipped = cx.emit("wt", "flip_filter", &[w], &[cx.copied("groups")])?;
        let dx = match pads {
            [Some(top), Some(left), Some(bottom), Some(right)] if a.stride == [1, 1] => {
                let pad = ("pad", Attr::Quad([top, left, bottom, right]));
                cx.emit("dx", "conv2d", &[g, flipped], &[pad, cx.copied("dilation"), cx.copied("groups")])?
            }
            _ => {
                let input = ("input", cx.size(0));
                cx.emit("dx", "conv2d_grad_input", &[g, flipped], &[&copied[..], &[input]].concat())?
            }
        };
        cx.send(0, dx);
    }
    if cx.wants(1) {
        let own = [("kernel", Attr::Pair([r, s])), (SPLITS.name, Attr::Int(splits_for(filter)))];
        let dw = cx.emit_sum("dw", "conv2d_grad_weight", &[x, g], &[&copied[..], &own].concat())?;
        cx.send(1, dw);
    }
    Ok(())
}
