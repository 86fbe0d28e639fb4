//! How long a kernel call takes, estimated from its Kernel IR: computing, what it does not hide of the memory's time,
//! and what a call costs. The longest part is the roof that binds.
//!
//! | roof | is |
//! |---|---|
//! | compute | cycles of each block by the ports that its instructions need, and of entering its loops |
//! | latency | the same, where chains of dependent instructions take longer than the ports |
//! | remote | bytes of lines that another core's cache holds, read or written |
//! | L2, L3, DRAM | bytes that the call moves out of there (`traffic.rs`, `places.rs`), at the measured bandwidth |
//!
//! It is what `rescc bench` and `report` show beside measurements. Passes choose before kernels are built, by the simpler
//! numbers of templates' offers.
//!
//! Blocks are counted exactly (`nest.rs`); machine constants stand in one table (`machine.rs`). `rescc bench` prints
//! the estimate beside the measurement. Source of the method: Williams, Waterman and Patterson, "Roofline", CACM 2009.

mod machine;
mod nest;
mod places;
mod registers;
mod traffic;

pub use machine::{MACHINES, Machine, SAPPHIRE_RAPIDS, ZEN1, ZEN3};
pub use nest::{Core, Latencies, Ops};
pub use places::places;

use ir::entity::Buf;
use ir::program::{Call, Program};
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
    /// Caches of other cores.
    Remote,
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
            Roof::Remote => "remote",
            Roof::Call => "call",
        }
    }
}

/// Where the data of a parameter is when a call begins: percents of its bytes, what is left is in L2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    pub in_l3: u8,
    pub in_memory: u8,
    pub held: Held,
}

/// Which cores' caches may hold lines of a parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Held {
    /// Those that read them; nobody writes them.
    #[default]
    AsRead,
    /// Each line that of one core, any of them: the tasks of the last call have divided it among them.
    ByOne,
    /// All of them: each task of the last call has swept it.
    ByAll,
}

/// An estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Nanoseconds from the begin of the call to the begin of the next.
    pub ns: f64,
    pub roof: Roof,
    pub parts: Parts,
}

/// Nanoseconds of each roof alone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Parts {
    pub compute: f64,
    pub l2_read: f64,
    pub l2_write: f64,
    pub l3_read: f64,
    pub l3_write: f64,
    pub dram_read: f64,
    pub dram_write: f64,
    /// Of and to lines that the caches of other cores hold.
    pub remote_read: f64,
    pub remote_write: f64,
}

impl Parts {
    /// What the clock shows: computing hides most of what caches deliver, less of writes. Beside the memory's reads the
    /// shorter of the two is hidden in part; writes to memory have to fetch their lines first and are not.
    fn together(&self, m: &Machine) -> f64 {
        let e = m.exposed;
        let near = self.compute
            + e.l2_read * self.l2_read
            + e.l2_write * self.l2_write
            + e.l3_read * self.l3_read
            + e.l3_write * self.l3_write
            + e.remote_read * self.remote_read
            + self.remote_write;
        near.max(self.dram_read) + e.dram * near.min(self.dram_read) + self.dram_write
    }

    pub fn dram(&self) -> f64 {
        self.dram_read + self.dram_write
    }
}

/// How often each kind of instruction runs in all tasks of `kernel`, in vectors of `vector_bytes`.
pub fn count(kernel: &Kernel, vector_bytes: u64) -> Ops {
    Block::of(kernel, Core { vector_bytes, ..ZEN3.core }).total()
}

/// The time of `call`, one of a program that runs again and again on `threads` threads, whose arguments are where
/// [`places`] says.
pub fn predict(program: &Program, call: &Call, places: &[Place], machine: &Machine, threads: usize) -> Prediction {
    let kernel = &program.kernels[call.kernel];
    let places = kernel.params.iter().copied().zip(places.iter().copied());
    predict_kernel(kernel, &places.collect(), machine, threads)
}

