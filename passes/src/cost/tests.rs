//! Counts of small kernels, by hand.

use super::*;
use crate::cost::ZEN3;
use ir::DType;
use ir::kernel::build::{max_of, min_of};
use ir::kernel::{KernelBuilder, Role};

fn total(k: &Kernel) -> Ops {
    Block::of(k, ZEN3.core).total()
}

#[test]
fn every_kind_is_counted_as_often_as_it_runs() {
    let mut k = KernelBuilder::new("k");
    let x = k.param("x", DType::F32, &[4, 5, 16], Role::In);
    let y = k.param("y", DType::F32, &[4, 5, 8], Role::Out);
    let t = k.tasks(4);
    k.for_(0, 5, |k, i| {
        let wide = k.load_vec(x, 16, &[t.clone(), i.clone(), 0.into()]); // two registers
        let sum = k.add(wide, wide);
        let v = k.load_vec(x, 8, &[t.clone(), i.clone(), 8.into()]);
        let s = k.load(x, &[t.clone(), i.clone(), 3.into()]);
        let s = k.splat(s, 8);
        let product = k.mul(v, s);
        let v = k.fma(v, s, product);
        let v = k.div(v, s);
        k.store(y, &[t.clone(), i, 0.into()], v);
        let _ = sum;
    });
    let expected = Ops { fmas: 2, adds: 2, divs: 1, loads: 3, broadcasts: 1, stores: 1, ..Ops::default() };
    assert_eq!(total(&k.finish()), expected.times(20));
}

/// A triangle, and a guard that depends on the task: 3 tasks × (0 + 1 + … + 6) = 63, and rows 0 and 2 of 0..3 pass.
#[test]
fn dependent_bounds_are_enumerated() {
    let mut k = KernelBuilder::new("k");
    let y = k.param("y", DType::F32, &[3, 7, 7], Role::Out);
    let t = k.tasks(3);
    let zero = k.constant(DType::F32, 1, 0.0);
    k.for_(0, 7, |k, i| {
        k.for_(0, i.clone(), |k, j| k.store(y, &[t.clone(), i.clone(), j], zero));
    });
    // Not for task 1: (t mod 2) < 1.
    k.for_(max_of([(&t * 1).modulo(2)]), min_of([1.into()]), |k, _| {
        let v = k.add(zero, zero);
        k.store(y, &[t.clone(), 0.into(), 6.into()], v);
    });
    let ops = total(&k.finish());
    assert_eq!((ops.stores, ops.adds), (63 + 2, 2));
}

#[test]
fn chains_are_as_long_as_the_instructions_between_two_iterations() {
    let mut k = KernelBuilder::new("k");
    let x = k.param("x", DType::F32, &[64, 8], Role::In);
    let y = k.param("y", DType::F32, &[8], Role::Out);
    let zero = k.constant(DType::F32, 8, 0.0);
    let sums = k.for_carry(0, 32, &[zero], |k, i, s| {
        let a = k.load_vec(x, 8, &[&i * 2, 0.into()]);
        let b = k.load_vec(x, 8, &[&i * 2 + 1, 0.into()]);
        let s = k.fma(a, a, s[0]);
        vec![k.fma(b, b, s)]
    });
    k.store(y, &[0.into()], sums[0]);
    let body = Block::of(&k.finish(), ZEN3.core);
    let inner = &body.loops[0];
    assert_eq!((inner.entries, inner.body.runs, inner.body.chain, inner.body.carried), (1, 32, 8, 1));
    assert_eq!(body.total(), Ops { fmas: 64, loads: 64, stores: 1, ..Ops::default() });
}

#[test]
fn traffic_is_counted_once_where_it_fits() {
    // A 16 KiB vector read 10 times by each of 4 tasks.
    let mut k = KernelBuilder::new("k");
    let x = k.param("x", DType::F32, &[4096], Role::In);
    let y = k.param("y", DType::F32, &[4, 8], Role::Out);
    let t = k.tasks(4);
    let zero = k.constant(DType::F32, 8, 0.0);
    let sums = k.for_carry(0, 10, &[zero], |k, _, s| {
        k.for_carry(0, 512, s, |k, i, s| {
            let v = k.load_vec(x, 8, &[&i * 8]);
            vec![k.add(v, s[0])]
        })
    });
    k.store(y, &[t, 0.into()], sums[0]);
    let kernel = k.finish();
    let body = Block::of(&kernel, ZEN3.core);
    let into = |capacity| crate::cost::traffic::into_cache(&kernel, &body, capacity, 4.0)[&x];
    assert_eq!(into(32 << 10), 16384.0);
    assert_eq!(into(8 << 10), 16384.0 * 40.0);
    assert_eq!(crate::cost::traffic::distinct(&kernel, &body)[&y], 128.0);
}

#[test]
fn many_tasks_are_counted_in_part() {
    const TASKS: i64 = 1 << 22;
    let mut k = KernelBuilder::new("k");
    let y = k.param("y", DType::F32, &[TASKS], Role::Out);
    let t = k.tasks(TASKS);
    let zero = k.constant(DType::F32, 1, 0.0);
    k.store(y, std::slice::from_ref(&t), zero);
    // Every other task adds.
    k.for_(t.modulo(2), 1, |k, _| {
        let _ = k.add(zero, zero);
    });
    let ops = total(&k.finish());
    assert_eq!(ops.stores, 1 << 22);
    assert!(ops.adds.abs_diff(1 << 21) <= 8, "{ops:?}");
}

#[test]
fn values_beyond_the_registers_are_spilled() {
    let sum = |values: i64| {
        let mut k = KernelBuilder::new("k");
        let x = k.param("x", DType::F32, &[values, 8], Role::In);
        let y = k.param("y", DType::F32, &[values, 8], Role::Out);
        // All values are computed before any is stored.
        let all: Vec<Reg> = (0..values)
            .map(|i| {
                let v = k.load_vec(x, 8, &[i.into(), 0.into()]);
                k.add(v, v)
            })
            .collect();
        for (i, v) in (0..).zip(all) {
            k.store(y, &[i.into(), 0.into()], v);
        }
        Block::of(&k.finish(), ZEN3.core).spills
    };
    assert_eq!(sum(15), Spills::default());
    // Two stay behind of 16 while a load needs a register, and one more for each value beyond.
    let many = sum(20);
    assert_eq!(many.loads, many.stores);
    assert!((4..=6).contains(&many.stores), "{many:?}");
}

#[test]
fn powers_of_two_between_stores_conflict() {
    let moved = |columns: i64| {
        let mut k = KernelBuilder::new("k");
        let y = k.param("y", DType::F32, &[36, columns, 8], Role::Out);
        let zero = k.constant(DType::F32, 8, 0.0);
        k.for_(0, columns, |k, i| {
            for p in 0..36 {
                k.store(y, &[p.into(), i.clone(), 0.into()], zero);
            }
        });
        let kernel = k.finish();
        let body = Block::of(&kernel, ZEN3.core);
        crate::cost::traffic::conflicts(&kernel, &body, 4096, 8)
    };
    // 4 KiB between them: 36 lines in one set of 8, in and out, 128 times.
    assert_eq!(moved(128), 128.0 * 36.0 * 64.0 * 2.0);
    assert_eq!(moved(130), 0.0);
}
