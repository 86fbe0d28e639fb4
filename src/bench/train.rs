//! A training step measures itself: compiled and run in this process as `rescc train` does it, on random pictures.

use super::measure::{Sampling, Times};
use super::{Settings, Subject};
use crate::render::Failure;
use crate::train::settings::{Kind, Recipe};
use crate::train::step::{Codes, Step};
use ir::Diagnostic;
use std::time::Instant;

/// Runs before a measurement where the sampling does not say, and the fewest runs of one.
const LEAST_RUNS: u32 = 3;

/// Compiles the step of the paper's recipe.
///
/// Errors: E0406 and E0407 for a network that cannot be trained; those of the passes and the back end.
pub fn build(subject: &Subject, s: &Settings) -> Result<Codes, Failure> {
    let recipe = Recipe::find("he2015", Kind::Cifar).expect("invariant: the paper's recipe is there");
    let settings = recipe.settings(s.batch, 0, Some(s.batch), None);
    Codes::new(&subject.graph, &subject.store, &settings, s.target, s.backend, s.passes)
}

/// Times whole steps and each of their calls on `sampling.threads` threads.
///
/// Errors: E0801 if there are no such threads; E0908 if a weight is missing.
pub fn measure(codes: &Codes, subject: &Subject, sampling: Sampling) -> Result<Times, Failure> {
    let no_threads = |e: rayon::ThreadPoolBuildError| Diagnostic::error("E0801", format!("cannot start a thread: {e}"));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(sampling.threads).build().map_err(no_threads)?;
    let mut step = Step::new(codes, &mut |name, shape| {
        subject.store.get(name).filter(|t| t.shape == shape).map(|t| t.bytes.into_owned())
    })?;
    pool.install(|| repeat(&mut step, codes, sampling))
}

fn repeat(step: &mut Step, codes: &Codes, sampling: Sampling) -> Result<Times, Failure> {
    let program = codes.step.program();
    let (elements, batch) = (step.image_elements(), program.batch);
    let x = runtime::host::bench::synthetic_input(elements * batch as usize);
    let labels: Vec<i32> = (0..batch as i32).map(|i| i % codes.classes() as i32).collect();
    let mut calls: Vec<Vec<f64>> = vec![Vec::new(); program.calls.len()];
    let mut runs = Vec::new();
    let mut begun = Instant::now();
    let warmup = sampling.warmup.unwrap_or(LEAST_RUNS);
    for i in 0.. {
        if i == warmup {
            begun = Instant::now();
        }
        let done = match sampling.iterations {
            Some(n) => i >= warmup.saturating_add(n),
            None => i >= warmup.saturating_add(LEAST_RUNS) && begun.elapsed().as_secs_f64() >= sampling.seconds,
        };
        if done {
            break;
        }
        let started = Instant::now();
        let us = step.run_timed(&x, &labels, 1e-3);
        step.accept()?;
        if i >= warmup {
            runs.push(started.elapsed().as_secs_f64() * 1e6);
            calls.iter_mut().zip(us).for_each(|(times, us)| times.push(us));
        }
    }
    runs.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| runs[(share * (runs.len() - 1) as f64 + 0.5) as usize];
    Ok(Times {
        name: codes.graph().name.clone(),
        target: codes.step.target().name.into(),
        batch,
        threads: sampling.threads as u64,
        n: runs.len() as u64,
        min_us: at(0.0),
        median_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        max_us: at(1.0),
        gflops: 2.0 * codes.macs() as f64 / (at(0.5) * 1e3),
        calls_us: calls.into_iter().map(median).collect(),
    })
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}
