//! Latency of one inference, with its spread.

use super::engine::Engine;
use super::{Error, json};
use crate::host::report::text;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    pub seconds: f64,
    /// Runs before the measurement; `None`: until a tenth of the time has passed, at least two.
    pub warmup: Option<u32>,
    /// Runs of the measurement; `None`: until the time has passed, at least five.
    pub iterations: Option<u32>,
}

/// Times of all runs in ascending order.
#[derive(Clone, Debug)]
pub struct Times {
    /// The very first run: pages are touched, caches are cold.
    pub first_ns: u64,
    pub sorted_ns: Vec<u64>,
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
pub fn measure(engine: &mut Engine, plan: Plan, now_ns: &dyn Fn() -> u64) -> Result<Times, Error> {
    let x = synthetic_input(engine.batch() * engine.image_elements());
    let mut y = alloc::vec![0.0; engine.batch() * engine.classes()];
    let mut once = || {
        let start = now_ns();
        engine.run(&x, &mut y).map(|()| now_ns() - start)
    };
    let first_ns = once()?;
    repeat(&mut once, plan.warmup, 2, plan.seconds / 10.0, now_ns)?;
    let mut sorted_ns = repeat(&mut once, plan.iterations, 5, plan.seconds, now_ns)?;
    sorted_ns.sort_unstable();
    Ok(Times { first_ns, sorted_ns })
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
        .string("isa", text(model.target))
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
        text(model.target),
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

/// Two operations a multiply-add of the network as it is written, whatever the kernels do. `macs` is for the model's
/// own batch.
fn gflops(engine: &Engine, times: &Times) -> f64 {
    let model = engine.model();
    let groups = engine.batch() as f64 / f64::from(model.batch);
    2.0 * model.macs as f64 * groups / (times.percentile_ms(0.5) * 1e6)
}
