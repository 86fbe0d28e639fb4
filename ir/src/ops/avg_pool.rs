//! `avg_pool`: y[n,c,i,j] = (Σ x[n,c,i·s + r − p, j·s + q − p] over the taps r, q of the window) / count.
//!
//! x: [N,C,H,W]; y: [N,C,P,Q]. Padding counts as zero. `count` is the number of taps inside the image or, with
//! `count_include_pad`, inside the image and its padding; what `ceil_mode` adds beyond never counts (as ONNX
//! AveragePool since version 19 and PyTorch).

use super::common::{attr, memory_cost};
use super::pool::{self, CEIL_MODE, KERNEL, PAD, Pool, STRIDE};
use crate::op::{AttrKind, OpDef};

pub const AVG_POOL: OpDef = OpDef {
    name: "avg_pool",
    doc: "y[n,c,i,j] = mean of x[n,c,i*s+r-p,j*s+q-p] over the window",
    operands: &["x"],
    variadic: false,
    epilogue: false,
    attrs: &[
        KERNEL,
        STRIDE,
        PAD,
        CEIL_MODE,
        attr("count_include_pad", AttrKind::Bool, Some("false"), "whether padding counts in the divisor"),
    ],
    shape: pool::shape,
    cost: memory_cost,
    body: |ctx| {
        let (p, x) = (Pool::of(ctx.attrs), &ctx.operands[0]);
        let dtype = ctx.results[0].dtype;
        let include_pad = ctx.attrs.bool("count_include_pad");
        pool::body("avg_pool", ctx, &mut |k, window| {
            let zero = k.constant(dtype, 1, 0.0);
            let sum = window.fold(k, ctx, zero, |k, acc, x| k.add(acc, x));
            let [rows, columns] = if include_pad {
                let taps = |axis: usize| p.window(axis).taps_padded(&window.at[axis + 2], x.dims[axis + 2]);
                [taps(0).count(k, dtype), taps(1).count(k, dtype)]
            } else {
                [window.rows.count(k, dtype), window.columns.count(k, dtype)]
            };
            let count = k.mul(rows, columns);
            k.div(sum, count)
        })
    },
};
