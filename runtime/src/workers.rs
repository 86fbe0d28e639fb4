//! SPMD execution: every worker walks the whole call table; who computes a task is decided as they go.
//!
//! Tasks of a call are split into equal shares, one a worker. A worker takes units from its own share first
//! (locality), then what is left of its neighbours' (a virtual CPU that is taken away for milliseconds loses one
//! unit, not half a layer). A share's *ticket* counts its tasks handed out so far.
//!
//! Before a call whose `barrier` flag is set, a worker waits until all *tasks* of the calls before it are finished,
//! not until all *workers* are there. So a worker that starts late or never delays nobody, and a `run` callback may
//! even call the workers one after another: the first does everything.
//!
//! Counters are never reset during an inference: in group `g` a share of `n` tasks is handed out by the ticket
//! values `g·n .. (g+1)·n`. A worker that lags behind by a group sees values past its own range, which mean "nothing
//! left" and "finished", as they should.
//!
//! Memory order: results of a task are published by the release half of the addition to `finished` and acquired by
//! the load that sees the sum complete. Tickets carry no data and are relaxed.

use crate::abi::{Call, Code, JOB_BYTES};
use crate::arena::{ALIGN, Layout};
use crate::futex;
use crate::params::{Io, Params};
use crate::trace::Trace;
use core::ffi::c_void;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A worker takes the eighth part of what is left of a share, at least one task: few tickets for many tasks, and at
/// the end of a call workers wait for one task, not for a large unit.
const PARTS: u64 = 8;

/// A counter alone in its cache line.
#[repr(C, align(64))]
struct Line(AtomicU64);

/// One inference. Lies in the arena, so that a worker that outlives a wrong `run` callback does not read a dead stack.
#[repr(C, align(64))]
pub(crate) struct Job {
    code: *const Code,
    io: Io,
    groups: u32,
    workers: u32,
    arena: *mut u8,
    scratch: *mut u8,
    scratch_stride: usize,
    /// `workers + 1` lines a call: each worker's ticket, then the finished tasks of the phase that ends with the call.
    counters: *const Line,
    /// For worker 0.
    trace: Trace,
    state: State,
}

/// What changes while the workers run, in its own cache line.
#[repr(C, align(64))]
struct State {
    /// Bit `i`: worker `i` has started, has finished.
    started: AtomicU64,
    finished: AtomicU64,
    /// Workers that sleep or are about to.
    sleepers: AtomicU32,
    /// Futex word: changes when a phase is complete.
    wakes: AtomicU32,
}

impl Job {
    /// Writes a job and its counters into the arena.
    ///
    /// # Safety
    /// `arena` is 64-byte aligned, holds `layout.len_bytes`, and is not used by anyone else.
    pub unsafe fn place(
        code: &Code,
        io: Io,
        groups: u32,
        workers: u32,
        arena: *mut u8,
        layout: &Layout,
        trace: Trace,
    ) -> *mut Job {
        // SAFETY: the layout reserves room for the job and `n_calls · (workers + 1)` lines, at multiples of 64.
        unsafe {
            let job = arena.add(layout.job).cast::<Job>();
            let counters = arena.add(layout.counters);
            counters.write_bytes(0, layout.len_bytes - layout.counters);
            job.write(Job {
                code,
                io,
                groups,
                workers,
                arena,
                scratch: arena.add(layout.scratch),
                scratch_stride: layout.scratch_stride,
                counters: counters.cast(),
                trace,
                state: State {
                    started: AtomicU64::new(0),
                    finished: AtomicU64::new(0),
                    sleepers: AtomicU32::new(0),
                    wakes: AtomicU32::new(0),
                },
            });
            job
        }
    }

    /// Did every index run to its end?
    pub fn all_finished(&self) -> bool {
        self.state.finished.load(Ordering::Acquire) == u64::MAX >> (64 - self.workers)
    }

    /// # Safety
    /// `call < n_calls`, `line <= workers`.
    unsafe fn counter(&self, call: usize, line: u32) -> &AtomicU64 {
        // SAFETY: inside the lines that `place` zeroed.
        unsafe { &(*self.counters.add(call * (self.workers as usize + 1) + line as usize)).0 }
    }
}

/// What a worker runs; `arg` is the job. An index that is too large or ran already does nothing.
///
/// # Safety
/// `arg` is a [`Job`] that [`Job::place`] wrote, and its arena is alive.
pub(crate) unsafe extern "C" fn work(arg: *mut c_void, index: u32) {
    // SAFETY: the caller's promise; shared access only, what changes is atomic.
    let job = unsafe { &*arg.cast::<Job>() };
    if index >= job.workers || job.state.started.fetch_or(1 << index, Ordering::Relaxed) >> index & 1 != 0 {
        return;
    }
    // SAFETY: this index runs once, so its scratch is ours.
    unsafe { walk(job, index) };
    job.state.finished.fetch_or(1 << index, Ordering::AcqRel);
}

