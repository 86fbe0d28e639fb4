//! How one inference divides the caller's arena.
//!
//! ```text
//! activations | scratch of worker 0, 1, … | job | counters of call 0, 1, …
//! ```
//!
//! Every part starts at a multiple of 64 bytes. Job and counters exist only with two workers or more.

use crate::abi::{Code, JOB_BYTES};

/// Alignment of the arena and of each of its parts: one cache line.
pub const ALIGN: u64 = 64;

/// Byte offsets in the arena.
#[derive(Clone, Copy)]
pub struct Layout {
    pub scratch: usize,
    /// Distance between two workers' scratch.
    pub scratch_stride: usize,
    pub job: usize,
    pub counters: usize,
    pub len_bytes: usize,
}

impl Layout {
    /// The layout for that many workers; `None` if it exceeds the address space.
    pub fn new(code: &Code, workers: u32) -> Option<Layout> {
        let workers = u64::from(workers);
        let scratch_stride = align_up(code.scratch_bytes)?;
        let scratch = align_up(code.arena_bytes)?;
        let job = scratch.checked_add(scratch_stride.checked_mul(workers)?)?;
        let (counters, end) = if workers > 1 {
            let counters = job.checked_add(JOB_BYTES)?;
            // A line of its own for each worker's tickets and one for the finished tasks.
            let lines = u64::from(code.n_calls).checked_mul(workers + 1)?;
            (counters, counters.checked_add(lines.checked_mul(ALIGN)?)?)
        } else {
            (job, job)
        };
        // Never empty: 0 bytes mean that there is no such arena.
        let end = end.max(ALIGN);
        Some(Layout {
            scratch: usize::try_from(scratch).ok()?,
            scratch_stride: usize::try_from(scratch_stride).ok()?,
            job: usize::try_from(job).ok()?,
            counters: usize::try_from(counters).ok()?,
            len_bytes: usize::try_from(end).ok()?,
        })
    }
}

fn align_up(bytes: u64) -> Option<u64> {
    Some(bytes.checked_add(ALIGN - 1)? & !(ALIGN - 1))
}
