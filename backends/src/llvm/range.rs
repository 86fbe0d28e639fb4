//! Ranges of affine forms, from the ranges of the loop variables.
//!
//! They decide only what code is needed: no guard around a loop that always runs, unsigned division of what is
//! never negative. The proofs that accesses are in bounds are the kernel verifier's.

use cranelift_entity::SecondaryMap;
use ir::entity::Var;
use ir::kernel::{Affine, Term};

/// Least and greatest value, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub lo: i64,
    pub hi: i64,
}

pub type VarRanges = SecondaryMap<Var, Range>;

impl Range {
    /// Covers every value that `a` takes while the variables stay in `vars`.
    pub fn of(a: &Affine, vars: &VarRanges) -> Range {
        let start = Range { lo: a.offset(), hi: a.offset() };
        a.terms().iter().fold(start, |sum, (c, term)| {
            let t = Range::of_term(term, vars);
            let (p, q) = (t.lo.saturating_mul(*c), t.hi.saturating_mul(*c));
            Range { lo: sum.lo.saturating_add(p.min(q)), hi: sum.hi.saturating_add(p.max(q)) }
        })
    }

    fn of_term(term: &Term, vars: &VarRanges) -> Range {
        match term {
            Term::Var(v) => vars[*v],
            Term::FloorDiv(e, k) => {
                let r = Range::of(e, vars);
                Range { lo: r.lo.div_euclid(*k), hi: r.hi.div_euclid(*k) }
            }
            Term::Mod(e, k) => {
                let r = Range::of(e, vars);
                if r.lo.div_euclid(*k) == r.hi.div_euclid(*k) {
                    Range { lo: r.lo.rem_euclid(*k), hi: r.hi.rem_euclid(*k) }
                } else {
                    Range { lo: 0, hi: k - 1 }
                }
            }
        }
    }

    /// What a loop variable takes between the tightest of `lo` and of `hi` (exclusive).
    pub fn of_loop(lo: &[Affine], hi: &[Affine], vars: &VarRanges) -> Range {
        let least = lo.iter().map(|a| Range::of(a, vars).lo).max().unwrap_or(i64::MIN);
        let end = hi.iter().map(|a| Range::of(a, vars).hi).min().unwrap_or(i64::MAX);
        Range { lo: least, hi: end.saturating_sub(1) }
    }

    /// Whether every lower bound lies below every upper bound, whatever the outer variables are.
    pub fn never_empty(lo: &[Affine], hi: &[Affine], vars: &VarRanges) -> bool {
        lo.iter().all(|l| hi.iter().all(|h| Range::of(&(h - l), vars).lo >= 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_entity::EntityRef;

    fn one_var(lo: i64, hi: i64) -> (Affine, VarRanges) {
        let v = Var::new(0);
        let mut vars = VarRanges::new();
        vars[v] = Range { lo, hi };
        (Affine::var(v), vars)
    }

    #[test]
    fn covers_every_value_of_the_form() {
        let (v, vars) = one_var(-7, 12);
        let forms = [&v * -3 + 5, (&v + 1).floordiv(4) * 2, (&v * 3).modulo(5), v.floordiv(32) + v.modulo(32)];
        for f in forms {
            let r = Range::of(&f, &vars);
            for i in -7..=12 {
                let x = f.eval(&|_| i);
                assert!(r.lo <= x && x <= r.hi, "{f:?} at {i} is {x}, outside {r:?}");
            }
        }
    }

    #[test]
    fn a_padded_row_always_has_a_tap_but_not_three_rows_off() {
        let (h, vars) = one_var(0, 31);
        let lo = [Affine::constant(0), &h * -1 + 1];
        let hi = [Affine::constant(3), &h * -1 + 33];
        assert!(Range::never_empty(&lo, &hi, &vars));
        assert_eq!(Range::of_loop(&lo, &hi, &vars), Range { lo: 0, hi: 2 });
        let (h, vars) = one_var(0, 34);
        let hi = [Affine::constant(3), &h * -1 + 33];
        assert!(!Range::never_empty(&[Affine::constant(0)], &hi, &vars));
    }
}
