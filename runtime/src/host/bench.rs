//! Latency of one inference, with its spread.

use super::engine::Engine;
use super::{Error, json};
use crate::abi::Model;
use crate::host::descriptor::text;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    pub seconds: f64,
    /// Runs before the measurement; `None`: until a tenth of the time has passed, at least two.
    pub warmup: Option<u32>,
    /// Runs of the measurement; `None`: until the time has passed, at least five.
    pub iterations: Option<u32>,
    /// Weights are not in the caches when a run begins.
    pub cold: bool,
}

/// Times of all runs in ascending order.
#[derive(Clone, Debug)]
pub struct Times {
    /// The very first run: pages are touched, caches are cold.
    pub first_ns: u64,
    pub sorted_ns: Vec<u64>,
    /// Median of each kernel call; with several threads as the first one sees it.
    pub calls_ns: Vec<f64>,
}

impl Times {
    /// The time that the given share of the runs did not exceed, in milliseconds.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let last = self.sorted_ns.len() - 1;
        let at = (share * last as f64 + 0.5) as usize;
        self.sorted_ns[at.min(last)] as f64 / 1e6
    }
}

/// Measures inferences on a fixed input.
pub fn measure(engine: &mut Engine, sampling: Sampling, now_ns: &dyn Fn() -> u64) -> Result<Times, Error> {
    let x = synthetic_input(engine.batch() * engine.image_elements());
    let mut y = alloc::vec![0.0; engine.batch() * engine.classes()];
    let n_calls = engine.model().code.n_calls as usize;
    let mut ticks = alloc::vec![0; n_calls];
    let mut calls: Vec<Vec<f64>> = alloc::vec![Vec::new(); n_calls];
    let mut once = || {
        if sampling.cold {
            evict(weights(engine.model()));
        }
        ticks.fill(0);
        let start = now_ns();
        engine.run_traced(&x, &mut y, &mut ticks)?;
        let ns = now_ns() - start;
        // Ticks of an unknown rate add up to the whole run.
        let scale = ns as f64 / ticks.iter().sum::<u64>().max(1) as f64;
        for (times, &ticks) in calls.iter_mut().zip(&ticks) {
            times.push(ticks as f64 * scale);
        }
        Ok(ns)
    };
    let first_ns = once()?;
    let warmup = repeat(&mut once, sampling.warmup, 2, sampling.seconds / 10.0, now_ns)?;
    let mut sorted_ns = repeat(&mut once, sampling.iterations, 5, sampling.seconds, now_ns)?;
    sorted_ns.sort_unstable();
    let calls_ns = calls.into_iter().map(|times| median(times, warmup.len() + 1)).collect();
    Ok(Times { first_ns, sorted_ns, calls_ns })
}

/// Median without the first `skip`.
fn median(mut times: Vec<f64>, skip: usize) -> f64 {
    times.drain(..skip);
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

fn weights(model: &Model) -> &[u8] {
    if model.code.weights.is_null() {
        return &[];
    }
    // SAFETY: a descriptor's weights have that many bytes and live as long as the program.
    unsafe { core::slice::from_raw_parts(model.code.weights, model.weights_bytes as usize) }
}

/// Removes memory from all caches.
fn evict(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(64) {
        // SAFETY: part of x86-64; the address is readable.
        unsafe { core::arch::x86_64::_mm_clflush(line.as_ptr()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

fn repeat(
    once: &mut dyn FnMut() -> Result<u64, Error>,
    count: Option<u32>,
    least: usize,
    seconds: f64,
    now_ns: &dyn Fn() -> u64,
) -> Result<Vec<u64>, Error> {
    let mut times = Vec::new();
    let start = now_ns();
    loop {
        let enough = match count {
            Some(n) => times.len() >= n as usize,
            None => times.len() >= least && (now_ns() - start) as f64 >= seconds * 1e9,
        };
        if enough {
            return Ok(times);
        }
        times.push(once()?);
    }
}

/// Values in −2..2 that depend on nothing but their place.
pub fn synthetic_input(elements: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    (0..elements)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 22) as f32 - 2.0
        })
        .collect()
}

/// One JSON object.
pub fn to_json(engine: &Engine, threads: u32, times: &Times) -> String {
    let model = engine.model();
    let ms = |share| json::number(times.percentile_ms(share));
    json::Object::new()
        .string("schema", "rescc.bench/1")
        .string("name", text(model.name))
        .string("isa", text(model.code.target))
        .string("dtype", "f32")
        .raw("batch", engine.batch())
        .raw("threads", threads)
        .raw("iterations", times.sorted_ns.len())
        .raw("median_ms", ms(0.5))
        .raw("min_ms", ms(0.0))
        .raw("p90_ms", ms(0.9))
        .raw("p99_ms", ms(0.99))
        .raw("max_ms", ms(1.0))
        .raw("first_ms", json::number(times.first_ns as f64 / 1e6))
        .raw("gflops", json::number(gflops(engine, times)))
        .raw("images_per_s", json::number(images_per_s(engine, times)))
        .raw("calls_us", json::array(times.calls_ns.iter().map(|ns| json::number(ns / 1e3))))
        .end()
}

/// A few lines for people.
pub fn to_text(engine: &Engine, threads: u32, times: &Times) -> String {
    let model = engine.model();
    let ms = |share| times.percentile_ms(share);
    format!(
        "{} on {}, batch {}, {threads} thread{}, {} runs\n\
         median {:.3} ms   min {:.3}   p90 {:.3}   p99 {:.3}   first {:.3}\n\
         {:.1} images/s   {:.1} GFLOP/s\n",
        text(model.name),
        text(model.code.target),
        engine.batch(),
        if threads == 1 { "" } else { "s" },
        times.sorted_ns.len(),
        ms(0.5),
        ms(0.0),
        ms(0.9),
        ms(0.99),
        times.first_ns as f64 / 1e6,
        images_per_s(engine, times),
        gflops(engine, times),
    )
}

fn images_per_s(engine: &Engine, times: &Times) -> f64 {
    engine.batch() as f64 * 1e3 / times.percentile_ms(0.5)
}

/// Two operations a multiply-add of the network as it is written, whatever the kernels do.
fn gflops(engine: &Engine, times: &Times) -> f64 {
    let model = engine.model();
    2.0 * model.macs as f64 * engine.batch() as f64 / (times.percentile_ms(0.5) * 1e6)
}
