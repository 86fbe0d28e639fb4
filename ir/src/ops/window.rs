//! Sliding windows of convolutions and pools: output lengths, and the taps that fall inside the image.

use crate::entity::Reg;
use crate::kernel::build::{max_of, min_of};
use crate::kernel::{Affine, KernelBuilder};
use crate::types::DType;

/// A window along one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Number of taps.
    pub taps: u64,
    pub stride: u64,
    /// Distance of neighbouring taps.
    pub dilation: u64,
    /// Padding before and after.
    pub pad: [u64; 2],
    /// Whether a last window that leaves the padded image counts, unless it lies wholly in the padding after it.
    pub ceil: bool,
}

impl Window {
    /// Number of windows on `n` elements: ⌊(n + p₀ + p₁ − d(k−1) − 1)/s⌋ + 1, or ⌈…⌉ + 1 with `ceil`.
    ///
    /// `None` if no window fits, a number is 0 that must not be, or numbers leave the range of addresses.
    pub fn count(self, n: u64) -> Option<u64> {
        let reach = self.dilation.checked_mul(self.taps.checked_sub(1)?)?.checked_add(1)?;
        let slack = if self.ceil { self.stride.checked_sub(1)? } else { 0 };
        let padded = n.checked_add(self.pad[0])?.checked_add(self.pad[1])?;
        let count = padded.checked_add(slack)?.checked_sub(reach)?.checked_div(self.stride)?.checked_add(1)?;
        let last_start = self.stride.checked_mul(count - 1)?;
        let past_image = self.ceil && last_start >= n.checked_add(self.pad[0])?;
        // Taps are computed in i64; no buffer can be longer than this anyway.
        let fits = last_start.checked_add(reach)? <= u64::from(u32::MAX) && padded <= u64::from(u32::MAX);
        (n > 0 && self.dilation > 0 && fits).then_some(if past_image { count - 1 } else { count })
    }

    /// The taps of window `out` that fall inside `n` elements. `out` is below `count(n)`.
    pub fn taps_inside(self, out: &Affine, n: i64) -> Tap {
        let mut tap = Tap::new(out, self.stride, self.pad[0], self.dilation, n, self.taps.cast_signed());
        // Without padding on a side no window leaves it there.
        if self.pad[0] == 0 {
            tap.lo.truncate(1);
        }
        if self.pad[1] == 0 && !self.ceil {
            tap.hi.truncate(1);
        }
        tap
    }

    /// The windows, of `count` in all, whose tap number `tap` falls inside `n` elements: the same inequality as for
    /// the taps of a window, with stride and dilation exchanged.
    pub fn windows_inside(self, tap: &Affine, n: i64, count: i64) -> Tap {
        Tap::new(tap, self.dilation, self.pad[0], self.stride, n, count)
    }

    /// The taps of window `out` that fall inside `n` elements or their padding: fewer than all only with `ceil`.
    pub fn taps_padded(self, out: &Affine, n: i64) -> Tap {
        let padded = n + self.pad[1].cast_signed();
        let mut tap = Tap::new(out, self.stride, self.pad[0], self.dilation, padded, self.taps.cast_signed());
        tap.lo.truncate(1);
        if !self.ceil {
            tap.hi.truncate(1);
        }
        tap
    }
}

/// Filter taps of one output position along one dimension, those that fall inside the input: from the largest of
/// `lo` to the smallest of `hi`, exclusive.
pub struct Tap {
    pub lo: Vec<Affine>,
    pub hi: Vec<Affine>,
    start: Affine,
    dilation: i64,
}

impl Tap {
    pub fn new(out: &Affine, stride: u64, pad: u64, dilation: u64, len: i64, taps: i64) -> Tap {
        let (s, p, d) = (stride.cast_signed(), pad.cast_signed(), dilation.cast_signed());
        let start = out * s - p;
        // inside: 0 ≤ start + r·d < len, i.e. ⌈−start/d⌉ ≤ r < ⌈(len − start)/d⌉
        let lo = vec![Affine::constant(0), (&start * -1 + (d - 1)).floordiv(d)];
        let hi = vec![Affine::constant(taps), (&start * -1 + (len + d - 1)).floordiv(d)];
        Tap { lo, hi, start, dilation: d }
    }

    /// Input position of tap `r`.
    pub fn at(&self, r: &Affine) -> Affine {
        &self.start + r * self.dilation
    }

    /// Loops over the taps: `f(k, tap, input position, accumulator)` gives the next accumulator.
    pub fn fold(
        &self,
        k: &mut KernelBuilder,
        acc: Reg,
        f: impl FnOnce(&mut KernelBuilder, &Affine, &Affine, Reg) -> Reg,
    ) -> Reg {
        if self.lo == [Affine::constant(0)] && self.hi == [Affine::constant(1)] {
            let tap = Affine::constant(0);
            return f(k, &tap, &self.at(&tap), acc);
        }
        let (lo, hi) = (max_of(self.lo.iter().cloned()), min_of(self.hi.iter().cloned()));
        k.for_carry(lo, hi, &[acc], |k, tap, acc| vec![f(k, &tap, &self.at(&tap), acc[0])])[0]
    }

    /// As [`fold`](Self::fold) with several carried values: `f(k, input position, accumulators)`.
    pub fn fold_many(
        &self,
        k: &mut KernelBuilder,
        acc: &[Reg],
        f: impl FnOnce(&mut KernelBuilder, &Affine, &[Reg]) -> Vec<Reg>,
    ) -> Vec<Reg> {
        let (lo, hi) = (max_of(self.lo.iter().cloned()), min_of(self.hi.iter().cloned()));
        k.for_carry(lo, hi, acc, |k, tap, acc| f(k, &self.at(&tap), acc))
    }

    /// Their number, as a float.
    pub fn count(&self, k: &mut KernelBuilder, dtype: DType) -> Reg {
        let mut pick = |bounds: &[Affine], op: fn(&mut KernelBuilder, Reg, Reg) -> Reg| {
            let first = k.index(dtype, &bounds[0]);
            bounds[1..].iter().fold(first, |tightest, b| {
                let b = k.index(dtype, b);
                op(k, tightest, b)
            })
        };
        let (lo, hi) = (pick(&self.lo, KernelBuilder::max), pick(&self.hi, KernelBuilder::min));
        k.sub(hi, lo)
    }
}
