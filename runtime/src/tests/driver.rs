//! The driver: same bits for any number of workers and any `run`; every wrong argument has its code.

use super::model::{mixer, model};
use crate::abi::*;
use crate::{cpuid, driver};
use std::ffi::c_void;
use std::ptr::{null, null_mut};

type Work = unsafe extern "C" fn(*mut c_void, u32);

/// A `run` with one fresh thread an index.
unsafe extern "C" fn run_threads(_: *mut c_void, n: u32, work: Work, arg: *mut c_void) {
    let arg = arg as usize;
    std::thread::scope(|s| {
        for i in 0..n {
            // SAFETY: as `Par` says.
            s.spawn(move || unsafe { work(arg as *mut c_void, i) });
        }
    });
}

/// A `run` that does one index after the other, from the last.
unsafe extern "C" fn run_in_turn(_: *mut c_void, n: u32, work: Work, arg: *mut c_void) {
    for i in (0..n).rev() {
        // SAFETY: as `Par` says.
        unsafe { work(arg, i) };
    }
}

/// A `run` that forgets the last index.
unsafe extern "C" fn run_too_few(_: *mut c_void, n: u32, work: Work, arg: *mut c_void) {
    for i in 0..n - 1 {
        // SAFETY: as `Par` says.
        unsafe { work(arg, i) };
    }
}

/// A `run` that does nothing.
unsafe extern "C" fn run_none(_: *mut c_void, _: u32, _: Work, _: *mut c_void) {}

/// A `run` that calls indices twice, and one that is too large.
unsafe extern "C" fn run_twice(_: *mut c_void, n: u32, work: Work, arg: *mut c_void) {
    for i in (0..=n).chain(0..n) {
        // SAFETY: what the driver must survive.
        unsafe { work(arg, i) };
    }
}

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

const CANARY: u8 = 0xc5;

type Run = unsafe extern "C" fn(*mut c_void, u32, Work, *mut c_void);

/// Runs `batch` images; checks that nothing behind the arena is touched.
fn infer(model: &Model, batch: u32, threads: u32, run: Run, prefill: u8) -> (i32, Vec<f32>) {
    let bytes = driver::arena_bytes(model, batch, threads);
    assert_eq!(bytes % 64, 0);
    let mut arena = vec![Line([prefill; 64]); bytes / 64 + 1];
    *arena.last_mut().expect("one line more") = Line([CANARY; 64]);
    let x: Vec<f32> = (0..3 * batch).map(|i| i as f32 + 0.5).collect();
    let mut y = vec![-1.0; batch as usize];
    let par = Par { ctx: null_mut(), threads, run: Some(run) };
    // SAFETY: sizes as asked for.
    let code =
        unsafe { driver::infer(model, x.as_ptr(), y.as_mut_ptr(), batch, arena.as_mut_ptr().cast(), bytes, &par) };
    assert_eq!(arena.last().expect("one line more").0, [CANARY; 64], "wrote behind the arena");
    (code, y)
}

#[test]
fn same_bits_for_any_workers_runs_and_arenas() {
    let model = mixer(12);
    let (code, expected) = infer(&model, 5, 1, run_threads, 0);
    assert_eq!(code, OK);
    assert!(expected.windows(2).all(|w| w[0] != w[1]), "images give different answers");
    for threads in [2, 3, 4, 7] {
        for prefill in [0x00, 0xff, 0x7f] {
            assert_eq!(infer(&model, 5, threads, run_threads, prefill), (OK, expected.clone()), "{threads} threads");
            assert_eq!(infer(&model, 5, threads, run_in_turn, prefill), (OK, expected.clone()), "{threads} in turn");
        }
    }
}

#[test]
fn the_most_workers_are_64() {
    let model = mixer(4);
    let (_, expected) = infer(&model, 2, 1, run_threads, 0);
    for threads in [64, 65, u32::MAX] {
        assert_eq!(infer(&model, 2, threads, run_threads, 0), (OK, expected.clone()));
        assert_eq!(driver::arena_bytes(&model, 2, threads), driver::arena_bytes(&model, 2, 64));
    }
    assert_eq!(infer(&model, 2, 64, run_too_few, 0).0, RUN_RETURNED_EARLY);
}