/// Tasks since the last barrier.
#[derive(Default)]
struct Phase {
    tasks: u64,
    mine: u64,
}

/// # Safety
/// One caller an index at a time.
unsafe fn walk(job: &Job, index: u32) {
    // SAFETY: code, arena and scratch are alive while the job is; each call's counters exist.
    unsafe {
        let code = &*job.code;
        let scratch = job.scratch.add(index as usize * job.scratch_stride);
        let mut trace = if index == 0 { job.trace } else { Trace::off() };
        for group in 0..job.groups {
            let mut phase = Phase::default();
            for c in 0..code.n_calls as usize {
                let call = &*code.calls.add(c);
                if call.barrier != 0 && c > 0 {
                    settle(job, c - 1, group, &mut phase);
                }
                trace.begin(c);
                let params = Params::resolve(code, call, &job.io, group as usize, job.arena);
                phase.tasks += call.tasks;
                phase.mine += run_tasks(job, call, c, group, index, &params, scratch);
            }
            // The next group uses the same arena; after the last one `run` itself waits for all workers.
            if group + 1 < job.groups && code.n_calls > 0 {
                settle(job, code.n_calls as usize - 1, group, &mut phase);
            }
        }
        trace.end();
    }
}

/// Runs tasks of call `c` until none is left to take; returns how many.
///
/// # Safety
/// `params` and `scratch` suit the call; `c < n_calls`.
unsafe fn run_tasks(
    job: &Job,
    call: &Call,
    c: usize,
    group: u32,
    index: u32,
    params: &Params,
    scratch: *mut u8,
) -> u64 {
    let workers = u64::from(job.workers);
    // Share `w` is `cut(w)..cut(w + 1)`. A task writes at least one byte, so counts are far below 2⁶⁴ / 64.
    let cut = |w: u64| call.tasks * w / workers;
    let mut done = 0;
    for step in 0..workers {
        let owner = (u64::from(index) + step) % workers;
        let (lo, len) = (cut(owner), cut(owner + 1) - cut(owner));
        // SAFETY: `owner < workers`.
        let ticket = unsafe { job.counter(c, owner as u32) };
        let before = u64::from(group) * len;
        while let Some((from, to)) = take(ticket, before, len) {
            // SAFETY: the ticket gave these tasks to this worker alone.
            unsafe { (call.kernel)(params.as_ptr(), (lo + from) as i64, (lo + to) as i64, scratch) };
            done += to - from;
        }
    }
    done
}

/// Takes the next unit of a share of `len` tasks, as a range in the share.
fn take(ticket: &AtomicU64, before: u64, len: u64) -> Option<(u64, u64)> {
    let mut seen = ticket.load(Ordering::Relaxed);
    loop {
        let from = seen.wrapping_sub(before);
        if from >= len {
            return None;
        }
        let to = from + ((len - from) / PARTS).max(1);
        match ticket.compare_exchange_weak(seen, before + to, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Some((from, to)),
            Err(now) => seen = now,
        }
    }
}

/// Ends a phase: reports this worker's tasks, then waits until all tasks of the phase are finished.
///
/// # Safety
/// `last` is the phase's last call.
unsafe fn settle(job: &Job, last: usize, group: u32, phase: &mut Phase) {
    // SAFETY: line `workers` is the call's last.
    let finished = unsafe { job.counter(last, job.workers) };
    let target = (u64::from(group) + 1) * phase.tasks;
    let mine = phase.mine;
    *phase = Phase::default();
    let state = &job.state;
    // Sequentially consistent together with `sleepers`: either the sleeper sees the sum, or we see the sleeper.
    if mine > 0 && finished.fetch_add(mine, Ordering::SeqCst) + mine == target {
        if state.sleepers.load(Ordering::SeqCst) != 0 {
            state.wakes.fetch_add(1, Ordering::SeqCst);
            futex::wake_all(&state.wakes);
        }
        return;
    }
    for _ in 0..futex::SPINS {
        if finished.load(Ordering::Acquire) >= target {
            return;
        }
        spin_loop();
    }
    state.sleepers.fetch_add(1, Ordering::SeqCst);
    loop {
        let wakes = state.wakes.load(Ordering::SeqCst);
        if finished.load(Ordering::SeqCst) >= target {
            break;
        }
        futex::wait(&state.wakes, wakes);
    }
    state.sleepers.fetch_sub(1, Ordering::Relaxed);
}

const _: () = assert!(size_of::<Line>() == ALIGN as usize && size_of::<Job>() as u64 <= JOB_BYTES);
