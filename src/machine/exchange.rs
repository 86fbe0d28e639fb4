//! What another core's data costs: one core writes a buffer, a second one reads it, or writes it again.

use super::probes::{self, args, buffers};
use backends::exec::{AlignedBytes, CompiledKernel};
use ir::{Diagnostics, Kernel};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Instant;

/// Rates of one core with lines that another core has just written, 10⁹ bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    pub read: f64,
    pub write: f64,
}

/// Turns of each kind; the median counts: as long as both threads are on one core, which they may be at first, turns are
/// fast.
const TURNS: usize = 41;

/// The kernels that [`exchange`] needs: they walk over `bytes` once.
pub fn kernels(lanes: u32, bytes: u64) -> [Kernel; 2] {
    [probes::read("exchange", lanes, bytes, 1), probes::write("exchange", lanes, bytes, 1)]
}

/// Passes a buffer to and fro between two threads. It should fit a core's own cache. Neither thread ever sleeps: the
/// system would let a sleeper wake up on the core that has just become free, the other one's.
///
/// Errors: E0706 if the code does not run here.
pub fn exchange([read, write]: [&Arc<CompiledKernel>; 2], bytes: u64) -> Result<Exchange, Diagnostics> {
    let write_once = |buffer: &mut AlignedBytes| write.run(&mut args(write.kernel(), std::slice::from_mut(buffer)));
    let ((to_other, other_gets), (to_us, we_get)) = (channel::<AlignedBytes>(), channel::<AlignedBytes>());
    std::thread::scope(|s| {
        let other = s.spawn(move || -> Result<(), Diagnostics> {
            while let Some(mut buffer) = spin(&other_gets) {
                write_once(&mut buffer)?;
                if to_us.send(buffer).is_err() {
                    break;
                }
            }
            Ok(())
        });
        // What a read of the buffer adds up is its second parameter.
        let [buffer, mut sums]: [AlignedBytes; 2] =
            buffers(read.kernel()).try_into().unwrap_or_else(|_| unreachable!("invariant: a read has two parameters"));
        let mut turn = Some(buffer);
        let mut times = [const { Vec::new() }; 2];
        for i in 0..2 * TURNS {
            let Some(mut buffer) = turn.take().and_then(|b| to_other.send(b).ok()).and_then(|()| spin(&we_get)) else {
                break;
            };
            let begin = Instant::now();
            match i % 2 {
                0 => {
                    let mut both = [buffer, sums];
                    read.run(&mut args(read.kernel(), &mut both))?;
                    [buffer, sums] = both;
                }
                _ => write_once(&mut buffer)?,
            }
            times[i % 2].push(begin.elapsed().as_secs_f64() * 1e9);
            turn = Some(buffer);
        }
        drop(to_other);
        other.join().unwrap_or_else(|p| std::panic::resume_unwind(p))?;
        let [read, write] = times.map(|mut ns| {
            ns.sort_by(f64::total_cmp);
            ns.get(ns.len() / 2).map_or(f64::INFINITY, |median| bytes as f64 / median)
        });
        Ok(Exchange { read, write })
    })
}

/// What comes next, or `None` if nothing will.
fn spin<T>(from: &Receiver<T>) -> Option<T> {
    loop {
        match from.try_recv() {
            Ok(next) => return Some(next),
            Err(TryRecvError::Empty) => std::hint::spin_loop(),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
}
