//! The step as a whole: its update by the formulas, its statistics, what is frozen, and the compiled f32 step against
//! the f64 reference.

use super::networks::inputs;
use super::value::{Compiler, off, weights};
use crate::test;
use ir::Graph;
use ir::graph::Def;
use ir::store::{MemoryStore, TensorStore};
use libtest_mimic::Trial;
use passes::autodiff::{StateKind, TrainOptions, apply_step, gradient_step, state_of, training_step};
use rescc::builders::{self, Spec};
use std::sync::Arc;

const BATCH: u64 = 4;

pub fn tests() -> Vec<Trial> {
    vec![
        test("training::step::update_is_that_of_the_formulas", || {
            for nesterov in [false, true] {
                let options = TrainOptions { nesterov, weight_decay: 0.01, ..TrainOptions::default() };
                update(&small(), &options);
            }
        }),
        test("training::step::gradients_then_apply_is_the_step", split),
        test("training::step::statistics_run", statistics),
        test("training::step::what_is_frozen_stays", frozen),
        test("training::step::compiled_f32_is_near_f64", near),
        test("training::step::what_cannot_be_trained_says_so", refusals),
    ]
}

fn small() -> Graph {
    let spec = Spec::named("cifar-resnet8", None).expect("a network");
    builders::build(&Spec { width: 8, input: [3, 8, 8], ..spec }).expect("a network")
}

/// Outputs of a graph in f64 without passes, or as it is compiled.
fn outputs(g: &Graph, store: Arc<dyn TensorStore>, x: &[Vec<f64>], reference: bool) -> Vec<Vec<f64>> {
    let compiler = Compiler::new();
    let compiled = compiler.compile(g, store, BATCH, reference);
    let bytes = weights(&compiled);
    compiler.load(&compiled, &bytes).run(x)
}

fn nothing() -> Arc<dyn TensorStore> {
    Arc::new(MemoryStore::default())
}

/// Numbers of parameters and of statistics.
fn counts(g: &Graph, options: &TrainOptions) -> [usize; 2] {
    let state = state_of(g, options).expect("it trains");
    [StateKind::Parameter, StateKind::Statistic].map(|k| state.iter().filter(|t| t.kind == k).count())
}

fn update(g: &Graph, options: &TrainOptions) {
    let x = inputs(g, options, BATCH);
    let [n, _] = counts(g, options);
    let grads = outputs(&gradient_step(g, options).expect("it trains"), nothing(), &x, true);
    let step = outputs(&training_step(g, options).expect("it trains"), nothing(), &x, true);
    assert_eq!(grads[0], step[0], "one loss");
    for i in 0..n {
        let (w, v, d) = (&x[3 + i], &x[3 + n + i], &grads[1 + i]);
        for j in 0..w.len() {
            let d = d[j] + options.weight_decay * w[j];
            let velocity = options.momentum * v[j] + d;
            let along = if options.nesterov { d + options.momentum * velocity } else { velocity };
            let next = w[j] - 0.1 * along;
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-13 * (1.0 + b.abs());
            assert!(near(step[1 + i][j], next) && near(step[1 + n + i][j], velocity), "tensor {i}, element {j}");
            assert!(next != w[j], "tensor {i}, element {j} does not move");
        }
    }
}

fn split() {
    let (g, options) = (small(), TrainOptions::default());
    let x = inputs(&g, &options, BATCH);
    let [n, statistics] = counts(&g, &options);
    let grads = outputs(&gradient_step(&g, &options).expect("it trains"), nothing(), &x, true);
    let step = outputs(&training_step(&g, &options).expect("it trains"), nothing(), &x, true);
    let apply = apply_step(&g, &options).expect("it trains");
    assert!(!apply.verify().has_errors(), "{}", apply.verify());
    let mut y = vec![x[2].clone()];
    y.extend_from_slice(&x[3..3 + 2 * n]);
    y.extend_from_slice(&grads[1..=n]);
    let applied = outputs(&apply, nothing(), &y, true);
    assert_eq!(applied[..], step[1..=2 * n]);
    assert_eq!(grads[1 + n..], step[1 + 2 * n..]);
    assert_eq!(step.len(), 1 + 2 * n + statistics);
}

