//! Candidates for every convolution at once, measured where they will run.
//!
//! A model is compiled with one candidate for each different convolution, and its executable says what each call
//! takes: with the weights as cold and the activations as warm as they will be. So one run measures a candidate of
//! every convolution, and what is measured is what ships. The search goes choice by choice (algorithm and register
//! tile, rows, channels, panels), each with the best of those before. At the end the best ones run against the usual
//! ones in turns; what is not clearly better stays as usual.

use super::file::Entry;
use crate::bench::{self, Built, Sampling, Settings, Subject, Times};
use crate::render::Failure;
use backends::object;
use ir::Graph;
use ir::schedule::Schedule;
use passes::pipeline::PassOptions;
use passes::plan::{Plan, signature};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// A tuned convolution must be this much faster than as usual: less is noise.
const CLEARLY: f64 = 0.98;
/// Turns of the last comparison.
const TURNS: usize = 5;
/// More than any number of rows, panels or channel blocks.
const ALL: u64 = 1 << 20;

pub struct Search<'a> {
    pub subject: &'a Subject,
    pub settings: Settings<'a>,
    /// How long each candidate runs.
    pub timing: Sampling,
    pub folder: &'a Path,
    pub deadline: Instant,
    /// Called after each candidate with how many were measured and how many there will be.
    pub progress: &'a dyn Fn(usize, usize),
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub entries: Vec<Entry>,
    /// Milliseconds of the model with the usual and with the tuned choices.
    pub usual_ms: f64,
    pub tuned_ms: f64,
    /// Candidates that were measured, and all that there are.
    pub measured: usize,
    pub candidates: usize,
}

/// Convolutions that compute the same, with what was found for them.
struct Site {
    what: String,
    /// Values that they compute.
    nodes: Vec<String>,
    /// A 3×3 filter, for Winograd's method.
    is_square: bool,
    best: Schedule,
    best_us: f64,
}

impl Search<'_> {
    /// Errors: those of compiling the model as usual and of measuring it. A candidate that fails is left out.
    pub fn run(&self) -> Result<Outcome, Failure> {
        let (usual, graph) = self.usual()?;
        let mut sites = sites(&graph, usual.program.batch);
        let times = bench::measure(&usual.exe, self.timing)?;
        for s in &mut sites {
            s.best_us = s.us(&usual, &times);
        }
        let steps = steps(&self.settings.target);
        let candidates = steps.iter().map(Vec::len).sum();
        let mut measured = 0;
        for step in &steps {
            let before: Vec<Schedule> = sites.iter().map(|s| s.best).collect();
            for candidate in step {
                if Instant::now() >= self.deadline {
                    break;
                }
                let schedules: Vec<Schedule> =
                    sites.iter().zip(&before).map(|(s, &base)| s.with(base, *candidate)).collect();
                self.try_out(&mut sites, &schedules);
                measured += 1;
                (self.progress)(measured, candidates);
            }
        }
        let (entries, [usual_ms, tuned_ms]) = self.decide(&usual, &sites)?;
        Ok(Outcome { entries, usual_ms, tuned_ms, measured, candidates })
    }

    /// The model as it is compiled without a plan, and the graph that a plan is applied to.
    fn usual(&self) -> Result<(Built, Graph), Failure> {
        let seen = RefCell::new(None);
        let after = |pass: &'static str, g: &Graph| {
            if pass == "apply-plan" {
                *seen.borrow_mut() = Some(g.clone());
            }
        };
        let passes = PassOptions { after: Some(&after), plan: None, ..self.settings.passes };
        let built = bench::build(self.subject, &Settings { passes, ..self.settings }, &self.folder.join("usual"))?;
        Ok((built, seen.into_inner().unwrap_or_else(|| self.subject.graph.clone())))
    }

    fn build(&self, plan: &Plan, name: &str) -> Result<Built, Failure> {
        let passes = PassOptions { plan: Some(plan), ..self.settings.passes };
        bench::build(self.subject, &Settings { passes, ..self.settings }, &self.folder.join(name))
    }

    /// Measures one schedule for each site and keeps those that are better.
    fn try_out(&self, sites: &mut [Site], schedules: &[Schedule]) {
        let plan = Plan(sites.iter().zip(schedules).map(|(s, &c)| (s.what.clone(), c)).collect());
        let Ok(built) = self.build(&plan, "candidate") else { return };
        let Ok(times) = bench::measure(&built.exe, self.timing) else { return };
        for (s, &schedule) in sites.iter_mut().zip(schedules) {
            let us = s.us(&built, &times);
            if us < s.best_us {
                (s.best, s.best_us) = (schedule, us);
            }
        }
    }

    /// Runs usual and best choices in turns, drops what is not clearly better, and again until all of it is; drops
    /// everything if the whole is not better.
    fn decide(&self, usual: &Built, sites: &[Site]) -> Result<(Vec<Entry>, [f64; 2]), Failure> {
        let mut kept: Vec<&Site> = sites.iter().filter(|s| s.best != Schedule::default()).collect();
        loop {
            let plan = Plan(kept.iter().map(|s| (s.what.clone(), s.best)).collect());
            let tuned = self.build(&plan, "tuned")?;
            let (us, ms) = self.turns([usual, &tuned], sites)?;
            let count = kept.len();
            kept.retain(|s| us[1][&s.what] < us[0][&s.what] * CLEARLY);
            if kept.len() < count {
                continue;
            }
            if ms[1] >= ms[0] {
                return Ok((Vec::new(), [ms[0]; 2]));
            }
            let entry = |s: &&Site| Entry::new(s.what.clone(), s.best, us[0][&s.what], us[1][&s.what]);
            return Ok((kept.iter().map(entry).collect(), ms));
        }
    }

    /// Least time of each site in microseconds, and of the whole in milliseconds, of two executables in turns.
    fn turns(&self, of: [&Built; 2], sites: &[Site]) -> Result<([BTreeMap<String, f64>; 2], [f64; 2]), Failure> {
        let mut us = [BTreeMap::new(), BTreeMap::new()];
        let mut ms = [f64::INFINITY; 2];
        for _ in 0..TURNS {
            for (i, built) in of.iter().enumerate() {
                let times = bench::measure(&built.exe, self.timing)?;
                ms[i] = ms[i].min(times.median_us / 1e3);
                for s in sites {
                    let least = us[i].entry(s.what.clone()).or_insert(f64::INFINITY);
                    *least = s.us(built, &times).min(*least);
                }
            }
        }
        Ok((us, ms))
    }
}

