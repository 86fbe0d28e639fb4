//! Runs the probes.

use super::{Exchange, Level, Measured, Rate, cpu, exchange, probes};
use crate::toolchain::BackendName;
use backends::exec::{self, CompiledKernel};
use ir::target::Target;
use ir::{Diagnostics, Kernel};
use std::sync::{Arc, Barrier};
use std::time::Instant;

/// How long to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Well under a second: reads and multiply-adds, for `bench` without saved rates.
    Quick,
    /// A few seconds.
    Full,
}

/// Runs of one probe at a time; the fastest counts, because others share the machine.
const RUNS: usize = 4;
/// Rounds over all probes: threads that begin on one core are not moved apart for some hundredths of a second.
const QUICK_ROUNDS: usize = 3;
const FULL_ROUNDS: usize = 12;
/// Rounds of a probe of multiply-adds, which take it about a millisecond.
const FMA_ROUNDS: i64 = 300_000;
/// About as long as one run takes, so that a timer's resolution and the start do not matter.
const RUN_NS: f64 = 2e6;
/// Bandwidth that sizes of the runs are chosen for, bytes a nanosecond.
const EXPECTED_BANDWIDTH: f64 = 50.0;

/// Measures this machine on one thread and on `threads`.
///
/// Errors: those of the back end; E0706 if `target` does not run here.
pub fn measure(target: &Target, backend: BackendName, threads: usize, effort: Effort) -> Result<Measured, Diagnostics> {
    let target = backend.legal(*target);
    let lanes = target.lanes;
    let levels = levels(lanes, threads);
    let fma = probes::fma(lanes, FMA_ROUNDS);
    let mut kernels = vec![fma.kernel.clone()];
    for l in &levels {
        let rounds = ((RUN_NS * EXPECTED_BANDWIDTH / l.bytes as f64) as i64).max(1);
        kernels.push(probes::read(l.name, lanes, l.bytes, rounds));
        if effort == Effort::Full {
            kernels.push(probes::write(l.name, lanes, l.bytes, rounds));
        }
    }
    let exchanged = exchanged(lanes, threads);
    kernels.extend(exchange::kernels(lanes, exchanged));
    let compiled = exec::load(&*backend.get()?, &kernels, &target)?;
    let rounds = if effort == Effort::Full { FULL_ROUNDS } else { QUICK_ROUNDS };
    let (probes, [reads, writes]) = compiled.split_last_chunk::<2>().expect("invariant: they are the last two");
    let mut times = vec![[f64::INFINITY; 2]; probes.len()];
    for _ in 0..rounds {
        for (kernel, times) in probes.iter().zip(&mut times) {
            for (time, threads) in times.iter_mut().zip([1, threads]) {
                *time = time.min(fastest(kernel, threads, RUNS)?);
            }
        }
    }
    let rate = |name: &str, work: &dyn Fn(&Kernel) -> f64| -> Rate {
        let at = probes.iter().position(|k| k.kernel().name == name).expect("invariant: every probe is compiled");
        let (work, [one, all]) = (work(probes[at].kernel()), times[at]);
        Rate { one: work / one, all: work * threads as f64 / all }
    };
    let mut read = Vec::new();
    let mut write = Vec::new();
    let fma_gflops = rate("probe_fma", &|_| fma.macs * 2.0);
    for l in &levels {
        let level = |gb_per_s| Level { name: l.name.into(), bytes: l.bytes, gb_per_s };
        let moved = |k: &Kernel| {
            let ops = passes::cost::count(k, u64::from(lanes) * 4);
            (ops.loads.max(ops.stores) * u64::from(lanes) * 4) as f64
        };
        read.push(level(rate(&format!("probe_read_{}", l.name), &moved)));
        if effort == Effort::Full {
            write.push(level(rate(&format!("probe_write_{}", l.name), &moved)));
        }
    }
    let exchange = if threads > 1 { Some(exchange::exchange([reads, writes], exchanged)?) } else { None };
    Ok(Measured {
        cpu: cpu::name(),
        microarchitecture: cpu::microarchitecture(),
        target: target.name.into(),
        backend: backend.get()?.name().into(),
        threads,
        fma_gflops,
        read,
        write,
        exchange,
        call_ns: None,
    })
}

