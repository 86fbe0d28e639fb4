//! How long a kernel call takes, estimated from its Kernel IR: the largest of several roofs, and what a call costs.
//!
//! | roof | is |
//! |---|---|
//! | compute | cycles of each block by the ports that its instructions need, and of entering its loops |
//! | latency | the same, where chains of dependent instructions take longer than the ports |
//! | L2, L3, DRAM | bytes that the call moves out of there (`traffic.rs`), at the measured bandwidth |
//!
//! Blocks are counted exactly (`nest.rs`); machine constants stand in one table (`machine.rs`). `rescc bench` prints
//! the estimate beside the measurement. Source of the method: Williams, Waterman and Patterson, "Roofline", CACM 2009.

mod machine;
mod nest;
mod traffic;

pub use machine::{Machine, ZEN3};
pub use nest::{Latencies, Ops};

use ir::entity::Buf;
use ir::program::{Call, Program, Space};
use ir::{Kernel, kernel::Role};
use nest::Block;
use std::collections::HashMap;

/// What bounds a kernel's speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Roof {
    Compute,
    Latency,
    L2,
    L3,
    Dram,
    /// Starting the call and waiting for all workers.
    Call,
}

impl Roof {
    pub fn name(self) -> &'static str {
        match self {
            Roof::Compute => "compute",
            Roof::Latency => "latency",
            Roof::L2 => "L2",
            Roof::L3 => "L3",
            Roof::Dram => "DRAM",
            Roof::Call => "call",
        }
    }
}

/// Where the data of a parameter is when a call begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    L2,
    L3,
    Dram,
}

/// An estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Nanoseconds from the begin of the call to the begin of the next.
    pub ns: f64,
    pub roof: Roof,
    /// Nanoseconds of each roof alone: compute, L2, L3, DRAM.
    pub parts: [f64; 4],
}

/// How often each kind of instruction runs in all tasks of `kernel`, in vectors of `vector_bytes`.
pub fn count(kernel: &Kernel, vector_bytes: u64) -> Ops {
    Block::of(kernel, vector_bytes, ZEN3.latencies).total()
}

/// The time of `call`, one of a program that runs again and again on `threads` threads; `is_cold`: weights are in no
/// cache.
pub fn predict(program: &Program, call: &Call, machine: &Machine, threads: usize, is_cold: bool) -> Prediction {
    let kernel = &program.kernels[call.kernel];
    let weights = program.const_bytes;
    let (l2, l3) = (machine.l2_bytes, machine.l3_bytes);
    let homes = kernel.params.iter().zip(&call.args).map(|(&p, &slot)| {
        let s = &program.slots[slot];
        let home = match s.space {
            Space::Const { .. } if is_cold || weights + program.arena_bytes > l3 => Home::Dram,
            Space::Const { .. } if weights + program.arena_bytes <= l2 => Home::L2,
            Space::Const { .. } => Home::L3,
            _ if s.len_bytes() <= l2 / 2 => Home::L2,
            _ if s.len_bytes() <= l3 / 2 => Home::L3,
            _ => Home::Dram,
        };
        (p, home)
    });
    predict_kernel(kernel, &homes.collect(), machine, threads)
}

/// The time of one call of `kernel` whose parameters are where `homes` says (in L2 where it says nothing).
pub fn predict_kernel(kernel: &Kernel, homes: &HashMap<Buf, Home>, machine: &Machine, threads: usize) -> Prediction {
    let body = Block::of(kernel, machine.vector_bytes, machine.latencies);
    let threads = threads.max(1) as f64;
    // The slowest worker has this many tasks.
    let tasks = (kernel.tasks as f64 / threads).ceil();
    let share = tasks / (kernel.tasks as f64).max(1.0);
    let cycles = cycles(&body, machine, 0.0);
    let compute = cycles.total * share / machine.ghz;

    let into_l1 = traffic::into_cache(kernel, &body, machine.l1_bytes, tasks);
    let into_l2 = traffic::into_cache(kernel, &body, machine.l2_bytes, tasks);
    let once = traffic::distinct(kernel, &body);
    let (mut l2_bytes, mut l3_bytes, mut dram_bytes) = (0.0, 0.0, 0.0);
    for (buf, bytes) in &into_l1 {
        l2_bytes += bytes;
        let (moved, distinct) = (into_l2.get(buf).copied().unwrap_or(0.0), once.get(buf).copied().unwrap_or(0.0));
        let again = (moved - distinct * share).max(0.0);
        match homes.get(buf).copied().unwrap_or(Home::L2) {
            _ if kernel.bufs[*buf].role == Role::Scratch => l3_bytes += again,
            Home::L2 => l3_bytes += again,
            Home::L3 => l3_bytes += moved,
            Home::Dram => {
                dram_bytes += distinct;
                l3_bytes += again;
            }
        }
    }
    let l2 = l2_bytes / machine.l2;
    let l3 = l3_bytes / machine.l3;
    // Whatever one core's bandwidth, all of them share the memory's.
    let dram = dram_bytes / (machine.dram * threads).min(machine.dram_all.max(machine.dram));
    let call = if threads > 1.0 { machine.fork_join_ns } else { machine.call_ns };
    let parts = [compute, l2, l3, dram];
    let bound = if cycles.chained > cycles.total * 0.5 { Roof::Latency } else { Roof::Compute };
    let roofs = [(bound, compute), (Roof::L2, l2), (Roof::L3, l3), (Roof::Dram, dram), (Roof::Call, call)];
    let (roof, most) =
        roofs.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("invariant: there are several roofs");
    let ns = if roof == Roof::Call { compute.max(l2).max(l3).max(dram) } else { most } + call;
    Prediction { ns, roof, parts }
}

/// Cycles of one core for all tasks.
#[derive(Clone, Copy, Debug, Default)]
struct Cycles {
    total: f64,
    /// Those of blocks that wait for their own results.
    chained: f64,
}

/// Instructions that count an iteration and jump.
const STEP: f64 = 2.0;

fn cycles(b: &Block, m: &Machine, step: f64) -> Cycles {
    let mut out = Cycles::default();
    let (runs, ports) = (b.runs as f64, ports(&b.ops, m, step));
    let chain = if b.loops.is_empty() { b.chain as f64 } else { 0.0 };
    let own = runs * ports.max(chain);
    out.total += own;
    if chain > ports {
        out.chained += own;
    }
    for l in &b.loops {
        let inner = cycles(&l.body, m, STEP);
        out.total += inner.total + l.entries as f64 * m.loop_cycles;
        out.chained += inner.chained;
    }
    out
}

/// Cycles by the most wanted port.
fn ports(o: &Ops, m: &Machine, step: f64) -> f64 {
    let f = |n: u64| n as f64;
    let float = f(o.fmas) + f(o.adds) + f(o.moves);
    let all = float + f(o.loads) + f(o.broadcasts) + f(o.stores) + f(o.prefetches) + step;
    let slow = f(o.divs) * m.div_cycles + f(o.exps) * m.exp_cycles;
    [
        f(o.fmas) / m.fmas,
        (f(o.adds) + f(o.moves)) / m.adds,
        (f(o.loads) + f(o.broadcasts) + f(o.prefetches)) / m.loads,
        f(o.stores) / m.stores,
        all / m.dispatched,
    ]
    .into_iter()
    .fold(0.0, f64::max)
        + slow
}
