//! A batch in parts that are summed apart, so that many cores share a sum: part k is images k·m to (k+1)·m with
//! m = ⌈N/splits⌉, perhaps none. [`sum_splits`](super::sum_splits) adds the parts.

use super::common::{attr, bad_attr};
use crate::op::{AttrDef, AttrKind, Attrs, Problem};
use crate::types::Dim;

/// More parts than that only cost memory.
pub const MAX_SPLITS: i64 = 64;

pub const SPLITS: AttrDef = attr("splits", AttrKind::Int, Some("1"), "parts of the batch that are summed apart");

/// The number of parts that a node makes.
///
/// Errors: E0209 if it is not 1 to [`MAX_SPLITS`].
pub fn count(attrs: &Attrs) -> Result<u64, Problem> {
    let splits = attrs.int(SPLITS.name);
    if !(1..=MAX_SPLITS).contains(&splits) {
        return Err(bad_attr(format!("splits={splits} is not 1 to {MAX_SPLITS}")));
    }
    Ok(splits.cast_unsigned())
}

/// Whether a dimension may count parts.
pub fn is_count(d: Dim) -> bool {
    d.size().is_some_and(|n| (1..=MAX_SPLITS.cast_unsigned()).contains(&n))
}

pub fn images_per_split(images: i64, splits: i64) -> i64 {
    (images + splits - 1) / splits
}
