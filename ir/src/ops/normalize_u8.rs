//! `normalize_u8`: y[n,c,h,w] = (x[n,h,w,c′] / scale − mean[c]) / std[c], in this order of operations.
//!
//! x: u8[N,H,W,C], a picture in RGB; y: f32[N,C,H,W]. c′ = c, or C − 1 − c with order=bgr; mean and std are in the
//! order of y's channels. In f32 this gives the bits of torchvision's ToTensor and Normalize; a folded form a·x + b
//! would not.

use super::common::{self, attr, bad_attr, memory_cost};
use crate::grad::Gradient;
use crate::kernel::{Affine, Kernel, KernelBuilder};
use crate::op::{AttrKind, Body, BodyCtx, OpCtx, OpDef, Problem, Properties};
use crate::types::{DType, Dim, TensorType};

pub const NORMALIZE_U8: OpDef = OpDef {
    name: "normalize_u8",
    doc: "y[n,c,h,w] = (x[n,h,w,c] / scale - mean[c]) / std[c]",
    operands: &["x"],
    properties: Properties::NONE,
    attrs: &[
        attr("mean", AttrKind::Floats, None, "subtracted, for each channel of the result"),
        attr("std", AttrKind::Floats, None, "divisor, for each channel of the result"),
        attr("scale", AttrKind::Float, Some("255"), "divisor of the pixel values"),
        attr("order", AttrKind::Word, Some("rgb"), "channels of the result: rgb as in the picture, or bgr"),
    ],
    shape,
    cost: memory_cost,
    body: Body::Loops(body),
    grad: Gradient::None("its operand is of integers"),
};

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let x = &ctx.operands[0];
    let [n, Dim::Size(h), Dim::Size(w), Dim::Size(c)] = x.shape[..] else {
        return Err(Problem::new("E0201", format!("expected a picture u8[N,H,W,C], found {x}")).operand(0));
    };
    if x.dtype != DType::U8 {
        return Err(Problem::new("E0205", format!("expected a picture u8[N,H,W,C], found {x}")).operand(0));
    }
    common::plain(ctx, 0)?;
    for name in ["mean", "std"] {
        let v = ctx.attrs.floats(name);
        if v.len() as u64 != c {
            return Err(bad_attr(format!("{name} has {} values for {c} channels", v.len())));
        }
    }
    if ctx.attrs.floats("std").contains(&0.0) || ctx.attrs.float("scale") == 0.0 {
        return Err(bad_attr("std and scale are divisors and cannot be 0"));
    }
    if !matches!(ctx.attrs.word("order"), "rgb" | "bgr") {
        return Err(bad_attr(format!("order={} is neither rgb nor bgr", ctx.attrs.word("order"))));
    }
    Ok(vec![TensorType::new(DType::F32, [n, c.into(), h.into(), w.into()])])
}

fn body(ctx: &BodyCtx) -> Kernel {
    let (x, y) = (&ctx.operands[0], &ctx.results[0]);
    let (mean, std) = (ctx.attrs.floats("mean"), ctx.attrs.floats("std"));
    let bgr = ctx.attrs.word("order") == "bgr";
    let &[n, channels, h, w] = &y.dims[..] else { unreachable!("invariant: the shape rule gives rank 4") };
    let mut k = KernelBuilder::new("normalize_u8");
    let (ins, out) = common::params(&mut k, ctx);
    let lead = common::tasks_over(&mut k, &[n, h]);
    let scale = k.constant(y.dtype, 1, ctx.attrs.float("scale"));
    // Mean and deviation are constants of a channel, so the loop over channels is unrolled.
    for (c, (&mean, &std)) in (0..channels).zip(mean.iter().zip(std)) {
        let from = if bgr { channels - 1 - c } else { c };
        let [mean, std] = [mean, std].map(|v| k.constant(y.dtype, 1, v));
        k.for_(0, w, |k, column| {
            let [n, row] = [&lead[0], &lead[1]];
            let at = |c: i64| [n.clone(), row.clone(), column.clone(), Affine::constant(c)];
            let v = k.load(ins[0], &x.at(&at(from)));
            let v = k.convert(v, y.dtype);
            let v = k.div(v, scale);
            let v = k.sub(v, mean);
            let v = k.div(v, std);
            k.store(out, &y.at(&[n.clone(), c.into(), row.clone(), column.clone()]), v);
        });
    }
    k.finish()
}
