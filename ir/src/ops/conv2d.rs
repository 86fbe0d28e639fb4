//! `conv2d`: y[n,o,i,j] = Σ x[n, c, i·s + r·d − p, j·s + q·d − p] · w[o, c, r, q], then the epilogue.
//!
//! x: [N, ic, H, W]; w: [oc, ic/groups, R, S]; y: [N, oc, P, Q]. Padding counts as zero and is skipped, not read.

use super::common::{self, window};
use crate::epilogue::Step;
use crate::kernel::build::{max_of, min_of};
use crate::kernel::{Affine, Kernel, KernelBuilder};
use crate::op::{AttrDef, AttrKind, Attrs, BodyCtx, Cost, OpCtx, OpDef, Problem};
use crate::types::{Dim, TensorType};

pub const CONV2D: OpDef = OpDef {
    name: "conv2d",
    doc: "y[n,o,i,j] = sum of x[n,c,i*s+r*d-p,j*s+q*d-p] * w[o,c,r,q], then the epilogue",
    operands: &["x", "w"],
    variadic: false,
    epilogue: true,
    attrs: &[
        AttrDef {
            name: "stride",
            kind: AttrKind::Pair,
            default: Some("1x1"),
            doc: "step of the window: height, width",
        },
        AttrDef {
            name: "pad",
            kind: AttrKind::Quad,
            default: Some("0,0,0,0"),
            doc: "zeros around: top, left, bottom, right",
        },
        AttrDef { name: "dilation", kind: AttrKind::Pair, default: Some("1x1"), doc: "distance of filter taps" },
        AttrDef { name: "groups", kind: AttrKind::Int, default: Some("1"), doc: "independent channel groups" },
    ],
    shape,
    cost,
    body,
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
}

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let (x, w, a) = (&ctx.operands[0], &ctx.operands[1], Conv2d::of(ctx.attrs));
    let ([n, Dim::Size(c), Dim::Size(h), Dim::Size(width)], [Dim::Size(oc), Dim::Size(ic), Dim::Size(r), Dim::Size(s)]) =
        (&x.shape[..], &w.shape[..])
    else {
        return Err(Problem::new(
            "E0201",
            format!("conv2d takes an image [N,C,H,W] and a filter [O,C,R,S], not {x} and {w}"),
        ));
    };
    if a.groups == 0 || c % a.groups != 0 || oc % a.groups != 0 {
        return Err(Problem::new(
            "E0202",
            format!("groups={} does not divide {c} input and {oc} output channels", a.groups),
        )
        .operand(1));
    }
    if ic * a.groups != *c {
        let p = Problem::new("E0203", format!("weight expects {} channels, input has {c}", ic * a.groups)).operand(1);
        let groups = c / ic.max(&1);
        return Err(if *ic > 0 && c % ic == 0 && oc % groups == 0 {
            p.help(format!("groups={groups} makes this a grouped convolution"))
        } else {
            p
        });
    }
    let p = window(*h, *r, a.stride[0], a.pad[0], a.pad[2], a.dilation[0]);
    let q = window(*width, *s, a.stride[1], a.pad[1], a.pad[3], a.dilation[1]);
    let (Some(p), Some(q)) = (p, q) else {
        return Err(Problem::new(
            "E0204",
            format!("the {r}x{s} filter does not fit into {h}x{width} with these pads and strides"),
        )
        .operand(0));
    };
    // The layout of the result is that of the input; layout selection may set another.
    Ok(vec![TensorType { shape: vec![*n, Dim::Size(*oc), Dim::Size(p), Dim::Size(q)], ..x.clone() }])
}

fn cost(ctx: &OpCtx) -> Cost {
    let y = ctx.results[0].dims(ctx.batch);
    let w = ctx.operands[1].dims(ctx.batch);
    Cost { macs: y.iter().product::<u64>() * w[1..].iter().product::<u64>(), ..common::memory_cost(ctx) }
}

fn body(ctx: &BodyCtx) -> Kernel {
    let a = Conv2d::of(ctx.attrs);
    let (x, w, y) = (&ctx.operands[0], &ctx.operands[1], &ctx.results[0]);
    let mut k = KernelBuilder::new("conv2d");
    let (ins, out) = common::params(&mut k, ctx);
    let &[n, oc, p, q] = &y.dims[..] else { unreachable!("invariant: the shape rule gives rank 4") };
    let (ic_group, oc_group) = (w.dims[1], oc / a.groups.cast_signed());
    let lead = common::tasks_over(&mut k, &[n, oc]);
    common::nest(&mut k, &[p, q], &mut |k, pos| {
        let zero = k.constant(y.dtype, 1, 0.0);
        let row = Tap::new(&pos[0], a.stride[0], a.pad[0], a.dilation[0], x.dims[2], w.dims[2]);
        let col = Tap::new(&pos[1], a.stride[1], a.pad[1], a.dilation[1], x.dims[3], w.dims[3]);
        let first = lead[1].floordiv(oc_group) * ic_group;
        let acc = k.for_carry(0, ic_group, &[zero], |k, c, acc| {
            k.for_carry(max_of(row.lo.clone()), min_of(row.hi.clone()), acc, |k, r, acc| {
                k.for_carry(max_of(col.lo.clone()), min_of(col.hi.clone()), acc, |k, s, acc| {
                    let xv = k.load(ins[0], &x.at(&[lead[0].clone(), &first + &c, row.at(&r), col.at(&s)]));
                    let wv = k.load(ins[1], &w.at(&[lead[1].clone(), c.clone(), r.clone(), s]));
                    vec![k.fma(xv, wv, acc[0])]
                })
            })
        });
        let at = [lead[0].clone(), lead[1].clone(), pos[0].clone(), pos[1].clone()];
        let v = common::epilogue(k, ctx, &ins, &at, acc[0]);
        k.store(out, &y.at(&at), v);
    });
    k.finish()
}

/// Filter taps of one output position along one dimension: those that fall inside the input.
pub struct Tap {
    pub lo: Vec<Affine>,
    pub hi: Vec<Affine>,
    start: Affine,
    dilation: i64,
}

impl Tap {
    pub fn new(out: &Affine, stride: u64, pad: u64, dilation: u64, len: i64, taps: i64) -> Tap {
        let (s, p, d) = (stride.cast_signed(), pad.cast_signed(), dilation.cast_signed());
        let start = out * s - p;
        // inside: 0 ≤ start + r·d < len, i.e. ⌈−start/d⌉ ≤ r < ⌈(len − start)/d⌉
        let lo = vec![Affine::constant(0), (&start * -1 + (d - 1)).floordiv(d)];
        let hi = vec![Affine::constant(taps), (&start * -1 + (len + d - 1)).floordiv(d)];
        Tap { lo, hi, start, dilation: d }
    }

    /// Input position of tap `r`.
    pub fn at(&self, r: &Affine) -> Affine {
        &self.start + r * self.dilation
    }
}

/// Position of the bias operand if the epilogue begins with one.
pub fn leading_bias(epilogue: &[Step]) -> Option<usize> {
    match epilogue.first() {
        Some(Step::Bias(b)) => Some(*b),
        _ => None,
    }
}
