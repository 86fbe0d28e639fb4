//! Products of a transform matrix with values in registers.

use crate::entity::Reg;
use crate::kernel::KernelBuilder;

/// Σ cᵢ·xᵢ; a missing value is zero. `None` if nothing is left.
fn combine(k: &mut KernelBuilder, terms: &[(f64, Option<Reg>)]) -> Option<Reg> {
    let mut terms: Vec<(f64, Reg)> = terms.iter().filter(|t| t.0 != 0.0).filter_map(|&(c, x)| Some((c, x?))).collect();
    // Terms without a product first, a positive one in front.
    terms.sort_by_key(|(c, _)| if *c == 1.0 { 0 } else { 1 + i32::from(c.abs() != 1.0) });
    let (&(c, x), rest) = terms.split_first()?;
    let ty = k.ty(x);
    let mut sum = match c {
        1.0 => x,
        _ => {
            let c = k.constant(ty.dtype, ty.lanes, c);
            k.mul(x, c)
        }
    };
    for &(c, x) in rest {
        sum = match c {
            1.0 => k.add(sum, x),
            -1.0 => k.sub(sum, x),
            _ => {
                let c = k.constant(ty.dtype, ty.lanes, c);
                k.fma(x, c, sum)
            }
        };
    }
    Some(sum)
}

/// M·x. Rows that are equal up to signs (points a and −a) share their even and odd halves.
pub fn rows_times(k: &mut KernelBuilder, matrix: &[Vec<f64>], xs: &[Option<Reg>]) -> Vec<Option<Reg>> {
    let mirrored = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a.abs() == b.abs());
    let mut out = vec![None; matrix.len()];
    let mut done = vec![false; matrix.len()];
    for i in 0..matrix.len() {
        if std::mem::replace(&mut done[i], true) {
            continue;
        }
        let a = &matrix[i];
        let Some(mate) = (i + 1..matrix.len()).find(|&j| !done[j] && mirrored(a, &matrix[j])) else {
            out[i] = combine(k, &a.iter().copied().zip(xs.iter().copied()).collect::<Vec<_>>());
            continue;
        };
        let b = &matrix[mate];
        let mut half = |same: bool| {
            let terms = (0..xs.len()).filter(|&t| (a[t] == b[t]) == same).map(|t| (a[t], xs[t]));
            combine(k, &terms.collect::<Vec<_>>())
        };
        let (even, odd) = (half(true), half(false));
        out[i] = combine(k, &[(1.0, even), (1.0, odd)]);
        out[mate] = combine(k, &[(1.0, even), (-1.0, odd)]);
        done[mate] = true;
    }
    out
}

/// M·x. Columns that are equal up to signs enter through the sum and the difference of their values.
pub fn columns_times(k: &mut KernelBuilder, matrix: &[Vec<f64>], xs: &[Reg]) -> Vec<Reg> {
    let (mut matrix, mut xs) = (matrix.to_vec(), xs.to_vec());
    for a in 0..xs.len() {
        for b in a + 1..xs.len() {
            let mirrored = matrix.iter().all(|r| r[a].abs() == r[b].abs()) && matrix.iter().any(|r| r[a] != r[b]);
            if !mirrored {
                continue;
            }
            let (sum, difference) = (k.add(xs[a], xs[b]), k.sub(xs[a], xs[b]));
            for r in &mut matrix {
                if r[a] == r[b] {
                    r[b] = 0.0;
                } else {
                    (r[a], r[b]) = (0.0, r[a]);
                }
            }
            (xs[a], xs[b]) = (sum, difference);
        }
    }
    let some: Vec<Option<Reg>> = xs.iter().copied().map(Some).collect();
    let sum = |k: &mut KernelBuilder, r: &Vec<f64>| {
        combine(k, &r.iter().copied().zip(some.iter().copied()).collect::<Vec<_>>())
            .expect("invariant: every output has a point")
    };
    matrix.iter().map(|r| sum(k, r)).collect()
}
