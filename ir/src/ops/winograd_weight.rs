//! `winograd_weight`: u[p, (i,j), c, l] = Σ G[i,r]·w[p·panel + l, c, r, q]·G[j,q]: filters at the points of a
//! Winograd convolution. Computed in f64, rounded once.
//!
//! w: [O,C,3,3]; u: [O/panel, rows·columns, C, panel], in the order in which `winograd_output` reads it.

use super::common::{self, attr, bad_attr, memory_cost};
use super::winograd::{MAX_TILE, STRIDE, Stride};
use crate::grad::Gradient;
use crate::kernel::KernelBuilder;
use crate::op::{AttrKind, Body, BodyCtx, OpCtx, OpDef, Problem, Properties};
use crate::types::{DType, Dim, TensorType};

pub const WINOGRAD_WEIGHT: OpDef = OpDef {
    name: "winograd_weight",
    doc: "u = G w G^T for each pair of channels, in panels of output channels, computed in f64",
    operands: &["w"],
    properties: Properties::NONE,
    attrs: &[
        STRIDE,
        attr("tile", AttrKind::Pair, None, "outputs of the largest tile: height, width"),
        attr("panel", AttrKind::Int, None, "output channels that are neighbours in memory"),
    ],
    shape,
    cost: memory_cost,
    body: Body::Loops(body),
    grad: Gradient::None("made by passes, after gradients are taken"),
};

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let w = common::floats(ctx, 0)?;
    common::plain(ctx, 0)?;
    let [Dim::Size(o), Dim::Size(c), Dim::Size(3), Dim::Size(3)] = w.shape[..] else {
        return Err(Problem::new("E0201", format!("expected a filter [O,C,3,3], found {w}")).operand(0));
    };
    let (tile, panel) = (ctx.attrs.pair("tile"), ctx.attrs.int("panel"));
    if tile.iter().any(|m| !(1..=MAX_TILE.cast_unsigned()).contains(m)) {
        return Err(bad_attr(format!("tile={}x{} is not 1 to {MAX_TILE}", tile[0], tile[1])));
    }
    let panel = u64::try_from(panel).ok().filter(|&p| p > 0 && o % p == 0);
    let panel = panel.ok_or_else(|| bad_attr(format!("the panel does not divide {o} output channels")))?;
    let stride = Stride::of_attrs(ctx.attrs)?;
    let [i, j] = tile.map(|m| stride.points(m.cast_signed()).cast_unsigned());
    Ok(vec![TensorType::new(w.dtype, [o / panel, i * j, c, panel].map(Dim::from))])
}

fn body(ctx: &BodyCtx) -> crate::Kernel {
    let &[panels, _, channels, panel] = &ctx.results[0].dims[..] else {
        unreachable!("invariant: the shape rule gives four dimensions");
    };
    let stride = Stride::of_attrs(ctx.attrs)
        .unwrap_or_else(|p| unreachable!("invariant: the shape rule has checked {}", p.message));
    let [height, width] = ctx.attrs.pair("tile").map(|m| stride.points(m.cast_signed()) as usize);
    let dtype = ctx.results[0].dtype;
    let mut k = KernelBuilder::new("winograd_weight");
    let (ins, out) = common::params(&mut k, ctx);
    let [p, c] = &common::tasks_over(&mut k, &[panels, channels])[..] else { unreachable!("invariant: two digits") };
    k.for_(0, panel, |k, lane| {
        let o = p * panel + &lane;
        let taps: Vec<Vec<_>> = (0..3)
            .map(|r| {
                let load = |q| common::load_f64(k, ctx, &ins, 0, &[o.clone(), c.clone(), r.into(), i64::into(q)]);
                (0..3).map(load).collect()
            })
            .collect();
        for i in 0..height {
            for j in 0..width {
                let mut sum = k.constant(DType::F64, 1, 0.0);
                for (r, row) in taps.iter().enumerate() {
                    for (q, &tap) in row.iter().enumerate() {
                        let g = stride.filter_row(i)[r] * stride.filter_row(j)[q];
                        if g != 0.0 {
                            let g = k.constant(DType::F64, 1, g);
                            sum = k.fma(tap, g, sum);
                        }
                    }
                }
                let point = i64::try_from(i * width + j).expect("invariant: points are few");
                let u = k.convert(sum, dtype);
                k.store(out, &ctx.results[0].at(&[p.clone(), point.into(), c.clone(), lane.clone()]), u);
            }
        }
    });
    k.finish()
}
