//! K8: what one task writes, no other task touches.
//!
//! It is shown that the position of an element tells which task may touch it. All accesses to a buffer that may
//! overlap are considered together. Each brings its index forms; the values of these are known if the element is
//! known. From known sums follow known parts:
//! - *Mixed radix*: if a sum is known and, over all accesses, what is left without c·x spans less than |c|, then
//!   x is known. x may also be a part of the bounds of a variable in the sum: from r in 4·t..4·t + 4 follows t.
//! - If ⌊e/k⌋ and e mod k are known, e is known.
//!
//! The buffer is safe if the task's variable is known in the end. A part counts as known only if it is the same
//! function of the position for every access, so accesses by different statements cannot meet either.

use super::element;
use super::ranges::{Fact, Range, Ranges};
use crate::entity::Buf;
use crate::kernel::{Affine, Kernel, Term};
use std::collections::BTreeSet;

/// Accesses that differ only by constants: per dimension a form without constant, plus a range of numbers.
#[derive(Clone)]
struct Group {
    buf: Buf,
    writes: bool,
    forms: Vec<Affine>,
    offsets: Vec<Range>,
    facts: Vec<Fact>,
    /// One of them, for messages.
    example: (Vec<Affine>, u32),
}

#[derive(Default)]
pub struct Accesses(Vec<Group>);

/// Groups that differ by constants alone. Beyond that many they become one, whatever lies between them.
const MAX_ALIKE: usize = 32;

impl Accesses {
    pub fn add(&mut self, buf: Buf, writes: bool, at: &[Affine], lanes: u32, ranges: &mut Ranges) {
        let offset = |(d, a): (usize, &Affine)| {
            let width = if d + 1 == at.len() { i64::from(lanes) } else { 1 };
            Range { lo: a.offset(), hi: a.offset() + width - 1 }
        };
        let mut group = Group {
            buf,
            writes,
            forms: at.iter().map(Affine::variable_part).collect(),
            offsets: at.iter().enumerate().map(offset).collect(),
            facts: ranges.facts().to_vec(),
            example: (at.to_vec(), lanes),
        };
        // Unrolled stores grow together; the last groups are the likeliest.
        loop {
            ranges.spend(self.0.len());
            let alike: Vec<usize> = (0..self.0.len()).rev().filter(|&i| self.0[i].is_alike(&group)).collect();
            let found = alike.iter().copied().find(|&i| self.0[i].adjoins(&group));
            let Some(i) = found.or(alike.get(MAX_ALIKE).copied()) else { break };
            let old = self.0.swap_remove(i);
            for (new, old) in group.offsets.iter_mut().zip(&old.offsets) {
                *new = Range { lo: old.lo.min(new.lo), hi: old.hi.max(new.hi) };
            }
        }
        self.0.push(group);
    }

    /// What cannot be proven, as messages.
    pub fn check(&self, k: &Kernel, ranges: &mut Ranges) -> Vec<String> {
        if k.tasks == 1 {
            return Vec::new();
        }
        let mut problems = Vec::new();
        for together in self.components(ranges) {
            if let Some(problem) = Proof::new(k, together, ranges).problem() {
                problems.push(problem);
            }
        }
        problems
    }

    /// Groups that may touch the same elements, with at least one that writes.
    fn components(&self, ranges: &mut Ranges) -> Vec<Vec<&Group>> {
        let mut left: Vec<(&Group, Vec<Range>)> = self.0.iter().map(|g| (g, g.extent(ranges))).collect();
        let mut out = Vec::new();
        while let Some(first) = left.pop() {
            let mut part = vec![first];
            let mut i = 0;
            while i < part.len() && !ranges.is_exhausted() {
                ranges.spend(left.len());
                let meets = |(g, extent): &(&Group, Vec<Range>)| {
                    let (h, other): &(&Group, Vec<Range>) = &part[i];
                    let overlap = |(a, b): (&Range, &Range)| a.lo <= b.hi && b.lo <= a.hi;
                    g.buf == h.buf && (g.writes || h.writes) && extent.iter().zip(other).all(overlap)
                };
                let (joins, rest) = left.into_iter().partition(meets);
                left = rest;
                part.extend::<Vec<_>>(joins);
                i += 1;
            }
            if part.iter().any(|(g, _)| g.writes) {
                out.push(part.into_iter().map(|(g, _)| g).collect());
            }
        }
        out
    }
}

