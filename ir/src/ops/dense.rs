//! `dense`: y[n,o] = Σ x[n,i] · w[o,i], then the epilogue. A fully connected layer.
//!
//! x: [N,I] plain; w: [O,I] plain or in panels; y: [N,O]. A bias is a step of the epilogue. The sum runs over
//! ascending i.

use super::common::{self, elementwise, weighted_cost};
use crate::grad::Gradient;
use crate::layout::Layout;
use crate::op::{Body, OpCtx, OpDef, Problem, Properties};
use crate::types::{Dim, TensorType};

pub const DENSE: OpDef = OpDef {
    name: "dense",
    doc: "y[n,o] = sum of x[n,i] * w[o,i], then the epilogue",
    operands: &["x", "w"],
    properties: Properties { epilogue: true, roundings: |ctx| ctx.operands[1].dims[1], ..Properties::NONE },
    attrs: &[],
    shape,
    cost: weighted_cost,
    body: Body::Loops(|ctx| {
        let (dtype, width) = (ctx.results[0].dtype, ctx.operands[0].dims[1]);
        elementwise("dense", ctx, &mut |k, ins, at| {
            let zero = k.constant(dtype, 1, 0.0);
            let sum = k.for_carry(0, width, &[zero], |k, i, acc| {
                let x = common::load(k, ctx, ins, 0, &[at[0].clone(), i.clone()]);
                let w = common::load(k, ctx, ins, 1, &[at[1].clone(), i]);
                vec![k.fma(x, w, acc[0])]
            })[0];
            common::epilogue(k, ctx, ins, at, sum)
        })
    }),
    grad: Gradient::Rule(|cx| {
        let (x, w, g) = (cx.operands[0], cx.operands[1], cx.grad());
        if cx.wants(0) {
            let transposed = cx.emit("wt", "transpose", &[w], &[])?;
            let dx = cx.emit("dx", "dense", &[g, transposed], &[])?;
            cx.send(0, dx);
        }
        if cx.wants(1) {
            let dw = cx.emit("dw", "dense_grad_weight", &[x, g], &[])?;
            cx.send(1, dw);
        }
        Ok(())
    }),
};

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let (x, w) = (common::floats(ctx, 0)?, common::floats(ctx, 1)?);
    let [n, Dim::Size(width)] = x.shape[..] else {
        return Err(Problem::new("E0201", format!("expected rows [N,I], found {x}"))
            .operand(0)
            .help("put `flatten` before it"));
    };
    let [Dim::Size(o), Dim::Size(i)] = w.shape[..] else {
        return Err(Problem::new("E0201", format!("expected a matrix [O,I], found {w}")).operand(1));
    };
    common::plain(ctx, 0)?;
    if !matches!(w.layout, Layout::Plain | Layout::Panel(_)) {
        return Err(common::wrong_layout(1, w.layout, "a matrix is plain or in panels"));
    }
    if i != width {
        return Err(Problem::new("E0211", format!("weight has {i} columns, input has {width} features")).operand(1));
    }
    let y = TensorType::new(x.dtype, [n, o.into()]);
    common::check_epilogue(ctx, &y)?;
    Ok(vec![y])
}
