//! What each call takes, measured inside an inference: the time stamp counter is read where a call begins.
//!
//! A call lasts until the next begins, so waiting at a barrier counts for the call before it, and the calls add up to
//! the inference.

use core::ptr::null_mut;

/// Writes ticks for one worker; without a place to write to it does nothing.
#[derive(Clone, Copy)]
pub(crate) struct Trace {
    ticks: *mut u64,
    /// Counter of the call that is running.
    running: *mut u64,
    begun: u64,
}

impl Trace {
    /// # Safety
    /// `ticks` is null, or points to one counter for each of the model's calls, which nobody else uses before the
    /// inference returns.
    pub unsafe fn new(ticks: *mut u64) -> Trace {
        Trace { ticks, running: null_mut(), begun: 0 }
    }

    /// Writes nothing.
    pub fn off() -> Trace {
        Trace { ticks: null_mut(), running: null_mut(), begun: 0 }
    }

    /// Call `c` begins, and what ran before it ends.
    ///
    /// # Safety
    /// The model has a call `c`.
    #[inline]
    pub unsafe fn begin(&mut self, c: usize) {
        if !self.ticks.is_null() {
            // SAFETY: there is a counter for `c`.
            unsafe {
                self.end();
                self.running = self.ticks.add(c);
            }
        }
    }

    /// What runs ends.
    ///
    /// # Safety
    /// The counters are still there.
    pub unsafe fn end(&mut self) {
        let now = now();
        if !self.running.is_null() {
            // SAFETY: `begin` took it from the counters.
            unsafe { *self.running += now - self.begun };
        }
        self.begun = now;
        self.running = null_mut();
    }
}

/// The time stamp counter: runs at a fixed rate on every x86-64 of the last fifteen years.
#[cfg(target_arch = "x86_64")]
fn now() -> u64 {
    // SAFETY: the instruction is part of x86-64.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn now() -> u64 {
    0
}