/// The choices in the order in which they are made. A candidate changes those fields of the best so far that it
/// names.
fn steps(target: &ir::target::Target) -> Vec<Vec<Schedule>> {
    let d = Schedule::default();
    let mut panels: Vec<u64> = target.tiles.iter().map(|t| t.blocks.into()).collect();
    panels.sort_unstable();
    panels.dedup();
    let tiles =
        [1, 2, 4].into_iter().flat_map(|winograd| panels.iter().map(move |&panel| Schedule { winograd, panel, ..d }));
    vec![
        tiles.collect(),
        [1, 2, 4, 8, ALL].map(|rows| Schedule { rows, ..d }).to_vec(),
        [2, 8, 32, ALL].map(|channels| Schedule { channels, ..d }).to_vec(),
        [1, 2, 4, 16].map(|panels| Schedule { panels, ..d }).to_vec(),
    ]
}

fn sites(g: &Graph, batch: u64) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    for &n in &g.order {
        let Some(what) = signature(g, n, batch) else { continue };
        let node = g.name(g.result(n)).to_string();
        match sites.iter_mut().find(|s| s.what == what) {
            Some(s) => s.nodes.push(node),
            None => {
                let is_square = g.ty(g.operand(n, 1)).dims(1)[2..] == [3, 3];
                let (best, best_us) = (Schedule::default(), f64::INFINITY);
                sites.push(Site { what, nodes: vec![node], is_square, best, best_us });
            }
        }
    }
    sites
}

impl Site {
    /// `base` with the fields that `candidate` names.
    fn with(&self, base: Schedule, candidate: Schedule) -> Schedule {
        let or = |new: u64, old: u64| if new > 0 { new } else { old };
        Schedule {
            winograd: if self.is_square { or(candidate.winograd, base.winograd) } else { 0 },
            panel: or(candidate.panel, base.panel),
            rows: or(candidate.rows, base.rows),
            panels: or(candidate.panels, base.panels),
            channels: or(candidate.channels, base.channels),
        }
    }

    /// Microseconds of its calls, with Winograd's transform of the input, and of calls that run beside them: a worker that
    /// finds no task left goes on to the next call until a barrier, so that a call alone has no time.
    fn us(&self, built: &Built, times: &Times) -> f64 {
        let is_ours = |node: &str| self.nodes.iter().any(|n| n == node.strip_suffix(".tiles").unwrap_or(node));
        let calls: Vec<(bool, bool, f64)> = object::calls(&built.program)
            .iter()
            .zip(&built.program.calls)
            .zip(&times.calls_us)
            .map(|((placed, call), &us)| (placed.barrier, is_ours(&call.node), us))
            .collect();
        let between_barriers = calls.chunk_by(|_, (is_after_barrier, ..)| !is_after_barrier);
        between_barriers.filter(|c| c.iter().any(|&(_, ours, _)| ours)).flatten().map(|(.., us)| us).sum()
    }
}
