//! Random kernels: what the verifier proves never faults in the interpreter.
//!
//! The generator writes plausible kernels (guarded loops, tiles, views, scratch) and spoils some numbers, so that
//! both verdicts are common. On failure the seed is printed: `kernel(seed)` builds the kernel again.

use super::interpreted;
use crate::DType::F32;
use crate::entity::{Buf, Reg};
use crate::kernel::build::{max_of, min_of};
use crate::kernel::{Affine, Kernel, KernelBuilder, Role};

/// xorshift64*
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number in lo..=hi.
    fn pick(&mut self, lo: i64, hi: i64) -> i64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        lo + (bits as i64) % (hi - lo + 1)
    }

    fn one_in(&mut self, n: i64) -> bool {
        self.pick(1, n) == 1
    }

    /// 0 mostly, else a small fault.
    fn slip(&mut self) -> i64 {
        if self.one_in(12) { self.pick(-1, 2) } else { 0 }
    }
}

struct Generator {
    r: Random,
    x: Buf,
    /// Rows, columns of x.
    shape: [i64; 2],
    y: Buf,
    scratch: Option<Buf>,
    /// The index of this task in y, before the last dimension.
    row: Vec<Affine>,
}

fn kernel(seed: u64) -> Kernel {
    let mut r = Random::new(seed);
    let mut k = KernelBuilder::new(format!("random_{seed}"));
    let shape = [r.pick(1, 9), r.pick(4, 16)];
    let x = k.param("x", F32, &shape, Role::In);
    // Tasks over one or two dimensions of y, with its rows in vectors or not.
    let (a, b) = (r.pick(1, 4), r.pick(1, 4));
    let role = if r.one_in(4) { Role::InOut } else { Role::Out };
    let y = k.param("y", F32, &[a, b, 16], role);
    let t = k.tasks(a * b + r.slip().max(0));
    let mut row = vec![t.floordiv(b), t.modulo((b + r.slip()).max(1))];
    if r.one_in(8) {
        row[1] = t.modulo(b).floordiv(2);
    }
    let scratch = r.one_in(2).then(|| k.scratch("s", F32, &[4, 8]));
    let mut g = Generator { r, x, shape, y, scratch, row };
    if let Some(s) = g.scratch {
        g.fill(&mut k, s);
    }
    let mut vars = vec![t];
    g.block(&mut k, &mut vars, 3);
    k.finish()
}

impl Generator {
    /// A loop nest that writes all of the scratch, more or less.
    fn fill(&mut self, k: &mut KernelBuilder, s: Buf) {
        let lanes = [1, 2, 4, 8][self.r.pick(0, 3) as usize];
        let width = i64::from(lanes);
        let rows = self.r.pick(1, 2);
        let one = k.constant(F32, lanes, 1.0);
        let (lo, hi) = (self.r.slip(), 4 / rows + self.r.slip());
        k.for_(lo, hi, |k, i| {
            for r in 0..rows {
                k.for_(0, 8 / width + self.r.slip(), |k, j| {
                    k.store(s, &[&i * rows + r, j * width], one);
                });
            }
        });
    }

    fn form(&mut self, vars: &[Affine]) -> Affine {
        let mut e = Affine::constant(self.r.pick(-2, 2));
        for _ in 0..self.r.pick(1, 2) {
            let v = &vars[self.r.pick(0, vars.len() as i64 - 1) as usize];
            e = e + v * self.r.pick(-2, 3);
        }
        match self.r.pick(0, 5) {
            0 => e.floordiv(self.r.pick(1, 4)),
            1 => e.modulo(self.r.pick(1, 5)),
            _ => e,
        }
    }