impl Group {
    fn is_alike(&self, other: &Group) -> bool {
        self.buf == other.buf && self.writes == other.writes && self.forms == other.forms && self.facts == other.facts
    }

    /// Whether both together cover one box of constants.
    fn adjoins(&self, other: &Group) -> bool {
        let mut differing = self.offsets.iter().zip(&other.offsets).filter(|(a, b)| a != b);
        let meets = differing.next().is_none_or(|(a, b)| a.lo <= b.hi + 1 && b.lo <= a.hi + 1);
        meets && differing.next().is_none()
    }

    /// Range of each index.
    fn extent(&self, ranges: &mut Ranges) -> Vec<Range> {
        ranges.with_facts(&self.facts, |ranges| {
            let range = |(f, o): (&Affine, &Range)| plus(ranges.range(f), *o);
            self.forms.iter().zip(&self.offsets).map(range).collect()
        })
    }
}

fn plus(a: Range, b: Range) -> Range {
    Range { lo: a.lo.saturating_add(b.lo), hi: a.hi.saturating_add(b.hi) }
}

/// A sum whose value is known from the position: one form for each group, plus a number in a range.
#[derive(Clone)]
struct Sum {
    forms: Vec<Affine>,
    offsets: Vec<Range>,
}

struct Proof<'a, 'r> {
    k: &'a Kernel,
    groups: Vec<&'a Group>,
    ranges: &'r mut Ranges,
    sums: Vec<Sum>,
    /// Known terms in the task's variable alone: they mean the same in every group.
    known: BTreeSet<Term>,
}

/// Limit on the sums that are followed up.
const MAX_SUMS: usize = 64;
/// Limit on the parts that are tried on one sum.
const MAX_CANDIDATES: usize = 64;

/// Largest minus smallest value over all of (form, number in a range, group that it belongs to).
fn span<'g>(sums: impl Iterator<Item = (&'g Affine, Range, &'g Group)>, ranges: &mut Ranges) -> Option<i64> {
    let (mut lo, mut hi) = (i64::MAX, i64::MIN);
    for (form, offset, group) in sums {
        ranges.spend(1);
        let range = ranges.with_facts(&group.facts, |r| r.range(form));
        if range.lo == i64::MIN || range.hi == i64::MAX {
            return None;
        }
        let range = plus(range, offset);
        (lo, hi) = (lo.min(range.lo), hi.max(range.hi));
    }
    hi.checked_sub(lo)
}

impl<'a, 'r> Proof<'a, 'r> {
    fn new(k: &'a Kernel, groups: Vec<&'a Group>, ranges: &'r mut Ranges) -> Proof<'a, 'r> {
        let dims = groups[0].forms.len();
        let sum = |d: usize| Sum {
            forms: groups.iter().map(|g| g.forms[d].clone()).collect(),
            offsets: groups.iter().map(|g| g.offsets[d]).collect(),
        };
        let sums = (0..dims).map(sum).collect();
        Proof { k, groups, ranges, sums, known: BTreeSet::new() }
    }

    fn problem(mut self) -> Option<String> {
        let mut sum = 0;
        // Round after round until a whole round brings nothing.
        let mut idle = 0;
        while idle < self.sums.len() {
            if self.is_known(&Affine::var(self.k.task_var)) {
                return None;
            }
            idle = if self.peel(sum) | self.recombine() { 0 } else { idle + 1 };
            sum = (sum + 1) % self.sums.len();
        }
        (!self.is_known(&Affine::var(self.k.task_var))).then(|| self.message())
    }

    fn message(&self) -> String {
        let show = |g: &Group| element(self.k, &self.k.bufs[g.buf].name, &g.example.0, g.example.1);
        let first = self.groups.iter().find(|g| g.writes).expect("invariant: a component has a write");
        let task = &self.k.vars[self.k.task_var];
        match self.groups.iter().find(|g| !std::ptr::eq(**g, *first)) {
            None => format!("tasks may overlap: the store to {} does not tell %{task}", show(first)),
            Some(other) => {
                let what = if other.writes { "store to" } else { "load from" };
                format!(
                    "tasks may overlap: the store to {} and the {what} {} do not tell %{task}",
                    show(first),
                    show(other)
                )
            }
        }
    }

