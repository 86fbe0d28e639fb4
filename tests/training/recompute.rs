//! Recomputation: not a bit of the step changes, the arena is smaller, and a limit is met or refused.

use super::networks::{inputs, networks};
use super::value::{Compiler, weights};
use crate::test;
use ir::Graph;
use ir::store::MemoryStore;
use ir::target::X86_64_V3;
use libtest_mimic::Trial;
use passes::autodiff::{TrainOptions, gradient_step, training_step};
use passes::graph::MemoryGoal;
use passes::pipeline::{self, Compiled, Options, PassOptions};
use rescc::builders::{self, Spec};
use std::sync::Arc;

const BATCH: u64 = 8;

pub fn tests() -> Vec<Trial> {
    let mut trials: Vec<Trial> = networks()
        .into_iter()
        .map(|(name, spec)| test(&format!("training::recompute::{name}"), move || same_bits(name, &spec)))
        .collect();
    trials.push(test("training::recompute::limits", limits));
    trials.push(test("training::recompute::a_deep_network_needs_the_root_of_its_depth", depth));
    trials
}

fn compile(g: &Graph, goal: Option<MemoryGoal>) -> Result<Compiled, ir::Diagnostics> {
    let passes = PassOptions { recompute: goal, ..PassOptions::default() };
    let options = Options { passes, ..Options::new(X86_64_V3, BATCH) };
    let compiler = Compiler::new();
    pipeline::compile(g.clone(), Arc::new(MemoryStore::default()), &options, compiler.evaluator())
}

/// The bits of every output.
fn run(compiled: &Compiled, x: &[Vec<f64>]) -> Vec<Vec<u64>> {
    let bytes = weights(compiled);
    let outputs = Compiler::new().load(compiled, &bytes).run(x);
    outputs.into_iter().map(|y| y.into_iter().map(f64::to_bits).collect()).collect()
}

fn same_bits(name: &str, spec: &Spec) {
    let (network, train) = (builders::build(spec).expect("a network"), TrainOptions::default());
    for step in [training_step, gradient_step] {
        let g = step(&network, &train).unwrap_or_else(|d| panic!("{name}: {d}"));
        let x = inputs(&network, &train, BATCH);
        let plain = compile(&g, None).unwrap_or_else(|d| panic!("{name}: {d}"));
        let least = compile(&g, Some(MemoryGoal::Least)).unwrap_or_else(|d| panic!("{name}: {d}"));
        let [all, some] = [&plain, &least].map(|c| c.program.arena_bytes);
        assert!(some < all * 3 / 4, "{name}: an arena of {some} bytes where {all} keep everything");
        let done = least.log.recomputed.expect("something is computed again");
        assert!(done.peak_bytes[1] < done.peak_bytes[0] * 3 / 4, "{name}: {done:?}");
        assert!(done.macs[1] < done.macs[0] / 2, "{name}: {done:?}");
        let want = run(&plain, &x);
        assert!(want == run(&least, &x), "{name}: the bits differ");
        // Half of the way there.
        let limit = all.midpoint(some);
        let half = compile(&g, Some(MemoryGoal::Within(limit))).unwrap_or_else(|d| panic!("{name}: {d}"));
        assert!(half.program.arena_bytes <= limit, "{name}: {} bytes, {limit} allowed", half.program.arena_bytes);
        let again = half.log.recomputed.expect("something is computed again").macs[1];
        assert!(again <= done.macs[1], "{name}: {again} multiply-adds again for half the way, {:?} for all", done.macs);
        assert!(want == run(&half, &x), "{name}: the bits differ");
    }
}

fn deep(layers: &str) -> Graph {
    let spec = Spec::named(layers, None).expect("a network");
    let spec = Spec { width: 4, input: [3, 8, 8], ..spec };
    training_step(&builders::build(&spec).expect("a network"), &TrainOptions::default()).expect("it trains")
}

fn limits() {
    let g = deep("cifar-resnet56");
    let arena = |goal| compile(&g, goal).unwrap_or_else(|d| panic!("{d}")).program.arena_bytes;
    let (all, least) = (arena(None), arena(Some(MemoryGoal::Least)));
    // What is enough without recomputation stays as it is.
    let roomy = compile(&g, Some(MemoryGoal::Within(2 * all))).unwrap_or_else(|d| panic!("{d}"));
    assert!(roomy.log.recomputed.is_none() && roomy.program.arena_bytes == all);
    // Less memory costs no less time.
    let mut before = 0;
    for percent in [90, 70, 50, 40] {
        let limit = all * percent / 100;
        assert!(limit > least, "{least} of {all} bytes");
        let c = compile(&g, Some(MemoryGoal::Within(limit))).unwrap_or_else(|d| panic!("{d}"));
        let again = c.log.recomputed.expect("something is computed again").macs[1];
        assert!(c.program.arena_bytes <= limit && again >= before, "{percent} %: {again} after {before}");
        before = again;
    }
    let refused = compile(&g, Some(MemoryGoal::Within(least / 2))).err().expect("half of the least");
    let d = &refused.0[0];
    let possible = format!("{:.1}MB is possible", least.div_ceil(100_000) as f64 / 10.0);
    assert!(d.code == "E0408" && d.help.as_deref().unwrap_or_default().contains(&possible), "{refused}");
}

/// With all blocks kept the arena grows like the depth, with segments like its root.
fn depth() {
    let growth = |goal| {
        let [short, long] = ["cifar-resnet56", "cifar-resnet218"].map(deep);
        let [short, long] = [short, long].map(|g| compile(&g, goal).unwrap_or_else(|d| panic!("{d}")));
        long.program.arena_bytes as f64 / short.program.arena_bytes as f64
    };
    // Four times as many blocks.
    let (all, least) = (growth(None), growth(Some(MemoryGoal::Least)));
    assert!((3.5..4.1).contains(&all) && least < 2.5, "{all} and {least} times as much");
}
