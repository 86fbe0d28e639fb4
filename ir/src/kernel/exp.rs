//! eˣ as a sequence of the basic instructions, shared by all back ends so that they give the same bits.
//!
//! x = n·ln 2 + r with |r| ≤ ln 2 / 2; eʳ by its Taylor series in Horner form; 2ⁿ by exponent bits. Relative
//! error below 2 units in the last place of f32 (degree 7), below 1e-15 in f64 (degree 13). Results saturate
//! where they would leave the normal range; NaN passes through.

/// What a back end provides: the instructions that the expansion is made of, on one register type.
pub trait ExpEmitter {
    type V: Copy;
    fn constant(&mut self, c: f64) -> Self::V;
    /// a < b ? b : a
    fn max(&mut self, a: Self::V, b: Self::V) -> Self::V;
    /// a > b ? b : a
    fn min(&mut self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(&mut self, a: Self::V, b: Self::V) -> Self::V;
    fn fma(&mut self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn floor(&mut self, a: Self::V) -> Self::V;
    /// 2ⁿ for an integral n within the normal exponent range, by writing the exponent bits.
    fn pow2(&mut self, n: Self::V) -> Self::V;
}

/// ln 2 in two parts for f32 and f64: n times the first is exact for any exponent n, the second restores the rest.
pub(super) const LN2: [(f64, f64); 2] =
    [(0.693_359_375, -2.121_944_4e-4), (6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10)];

/// Emits eˣ. `double` says whether the elements are f64.
pub fn expand<E: ExpEmitter>(e: &mut E, x: E::V, double: bool) -> E::V {
    let (lo, hi, degree) = if double { (-708.0, 709.0, 13u32) } else { (-87.0, 88.0, 7u32) };
    let (ln2_hi, ln2_lo) = LN2[usize::from(double)];
    let (lo, hi) = (e.constant(lo), e.constant(hi));
    let x = e.max(x, lo);
    let x = e.min(x, hi);
    let (log2e, half) = (e.constant(std::f64::consts::LOG2_E), e.constant(0.5));
    let n = e.fma(x, log2e, half);
    let n = e.floor(n);
    let (neg_hi, neg_lo) = (e.constant(-ln2_hi), e.constant(-ln2_lo));
    let r = e.fma(n, neg_hi, x);
    let r = e.fma(n, neg_lo, r);
    let coefficient = |k: u32| 1.0 / (1..=k).map(f64::from).product::<f64>();
    let mut p = e.constant(coefficient(degree));
    for k in (0..degree).rev() {
        let c = e.constant(coefficient(k));
        p = e.fma(p, r, c);
    }
    let scale = e.pow2(n);
    e.mul(p, scale)
}
