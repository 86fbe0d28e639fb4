//! `reshape`: the same elements in row-major order under another shape. x, y: plain, same element type.

use super::common::{self, attr, floats, memory_cost};
use crate::grad::{GradCtx, Gradient};
use crate::kernel::{Affine, Kernel};
use crate::layout::Layout;
use crate::op::{Attr, AttrKind, Body, BodyCtx, OpCtx, OpDef, Problem, Properties, Sign};
use crate::types::{Dim, TensorType};

pub const RESHAPE: OpDef = OpDef {
    name: "reshape",
    doc: "the same elements in row-major order under another shape",
    operands: &["x"],
    properties: Properties { sign: |_| Sign::OfOperands, moves_no_bytes: are_plain, ..Properties::NONE },
    attrs: &[attr("shape", AttrKind::Dims, None, "dimensions of the result; N where the operand has N")],
    shape,
    cost: memory_cost,
    body: Body::Loops(|ctx| copy_row_major("reshape", ctx)),
    grad: Gradient::Rule(grad),
};

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let x = floats(ctx, 0)?;
    common::plain(ctx, 0)?;
    let y = TensorType::new(x.dtype, ctx.attrs.dims("shape").iter().copied());
    // Equal for every N: the same number of symbols and the same product of the rest.
    let count = |t: &TensorType| {
        let symbols = t.shape.iter().filter(|&&d| d == Dim::N).count();
        let sizes = t.shape.iter().filter_map(|d| d.size()).try_fold(1u64, u64::checked_mul);
        sizes.map(|s| (symbols, s))
    };
    match (count(x), count(&y)) {
        (Some(a), Some(b)) if a == b => Ok(vec![y]),
        _ => Err(Problem::new("E0210", format!("{x} and {y} do not have the same number of elements")).operand(0)),
    }
}

/// Row-major order is the same for any shape.
pub fn are_plain(x: &TensorType, y: &TensorType) -> bool {
    x.layout == Layout::Plain && y.layout == Layout::Plain
}

/// Each element of the result is the element of the operand with the same row-major position.
pub fn copy_row_major(name: &str, ctx: &BodyCtx) -> Kernel {
    let (x, y) = (&ctx.operands[0], &ctx.results[0]);
    common::elementwise(name, ctx, &mut |k, ins, at| {
        let position = at.iter().zip(&y.dims).fold(Affine::constant(0), |p, (i, &d)| p * d + i);
        let mut below = 1;
        let mut index: Vec<Affine> = Vec::new();
        for &d in x.dims.iter().rev() {
            index.push(if d == 1 { 0.into() } else { position.floordiv(below).modulo(d) });
            below *= d;
        }
        index.reverse();
        common::load(k, ctx, ins, 0, &index)
    })
}

/// Of `reshape` and `flatten`: back to the shape of the operand.
pub fn grad(cx: &mut GradCtx) -> Result<(), Problem> {
    let shape = ("shape", Attr::Dims(cx.operand(0).shape.clone()));
    let dx = cx.emit("dx", "reshape", &[cx.grad()], &[shape])?;
    cx.send(0, dx);
    Ok(())
}
