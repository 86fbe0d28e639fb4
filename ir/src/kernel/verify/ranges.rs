//! Bounds of index forms over everything that the loops around can do.
//!
//! To bound a form from above, its innermost variable is replaced by a form in outer variables, and so on until a
//! number is left. Each step is one of several sound ones, and the smallest result counts:
//! - *Substitution*: where the form does not fall as `v` grows, v ≤ hᵢ − 1 holds for each upper bound hᵢ of the
//!   loop, so any one of them may be put in. So `h + r − 1` with r < min(3, 33 − h) is at most
//!   h + (33 − h − 1) − 1 = 31, exactly.
//! - *Relaxation* of a division: k·⌊e/k⌋ ≤ e, and ≥ e − k + 1. It keeps what e has in common with the other terms.
//! - *Interval*: a division or modulo is bounded alone. It keeps what rounding down gains.
//!
//! That a loop has been entered is a fact too: for each pair of bounds, lo < hi. Solved for the term with its
//! innermost variable, it is one more bound of that term inside the loop. That is how loops of one trip guard.

use crate::entity::Var;
use crate::kernel::{Affine, For, Kernel, Term};
use cranelift_entity::SecondaryMap;
use std::collections::HashMap;

/// Bounds of a form: inclusive, [`i64::MIN`] and [`i64::MAX`] where none was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub lo: i64,
    pub hi: i64,
}

/// What is known about a variable: it is at least every `lo` and at most every `hi`. All are forms in variables
/// further out.
#[derive(Clone, Default)]
struct Bounds {
    /// Number of loops around its own; 0 for the task.
    depth: u32,
    lo: Vec<Affine>,
    hi: Vec<Affine>,
}

/// A bound of a variable or of a division that holds inside a loop.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fact {
    term: Term,
    is_upper: bool,
    bound: Affine,
}

pub struct Ranges {
    bounds: SecondaryMap<Var, Bounds>,
    /// What facts say about divisions: lower and upper bounds.
    divisions: HashMap<Term, [Vec<Affine>; 2]>,
    /// Facts of the open loops, and where those of each begin.
    facts: Vec<Fact>,
    opened: Vec<usize>,
    /// Upper bounds of forms without constant; a new layer for each open loop that brings facts.
    known: Vec<HashMap<Affine, i64>>,
    /// Steps left for the question at hand.
    fuel: u32,
    /// Steps left for the whole kernel.
    left: u64,
}

/// Steps that one question may take. Real kernels need fewer than a hundred.
const FUEL: u32 = 5_000;

/// Steps that all proofs of a kernel may take, so that none takes minutes or gigabytes. Real kernels need fewer than 30,000.
pub const MOST_STEPS: u64 = 1_000_000;

/// Forms with larger numbers are given up, so that nothing here overflows.
const LARGEST: u64 = 1 << 60;

impl Ranges {
    pub fn new(k: &Kernel) -> Ranges {
        let mut bounds: SecondaryMap<Var, Bounds> = SecondaryMap::new();
        bounds[k.task_var] = Bounds { depth: 0, lo: vec![0.into()], hi: vec![(k.tasks - 1).into()] };
        Ranges {
            bounds,
            divisions: HashMap::new(),
            facts: Vec::new(),
            opened: Vec::new(),
            known: vec![HashMap::new()],
            fuel: 0,
            left: MOST_STEPS,
        }
    }

    /// Takes so many steps from what is left for this kernel. Without any left, nothing is proven any more.
    pub fn spend(&mut self, steps: usize) {
        self.left = self.left.saturating_sub(steps as u64);
    }

    pub fn is_exhausted(&self) -> bool {
        self.left == 0
    }

    /// Smallest and largest value found for `e`.
    pub fn range(&mut self, e: &Affine) -> Range {
        Range { lo: self.lower(e), hi: self.upper(e) }
    }

    pub fn upper(&mut self, e: &Affine) -> i64 {
        self.fuel = FUEL;
        self.above(e)
    }

    pub fn lower(&mut self, e: &Affine) -> i64 {
        self.fuel = FUEL;
        self.below(e)
    }

    /// Whether a ≤ b has been proven.
    pub fn at_most(&mut self, a: &Affine, b: &Affine) -> bool {
        self.lower(&(b - a)) >= 0
    }

    /// Whether the loop is known to run not even once.
    pub fn never_runs(&mut self, f: &For) -> bool {
        f.lo.iter().any(|lo| f.hi.iter().any(|hi| self.upper(&(hi - lo)) <= 0))
    }

    /// Whether the loop is known to run at least once.
    pub fn always_runs(&mut self, f: &For) -> bool {
        f.lo.iter().all(|lo| f.hi.iter().all(|hi| self.lower(&(hi - lo)) >= 1))
    }