/// What others who share the machine change from one minute to the next.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Peak of multiply-adds of all threads together, 10⁹ operations a second.
    pub fma_gflops: f64,
    /// With several threads: systems move virtual cores about, near to each other and away.
    pub exchange: Option<Exchange>,
}

impl Now {
    /// Between two measurements.
    pub fn mean(self, o: Now) -> Now {
        let mean = |a: f64, b: f64| (a + b) / 2.0;
        let rates = self.exchange.zip(o.exchange);
        let exchange = rates.map(|(a, b)| Exchange { read: mean(a.read, b.read), write: mean(a.write, b.write) });
        Now { fma_gflops: mean(self.fma_gflops, o.fma_gflops), exchange }
    }
}

/// Measures that on `threads` threads, in some hundredths of a second.
///
/// Errors: as [`measure`].
pub fn now(target: &Target, backend: BackendName, threads: usize) -> Result<Now, Diagnostics> {
    let fma = probes::fma(target.lanes, FMA_ROUNDS);
    let exchanged = exchanged(target.lanes, threads);
    let [read, write] = exchange::kernels(target.lanes, exchanged);
    let compiled = exec::load(&*backend.get()?, &[fma.kernel, read, write], target)?;
    Ok(Now {
        fma_gflops: 2.0 * fma.macs * threads as f64 / fastest(&compiled[0], threads, RUNS)?,
        exchange: if threads > 1 { Some(exchange::exchange([&compiled[1], &compiled[2]], exchanged)?) } else { None },
    })
}

/// Bytes that cores exchange: a quarter of a core's cache, so that what was written stays there.
fn exchanged(lanes: u32, threads: usize) -> u64 {
    levels(lanes, threads)[1].bytes / 2
}

struct Size {
    name: &'static str,
    bytes: u64,
}

/// Sizes that are in one level for sure: half of the caches of a core, a quarter of what is shared, twice all caches.
fn levels(lanes: u32, threads: usize) -> Vec<Size> {
    let c = cpu::caches();
    let unit = probes::unit(lanes);
    let whole = |bytes: u64| (bytes / unit).max(1) * unit;
    let threads = threads.max(1) as u64;
    let l3 = (c.l3_bytes / 4 / threads).max(c.l2_bytes * 2);
    vec![
        Size { name: "L1", bytes: whole(c.l1_bytes / 2) },
        Size { name: "L2", bytes: whole(c.l2_bytes / 2) },
        Size { name: "L3", bytes: whole(l3) },
        Size { name: "DRAM", bytes: whole((c.l3_bytes * 2).clamp(32 << 20, 256 << 20)) },
    ]
}

/// Nanoseconds of the fastest of `runs` runs while `threads` threads do the same, each on memory of its own.
fn fastest(kernel: &Arc<CompiledKernel>, threads: usize, runs: usize) -> Result<f64, Diagnostics> {
    let barrier = Barrier::new(threads);
    let one = || -> Result<f64, Diagnostics> {
        let mut memory = probes::buffers(kernel.kernel());
        // The slowest of the threads in each run would be exact; the machine's owner interrupts them too often for that.
        let mut times = Vec::with_capacity(runs);
        for _ in 0..=runs {
            barrier.wait();
            let begin = Instant::now();
            kernel.run(&mut probes::args(kernel.kernel(), &mut memory))?;
            times.push(begin.elapsed().as_secs_f64() * 1e9);
        }
        Ok(times.into_iter().skip(1).fold(f64::INFINITY, f64::min))
    };
    std::thread::scope(|s| {
        let others: Vec<_> = (1..threads).map(|_| s.spawn(one)).collect();
        let mut sum = one()?;
        for o in others {
            sum += o.join().unwrap_or_else(|p| std::panic::resume_unwind(p))?;
        }
        Ok(sum / threads as f64)
    })
}