    /// A loop variable with bounds such that outer + c·v stays in 0..len, more or less: the index is given on.
    fn guarded(
        &mut self,
        k: &mut KernelBuilder,
        vars: &mut Vec<Affine>,
        len: i64,
        body: &mut dyn FnMut(&mut Self, &mut KernelBuilder, &mut Vec<Affine>, Affine),
    ) {
        let outer = self.form(vars);
        let c = self.r.pick(1, 3);
        let (trips, first) = (self.r.pick(1, 4), self.r.pick(0, 1));
        let slip = [self.r.slip(), self.r.slip()];
        let lo = max_of([first.into(), (&outer * -1 + (c - 1)).floordiv(c) - slip[0]]);
        let hi = min_of([trips.into(), (&outer * -1 + (len + c - 1)).floordiv(c) + slip[1]]);
        k.for_(lo, hi, |k, v| {
            vars.push(v.clone());
            body(self, k, vars, outer + v * c);
            vars.pop();
        });
    }

    fn block(&mut self, k: &mut KernelBuilder, vars: &mut Vec<Affine>, depth: i64) {
        for _ in 0..self.r.pick(1, 2) {
            match self.r.pick(0, 5) {
                0 if depth > 0 => {
                    let (lo, n) = (self.r.pick(-1, 2), self.r.pick(1, 4));
                    k.for_(lo, lo + n, |k, v| {
                        vars.push(v);
                        self.block(k, vars, depth - 1);
                        vars.pop();
                    });
                }
                1 | 2 if depth > 0 => {
                    let rows = self.shape[0];
                    self.guarded(k, vars, rows, &mut |g, k, vars, row| {
                        let value = g.load(k, vars, row);
                        g.store(k, vars, value);
                    });
                }
                3 if depth > 0 => {
                    // A guard of one trip around the rest.
                    let e = self.form(vars);
                    k.for_(max_of([0.into(), e]), 1, |k, v| {
                        vars.push(v);
                        self.block(k, vars, depth - 1);
                        vars.pop();
                    });
                }
                _ => {
                    let row = self.form(vars).modulo(self.shape[0]);
                    let value = self.load(k, vars, row);
                    self.store(k, vars, value);
                }
            }
        }
    }

    fn load(&mut self, k: &mut KernelBuilder, vars: &[Affine], row: Affine) -> Reg {
        if let (Some(s), true) = (self.scratch, self.r.one_in(3)) {
            let at = [self.form(vars).modulo(4), self.form(vars).modulo(8)];
            return k.load(s, &at);
        }
        let column = self.form(vars).modulo(self.shape[1]) + self.r.slip();
        if self.r.one_in(3) {
            let view = k.view(self.x, &[row, 0.into()], true);
            return k.load(view, &[0.into(), column]);
        }
        k.load(self.x, &[row, column])
    }

    fn store(&mut self, k: &mut KernelBuilder, vars: &[Affine], value: Reg) {
        let lanes = if self.r.one_in(2) { 1 } else { 4 };
        let value = k.splat(value, lanes);
        let column = self.form(vars).modulo(16 / i64::from(lanes)) * i64::from(lanes);
        let mut at = self.row.clone();
        at.push(column + self.r.slip());
        if self.r.one_in(4) {
            let old = k.load_vec(self.y, lanes, &at);
            let sum = k.add(old, value);
            return k.store(self.y, &at, sum);
        }
        k.store(self.y, &at, value);
    }
}

#[test]
fn what_is_proven_never_faults() {
    let (mut proven, mut refused, mut cautious) = (0, 0, 0);
    for seed in 0..4000 {
        let k = kernel(seed);
        let verdict = k.verify();
        let fault = interpreted(&k);
        match (verdict.has_errors(), fault) {
            (false, Some(code)) => panic!("kernel({seed}) was proven, but the interpreter ends in {code}\n{k:#?}"),
            (false, None) => proven += 1,
            (true, Some(_)) => refused += 1,
            (true, None) => cautious += 1,
        }
    }
    println!("{proven} proven, {refused} refused rightly, {cautious} refused though they run");
    assert!(proven > 800 && refused > 800, "the generator is one-sided: {proven} proven, {refused} refused");
    assert!(cautious < 1000, "{cautious} kernels that run were refused");
}
