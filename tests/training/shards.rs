//! A step in shards against the mean of the shards' gradients in f64, and against the whole step where no layer looks at
//! the batch.

use super::networks::{inputs, networks};
use super::value::{Compiler, off, weights};
use crate::test;
use ir::Graph;
use ir::interp::decode;
use ir::store::{MemoryStore, TensorStore};
use ir::target::X86_64_V2;
use libtest_mimic::Trial;
use passes::autodiff::{StateKind, StateTensor, TrainOptions, apply_step, gradient_step, state_of};
use passes::pipeline::PassOptions;
use rescc::builders;
use rescc::toolchain::BackendName;
use rescc::train::group::Alone;
use rescc::train::progress::Outcome;
use rescc::train::settings::{Kind, Recipe, Settings};
use rescc::train::step::{Codes, Step};
use std::sync::Arc;

const BATCH: u64 = 8;
const RATE: f64 = 0.1;

pub fn tests() -> Vec<Trial> {
    vec![
        test("training::shards::are_the_mean_of_gradients", mean),
        test("training::shards::without_batch_norm_are_the_whole_step", whole),
    ]
}

fn network(name: &str) -> Graph {
    let (_, spec) = networks().into_iter().find(|(n, _)| *n == name).expect("a network");
    builders::build(&spec).expect("a network")
}

fn settings(shards: u64) -> Settings {
    let recipe = Recipe::find("he2015", Kind::Cifar).expect("a recipe");
    Settings { shards, ..recipe.settings(100, 8, Some(BATCH), None) }
}

fn options() -> TrainOptions {
    let s = settings(1);
    TrainOptions {
        momentum: s.momentum,
        weight_decay: s.weight_decay,
        bn_momentum: s.bn_momentum,
        ..TrainOptions::default()
    }
}

/// The state after a compiled step on `x`, and its outcome.
fn step(g: &Graph, x: &[Vec<f64>], shards: u64) -> (Vec<Vec<f64>>, Outcome) {
    let store: Arc<dyn TensorStore> = Arc::new(MemoryStore::default());
    let (backend, passes) = (BackendName::Cranelift, PassOptions::default());
    let codes = Codes::new(g, &store, &settings(shards), X86_64_V2, backend, passes).expect("it compiles");
    let floats = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
    let state = state_of(g, &options()).expect("it trains");
    let mut tensor = |name: &str, _: &[u64]| {
        let i = state.iter().position(|t| t.name == name).expect("a tensor of the state");
        Some(floats(&x[3 + i]).iter().flat_map(|v| v.to_le_bytes()).collect())
    };
    let mut step = Step::new(&codes, &mut tensor).expect("the state is whole");
    let labels: Vec<i32> = x[1].iter().map(|&l| l as i32).collect();
    let before = step.state().iter().map(|(_, _, bytes)| bytes.to_vec()).collect::<Vec<_>>();
    let outcome = step.run(&Alone, &floats(&x[0]), &labels, RATE as f32);
    assert!(step.state().iter().map(|(_, _, bytes)| bytes.to_vec()).eq(before), "the old state is whole");
    step.accept().expect("it fits");
    (step.state().iter().map(|(_, _, bytes)| decode(ir::DType::F32, bytes)).collect(), outcome)
}

fn compare(state: &[StateTensor], want: &[Vec<f64>], got: &[Vec<f64>], limit: f64) {
    assert_eq!((state.len(), state.len()), (want.len(), got.len()));
    for ((t, want), got) in state.iter().zip(want).zip(got) {
        assert_eq!(off(want, got, limit), None, "{}", t.name);
    }
}

fn mean() {
    let (g, options) = (network("resnet20_b"), options());
    let x = inputs(&g, &options, BATCH);
    let state = state_of(&g, &options).expect("it trains");
    let compiler = Compiler::new();
    let run = |g: &Graph, x: &[Vec<f64>], batch: u64| {
        let compiled = compiler.compile(g, Arc::new(MemoryStore::default()), batch, true);
        let bytes = weights(&compiled);
        compiler.load(&compiled, &bytes).run(x)
    };
    let gradients = gradient_step(&g, &options).expect("it trains");
    let mut sum: Vec<Vec<f64>> = Vec::new();
    let pictures = (BATCH / 4) as usize;
    for (images, labels) in x[0].chunks(x[0].len() / 4).zip(x[1].chunks(pictures)) {
        let shard = [&[images.to_vec(), labels.to_vec()], &x[2..]].concat();
        let found = run(&gradients, &shard, pictures as u64);
        sum.resize_with(found.len(), Vec::new);
        for (sum, found) in sum.iter_mut().zip(found) {
            sum.resize(found.len(), 0.0);
            sum.iter_mut().zip(found).for_each(|(s, v)| *s += v / 4.0);
        }
    }
    let parameters = state.iter().filter(|t| t.kind == StateKind::Parameter).count();
    let mut y = vec![vec![RATE]];
    y.extend_from_slice(&x[3..3 + 2 * parameters]);
    y.extend_from_slice(&sum[1..=parameters]);
    let mut want = run(&apply_step(&g, &options).expect("it trains"), &y, 1);
    want.extend_from_slice(&sum[1 + parameters..]);
    let (got, outcome) = step(&g, &x, 4);
    compare(&state, &want, &got, 1e-3);
    assert!((f64::from(outcome.loss) - sum[0][0]).abs() < 1e-4 * sum[0][0], "{outcome:?}, not {}", sum[0][0]);
}

fn whole() {
    let (g, options) = (network("vgg"), options());
    let x = inputs(&g, &options, BATCH);
    let state = state_of(&g, &options).expect("it trains");
    let (want, one) = step(&g, &x, 1);
    for shards in [2, 8] {
        let (got, outcome) = step(&g, &x, shards);
        compare(&state, &want, &got, 1e-5);
        assert_eq!(outcome.wrong, one.wrong);
        assert!((outcome.loss - one.loss).abs() < 1e-5 * one.loss, "{outcome:?}, not {one:?}");
    }
}
