//! K7: which elements the running task has certainly written.
//!
//! What is known at a point of the kernel is a list of boxes: per dimension from the maximum of some forms to the
//! minimum of others, in the variables of the loops around. A store adds the box of its elements. Boxes that
//! differ in one dimension and meet there become one, so unrolled stores become one box. At the end of a loop
//! the boxes that its body has added are joined over all iterations: that is one box again if the variable moves
//! them along one dimension by no more than their length. What does not work out is forgotten.
//!
//! A read is proven if one box covers it. What an earlier iteration of an open loop wrote does not count.

use super::ranges::{Ranges, linear_in};
use crate::entity::Buf;
use crate::kernel::{Affine, Expr, For, Kernel, Role, Stmt};
use cranelift_entity::{EntityRef, SecondaryMap};
use std::collections::BTreeSet;

/// From the largest `lo` to the smallest `hi`, inclusive; empty if they cross.
#[derive(Clone, PartialEq, Eq)]
pub struct Interval {
    lo: Vec<Affine>,
    hi: Vec<Affine>,
}

pub type Cuboid = Vec<Interval>;

pub struct Written {
    boxes: SecondaryMap<Buf, Vec<Cuboid>>,
    /// Buffers that are read and not given, and how many of their boxes were there when the innermost block began.
    blocks: Vec<(Buf, usize)>,
}

impl Written {
    pub fn new(k: &Kernel) -> Written {
        let mut roots = SecondaryMap::with_default(Buf::new(0));
        for buf in k.bufs.keys() {
            roots[buf] = buf;
        }
        let mut read = BTreeSet::new();
        reads(&k.body, &mut roots, &mut read);
        let matters = |b: &Buf| matches!(k.bufs[*b].role, Role::Scratch | Role::Out);
        Written { boxes: SecondaryMap::new(), blocks: read.into_iter().filter(matters).map(|b| (b, 0)).collect() }
    }

    /// Begins a loop's body. Give the result to [`close`](Self::close).
    pub fn open(&mut self) -> Vec<(Buf, usize)> {
        let inner = self.blocks.iter().map(|&(b, _)| (b, self.boxes[b].len())).collect();
        std::mem::replace(&mut self.blocks, inner)
    }

    /// Ends a loop's body; `runs` says that it is known to run at least once. The result is for
    /// [`insert`](Self::insert), when `ranges` has left the loop: that it was entered holds no longer then.
    pub fn close(&mut self, f: &For, runs: bool, ranges: &mut Ranges, outer: Vec<(Buf, usize)>) -> Vec<(Buf, Cuboid)> {
        let inner = std::mem::replace(&mut self.blocks, outer);
        let mut joined = Vec::new();
        for (buf, start) in inner {
            for cuboid in self.boxes[buf].split_off(start) {
                joined.extend(join(cuboid, f, runs, ranges).map(|c| (buf, c)));
            }
        }
        joined
    }

    /// A store of `lanes` elements from `at`.
    pub fn add(&mut self, buf: Buf, at: &[Affine], lanes: u32, ranges: &mut Ranges) {
        if !self.blocks.iter().any(|(b, _)| *b == buf) {
            return;
        }
        let mut cuboid: Cuboid = at.iter().map(|a| Interval { lo: vec![a.clone()], hi: vec![a.clone()] }).collect();
        if let Some(last) = cuboid.last_mut() {
            last.hi[0] = &last.hi[0] + (i64::from(lanes) - 1);
        }
        self.insert(buf, cuboid, ranges);
    }

    /// Whether all of these elements have certainly been written.
    pub fn covers(&self, buf: Buf, at: &[Affine], lanes: u32, ranges: &mut Ranges) -> bool {
        ranges.spend(self.boxes[buf].len());
        self.boxes[buf].iter().any(|cuboid| {
            cuboid.iter().zip(at).enumerate().all(|(d, (interval, a))| {
                let last = if d + 1 == at.len() { a + (i64::from(lanes) - 1) } else { a.clone() };
                interval.lo.iter().all(|lo| at_most(lo, a, ranges))
                    && interval.hi.iter().all(|hi| at_most(&last, hi, ranges))
            })
        })
    }

    /// Adds a box to the innermost block, united with those that it meets.
    pub fn insert(&mut self, buf: Buf, mut cuboid: Cuboid, ranges: &mut Ranges) {
        let start = self.blocks.iter().find(|(b, _)| *b == buf).map_or(0, |(_, n)| *n);
        let boxes = &mut self.boxes[buf];
        loop {
            ranges.spend(boxes.len() - start);
            let united = (start..boxes.len()).rev().find_map(|i| Some((i, unite(&boxes[i], &cuboid, ranges)?)));
            let Some((i, united)) = united else { break };
            boxes.swap_remove(i);
            cuboid = united;
        }
        boxes.push(cuboid);
    }
}

