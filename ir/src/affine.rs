//! Affine index expressions: Σ cᵢ·termᵢ + c₀ over loop variables, with floor division and modulo by constants.
//!
//! Kept in one normal form (terms sorted, no zero coefficient), so that equal expressions compare equal.

use crate::entity::Var;
use std::ops::{Add, Mul, Sub};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Term {
    Var(Var),
    /// ⌊e / k⌋, k > 0
    FloorDiv(Box<Affine>, i64),
    /// e − k·⌊e / k⌋, k > 0: always in 0..k
    Mod(Box<Affine>, i64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Affine {
    /// (coefficient, term), sorted by term, coefficients not zero.
    terms: Vec<(i64, Term)>,
    constant: i64,
}

impl Affine {
    pub fn constant(c: i64) -> Affine {
        Affine { terms: Vec::new(), constant: c }
    }

    pub fn var(v: Var) -> Affine {
        Affine { terms: vec![(1, Term::Var(v))], constant: 0 }
    }

    pub fn terms(&self) -> &[(i64, Term)] {
        &self.terms
    }

    pub fn offset(&self) -> i64 {
        self.constant
    }

    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// The part without the constant.
    pub fn variable_part(&self) -> Affine {
        Affine { terms: self.terms.clone(), constant: 0 }
    }

    pub fn floordiv(&self, k: i64) -> Affine {
        assert!(k > 0, "invariant: divisor of floordiv is positive");
        if k == 1 {
            return self.clone();
        }
        // Σ (k·qᵢ)·tᵢ + k·q₀ + r divides exactly but for r.
        let (whole, rest): (Vec<_>, Vec<_>) = self.terms.iter().cloned().partition(|(c, _)| c % k == 0);
        let mut out = Affine { terms: whole, constant: self.constant.div_euclid(k) * k }.divided(k);
        let rest = Affine { terms: rest, constant: self.constant.rem_euclid(k) };
        if let [(1, Term::FloorDiv(inner, c))] = &rest.terms[..] {
            // ⌊(⌊e/c⌋ + r) / k⌋ = ⌊(e + r·c) / (c·k)⌋
            if let Some(ck) = c.checked_mul(k) {
                let inner = Affine { terms: inner.terms.clone(), constant: inner.constant + rest.constant * c };
                out.add_term(1, Term::FloorDiv(Box::new(inner), ck));
                return out;
            }
        }
        if !rest.terms.is_empty() {
            out.add_term(1, Term::FloorDiv(Box::new(rest), k));
        }
        out
    }

    pub fn modulo(&self, k: i64) -> Affine {
        assert!(k > 0, "invariant: divisor of mod is positive");
        let rest = Affine {
            terms: self.terms.iter().filter(|(c, _)| c % k != 0).cloned().collect(),
            constant: self.constant.rem_euclid(k),
        };
        match rest.as_constant() {
            Some(c) => Affine::constant(c),
            None => Affine { terms: vec![(1, Term::Mod(Box::new(rest), k))], constant: 0 },
        }
    }

    fn divided(&self, k: i64) -> Affine {
        Affine { terms: self.terms.iter().map(|(c, t)| (c / k, t.clone())).collect(), constant: self.constant / k }
    }

    fn add_term(&mut self, c: i64, t: Term) {
        match self.terms.binary_search_by(|(_, u)| u.cmp(&t)) {
            Ok(i) => {
                self.terms[i].0 += c;
                if self.terms[i].0 == 0 {
                    self.terms.remove(i);
                }
            }
            Err(i) if c != 0 => self.terms.insert(i, (c, t)),
            Err(_) => {}
        }
    }

    /// Value for an assignment of the variables.
    pub fn eval(&self, var: &impl Fn(Var) -> i64) -> i64 {
        self.terms.iter().fold(self.constant, |sum, (c, t)| {
            let v = match t {
                Term::Var(v) => var(*v),
                Term::FloorDiv(e, k) => e.eval(var).div_euclid(*k),
                Term::Mod(e, k) => e.eval(var).rem_euclid(*k),
            };
            sum + c * v
        })
    }

    /// The same form with `with` in the place of `v`.
    pub fn substitute(&self, v: Var, with: &Affine) -> Affine {
        let mut out = Affine::constant(self.constant);
        for (c, t) in &self.terms {
            match t {
                Term::Var(w) if *w == v => out = out + with * *c,
                Term::FloorDiv(e, k) if e.contains(v) => out = out + e.substitute(v, with).floordiv(*k) * *c,
                Term::Mod(e, k) if e.contains(v) => out = out + e.substitute(v, with).modulo(*k) * *c,
                t => out.add_term(*c, t.clone()),
            }
        }
        out
    }

    pub fn contains(&self, v: Var) -> bool {
        self.terms.iter().any(|(_, t)| t.contains(v))
    }

    /// Largest absolute value of a number in the form.
    pub fn magnitude(&self) -> u64 {
        let terms = self.terms.iter().map(|(c, t)| match t {
            Term::Var(_) => c.unsigned_abs(),
            Term::FloorDiv(e, k) | Term::Mod(e, k) => c.unsigned_abs().max(k.unsigned_abs()).max(e.magnitude()),
        });
        terms.fold(self.constant.unsigned_abs(), u64::max)
    }

    /// The form as text, as in the text IR; `name` gives the names of variables, with the `%`.
    pub fn display(&self, name: &dyn Fn(Var) -> String) -> String {
        // `1 - %t` reads better than `- %t + 1`.
        let leads = self.constant > 0 && self.terms.first().is_some_and(|(c, _)| *c < 0);
        let mut out = if leads { self.constant.to_string() } else { String::new() };
        for (c, t) in &self.terms {
            out += match (out.is_empty(), *c < 0) {
                (true, false) => "",
                (true, true) => "- ",
                (false, false) => " + ",
                (false, true) => " - ",
            };
            if c.unsigned_abs() != 1 {
                out += &format!("{}*", c.unsigned_abs());
            }
            out += &t.display(name);
        }
        match (out.is_empty(), self.constant) {
            (true, c) => format!("{c}"),
            (false, c) if leads || c == 0 => out,
            (false, c) if c < 0 => format!("{out} - {}", c.unsigned_abs()),
            (false, c) => format!("{out} + {c}"),
        }
    }

    /// Calls `f` for every variable that occurs.
    pub fn for_each_var(&self, f: &mut impl FnMut(Var)) {
        for (_, t) in &self.terms {
            match t {
                Term::Var(v) => f(*v),
                Term::FloorDiv(e, _) | Term::Mod(e, _) => e.for_each_var(f),
            }
        }
    }
}

impl Term {
    pub fn contains(&self, v: Var) -> bool {
        match self {
            Term::Var(w) => *w == v,
            Term::FloorDiv(e, _) | Term::Mod(e, _) => e.contains(v),
        }
    }

    fn display(&self, name: &dyn Fn(Var) -> String) -> String {
        let inner = |e: &Affine| match &e.terms[..] {
            [(1, t)] if e.constant == 0 => t.display(name),
            _ => format!("({})", e.display(name)),
        };
        match self {
            Term::Var(v) => name(*v),
            Term::FloorDiv(e, k) => format!("({} floordiv {k})", inner(e)),
            Term::Mod(e, k) => format!("({} mod {k})", inner(e)),
        }
    }
}

impl From<Term> for Affine {
    fn from(t: Term) -> Affine {
        Affine { terms: vec![(1, t)], constant: 0 }
    }
}

impl From<i64> for Affine {
    fn from(c: i64) -> Affine {
        Affine::constant(c)
    }
}

impl From<Var> for Affine {
    fn from(v: Var) -> Affine {
        Affine::var(v)
    }
}

impl From<&Affine> for Affine {
    fn from(a: &Affine) -> Affine {
        a.clone()
    }
}

impl<T: Into<Affine>> Add<T> for Affine {
    type Output = Affine;
    fn add(mut self, other: T) -> Affine {
        let other = other.into();
        self.constant += other.constant;
        for (c, t) in other.terms {
            self.add_term(c, t);
        }
        self
    }
}

impl<T: Into<Affine>> Sub<T> for Affine {
    type Output = Affine;
    fn sub(self, other: T) -> Affine {
        self + other.into() * -1
    }
}

impl Mul<i64> for Affine {
    type Output = Affine;
    fn mul(mut self, k: i64) -> Affine {
        if k == 0 {
            return Affine::constant(0);
        }
        self.constant *= k;
        for (c, _) in &mut self.terms {
            *c *= k;
        }
        self
    }
}

impl<T: Into<Affine>> Add<T> for &Affine {
    type Output = Affine;
    fn add(self, other: T) -> Affine {
        self.clone() + other
    }
}

impl<T: Into<Affine>> Sub<T> for &Affine {
    type Output = Affine;
    fn sub(self, other: T) -> Affine {
        self.clone() - other
    }
}

impl Mul<i64> for &Affine {
    type Output = Affine;
    fn mul(self, k: i64) -> Affine {
        self.clone() * k
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_entity::EntityRef;

    fn var(i: usize) -> Affine {
        Affine::var(Var::new(i))
    }

    /// Equal on a range of assignments.
    fn check(a: &Affine, f: impl Fn(i64, i64) -> i64) {
        for (x, y) in (-30..30).flat_map(|x| (-5..5).map(move |y| (x, y))) {
            assert_eq!(a.eval(&|v| if v.index() == 0 { x } else { y }), f(x, y), "at {x}, {y}: {a:?}");
        }
    }

    #[test]
    fn nested_divisions_merge() {
        let nested = (var(0).floordiv(3) + 1).floordiv(4);
        assert_eq!(nested, (var(0) + 3).floordiv(12));
        check(&nested, |x, _| (x.div_euclid(3) + 1).div_euclid(4));
    }

    #[test]
    fn division_pulls_out_multiples() {
        let e = (var(0) + var(1) * 8 + 19).floordiv(8);
        assert_eq!(e, (var(0) + 3).floordiv(8) + var(1) + 2);
        check(&e, |x, y| (x + 8 * y + 19).div_euclid(8));
        check(&(var(0) * 5 + var(1) * 3 - 7).modulo(6), |x, y| (5 * x + 3 * y - 7).rem_euclid(6));
    }

    #[test]
    fn substitution_reaches_into_divisions() {
        let e = (var(0) + var(1)).floordiv(4) * 3 - var(0) + (var(0) * 3).modulo(5);
        let s = e.substitute(Var::new(0), &(var(1) * 2 + 1));
        assert!(!s.contains(Var::new(0)));
        check(&s, |_, y| {
            let x = 2 * y + 1;
            3 * (x + y).div_euclid(4) - x + (3 * x).rem_euclid(5)
        });
    }

    #[test]
    fn prints() {
        let show = |a: Affine| a.display(&|v| ["%h", "%r"][v.index()].to_string());
        assert_eq!(show(var(0) + var(1) - 1), "%h + %r - 1");
        assert_eq!(show(var(0) * -2 + (var(1) + 1).floordiv(4)), "- 2*%h + ((%r + 1) floordiv 4)");
        assert_eq!(show(var(0) * -1 + 33), "33 - %h");
        assert_eq!(show(var(0).modulo(8)), "(%h mod 8)");
        assert_eq!(show(Affine::constant(-3)), "-3");
    }
}
