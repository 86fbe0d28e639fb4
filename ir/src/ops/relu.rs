//! `relu`: y = max(x, 0), elementwise. x, y: any shape, same type. NaN passes through.

use super::common::{self, elementwise, memory_cost, same_as_first};
use crate::grad::Gradient;
use crate::op::OpDef;

pub const RELU: OpDef = OpDef {
    name: "relu",
    doc: "y = max(x, 0); NaN passes through",
    operands: &["x"],
    variadic: false,
    epilogue: false,
    attrs: &[],
    shape: same_as_first,
    cost: memory_cost,
    body: |ctx| {
        elementwise("relu", ctx, &mut |k, ins, at| {
            let x = common::load(k, ctx, ins, 0, at);
            common::relu(k, x)
        })
    },
    grad: Gradient::Rule(|cx| {
        let dx = cx.emit("dx", "relu_grad", &[cx.grad(), cx.results[0]], &[])?;
        cx.send(0, dx);
        Ok(())
    }),
};
