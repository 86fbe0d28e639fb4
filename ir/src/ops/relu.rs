//! `relu`: y = max(x, 0), elementwise. x, y: any shape, same type. NaN passes through.

use super::common::{elementwise, memory_cost, same_as_first};
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
        elementwise("relu", ctx, &mut |k, _, x, _| {
            let dtype = k.ty(x).dtype;
            let zero = k.constant(dtype, 1, 0.0);
            k.max(x, zero)
        })
    },
};
