//! `sum_splits`: y[…] = Σ x[k,…] over the leading dimension, as a tree: the sum of the first ⌈n/2⌉ terms plus that of
//! the others, each made in the same way.
//!
//! x: [splits,…] plain; y: […]. It adds the partial sums of ops with an attribute `splits`, in an order that depends on
//! nothing but their number.

use super::common::{self, elementwise, memory_cost};
use super::splits::{self, MAX_SPLITS};
use crate::entity::Reg;
use crate::grad::Gradient;
use crate::kernel::KernelBuilder;
use crate::op::{Body, OpDef, Problem, Properties};
use crate::types::TensorType;

pub const SUM_SPLITS: OpDef =
    OpDef {
        name: "sum_splits",
        doc: "y[...] = sum of x[k,...] over k, as a tree that halves",
        operands: &["x"],
        properties: Properties::NONE,
        attrs: &[],
        shape: |ctx| {
            let x = common::floats(ctx, 0)?;
            common::plain(ctx, 0)?;
            match x.shape.split_first() {
                Some((&n, rest)) if !rest.is_empty() && splits::is_count(n) => {
                    Ok(vec![TensorType::new(x.dtype, rest.iter().copied())])
                }
                _ => Err(Problem::new("E0201", format!("expected 1 to {MAX_SPLITS} partial sums [n,…], found {x}"))
                    .operand(0)),
            }
        },
        cost: memory_cost,
        body: Body::Loops(|ctx| {
            elementwise("sum_splits", ctx, &mut |k, ins, at| {
                tree(k, 0..ctx.operands[0].dims[0], &mut |k, split| {
                    common::load(k, ctx, ins, 0, &[&[split.into()], at].concat())
                })
            })
        }),
        grad: Gradient::None("part of a gradient; second derivatives are not taken"),
    };

/// The sum over a range, added as the op says.
pub fn tree(
    k: &mut KernelBuilder,
    range: std::ops::Range<i64>,
    term: &mut impl FnMut(&mut KernelBuilder, i64) -> Reg,
) -> Reg {
    let count = range.end - range.start;
    if count == 1 {
        return term(k, range.start);
    }
    let middle = range.start + (count + 1) / 2;
    let first = tree(k, range.start..middle, term);
    let second = tree(k, middle..range.end, term);
    k.add(first, second)
}
