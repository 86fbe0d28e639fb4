//! This machine's peaks: measured by kernels of our own, kept in the user's cache folder for `rescc bench`.

pub mod cpu;
mod exchange;
mod fork_join;
mod measure;
mod probes;
mod tiles;

pub use exchange::Exchange;
pub use fork_join::fork_join;
pub use measure::{Effort, Now, measure, now};
pub use tiles::{TileSpeed, tiles};

use crate::output::{self, Mode};
use crate::render::Failure;
use crate::toolchain::BackendName;
use ir::Diagnostics;
use ir::target::Target;
use passes::cost;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What was measured on a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The processor's name: rates belong to it.
    pub cpu: String,
    /// The estimate's table for it.
    #[serde(default = "cpu::microarchitecture")]
    pub microarchitecture: String,
    pub target: String,
    pub backend: String,
    pub threads: usize,
    /// Multiply-adds in registers, 10⁹ operations a second, two each.
    pub fma_gflops: Rate,
    /// Read bandwidth, nearest level first.
    pub read: Vec<Level>,
    /// Write bandwidth; empty after a quick measurement.
    pub write: Vec<Level>,
    /// With several threads.
    #[serde(default)]
    pub exchange: Option<Exchange>,
    /// Nanoseconds between two calls, on one thread and on all; not after a quick measurement.
    pub call_ns: Option<Rate>,
}

/// A rate on one thread, and on all together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    pub one: f64,
    pub all: f64,
}

/// A cache or the memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    pub name: String,
    /// Bytes that one thread walked over.
    pub bytes: u64,
    /// 10⁹ bytes a second.
    pub gb_per_s: Rate,
}

impl Measured {
    /// The estimate's machine with these rates.
    pub fn model(&self, target: &Target) -> cost::Machine {
        let caches = cpu::caches();
        let base = cost::Machine {
            l1_bytes: caches.l1_bytes,
            l2_bytes: caches.l2_bytes,
            l3_bytes: caches.l3_bytes,
            ..cost::Machine::named(&self.microarchitecture)
                .running(u64::from(target.lanes) * 4, target.registers.into())
        };
        let rate = |levels: &[Level], name: &str| levels.iter().find(|l| l.name == name).map(|l| l.gb_per_s);
        let read = |name: &str| rate(&self.read, name);
        let one = |name: &str, usual: f64| read(name).map_or(usual, |r| r.one);
        let dram = read("DRAM").unwrap_or(Rate { one: base.dram, all: base.dram_all });
        // A line that is written comes in first.
        let halves = Rate { one: dram.one / 2.0, all: dram.all / 2.0 };
        let dram_write = rate(&self.write, "DRAM").unwrap_or(halves);
        let calls = self.call_ns.unwrap_or(Rate { one: base.call_ns, all: base.fork_join_ns });
        cost::Machine {
            l2: one("L2", base.l2),
            l3: one("L3", base.l3),
            dram: dram.one,
            dram_all: dram.all,
            dram_write: dram_write.one,
            dram_write_all: dram_write.all,
            remote_read: self.exchange.map_or(base.remote_read, |e| e.read),
            remote_write: self.exchange.map_or(base.remote_write, |e| e.write),
            call_ns: calls.one,
            fork_join_ns: calls.all,
            ..base.clocked(self.fma_gflops.one)
        }
    }

    /// The same machine at the clock at which `threads` threads reach the peak of `now`: its caches follow, memory does
    /// not.
    pub fn at(&self, threads: usize, now: Now) -> Measured {
        let usual = self.peak_gflops(threads);
        let share = if now.fma_gflops > 0.0 && usual > 0.0 { now.fma_gflops / usual } else { 1.0 };
        let scaled = |r: Rate| Rate { one: r.one * share, all: r.all * share };
        let follows = |l: &Level| if l.name == "DRAM" { l.gb_per_s } else { scaled(l.gb_per_s) };
        let read = self.read.iter().map(|l| Level { gb_per_s: follows(l), ..l.clone() }).collect();
        let exchange = now.exchange.or(self.exchange);
        Measured { fma_gflops: scaled(self.fma_gflops), read, exchange, ..self.clone() }
    }

    /// Peak of `threads` threads.
    pub fn peak_gflops(&self, threads: usize) -> f64 {
        match threads {
            0 | 1 => self.fma_gflops.one,
            t if t >= self.threads => self.fma_gflops.all,
            t => self.fma_gflops.one * t as f64,
        }
    }
}

/// Where the rates of this processor are kept, or `None` where no cache folder is known.
pub fn path(target: &Target) -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    let name: String = cpu::name().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    Some(cache.join("rescc").join(format!("machine-{}-{}.json", name.to_lowercase(), target.name)))
}

/// What `save` kept for this processor, target and at least that many threads.
pub fn load(target: &Target, threads: usize) -> Option<Measured> {
    let text = std::fs::read_to_string(path(target)?).ok()?;
    let kept: Measured = serde_json::from_str(&text).ok()?;
    (kept.cpu == cpu::name() && kept.target == target.name && kept.threads >= threads).then_some(kept)
}

/// Peak of multiply-adds of `threads` threads, 10⁹ operations a second: saved, or measured at once.
///
/// Errors: as [`measure()`].
pub fn peak_gflops(target: &Target, backend: BackendName, threads: usize) -> Result<f64, Diagnostics> {
    let target = backend.legal(*target);
    match load(&target, threads) {
        Some(saved) => Ok(saved.peak_gflops(threads)),
        None => Ok(now(&target, backend, threads)?.fma_gflops),
    }
}

/// Keeps the rates for later.
///
/// Errors: E0803 if there is no cache folder or it cannot be written.
pub fn save(m: &Measured, target: &Target) -> Result<PathBuf, Failure> {
    let path = path(target).ok_or_else(|| {
        let d =
            ir::Diagnostic::error("E0803", "there is no folder to save the rates in").class(ir::diag::Class::Output);
        d.help("set XDG_CACHE_HOME or HOME")
    })?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| {
            let text = format!("cannot make the folder '{}': {}", folder.display(), output::reason(&e));
            ir::Diagnostic::error("E0803", text).class(ir::diag::Class::Output).help("set XDG_CACHE_HOME")
        })?;
    }
    let text = serde_json::to_string_pretty(m).unwrap_or_default() + "\n";
    output::write(&path, Mode::Data, text.as_bytes())?;
    Ok(path)
}
