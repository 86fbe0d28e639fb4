//! Addresses: affine indices become a base pointer and a constant offset.
//!
//! The variable part of an index is added up once for each loop level, in the outermost loop where all its
//! variables are known, and kept. What remains where the access stands is `base + constant`, which is free in an
//! addressing mode; the innermost loop's own part is `pointer + i·stride`, which loop strength reduction turns
//! into a pointer that steps. LLVM's own hoisting is not needed, so no pass has to run that would also merge
//! what a kernel keeps apart.

use crate::llvm::range::{Range, VarRanges};
use crate::llvm::value::Built;
use cranelift_entity::SecondaryMap;
use inkwell::builder::Builder;
use inkwell::context::Context;
use inkwell::values::{InstructionValue, IntValue, PointerValue};
use ir::entity::Var;
use ir::kernel::{Affine, Term};
use std::collections::{BTreeMap, HashMap};

/// Where a buffer's element 0 is: a pointer known to LLVM plus bytes that may still be variable.
#[derive(Clone, Debug)]
pub struct Place<'c> {
    pub root: PointerValue<'c>,
    /// Tells roots apart; counts up.
    pub id: usize,
    /// Level at which `root` is defined.
    pub level: usize,
    /// What divides `root`'s address, a power of two.
    pub align: u64,
    /// In bytes.
    pub offset: Affine,
}

/// One loop body, or the function's outermost level.
#[derive(Default)]
struct Level<'c> {
    /// The branch by which the next deeper level is entered: code of this level can still be put before it.
    exit: Option<InstructionValue<'c>>,
    /// Base pointers by root and by the variable part added so far.
    bases: HashMap<(usize, Affine), PointerValue<'c>>,
    terms: HashMap<Term, IntValue<'c>>,
}

pub struct Addresses<'c> {
    cx: &'c Context,
    levels: Vec<Level<'c>>,
    values: SecondaryMap<Var, Option<IntValue<'c>>>,
    depths: SecondaryMap<Var, usize>,
    /// Variables of loops that run once.
    constants: HashMap<Var, i64>,
    pub ranges: VarRanges,
    roots: usize,
    /// The branch that code is being put before; `None` where the kernel's own instructions go.
    before: Option<InstructionValue<'c>>,
}