/// Finds the buffers that are read; `roots` are the ends of chains of views.
fn reads(stmts: &[Stmt], roots: &mut SecondaryMap<Buf, Buf>, out: &mut BTreeSet<Buf>) {
    for s in stmts {
        match s {
            Stmt::Let { expr: Expr::Load { buf, .. }, .. } => {
                out.insert(roots[*buf]);
            }
            Stmt::View { view, of, .. } => roots[*view] = roots[*of],
            Stmt::For(f) => reads(&f.body, roots, out),
            _ => {}
        }
    }
}

/// a ≤ b, without a search if they differ by a number.
fn at_most(a: &Affine, b: &Affine, ranges: &mut Ranges) -> bool {
    match (b - a).as_constant() {
        Some(d) => d >= 0,
        None => ranges.at_most(a, b),
    }
}

/// A box inside the union of both that contains both, if they are alike but for one dimension and meet there.
fn unite(a: &Cuboid, b: &Cuboid, ranges: &mut Ranges) -> Option<Cuboid> {
    let mut differing = (0..a.len()).filter(|&d| a[d] != b[d]);
    let Some(d) = differing.next() else { return Some(a.clone()) };
    if differing.next().is_some() {
        return None;
    }
    let (x, y) = (&a[d], &b[d]);
    let interval = if inside(y, x, ranges) {
        x.clone()
    } else if inside(x, y, ranges) {
        y.clone()
    } else if meets(x, y, ranges) {
        Interval { lo: x.lo.clone(), hi: y.hi.clone() }
    } else if meets(y, x, ranges) {
        Interval { lo: y.lo.clone(), hi: x.hi.clone() }
    } else {
        return None;
    };
    let mut out = a.clone();
    out[d] = interval;
    Some(out)
}

fn inside(x: &Interval, y: &Interval, ranges: &mut Ranges) -> bool {
    y.lo.iter().all(|lo| x.lo.iter().any(|l| at_most(lo, l, ranges)))
        && y.hi.iter().all(|hi| x.hi.iter().any(|h| at_most(h, hi, ranges)))
}

/// Whether from the start of `x` to the end of `y` there is no gap, and nothing of `x` lies beyond the end of `y`.
///
/// An element e in between that is beyond `x` is beyond one of x.hi; it must reach every l of y.lo. So each l must
/// be at most a start of `x`, or at most one past every end of `x`.
fn meets(x: &Interval, y: &Interval, ranges: &mut Ranges) -> bool {
    y.lo.iter().all(|l| x.lo.iter().any(|s| at_most(l, s, ranges)) || x.hi.iter().all(|e| at_most(l, &(e + 1), ranges)))
        && y.hi.iter().all(|h| x.hi.iter().any(|e| at_most(e, h, ranges)))
}

/// The union of a box over all iterations of a loop, if it is a box and certain.
fn join(mut cuboid: Cuboid, f: &For, runs: bool, ranges: &mut Ranges) -> Option<Cuboid> {
    let moves = |i: &Interval| i.lo.iter().chain(&i.hi).any(|e| e.contains(f.var));
    let mut moving = cuboid.iter_mut().filter(|i| moves(i));
    let Some(interval) = moving.next() else { return runs.then_some(cuboid) };
    if moving.next().is_some() {
        return None;
    }
    let ([lo], [hi]) = (&interval.lo[..], &interval.hi[..]) else { return None };
    let c = linear_in(lo, f.var)?;
    let span = hi - lo;
    if span.contains(f.var) || linear_in(hi, f.var) != Some(c) {
        return None;
    }
    // Neighbouring iterations are c·step apart and meet if the box is as long as that. If it is longer, the ends
    // alone do not show that there was no iteration at all.
    let apart = c.checked_mul(f.step)?.checked_abs()?;
    if ranges.lower(&span) < apart - 1 || (!runs && span != Affine::constant(apart - 1)) {
        return None;
    }
    let last: Vec<Affine> = match (&f.lo[..], f.step) {
        (_, 1) => f.hi.iter().map(|h| h - 1).collect(),
        ([l], step) => f.hi.iter().map(|h| l + (h - 1 - l).floordiv(step) * step).collect(),
        _ => return None,
    };
    let (first, last) = if c > 0 { (&f.lo, &last) } else { (&last, &f.lo) };
    let joined = Interval {
        lo: first.iter().map(|v| lo.substitute(f.var, v)).collect(),
        hi: last.iter().map(|v| hi.substitute(f.var, v)).collect(),
    };
    *interval = joined;
    Some(cuboid)
}
