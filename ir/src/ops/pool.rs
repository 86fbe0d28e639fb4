//! What `max_pool` and `avg_pool` share: attributes, shape rule, the loop over a window.

use super::common::{self, attr, bad_attr};
use super::window::{Tap, Window};
use crate::entity::{Buf, Reg};
use crate::kernel::build::{max_of, min_of};
use crate::kernel::{Affine, Kernel, KernelBuilder};
use crate::op::{AttrDef, AttrKind, Attrs, BodyCtx, OpCtx, Problem};
use crate::types::TensorType;

pub const KERNEL: AttrDef = attr("kernel", AttrKind::Pair, None, "size of the window: height, width");
pub const STRIDE: AttrDef = attr("stride", AttrKind::Pair, Some("1x1"), "step of the window: height, width");
pub const PAD: AttrDef = attr("pad", AttrKind::Quad, Some("0,0,0,0"), "padding: top, left, bottom, right");
pub const CEIL_MODE: AttrDef = attr(
    "ceil_mode",
    AttrKind::Bool,
    Some("false"),
    "a last window that leaves the padded image counts, unless it lies wholly in padding",
);

/// The attributes, typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    pub kernel: [u64; 2],
    pub stride: [u64; 2],
    /// top, left, bottom, right
    pub pad: [u64; 4],
    pub ceil_mode: bool,
}

impl Pool {
    pub fn of(attrs: &Attrs) -> Pool {
        Pool {
            kernel: attrs.pair("kernel"),
            stride: attrs.pair("stride"),
            pad: attrs.quad("pad"),
            ceil_mode: attrs.bool("ceil_mode"),
        }
    }

    /// The window along the height (0) or the width (1).
    pub fn window(&self, axis: usize) -> Window {
        Window {
            taps: self.kernel[axis],
            stride: self.stride[axis],
            dilation: 1,
            pad: [self.pad[axis], self.pad[axis + 2]],
            ceil: self.ceil_mode,
        }
    }

    /// Loops over the windows, of [rows, columns] in all, that the input position `at` = [n, c, h, w] may be in:
    /// `f(k, row, column, accumulator)` gives the next accumulator.
    pub fn windows_around(
        &self,
        k: &mut KernelBuilder,
        windows: [i64; 2],
        at: &[Affine],
        acc: Reg,
        f: impl FnOnce(&mut KernelBuilder, &Affine, &Affine, Reg) -> Reg,
    ) -> Reg {
        let bounds = |axis: usize| {
            let [stride, kernel, pad] = [self.stride[axis], self.kernel[axis], self.pad[axis]].map(u64::cast_signed);
            let position = &at[axis + 2] + pad;
            let lo = max_of([Affine::constant(0), (&position - kernel + stride).floordiv(stride)]);
            (lo, min_of([Affine::constant(windows[axis]), position.floordiv(stride) + 1]))
        };
        let [(top, bottom), (left, right)] = [0, 1].map(bounds);
        k.for_carry(top, bottom, &[acc], |k, i, acc| {
            k.for_carry(left, right, acc, |k, j, acc| vec![f(k, &i, &j, acc[0])])
        })[0]
    }
}

/// [N,C,H,W] → [N,C,P,Q]
pub fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    shape_of(ctx, 0)
}

/// The same where operand `i` is what is pooled.
pub fn shape_of(ctx: &OpCtx, i: usize) -> Result<Vec<TensorType>, Problem> {
    let [c, h, w] = common::image(ctx, i)?;
    let [rows, columns] = outputs(ctx, [h, w]).map_err(|p| if p.operand.is_some() { p.operand(i) } else { p })?;
    Ok(vec![common::image_like_first(ctx, [c, rows, columns])])
}

/// Rows and columns of the result for an image of `h`×`w`.
pub fn outputs(ctx: &OpCtx, [h, w]: [u64; 2]) -> Result<[u64; 2], Problem> {
    let p = Pool::of(ctx.attrs);
    let [kh, kw] = p.kernel;
    // A window wholly in padding would have no maximum and no mean.
    if [0, 2].iter().any(|&i| p.pad[i] >= kh.max(1)) || [1, 3].iter().any(|&i| p.pad[i] >= kw.max(1)) {
        let pad = crate::op::Attr::Quad(p.pad);
        return Err(bad_attr(format!("pad={pad} is not smaller than kernel={kh}x{kw}")));
    }
    let (Some(rows), Some(columns)) = (p.window(0).count(h), p.window(1).count(w)) else {
        return Err(Problem::new(
            "E0204",
            format!("the {kh}x{kw} window does not fit into {h}x{w} with these pads and strides"),
        )
        .operand(0));
    };
    Ok([rows, columns])
}

/// What a pool does with the window of one output element.
pub struct WindowCtx<'a> {
    pub rows: &'a Tap,
    pub columns: &'a Tap,
    pub x: Buf,
    /// Logical index of the output element.
    pub at: &'a [Affine],
}

impl WindowCtx<'_> {
    /// Combines `start` with every element of the window, row by row.
    pub fn fold(
        &self,
        k: &mut KernelBuilder,
        ctx: &BodyCtx,
        start: Reg,
        combine: impl FnOnce(&mut KernelBuilder, Reg, Reg) -> Reg,
    ) -> Reg {
        self.rows.fold(k, start, |k, _, h, acc| {
            self.columns.fold(k, acc, |k, _, w, acc| {
                let at = [self.at[0].clone(), self.at[1].clone(), h.clone(), w.clone()];
                let x = common::load(k, ctx, &[self.x], 0, &at);
                combine(k, acc, x)
            })
        })
    }
}

/// One task a channel of an image; `f` computes an element from its window.
pub fn body(name: &str, ctx: &BodyCtx, f: &mut dyn FnMut(&mut KernelBuilder, &WindowCtx) -> Reg) -> Kernel {
    let p = Pool::of(ctx.attrs);
    let x = &ctx.operands[0];
    common::elementwise(name, ctx, &mut |k, ins, at| {
        let rows = p.window(0).taps_inside(&at[2], x.dims[2]);
        let columns = p.window(1).taps_inside(&at[3], x.dims[3]);
        f(k, &WindowCtx { rows: &rows, columns: &columns, x: ins[0], at })
    })
}