impl<'c> Addresses<'c> {
    pub fn new(cx: &'c Context) -> Addresses<'c> {
        Addresses {
            cx,
            levels: vec![Level::default()],
            values: SecondaryMap::new(),
            depths: SecondaryMap::new(),
            constants: HashMap::new(),
            ranges: VarRanges::new(),
            roots: 0,
            before: None,
        }
    }

    /// Defines a variable of the current level.
    pub fn define(&mut self, var: Var, value: IntValue<'c>, range: Range) {
        self.values[var] = Some(value);
        self.depths[var] = self.levels.len() - 1;
        self.ranges[var] = range;
    }

    /// Defines a variable with one value.
    pub fn define_constant(&mut self, var: Var, value: i64) {
        self.constants.insert(var, value);
    }

    /// A buffer that begins at `root`, a pointer defined at the current level.
    pub fn place(&mut self, root: PointerValue<'c>, align: u64, offset: i64) -> Place<'c> {
        self.roots += 1;
        Place { root, id: self.roots, level: self.levels.len() - 1, align, offset: Affine::constant(offset) }
    }

    /// Opens the level of a loop that `exit` branches to.
    pub fn enter(&mut self, exit: InstructionValue<'c>) {
        self.levels.last_mut().expect("invariant: the outermost level stays").exit = Some(exit);
        self.levels.push(Level::default());
    }

    pub fn leave(&mut self) {
        self.levels.pop();
    }

    /// `a` without the variables that have one value.
    pub fn resolve(&self, a: &Affine) -> Affine {
        let mut known = true;
        a.for_each_var(&mut |v| known &= !self.constants.contains_key(&v));
        if known {
            return a.clone();
        }
        a.terms().iter().fold(Affine::constant(a.offset()), |sum, (c, term)| {
            let t = match term {
                Term::Var(v) => self.constants.get(v).map_or_else(|| Affine::var(*v), |&c| Affine::constant(c)),
                Term::FloorDiv(e, k) => self.resolve(e).floordiv(*k),
                Term::Mod(e, k) => self.resolve(e).modulo(*k),
            };
            sum + t * *c
        })
    }

    /// The value of `a` at the builder's position.
    pub fn value(&mut self, b: &Builder<'c>, a: &Affine) -> Built<IntValue<'c>> {
        let a = self.resolve(a);
        let variable = self.sum(b, a.terms())?;
        let constant = self.constant(a.offset());
        match variable {
            None => Ok(constant),
            Some(v) if a.offset() == 0 => Ok(v),
            Some(v) => b.build_int_nsw_add(v, constant, ""),
        }
    }

    /// The address of the element at `bytes` from `place`, and what divides it.
    pub fn address(&mut self, b: &Builder<'c>, place: &Place<'c>, bytes: &Affine) -> Built<(PointerValue<'c>, u64)> {
        let at = self.resolve(&(&place.offset + bytes));
        let (base, align) = self.base(b, place, &at)?;
        let offset = at.offset();
        let address = if offset == 0 { base } else { self.step(b, base, self.constant(offset))? };
        Ok((address, gcd_power(align, offset)))
    }

    /// The address without its constant part, with that part returned beside it.
    pub fn variable_base(
        &mut self,
        b: &Builder<'c>,
        place: &Place<'c>,
        bytes: &Affine,
    ) -> Built<(PointerValue<'c>, u64, i64)> {
        let at = self.resolve(&(&place.offset + bytes));
        let (base, align) = self.base(b, place, &at)?;
        Ok((base, align, at.offset()))
    }

    /// `place.root` plus the variable part of `at`, each loop level's share added at that level.
    fn base(&mut self, b: &Builder<'c>, place: &Place<'c>, at: &Affine) -> Built<(PointerValue<'c>, u64)> {
        let align = at.terms().iter().fold(place.align, |align, (c, _)| gcd_power(align, *c));
        let mut by_level: BTreeMap<usize, Vec<(i64, Term)>> = BTreeMap::new();
        for (c, term) in at.terms() {
            let level = self.level_of(term).max(place.level);
            by_level.entry(level).or_default().push((*c, term.clone()));
        }
        let mut base = place.root;
        let mut sum = Affine::default();
        for (level, terms) in by_level {
            sum = terms.iter().fold(sum, |sum, (c, t)| sum + as_affine(t) * *c);
            let key = (place.id, sum.clone());
            if let Some(&known) = self.levels[level].bases.get(&key) {
                base = known;
                continue;
            }
            base = self.at_level(b, level, |this, b| {
                let offset = this.sum(b, &terms)?.expect("invariant: a level is listed for its terms");
                this.step(b, base, offset)
            })?;
            self.levels[level].bases.insert(key, base);
        }
        Ok((base, align))
    }

    /// Runs `emit` with the builder at the end of what exists of `level`.
    fn at_level<T>(
        &mut self,
        b: &Builder<'c>,
        level: usize,
        emit: impl FnOnce(&mut Self, &Builder<'c>) -> Built<T>,
    ) -> Built<T> {
        let (block, outside) = (b.get_insert_block(), self.before);
        if level + 1 < self.levels.len() {
            self.before = self.levels[level].exit;
            b.position_before(&self.before.expect("invariant: a deeper level was entered by a branch"));
        }
        let out = emit(self, b);
        self.before = outside;
        match (outside, block) {
            (Some(branch), _) => b.position_before(&branch),
            (None, Some(block)) => b.position_at_end(block),
            (None, None) => {}
        }
        out
    }

    fn level_of(&self, term: &Term) -> usize {
        let deepest = |e: &Affine| {
            let mut level = 0;
            e.for_each_var(&mut |v| level = level.max(self.depths[v]));
            level
        };
        match term {
            Term::Var(v) => self.depths[*v],
            Term::FloorDiv(e, _) | Term::Mod(e, _) => deepest(e),
        }
    }

    /// Σ cᵢ·termᵢ, or `None` for no term.
    fn sum(&mut self, b: &Builder<'c>, terms: &[(i64, Term)]) -> Built<Option<IntValue<'c>>> {
        let mut sum: Option<IntValue> = None;
        for (c, term) in terms {
            let t = self.term(b, term)?;
            let t = if *c == 1 { t } else { b.build_int_nsw_mul(t, self.constant(*c), "")? };
            sum = Some(match sum {
                None => t,
                Some(s) => b.build_int_nsw_add(s, t, "")?,
            });
        }
        Ok(sum)
    }

    fn term(&mut self, b: &Builder<'c>, term: &Term) -> Built<IntValue<'c>> {
        if let Term::Var(v) = term {
            return Ok(self.values[*v].expect("invariant: the kernel verifier checks that variables are in scope"));
        }
        let level = self.level_of(term);
        if let Some(&known) = self.levels[level].terms.get(term) {
            return Ok(known);
        }
        let value = self.at_level(b, level, |this, b| match term {
            Term::Var(_) => unreachable!("invariant: variables are handled above"),
            Term::FloorDiv(e, k) => {
                let (n, shift) = this.never_negative(b, e, *k)?;
                let q = b.build_int_unsigned_div(n, this.constant(*k), "")?;
                if shift == 0 { Ok(q) } else { b.build_int_nsw_sub(q, this.constant(shift), "") }
            }
            Term::Mod(e, k) => {
                let (n, _) = this.never_negative(b, e, *k)?;
                b.build_int_unsigned_rem(n, this.constant(*k), "")
            }
        })?;
        self.levels[level].terms.insert(term.clone(), value);
        Ok(value)
    }

    /// `e + m·k` and `m`, the least `m` ≥ 0 for which that is never negative. Unsigned division of it gives
    /// ⌊e / k⌋ + m, and for a power of two it is a shift.
    fn never_negative(&mut self, b: &Builder<'c>, e: &Affine, k: i64) -> Built<(IntValue<'c>, i64)> {
        let m = (-Range::of(e, &self.ranges).lo.div_euclid(k)).max(0);
        Ok((self.value(b, &(e + m * k))?, m))
    }

    fn constant(&self, c: i64) -> IntValue<'c> {
        self.cx.i64_type().const_int(c.cast_unsigned(), true)
    }

    fn step(&self, b: &Builder<'c>, p: PointerValue<'c>, bytes: IntValue<'c>) -> Built<PointerValue<'c>> {
        // SAFETY: inkwell marks this call so because the index is not checked against the type; bytes have no
        // bounds to check, and without `inbounds` any address may be formed.
        unsafe { b.build_gep(self.cx.i8_type(), p, &[bytes], "") }
    }
}

fn as_affine(term: &Term) -> Affine {
    match term {
        Term::Var(v) => Affine::var(*v),
        Term::FloorDiv(e, k) => e.floordiv(*k),
        Term::Mod(e, k) => e.modulo(*k),
    }
}

/// The greatest power of two that divides both; `align` is one.
fn gcd_power(align: u64, n: i64) -> u64 {
    1 << (align | n.unsigned_abs()).trailing_zeros()
}