/// The time of one call of `kernel` whose parameters are where `places` says (in L2 where it says nothing).
pub fn predict_kernel(kernel: &Kernel, places: &HashMap<Buf, Place>, machine: &Machine, threads: usize) -> Prediction {
    let body = Block::of(kernel, machine.core);
    let threads = threads.max(1) as f64;
    // The slowest worker has this many tasks.
    let tasks = (kernel.tasks as f64 / threads).ceil();
    let share = tasks / (kernel.tasks as f64).max(1.0);
    let cycles = cycles(&body, machine, 0.0, f64::INFINITY);
    let compute = cycles.total * share / machine.ghz;

    let into_l1 = traffic::into_cache(kernel, &body, machine.l1_bytes, tasks);
    let into_l2 = traffic::into_cache(kernel, &body, machine.l2_bytes, tasks);
    let once = traffic::distinct(kernel, &body);
    let conflicts = |bytes| traffic::conflicts(kernel, &body, bytes / machine.ways, machine.ways) * share;
    let (mut l2, mut l3, mut dram, mut remote) = ([0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2]);
    let own = traffic::touched(kernel, &body, tasks);
    // Of what is spread over the caches of all cores this share is in those of the others.
    let elsewhere = 1.0 - 1.0 / threads;
    for (buf, bytes) in &into_l1 {
        let (moved, distinct) = (into_l2.get(buf).copied().unwrap_or(0.0), once.get(buf).copied().unwrap_or(0.0));
        let again = (moved - distinct * share).max(0.0);
        let role = kernel.bufs[*buf].role;
        let place = places.get(buf).copied().unwrap_or_default();
        let is_scattered = role == Role::Out && traffic::streams(kernel, &body, *buf) > machine.streams;
        if distinct <= 2.0 * machine.l2_bytes as f64 {
            let own = own.get(buf).copied().unwrap_or(0.0);
            match (role, place.held) {
                (Role::In | Role::View, Held::ByOne) if place.in_l3 == 0 && place.in_memory == 0 => {
                    remote[0] += own * elsewhere;
                }
                // A write waits until the other cores have let go of the line.
                (Role::Out, Held::ByOne) if is_scattered => remote[1] += own * elsewhere,
                (Role::Out, Held::ByAll) if is_scattered && threads > 1.0 => remote[1] += own,
                _ => {}
            }
        }
        let written = match role {
            Role::In | Role::View => 0.0,
            Role::Out => 1.0,
            Role::InOut | Role::Scratch => 0.5,
        };
        let [in_l3, in_memory] = match role {
            Role::Scratch => [0.0; 2],
            _ => [place.in_l3, place.in_memory].map(|percent| f64::from(percent) / 100.0),
        };
        // What is fetched again has been in L2 since.
        let from_l3 = again + (moved - again) * in_l3;
        dram[0] += distinct * in_memory * (1.0 - written);
        dram[1] += distinct * in_memory * written;
        let streamed = if is_scattered { 1.0 } else { machine.exposed.streamed };
        for (sum, bytes) in [(&mut l2, *bytes), (&mut l3, from_l3)] {
            sum[0] += bytes * (1.0 - written);
            sum[1] += bytes * written * streamed;
        }
    }
    // Whatever one core's bandwidth, all of them share the memory's.
    let shared = |one: f64, all: f64| (one * threads).min(all.max(one));
    let parts = Parts {
        compute,
        l2_read: l2[0] / machine.l2,
        l2_write: (l2[1] + conflicts(machine.l1_bytes)) / machine.l2,
        l3_read: l3[0] / machine.l3,
        l3_write: (l3[1] + conflicts(machine.l2_bytes)) / machine.l3,
        dram_read: dram[0] / shared(machine.dram, machine.dram_all),
        dram_write: dram[1] / shared(machine.dram_write, machine.dram_write_all),
        remote_read: remote[0] / machine.remote_read,
        remote_write: remote[1] / machine.remote_write,
    };
    let call = if threads > 1.0 { machine.fork_join_ns } else { machine.call_ns };
    let bound = if cycles.chained > cycles.total * 0.5 { Roof::Latency } else { Roof::Compute };
    let roofs = [
        (bound, compute),
        (Roof::L2, parts.l2_read + parts.l2_write),
        (Roof::L3, parts.l3_read + parts.l3_write),
        (Roof::Dram, parts.dram()),
        (Roof::Remote, parts.remote_read + parts.remote_write),
        (Roof::Call, call),
    ];
    let longest = roofs.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let (roof, _) = longest.expect("invariant: there are several roofs");
    Prediction { ns: parts.together(machine) + call, roof, parts }
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

/// `span`: instructions from one start that depends on nothing before to the next.
fn cycles(b: &Block, m: &Machine, step: f64, span: f64) -> Cycles {
    let mut out = Cycles::default();
    let (runs, (ports, _)) = (b.runs as f64, ports(b, m, step));
    // Chains that are shorter than the window overlap with the next one.
    let overlap = (m.window / span.max(1.0)).max(1.0);
    let chain = if b.loops.is_empty() { b.chain as f64 / overlap } else { 0.0 };
    let own = runs * ports.max(chain);
    out.total += own;
    if chain > ports {
        out.chained += own;
    }
    for l in b.loops.iter().filter(|l| l.entries > 0) {
        let goes_on = l.body.continues;
        let span = if goes_on { span } else { instructions(&l.body, m) / l.entries as f64 };
        let inner = cycles(&l.body, m, STEP, span);
        let entry = if goes_on { m.nested_loop_cycles } else { m.loop_cycles };
        out.total += inner.total + l.entries as f64 * entry;
        out.chained += inner.chained;
    }
    out
}

/// Instructions of all runs of a loop's body.
fn instructions(b: &Block, m: &Machine) -> f64 {
    let (_, own) = ports(b, m, STEP);
    b.runs as f64 * own + b.loops.iter().map(|l| instructions(&l.body, m)).sum::<f64>()
}

/// Cycles by the most wanted port, and the number of instructions.
fn ports(b: &Block, m: &Machine, step: f64) -> (f64, f64) {
    let f = |n: u64| n as f64;
    let o = &b.ops;
    let float = f(o.fmas) + f(o.adds) + f(o.moves);
    let loads = f(o.loads) + f(o.broadcasts) + f(o.prefetches) + f(b.spills.loads);
    let stores = f(o.stores) + f(b.spills.stores);
    let all = float + loads + stores + step;
    let slow = f(o.divs) * m.div_cycles + f(o.exps) * m.exp_cycles;
    let ports =
        [f(o.fmas) / m.fmas, (f(o.adds) + f(o.moves)) / m.adds, loads / m.loads, stores / m.stores, all / m.dispatched];
    (ports.into_iter().fold(0.0, f64::max) + slow, all)
}
