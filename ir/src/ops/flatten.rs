//! `flatten`: all dimensions but the first in one, in row-major order. x: [N,d₁,d₂,…] plain; y: [N,d₁·d₂·…].

use super::common::{self, floats, memory_cost};
use super::reshape::{are_plain, copy_row_major};
use crate::grad::Gradient;
use crate::op::{Body, OpDef, Problem, Properties, Sign};
use crate::types::{Dim, TensorType};

pub const FLATTEN: OpDef = OpDef {
    name: "flatten",
    doc: "[N,d1,d2,...] to [N,d1*d2*...] in row-major order",
    operands: &["x"],
    properties: Properties { sign: |_| Sign::OfOperands, moves_no_bytes: are_plain, ..Properties::NONE },
    attrs: &[],
    shape: |ctx| {
        let x = floats(ctx, 0)?;
        common::plain(ctx, 0)?;
        let Some((&n, rest)) = x.shape.split_first() else {
            return Err(Problem::new("E0201", "flatten keeps the first dimension, found a scalar").operand(0));
        };
        let width = rest.iter().try_fold(1u64, |n, d| n.checked_mul(d.size()?));
        let Some(width) = width else {
            return Err(Problem::new("E0210", format!("{x} has no row of a known, addressable length")).operand(0));
        };
        Ok(vec![TensorType::new(x.dtype, [n, Dim::Size(width)])])
    },
    cost: memory_cost,
    body: Body::Loops(|ctx| copy_row_major("flatten", ctx)),
    grad: Gradient::Rule(super::reshape::grad),
};