    /// Whether a form in the task's variable is known: its terms are, or have one value only.
    fn is_known(&mut self, e: &Affine) -> bool {
        e.terms().iter().all(|(_, t)| self.known.contains(t) || self.is_single(&t.clone().into()))
    }

    fn is_single(&mut self, e: &Affine) -> bool {
        let groups = self.groups.iter().map(|g| (e, Range { lo: 0, hi: 0 }, *g));
        span(groups, self.ranges) == Some(0)
    }

    fn is_common(&self, t: &Term) -> bool {
        let mut common = true;
        Affine::from(t.clone()).for_each_var(&mut |v| common &= v == self.k.task_var);
        common
    }

    /// Takes one part out of a known sum. Returns whether something new is known.
    fn peel(&mut self, at: usize) -> bool {
        for (c, t) in self.candidates(&self.sums[at].forms[0]) {
            let common = self.is_common(&t);
            let present = self.sums[at].forms[0].terms().iter().any(|(d, u)| (*d, u) == (c, &t));
            if common && self.known.contains(&t) && !present {
                continue;
            }
            let Some(parts) = self.parts(at, c, &t, common) else { continue };
            let forms: Vec<Affine> = self.sums[at].forms.iter().zip(parts).map(|(s, x)| s - x * c).collect();
            if !(common && self.known.contains(&t)) {
                let sums = forms.iter().zip(&self.sums[at].offsets).zip(&self.groups).map(|((f, o), g)| (f, *o, *g));
                if span(sums, self.ranges).is_none_or(|s| s >= c.abs()) {
                    continue;
                }
            }
            self.sums[at].forms = forms;
            if common {
                self.known.insert(t);
            }
            return true;
        }
        false
    }

    /// Parts that a sum may be split into, with their coefficients: its terms and, for variables, what their bounds
    /// are made of. Large coefficients first.
    fn candidates(&self, sum: &Affine) -> Vec<(i64, Term)> {
        let mut out: Vec<(i64, Term)> = sum.terms().to_vec();
        let mut next = 0;
        while next < out.len() && out.len() < MAX_CANDIDATES {
            if let (c, Term::Var(v)) = out[next] {
                let (lo, hi) = self.ranges.bounds_of(v);
                for (d, u) in lo.iter().chain(hi).flat_map(Affine::terms) {
                    out.extend(c.checked_mul(*d).map(|cd| (cd, u.clone())));
                }
            }
            next += 1;
        }
        out.sort_by_key(|(c, _)| std::cmp::Reverse(c.unsigned_abs()));
        out.dedup();
        out
    }

    /// The part with coefficient `c` in each group: `t` itself if it is common, else the one term of that
    /// coefficient.
    fn parts(&self, at: usize, c: i64, t: &Term, common: bool) -> Option<Vec<Affine>> {
        let part = |form: &Affine| {
            if common || form.terms().contains(&(c, t.clone())) {
                return Some(t.clone().into());
            }
            let mut same = form.terms().iter().filter(|(d, _)| *d == c);
            let (_, u) = same.next()?;
            same.next().is_none().then(|| u.clone().into())
        };
        self.sums[at].forms.iter().map(part).collect()
    }

    /// From ⌊e/k⌋ and e mod k to e.
    fn recombine(&mut self) -> bool {
        let remainders = self.known.iter().filter_map(|t| match t {
            Term::Mod(e, k) => Some(((**e).clone(), *k)),
            _ => None,
        });
        let mut news = Vec::new();
        for (e, k) in remainders.collect::<Vec<_>>() {
            if self.is_known(&e.floordiv(k)) {
                news.push(e);
            }
        }
        // A known quotient whose remainder takes one value only, or is known, counts as well.
        let quotients = self.known.iter().filter_map(|t| match t {
            Term::FloorDiv(e, k) => Some(((**e).clone(), *k)),
            _ => None,
        });
        for (e, k) in quotients.collect::<Vec<_>>() {
            if self.is_known(&e.modulo(k)) {
                news.push(e);
            }
        }
        let mut changed = false;
        for e in news {
            if self.is_known(&e) || self.sums.len() >= MAX_SUMS {
                continue;
            }
            let form = e.variable_part();
            if self.sums.iter().any(|s| s.forms[0] == form) {
                continue;
            }
            let n = self.groups.len();
            self.sums.push(Sum { forms: vec![form; n], offsets: vec![Range { lo: 0, hi: 0 }; n] });
            changed = true;
        }
        changed
    }
}
