//! The pool: every index once, as often as asked, with any number of helpers, also none.

use super::model::mixer;
use crate::host::engine::{Engine, InProcess};
use crate::host::pool::Pool;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Runs `f` with a pool that `helpers` threads serve.
fn with_pool(helpers: usize, f: impl FnOnce(&Pool)) {
    let pool = Pool::new();
    std::thread::scope(|s| {
        for _ in 0..helpers {
            s.spawn(|| pool.serve());
        }
        f(&pool);
        pool.stop();
    });
}

#[test]
fn every_index_runs_once() {
    unsafe extern "C" fn count(arg: *mut std::ffi::c_void, i: u32) {
        // SAFETY: `arg` is the array below.
        unsafe { (&*arg.cast::<[AtomicU32; 7]>())[i as usize].fetch_add(1, Ordering::Relaxed) };
    }
    for helpers in [0, 1, 2, 8] {
        with_pool(helpers, |pool| {
            let counts = [const { AtomicU32::new(0) }; 7];
            for round in 1..=2000u32 {
                let n = 1 + round % 7;
                let par = pool.par(n);
                // SAFETY: `count` takes these arguments.
                unsafe { par.run.expect("a pool has a run")(par.ctx, n, count, (&raw const counts).cast_mut().cast()) };
                if round % 500 == 0 {
                    // Long enough that the helpers sleep.
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            // Index i runs in every round with n > i.
            let expected: Vec<u32> =
                (0..7).map(|i| (1..=2000).filter(|round| 1 + round % 7 > i).count() as u32).collect();
            let counts: Vec<u32> = counts.iter().map(|c| c.load(Ordering::Relaxed)).collect();
            assert_eq!(counts, expected, "{helpers} helpers");
        });
    }
}

#[test]
fn inferences_on_a_pool_give_the_same_bits() {
    let model = mixer(12);
    // SAFETY: the model is right.
    let library = unsafe { InProcess::new(&model) };
    let x = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5];
    let mut expected = [0.0; 2];
    Engine::new(&library, 2, 1, &Pool::new()).expect("fits").run(&x, &mut expected).expect("runs");
    for (helpers, threads) in [(0, 4), (1, 2), (2, 7), (6, 7)] {
        with_pool(helpers, |pool| {
            let mut engine = Engine::new(&library, 2, threads, pool).expect("fits");
            for _ in 0..15 {
                let mut y = [0.0; 2];
                engine.run(&x, &mut y).expect("runs");
                assert_eq!(y, expected, "{helpers} helpers, {threads} threads");
            }
        });
    }
}

/// Engines of two threads on one pool: one has the helpers, the other does all of its work itself.
#[test]
fn inferences_at_once_give_the_same_bits() {
    let (begin, wrong) = (Barrier::new(2), AtomicU32::new(0));
    let run = |pool: &Pool, x: [f32; 3]| {
        let model = mixer(12);
        // SAFETY: the model is right.
        let library = unsafe { InProcess::new(&model) };
        let (mut expected, mut y) = ([0.0], [0.0]);
        Engine::new(&library, 1, 1, pool).expect("fits").run(&x, &mut expected).expect("runs");
        let mut engine = Engine::new(&library, 1, 3, pool).expect("fits");
        for _ in 0..30 {
            begin.wait();
            let is_right = engine.run(&x, &mut y).is_ok() && y == expected;
            wrong.fetch_add((!is_right).into(), Ordering::Relaxed);
        }
    };
    with_pool(2, |pool| {
        std::thread::scope(|s| {
            for x in [[1.5, 2.5, 3.5], [4.5, 5.5, 6.5]] {
                s.spawn(move || run(pool, x));
            }
        });
    });
    assert_eq!(wrong.into_inner(), 0);
}