    /// Enters a loop: its variable gets bounds, and what the entry proves is known until [`close`](Self::close).
    pub fn open(&mut self, f: &For) {
        let depth = self.opened.len() as u32 + 1;
        let mut hi: Vec<Affine> = f.hi.iter().map(|h| h - 1).collect();
        if let ([lo], [h], true) = (&f.lo[..], &f.hi[..], f.step > 1) {
            // The last value that the steps reach.
            if let Some(span) = (h - lo).as_constant() {
                hi.push(lo + (span - 1).div_euclid(f.step) * f.step);
            }
        }
        self.bounds[f.var] = Bounds { depth, lo: f.lo.clone(), hi };
        let before = self.facts.len();
        self.opened.push(before);
        for lo in &f.lo {
            for hi in &f.hi {
                self.learn(&(hi - lo - 1));
            }
        }
        if self.facts.len() > before {
            self.known.push(HashMap::new());
        }
    }

    /// Leaves the innermost loop. The bounds of its variable stay for questions about it; its facts go.
    pub fn close(&mut self) {
        let before = self.opened.pop().expect("invariant: a loop is open");
        if self.facts.len() > before {
            self.known.pop();
        }
        for fact in self.facts.split_off(before) {
            self.side(&fact.term, fact.is_upper).pop();
        }
    }

    /// What the open loops have proven; [`with_facts`](Self::with_facts) brings it back later.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// Runs `f` with facts of loops that are closed already.
    pub fn with_facts<T>(&mut self, facts: &[Fact], f: impl FnOnce(&mut Ranges) -> T) -> T {
        if facts.is_empty() {
            return f(self);
        }
        self.known.push(HashMap::new());
        for fact in facts {
            self.side(&fact.term, fact.is_upper).push(fact.bound.clone());
        }
        let out = f(self);
        for fact in facts.iter().rev() {
            self.side(&fact.term, fact.is_upper).pop();
        }
        self.known.pop();
        out
    }

    /// Forms that the variable is at least, and at most.
    pub fn bounds_of(&self, v: Var) -> (&[Affine], &[Affine]) {
        (&self.bounds[v].lo, &self.bounds[v].hi)
    }

    /// Learns from e ≥ 0: a bound of the one term of `e` that has its innermost variable.
    fn learn(&mut self, e: &Affine) {
        let Some(v) = self.innermost(e) else { return };
        let mut terms = e.terms().iter().filter(|(_, t)| t.contains(v));
        let (Some((c, term)), None) = (terms.next(), terms.next()) else { return };
        let rest = e - Affine::from(term.clone()) * *c;
        // c·term ≥ −rest, or |c|·term ≤ rest
        let is_upper = *c < 0;
        let bound = if is_upper { rest.floordiv(-c) } else { (rest * -1 + (c - 1)).floordiv(*c) };
        let old = self.side(term, is_upper);
        let useless = old.iter().any(|b| match (&bound - b).as_constant() {
            Some(d) => (d >= 0) == is_upper || d == 0,
            None => false,
        });
        if !useless {
            old.push(bound.clone());
            self.facts.push(Fact { term: term.clone(), is_upper, bound });
        }
    }

    /// The upper or the lower bounds of a term.
    fn side(&mut self, t: &Term, is_upper: bool) -> &mut Vec<Affine> {
        match t {
            Term::Var(v) if is_upper => &mut self.bounds[*v].hi,
            Term::Var(v) => &mut self.bounds[*v].lo,
            t => &mut self.divisions.entry(t.clone()).or_default()[usize::from(is_upper)],
        }
    }

    fn innermost(&self, e: &Affine) -> Option<Var> {
        let mut found: Option<Var> = None;
        e.for_each_var(&mut |v| {
            if found.is_none_or(|f| self.bounds[v].depth > self.bounds[f].depth) {
                found = Some(v);
            }
        });
        found
    }

    fn below(&mut self, e: &Affine) -> i64 {
        match self.above(&(e * -1)) {
            i64::MAX => i64::MIN,
            x => -x,
        }
    }

    fn above(&mut self, e: &Affine) -> i64 {
        let part = e.variable_part();
        if part.terms().is_empty() {
            return e.offset();
        }
        if e.magnitude() > LARGEST {
            return i64::MAX;
        }
        let found = self.known.last().and_then(|k| k.get(&part)).copied();
        let bound = found.unwrap_or_else(|| {
            if self.fuel == 0 || self.is_exhausted() {
                return i64::MAX;
            }
            self.fuel -= 1;
            self.spend(1);
            let bound = self.search(&part);
            if let (Some(k), true) = (self.known.last_mut(), self.fuel > 0) {
                k.insert(part, bound);
            }
            bound
        });
        if bound == i64::MAX { bound } else { bound.saturating_add(e.offset()) }
    }

