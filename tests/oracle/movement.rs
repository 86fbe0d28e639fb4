//! Ops that move elements and change none.

use super::{Call, Tensor, Truth};

/// [N,a,b,…] → [N,a·b·…]
pub fn flatten(call: &Call) -> Truth {
    let x = call.x();
    Truth::exact(Tensor { dims: vec![x.dims[0], x.dims[1..].iter().product()], data: x.data.clone() })
}

/// The same elements in row-major order.
pub fn reshape(call: &Call) -> Truth {
    let dims = call.numbers["shape"].iter().map(|&d| d as usize).collect();
    Truth::exact(Tensor { dims, data: call.x().data.clone() })
}

/// The same tensor; where it lies in memory is not the oracle's matter.
pub fn reorder(call: &Call) -> Truth {
    Truth::exact(call.x().clone())
}

/// The first of the two.
pub fn later(call: &Call) -> Truth {
    Truth::exact(call.x().clone())
}

/// Every sh-th row and sw-th column.
pub fn subsample(call: &Call) -> Truth {
    let &[n, c, h, w] = &call.x().dims[..] else { panic!("an image has rank 4") };
    let [sh, sw] = call.counts("step");
    let dims = [n, c, (0..h).step_by(sh).count(), (0..w).step_by(sw).count()];
    Truth::exact(Tensor::build(&dims, |at| call.x().at(&[at[0], at[1], at[2] * sh, at[3] * sw])))
}

/// Zero channels before and after.
pub fn pad_channels(call: &Call) -> Truth {
    let &[n, c, h, w] = &call.x().dims[..] else { panic!("an image has rank 4") };
    let ([before], [after]) = (call.counts("before"), call.counts("after"));
    Truth::exact(Tensor::build(&[n, before + c + after, h, w], |at| {
        let inside = at[1] >= before && at[1] < before + c;
        if inside { call.x().at(&[at[0], at[1] - before, at[2], at[3]]) } else { 0.0 }
    }))
}

/// A border of a constant.
pub fn pad2d(call: &Call) -> Truth {
    let &[n, c, h, w] = &call.x().dims[..] else { panic!("an image has rank 4") };
    let [top, left, bottom, right] = call.counts("pad");
    Truth::exact(Tensor::build(&[n, c, top + h + bottom, left + w + right], |at| {
        let inside = (top..top + h).contains(&at[2]) && (left..left + w).contains(&at[3]);
        if inside { call.x().at(&[at[0], at[1], at[2] - top, at[3] - left]) } else { call.number("value") }
    }))
}
