//! `transpose`: y[j,i] = x[i,j]. x: [I,J] plain; y: [J,I].

use super::common::{self, elementwise, memory_cost};
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Problem, Properties};
use crate::types::{Dim, TensorType};

pub const TRANSPOSE: OpDef = OpDef {
    name: "transpose",
    doc: "y[j,i] = x[i,j]",
    operands: &["x"],
    properties: Properties::NONE,
    attrs: &[],
    shape: |ctx| {
        let x = common::floats(ctx, 0)?;
        let &[i @ Dim::Size(_), j @ Dim::Size(_)] = &x.shape[..] else {
            return Err(Problem::new("E0201", format!("expected a matrix [I,J], found {x}")).operand(0));
        };
        common::plain(ctx, 0)?;
        Ok(vec![TensorType::new(x.dtype, [j, i])])
    },
    cost: memory_cost,
    body: Body::Loops(|ctx| {
        elementwise("transpose", ctx, &mut |k, ins, at| common::load(k, ctx, ins, 0, &[at[1].clone(), at[0].clone()]))
    }),
    grad: Gradient::Rule(|cx| {
        let dx = cx.emit("dx", "transpose", &[cx.grad()], &[])?;
        cx.send(0, dx);
        Ok(())
    }),
};