/// The first batch norm sees the first convolution's result, computed here from the formulas.
fn statistics() {
    let (g, options) = (small(), TrainOptions { bn_momentum: 0.2, ..TrainOptions::default() });
    let x = inputs(&g, &options, BATCH);
    let [n, _] = counts(&g, &options);
    let step = outputs(&training_step(&g, &options).expect("it trains"), nothing(), &x, true);
    let state = state_of(&g, &options).expect("it trains");
    assert_eq!(state[0].name, "conv1.weight");
    let (image, filter, side, channels) = (&x[0], &x[3], 8i64, 8usize);
    for c in 0..channels {
        let mut values = Vec::new();
        for (im, row, column) in
            (0..BATCH as usize).flat_map(|i| (0..side).flat_map(move |r| (0..side).map(move |q| (i, r, q))))
        {
            let mut sum = 0.0;
            for (ic, r, q) in (0..3).flat_map(|ic| (0..3i64).flat_map(move |r| (0..3i64).map(move |q| (ic, r, q)))) {
                let (h, w) = (row + r - 1, column + q - 1);
                if (0..side).contains(&h) && (0..side).contains(&w) {
                    let pixel = image[((im * 3 + ic) as i64 * side * side + h * side + w) as usize];
                    sum += pixel * filter[((c * 3 + ic) as i64 * 9 + r * 3 + q) as usize];
                }
            }
            values.push(sum);
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let unbiased = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
        for (i, batch) in [mean, unbiased].into_iter().enumerate() {
            let want = 0.8 * x[3 + 2 * n + i][c] + 0.2 * batch;
            let got = step[1 + 2 * n + i][c];
            assert!((got - want).abs() < 1e-12, "{}: {got}, not {want}", state[2 * n + i].name);
        }
    }
}

fn frozen() {
    let g = small();
    let options =
        TrainOptions { frozen: vec!["conv1".into(), "bn1".into(), "layer1".into()], ..TrainOptions::default() };
    let step = training_step(&g, &options).expect("it trains");
    assert!(!step.verify().has_errors(), "{}", step.verify());
    let state = state_of(&g, &options).expect("it trains");
    let is_frozen = |t: &str| ["conv1.", "bn1.", "layer1."].iter().any(|p| t.starts_with(p));
    assert!(state.iter().all(|t| !is_frozen(&t.name)) && state.iter().any(|t| t.name.starts_with("layer2.")));
    let kept: Vec<&str> = step
        .params
        .iter()
        .filter_map(|&v| match &step.values[v].def {
            Def::Param { tensor, .. } => Some(&tensor[..]),
            _ => None,
        })
        .collect();
    assert!(kept.iter().all(|t| is_frozen(t)) && kept.contains(&"layer1.0.bn1.running_var"), "{kept:?}");
    // No gradient is computed below what is trained, and its batch norms do not look at the batch.
    let below = |n: &str| is_frozen(n) && (n.ends_with(".dx") || n.ends_with(".mean"));
    assert!(step.order.iter().all(|&n| !below(step.name(step.result(n)))));
    // It runs, with the frozen tensors from the weights.
    let mut store = MemoryStore::default();
    for &v in &step.params {
        let Def::Param { tensor, .. } = &step.values[v].def else { continue };
        let dims = step.ty(v).dims(1);
        let data: Vec<f32> = rescc::input::random(7, dims.iter().product::<u64>() as usize);
        let data: Vec<f32> = data.iter().map(|x| if tensor.ends_with("var") { x.abs() + 0.5 } else { *x }).collect();
        store.insert_f32(tensor, &dims, &data);
    }
    let store: Arc<dyn TensorStore> = Arc::new(store);
    let x = inputs(&g, &options, BATCH);
    let [want, got] = [true, false].map(|reference| outputs(&step, store.clone(), &x, reference));
    compare(&want, &got, 1e-3);
}

/// Each output, relative to its largest element.
fn compare(want: &[Vec<f64>], got: &[Vec<f64>], limit: f64) {
    assert_eq!(want.len(), got.len());
    for (i, (want, got)) in want.iter().zip(got).enumerate() {
        assert_eq!(off(want, got, limit), None, "output {i}");
    }
}

fn near() {
    for (name, width) in [("cifar-resnet8", 16), ("cifar-resnet20", 8)] {
        let spec = Spec::named(name, None).expect("a network");
        let g = builders::build(&Spec { width, input: [3, 16, 16], ..spec }).expect("a network");
        let options = TrainOptions::default();
        let x = inputs(&g, &options, BATCH);
        let step = training_step(&g, &options).expect("it trains");
        let [want, got] = [true, false].map(|reference| outputs(&step, nothing(), &x, reference));
        compare(&want, &got, 1e-3);
    }
}

fn refusals() {
    let code = |g: &Graph, options: &TrainOptions| {
        let d = training_step(g, options).expect_err("it cannot be trained");
        (d.0[0].code, d.0[0].message.clone(), d.0[0].help.clone().unwrap_or_default())
    };
    let g = small();
    let with = |frozen: &str| TrainOptions { frozen: vec![frozen.into()], ..TrainOptions::default() };
    let (c, message, help) = code(&g, &with("conv11"));
    assert!(c == "E0407" && message.contains("conv11") && !help.is_empty(), "{message} {help}");
    let all = ["conv1", "bn1", "layer1", "layer2", "layer3", "linear"].map(String::from).to_vec();
    let (c, message, _) = code(&g, &TrainOptions { frozen: all, ..TrainOptions::default() });
    assert!(c == "E0407" && message.contains("no parameter"), "{message}");
    let parse = |text: &str| ir::text::parse(text).0.graphs.remove(0);
    let two = parse("rir 1\ngraph @g(%x: f32[N,4], %z: f32[N,4]) -> (%y) {\n  %y = add %x, %z : f32[N,4]\n}\n");
    assert_eq!(code(&two, &TrainOptions::default()).0, "E0407");
    let image = parse("rir 1\ngraph @g(%x: f32[N,4,3,3]) -> (%y) {\n  %y = relu %x : f32[N,4,3,3]\n}\n");
    assert_eq!(code(&image, &TrainOptions::default()).0, "E0407");
    // What a pass has made has no gradient.
    let packed = parse(
        "rir 1\ngraph @g(%x: f32[N,8]) -> (%y) {\n  param %w = \"w\" : f32[8]\n  param %v = \"v\" : f32[8]\n  \
         %s = bn_scale %w, %v : f32[8]\n  param %b = \"b\" : f32[8]\n  %y = scale_shift %x, %s, %b : f32[N,8]\n}\n",
    );
    let (c, message, help) = code(&packed, &TrainOptions::default());
    assert!(c == "E0406" && message.contains("bn_scale has no gradient") && !help.is_empty(), "{message} {help}");
}