    fn search(&mut self, e: &Affine) -> i64 {
        if let Some(simpler) = self.simplify(e) {
            return self.above(&simpler);
        }
        let v = self.innermost(e).expect("invariant: a form without constant has a variable");
        let mut best = i64::MAX;
        let division = e.terms().iter().find(|(_, t)| !matches!(t, Term::Var(_)) && t.contains(v));
        if let Some((c, t)) = division {
            let rest = e - Affine::from(t.clone()) * *c;
            best = best.min(self.alone(&rest, *c, t));
            best = best.min(self.relaxed(&rest, *c, t));
            for b in self.divisions.get(t).map_or(Vec::new(), |sides| sides[usize::from(*c > 0)].clone()) {
                if b.magnitude().saturating_mul(c.unsigned_abs()) <= LARGEST {
                    best = best.min(self.above(&(&rest + b * *c)));
                }
            }
        }
        let direction = direction(e, v);
        if direction != 0 {
            let bounds = self.side(&Term::Var(v), direction > 0).clone();
            for b in bounds {
                if e.magnitude().saturating_mul(b.magnitude().saturating_add(1)) <= LARGEST {
                    best = best.min(self.above(&e.substitute(v, &b)));
                }
            }
        }
        best
    }

    /// Divisions of which the result is known, and ⌊e/k⌋ beside e mod k, become linear. `None` if nothing changes.
    fn simplify(&mut self, e: &Affine) -> Option<Affine> {
        for (c, t) in e.terms() {
            let (inner, k) = match t {
                Term::Var(_) => continue,
                Term::FloorDiv(inner, k) | Term::Mod(inner, k) => (&**inner, *k),
            };
            let without = || e - Affine::from(t.clone()) * *c;
            let (lo, hi) = (self.below(inner), self.above(inner));
            if lo != i64::MIN && hi != i64::MAX && lo.div_euclid(k) == hi.div_euclid(k) {
                let quotient = lo.div_euclid(k);
                return Some(match t {
                    Term::Mod(..) => without() + (inner - k * quotient) * *c,
                    _ => without() + c * quotient,
                });
            }
            // c·(e mod k) + c·k·⌊e/k⌋ = c·e
            let quotient = Term::FloorDiv(Box::new(inner.clone()), k);
            if matches!(t, Term::Mod(..))
                && e.terms().iter().any(|(d, u)| *u == quotient && Some(*d) == c.checked_mul(k))
            {
                return Some(without() - Affine::from(quotient) * (c * k) + inner * *c);
            }
        }
        None
    }

    /// Upper bound of rest + c·t with t bounded alone.
    fn alone(&mut self, rest: &Affine, c: i64, t: &Term) -> i64 {
        let bound = match t {
            Term::Var(_) => return i64::MAX,
            Term::FloorDiv(inner, k) => match if c > 0 { self.above(inner) } else { self.below(inner) } {
                i64::MAX | i64::MIN => return i64::MAX,
                x => x.div_euclid(*k),
            },
            Term::Mod(_, k) => {
                if c > 0 {
                    k - 1
                } else {
                    0
                }
            }
        };
        match (self.above(rest), c.checked_mul(bound)) {
            (i64::MAX, _) | (_, None) => i64::MAX,
            (r, Some(b)) => r.saturating_add(b),
        }
    }

    /// Upper bound of rest + c·⌊e/k⌋ as that of (k·rest + c·e) / k.
    fn relaxed(&mut self, rest: &Affine, c: i64, t: &Term) -> i64 {
        let Term::FloorDiv(inner, k) = t else { return i64::MAX };
        let numerator = if c > 0 { (**inner).clone() } else { &**inner - (k - 1) };
        if c % k == 0 {
            if numerator.magnitude().saturating_mul((c / k).unsigned_abs()) > LARGEST {
                return i64::MAX;
            }
            return self.above(&(rest + numerator * (c / k)));
        }
        let factor = c.unsigned_abs().max(k.unsigned_abs());
        if rest.magnitude().max(numerator.magnitude()).saturating_mul(factor) > LARGEST {
            return i64::MAX;
        }
        match self.above(&(rest * *k + numerator * c)) {
            i64::MAX => i64::MAX,
            x => x.div_euclid(*k),
        }
    }
}

/// The coefficient of `v` if it occurs outside divisions only.
pub fn linear_in(e: &Affine, v: Var) -> Option<i64> {
    let mut coefficient = None;
    for (c, t) in e.terms() {
        match t {
            Term::Var(w) if *w == v => coefficient = Some(*c),
            t if t.contains(v) => return None,
            _ => {}
        }
    }
    coefficient
}

/// 1 if `e` never falls as `v` grows, −1 if it never rises, 0 if neither is plain to see.
fn direction(e: &Affine, v: Var) -> i64 {
    let mut found = 0;
    for (c, t) in e.terms().iter().filter(|(_, t)| t.contains(v)) {
        let inner = match t {
            Term::Var(_) => 1,
            Term::FloorDiv(e, _) => direction(e, v),
            Term::Mod(..) => 0,
        };
        let d = c.signum() * inner;
        if d == 0 || d == -found {
            return 0;
        }
        found = d;
    }
    found
}
