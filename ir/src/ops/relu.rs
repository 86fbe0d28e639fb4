//! `relu`: y = max(x, 0), elementwise. x, y: any shape, same type. NaN passes through.

use super::common::{memory_cost, same_as_first};
use super::map::Map;
use crate::entity::Reg;
use crate::grad::Gradient;
use crate::kernel::KernelBuilder;
use crate::op::{Body, OpDef, Properties, Sign};

pub const RELU: OpDef = OpDef {
    name: "relu",
    doc: "y = max(x, 0); NaN passes through",
    operands: &["x"],
    properties: Properties { sign: |_| Sign::NotNegative, ..Properties::NONE },
    attrs: &[],
    shape: same_as_first,
    cost: memory_cost,
    body: Body::Map(Map::new(|k, _, x, _| rectified(k, x[0]))),
    grad: Gradient::Rule(|cx| {
        let dx = cx.emit("dx", "relu_grad", &[cx.grad(), cx.results[0]], &[])?;
        cx.send(0, dx);
        Ok(())
    }),
};

/// max(x, 0), lane by lane; NaN passes through.
pub fn rectified(k: &mut KernelBuilder, x: Reg) -> Reg {
    let zero = k.constant_like(x, 0.0);
    k.max(x, zero)
}