#[test]
fn a_batch_is_a_sequence_of_groups() {
    let model = mixer(3);
    let (_, together) = infer(&model, 4, 2, run_threads, 0);
    for i in 0..4 {
        let mut arena = vec![Line([0; 64]); driver::arena_bytes(&model, 1, 1) / 64];
        let x: Vec<f32> = (0..3).map(|c| (3 * i + c) as f32 + 0.5).collect();
        let mut y = 0.0;
        // SAFETY: sizes as asked for.
        let code = unsafe {
            driver::infer(&model, x.as_ptr(), &mut y, 1, arena.as_mut_ptr().cast(), 64 * arena.len(), null())
        };
        assert_eq!((code, y), (OK, together[i as usize]));
    }
}

#[test]
fn more_workers_than_processors_finish() {
    // 8 threads on one processor: nobody may wait for someone who waits for the processor.
    std::thread::spawn(|| {
        pin_to_one_cpu();
        let model = mixer(80);
        let (_, expected) = infer(&model, 3, 1, run_threads, 0);
        assert_eq!(infer(&model, 3, 8, run_threads, 0), (OK, expected));
    })
    .join()
    .expect("the pinned thread finishes");
}

/// This thread, and those that it starts, share the first processor that they may use.
fn pin_to_one_cpu() {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    {
        let mut mask = [0u64; 16];
        let mut call = |number: usize| {
            // SAFETY: sched_{s,g}etaffinity(0, 128, mask) reads or writes the mask.
            unsafe {
                std::arch::asm!("syscall", inlateout("rax") number => _, in("rdi") 0, in("rsi") 128,
                    in("rdx") mask.as_mut_ptr(), lateout("rcx") _, lateout("r11") _)
            };
            let word = mask.iter().position(|w| *w != 0).expect("one processor at least");
            let bit = mask[word] & mask[word].wrapping_neg();
            mask = [0; 16];
            mask[word] = bit;
        };
        call(204);
        call(203);
    }
}

#[test]
fn a_run_that_returns_early_is_told() {
    let model = mixer(5);
    for run in [run_too_few as Run, run_none] {
        assert_eq!(infer(&model, 1, 4, run, 0).0, RUN_RETURNED_EARLY);
    }
    let (_, expected) = infer(&model, 1, 1, run_threads, 0);
    assert_eq!(infer(&model, 1, 4, run_twice, 0), (OK, expected));
}

#[test]
fn every_wrong_argument_has_its_code() {
    let mut m = mixer(1);
    let mut arena = vec![Line([0; 64]); driver::arena_bytes(&m, 1, 2) / 64];
    let len = 64 * arena.len();
    let x = [0.5f32; 8];
    let mut y = [0.0f32; 4];
    let a = arena.as_mut_ptr().cast::<u8>();
    let par = Par { ctx: null_mut(), threads: 2, run: Some(run_threads) };
    let deaf = Par { ctx: null_mut(), threads: 2, run: None };
    let (px, py) = (x.as_ptr(), y.as_mut_ptr());
    let infer = |m: *const Model, x, y, batch, arena, len, par| unsafe {
        // SAFETY: what is not null is valid.
        driver::infer(m, x, y, batch, arena, len, par)
    };
    assert_eq!(infer(&m, px, py, 1, a, len, &par), OK);
    assert_eq!(infer(null(), px, py, 1, a, len, &par), NULL_ARGUMENT);
    assert_eq!(infer(&m, null(), py, 1, a, len, &par), NULL_ARGUMENT);
    assert_eq!(infer(&m, px, null_mut(), 1, a, len, &par), NULL_ARGUMENT);
    assert_eq!(infer(&m, px, py, 1, null_mut(), len, &par), NULL_ARGUMENT);
    assert_eq!(infer(&m, px, py, 1, a, len, &deaf), NULL_ARGUMENT);
    assert_eq!(infer(&m, px, py, 1, a, len - 1, &par), ARENA_TOO_SMALL);
    assert_eq!(infer(&m, px, py, 1, a, 0, null()), ARENA_TOO_SMALL);
    assert_eq!(infer(&m, px, py, 1, a.wrapping_add(32), len - 32, null()), MISALIGNED);
    assert_eq!(infer(&m, px.wrapping_byte_add(2), py, 1, a, len, null()), MISALIGNED);
    assert_eq!(infer(&m, px, py.wrapping_byte_add(1), 1, a, len, null()), MISALIGNED);
    assert_eq!(infer(&m, px, py, 0, a, len, null()), BATCH_OUT_OF_RANGE);
    (m.batch, m.code.group) = (2, 2);
    assert_eq!(infer(&m, px, py, 3, a, len, null()), BATCH_OUT_OF_RANGE);
    assert_eq!((driver::arena_bytes(&m, 3, 1), driver::arena_bytes(&m, 0, 1)), (0, 0));
    (m.batch, m.code.group) = (4, 2);
    assert_eq!(infer(&m, px, py, 2, a, len, null()), BATCH_OUT_OF_RANGE);
    m.code.group = 3;
    assert_eq!(infer(&m, px, py, 4, a, len, null()), BATCH_OUT_OF_RANGE);
    m.batch = 0;
    assert_eq!(infer(&m, px, py, 1, a, len, null()), BATCH_OUT_OF_RANGE);
}

