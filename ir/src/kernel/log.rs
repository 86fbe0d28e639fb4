//! ln x as a sequence of the basic instructions, shared by all back ends so that they give the same bits.
//!
//! x = 2ᵏ·m with m in [√½, √2); with s = (m − 1)/(m + 1), |s| < 0.172, ln m = 2·artanh s = 2s + s·Σ 2s²ʲ/(2j + 1).
//! Relative error below 3 units in the last place of f32 (5 terms) and of f64 (11 terms), denormal numbers included.
//! ln 0 is −∞, ln ∞ is ∞, the logarithm of a negative number or of NaN is NaN.

use super::Test;
use super::exp::{ExpEmitter, LN2};

/// What a back end provides beside the instructions of eˣ.
pub trait LogEmitter: ExpEmitter {
    fn add(&mut self, a: Self::V, b: Self::V) -> Self::V;
    fn div(&mut self, a: Self::V, b: Self::V) -> Self::V;
    /// `x` where the test holds for `a` and `b`, else `y`.
    fn select(&mut self, test: Test, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// k and m of a normal positive number; anything for others. By [`Split`] on the bits.
    fn split(&mut self, a: Self::V) -> [Self::V; 2];
}

/// How a float is split by integer arithmetic on its bits: with t = bits + `up`, the biased exponent k is
/// t >> `fraction`, and the bits of m are (t & `mask`) + `half_root`. The number with bits (t >> `fraction`) | `magic`
/// is `offset` + k.
pub struct Split {
    pub fraction: u32,
    pub up: u64,
    pub mask: u64,
    pub half_root: u64,
    pub magic: u64,
    pub offset: f64,
}

impl Split {
    pub fn of(double: bool) -> Split {
        let (one, half_root, fraction) = if double {
            (1f64.to_bits(), std::f64::consts::FRAC_1_SQRT_2.to_bits(), 52)
        } else {
            (u64::from(1f32.to_bits()), u64::from(std::f32::consts::FRAC_1_SQRT_2.to_bits()), 23)
        };
        let bias = one >> fraction;
        Split {
            fraction,
            up: one - half_root,
            mask: (1 << fraction) - 1,
            half_root,
            magic: (bias + u64::from(fraction)) << fraction,
            offset: (1u64 << fraction) as f64 + bias as f64,
        }
    }
}

/// Emits ln x. `double` says whether the elements are f64.
pub fn expand<E: LogEmitter>(e: &mut E, x: E::V, double: bool) -> E::V {
    let (least, shift, terms) = if double { (f64::MIN_POSITIVE, 54, 11) } else { (f32::MIN_POSITIVE.into(), 25, 5) };
    let (ln2_hi, ln2_lo) = LN2[usize::from(double)];
    // A denormal number is made normal first.
    let (least, zero, scale) = (e.constant(least), e.constant(0.0), e.constant(2f64.powi(shift)));
    let scaled = e.mul(x, scale);
    let normal = e.select(Test::Gt, least, x, scaled, x);
    let back = e.constant(f64::from(-shift));
    let back = e.select(Test::Gt, least, x, back, zero);
    let [k, m] = e.split(normal);
    let k = e.add(k, back);

    let (one, minus_one) = (e.constant(1.0), e.constant(-1.0));
    let (above, below) = (e.add(m, one), e.add(m, minus_one));
    let s = e.div(below, above);
    let z = e.mul(s, s);
    let coefficient = |j: i32| 2.0 / f64::from(2 * j + 1);
    let mut p = e.constant(coefficient(terms));
    for j in (1..terms).rev() {
        let c = e.constant(coefficient(j));
        p = e.fma(p, z, c);
    }
    let p = e.mul(p, z);
    // k·ln 2 + 2s + s·p, the small terms first.
    let (hi, lo) = (e.constant(ln2_hi), e.constant(ln2_lo));
    let small = e.mul(k, lo);
    let small = e.fma(s, p, small);
    let twice = e.add(s, s);
    let sum = e.add(twice, small);
    let y = e.fma(k, hi, sum);

    let (infinity, least_infinity) = (e.constant(f64::INFINITY), e.constant(f64::NEG_INFINITY));
    let nan = e.constant(f64::NAN);
    let y = e.select(Test::Eq, x, infinity, x, y);
    let other = e.select(Test::Eq, x, zero, least_infinity, nan);
    e.select(Test::Gt, x, zero, y, other)
}
