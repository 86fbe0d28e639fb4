//! `reorder`: the same logical tensor in another memory layout.
//!
//! x, y: same element type and shape. The lanes that a panel layout has beyond the last row are set to zero.

use super::common::{self, attr, bad_attr, memory_cost};
use crate::grad::Gradient;
use crate::kernel::{Kernel, KernelBuilder};
use crate::layout::Layout;
use crate::op::{Attr, AttrKind, Attrs, Body, BodyCtx, OpDef, Problem, Properties, Sign};
use crate::types::TensorType;

pub const REORDER: OpDef = OpDef {
    name: "reorder",
    doc: "the same tensor in another memory layout; lanes beyond the last row of a panel are zero",
    operands: &["x"],
    properties: Properties { sign: |_| Sign::OfOperands, moves_no_bytes: keeps_order, ..Properties::NONE },
    attrs: &[attr("to", AttrKind::Word, None, "plain, or a layout such as nChw8c, OIhw8i16o, Oi16o")],
    shape: |ctx| {
        let x = common::floats(ctx, 0)?;
        let Some(layout) = target(ctx.attrs) else {
            return Err(bad_attr(format!("to={} is no layout", ctx.attrs.word("to")))
                .help("write plain, nChw8c, OIhw8i16o, Oi16o or the like"));
        };
        // Only the batch can be symbolic, and no layout divides it.
        if !layout.fits(&x.dims(1)) {
            return Err(Problem::new("E0212", format!("{x} cannot have the layout {layout}")).operand(0));
        }
        Ok(vec![x.with_layout(layout)])
    },
    cost: memory_cost,
    body: Body::Loops(body),
    grad: Gradient::Rule(|cx| {
        let to = ("to", Attr::Word(cx.operand(0).layout.to_string()));
        let dx = cx.emit("dx", "reorder", &[cx.grad()], &[to])?;
        cx.send(0, dx);
        Ok(())
    }),
};

/// A single position has its channels in order in either layout.
fn keeps_order(x: &TensorType, y: &TensorType) -> bool {
    let is_image = |t: &TensorType| matches!(t.layout, Layout::Plain | Layout::Blocked(_)) && t.rank() == 4;
    x == y || (is_image(x) && is_image(y) && x.shape[2..].iter().all(|d| d.size() == Some(1)))
}

/// The layout that the attribute `to` names.
pub fn target(attrs: &Attrs) -> Option<Layout> {
    match attrs.word("to") {
        "plain" => Some(Layout::Plain),
        name => Layout::from_name(name),
    }
}

/// Walks the result as it lies in memory, so that what is filled with zeros is written too.
fn body(ctx: &BodyCtx) -> Kernel {
    let y = &ctx.results[0];
    let mut k = KernelBuilder::new("reorder");
    let (ins, out) = common::params(&mut k, ctx);
    common::tasks_then_nest(&mut k, &y.physical(), &mut |k, place| {
        let at = y.layout.logical(place);
        let v = match y.layout {
            Layout::Panel(rows) if y.dims[0] % i64::from(rows) != 0 => {
                let zero = k.constant(y.dtype, 1, 0.0);
                common::if_inside(k, &at[0], y.dims[0], zero, |k, row| {
                    common::load(k, ctx, &ins, 0, &[row, at[1].clone()])
                })
            }
            Layout::Spaced => {
                let zero = k.constant(y.dtype, 1, 0.0);
                common::if_inside(k, &at[3], y.dims[3], zero, |k, block| {
                    common::if_inside(k, &at[4], y.dims[4], zero, |k, tile| {
                        let at = [&at[..3], &[block, tile], &at[5..]].concat();
                        common::load(k, ctx, &ins, 0, &at)
                    })
                })
            }
            _ => common::load(k, ctx, &ins, 0, &at),
        };
        k.store(out, place, v);
    });
    k.finish()
}
