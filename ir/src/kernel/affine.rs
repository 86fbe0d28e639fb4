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