/// 0 bytes would mean that the batch is out of range.
#[test]
fn a_model_without_intermediate_values_has_an_arena() {
    let m = model(Vec::new(), 0, 0);
    assert_eq!((driver::arena_bytes(&m, 1, 1), driver::arena_bytes(&m, 0, 1)), (64, 0));
    assert_eq!(infer(&m, 1, 1, run_threads, 0).0, OK);
    assert_eq!(infer(&m, 1, 2, run_threads, 0).0, OK);
}

#[test]
fn arenas_beyond_the_address_space_are_refused() {
    let mut m = model(Vec::new(), u64::MAX - 10, 0);
    assert_eq!(driver::arena_bytes(&m, 1, 1), 0);
    (m.code.arena_bytes, m.code.scratch_bytes) = (64, u64::MAX / 8);
    assert_eq!(driver::arena_bytes(&m, 1, 64), 0);
    m.code.scratch_bytes = u64::MAX;
    let mut arena = [Line([0; 64])];
    let (x, mut y) = (0.0, 0.0);
    // SAFETY: refused before anything is touched.
    let code = unsafe { driver::infer(&m, &x, &mut y, 1, arena.as_mut_ptr().cast(), usize::MAX, null()) };
    assert_eq!(code, ARENA_TOO_SMALL);
}

#[test]
fn code_for_a_better_cpu_is_refused() {
    let mut m = mixer(1);
    let cpu = cpuid::level_of_cpu();
    for (level, name) in [(2, c"x86-64-v2"), (3, c"x86-64-v3"), (4, c"x86-64-v4")] {
        m.code.target = name.as_ptr().cast();
        let expected = if level <= cpu { OK } else { CPU_LACKS_FEATURE };
        assert_eq!(infer(&m, 1, 1, run_threads, 0).0, expected, "{name:?} on level {cpu}");
    }
    for name in [c"x86-64", c"x86-64-v", c"x86-64-v33", c"x86-64-v9", c"", c"aarch64"] {
        // SAFETY: NUL-terminated.
        assert_eq!(unsafe { cpuid::level_of_name(name.as_ptr().cast()) }, 0, "{name:?}");
    }
}

#[test]
fn a_cpu_with_avx2_is_level_3() {
    let cpu = cpuid::level_of_cpu();
    assert_eq!(cpu >= 3, is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2"));
    assert_eq!(cpu >= 4, is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl"));
}

#[test]
fn every_code_has_a_text() {
    let texts: std::collections::HashSet<_> = (-11..=0).map(driver::strerror).collect();
    assert_eq!(texts.len(), 12);
    assert_eq!(driver::strerror(-12), driver::strerror(1));
}
