//! A pool of threads that implements the C API's `run` callback.
//!
//! The pool owns no threads: whoever can start some lets each call [`Pool::serve`]. For one inference `run` hands
//! out the indices by a counter. The caller takes index 0 and, when it is done with that, every index that no helper
//! has taken: the driver leaves such a worker nothing to do, so a helper that is still asleep delays nobody.

use crate::abi::Par;
use crate::futex;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

type Work = unsafe extern "C" fn(*mut c_void, u32);

#[derive(Clone, Copy)]
struct Task {
    work: Work,
    arg: *mut c_void,
}

/// See the module.
#[repr(C, align(64))]
pub struct Pool {
    /// `round << 32 | end << 16 | next`: the next index to hand out in this round.
    tickets: AtomicU64,
    /// Indices that helpers have finished in this round.
    finished: AtomicU32,
    /// Futex words: the round that has begun, changes of `finished`.
    round: AtomicU32,
    ends: AtomicU32,
    /// Helpers that sleep or are about to; whether the caller does.
    sleepers: AtomicU32,
    caller_sleeps: AtomicBool,
    /// Whether a `run` has the helpers.
    busy: AtomicBool,
    stop: AtomicBool,
    task: UnsafeCell<Task>,
}

// SAFETY: `task` is written by the one `run` that is not `busy` yet, before its round is published, and read only by
// whoever took an index of that round, which keeps `run` from returning and so from letting another write the next.
unsafe impl Sync for Pool {}
// SAFETY: the pointer in `task` is only used inside `run`.
unsafe impl Send for Pool {}

impl Default for Pool {
    fn default() -> Pool {
        Pool::new()
    }
}

impl Pool {
    pub const fn new() -> Pool {
        unsafe extern "C" fn nothing(_: *mut c_void, _: u32) {}
        Pool {
            tickets: AtomicU64::new(0),
            finished: AtomicU32::new(0),
            round: AtomicU32::new(0),
            ends: AtomicU32::new(0),
            sleepers: AtomicU32::new(0),
            caller_sleeps: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            task: UnsafeCell::new(Task { work: nothing, arg: core::ptr::null_mut() }),
        }
    }

    /// This pool as an argument of `infer`. Of several inferences at once, one has the helpers.
    pub fn par(&self, threads: u32) -> Par {
        Par { ctx: core::ptr::from_ref(self).cast_mut().cast(), threads, run: Some(run) }
    }

    /// What a helper thread does until [`Pool::stop`].
    pub fn serve(&self) {
        let mut seen = 0;
        loop {
            let round = self.next_round(seen);
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            seen = round;
            while let Some(index) = self.take(round) {
                // SAFETY: index taken, so the task is this round's and `run` waits for us.
                unsafe {
                    let task = *self.task.get();
                    (task.work)(task.arg, index);
                }
                self.finished.fetch_add(1, Ordering::SeqCst);
                if self.caller_sleeps.load(Ordering::SeqCst) {
                    self.ends.fetch_add(1, Ordering::SeqCst);
                    futex::wake_all(&self.ends);
                }
            }
        }
    }

    /// Lets every [`Pool::serve`] return.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.round.fetch_add(1, Ordering::SeqCst);
        futex::wake_all(&self.round);
    }

    /// Waits until another round than `seen` has begun.
    fn next_round(&self, seen: u32) -> u32 {
        for _ in 0..futex::SPINS {
            let round = self.round.load(Ordering::Acquire);
            if round != seen {
                return round;
            }
            spin_loop();
        }
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let round = loop {
            let round = self.round.load(Ordering::SeqCst);
            if round != seen {
                break round;
            }
            futex::wait(&self.round, seen);
        };
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
        round
    }

    /// Takes the next index of that round, if there is one.
    fn take(&self, round: u32) -> Option<u32> {
        let mut seen = self.tickets.load(Ordering::Acquire);
        loop {
            let (next, end) = (seen as u16, (seen >> 16) as u16);
            if (seen >> 32) as u32 != round || next >= end {
                return None;
            }
            match self.tickets.compare_exchange_weak(seen, seen + 1, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(u32::from(next)),
                Err(now) => seen = now,
            }
        }
    }

    /// Runs `work(arg, i)` for every i below `n`.
    ///
    /// # Safety
    /// `work` may be called so, from any thread.
    unsafe fn run(&self, n: u32, work: Work, arg: *mut c_void) {
        if self.busy.swap(true, Ordering::Acquire) {
            // The helpers are another's: one index after the other is as right.
            for index in 0..n {
                // SAFETY: the caller's promise.
                unsafe { work(arg, index) };
            }
            return;
        }
        let round = self.round.load(Ordering::Relaxed).wrapping_add(1);
        // SAFETY: no helper holds an index of an earlier round, so none reads the task.
        unsafe { *self.task.get() = Task { work, arg } };
        self.finished.store(0, Ordering::Relaxed);
        self.tickets.store(u64::from(round) << 32 | u64::from(n) << 16 | 1, Ordering::Release);
        self.round.store(round, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) != 0 {
            futex::wake_all(&self.round);
        }
        // SAFETY: the caller's promise.
        unsafe { work(arg, 0) };
        let mut taken_here = 1;
        while let Some(index) = self.take(round) {
            // SAFETY: the caller's promise.
            unsafe { work(arg, index) };
            taken_here += 1;
        }
        self.wait_for_helpers(n - taken_here);
        self.busy.store(false, Ordering::Release);
    }

    fn wait_for_helpers(&self, helpers: u32) {
        for _ in 0..futex::SPINS {
            if self.finished.load(Ordering::Acquire) == helpers {
                return;
            }
            spin_loop();
        }
        self.caller_sleeps.store(true, Ordering::SeqCst);
        loop {
            let ends = self.ends.load(Ordering::SeqCst);
            if self.finished.load(Ordering::SeqCst) == helpers {
                break;
            }
            futex::wait(&self.ends, ends);
        }
        self.caller_sleeps.store(false, Ordering::Relaxed);
    }
}

/// [`Par::run`] of a pool.
unsafe extern "C" fn run(ctx: *mut c_void, n: u32, work: Work, arg: *mut c_void) {
    // SAFETY: `par` put a pool there that outlives the inference; `infer` promises the rest.
    unsafe { (*ctx.cast::<Pool>()).run(n, work, arg) };
}
