//! Norms of gradients as `train --grad-norms` takes them, from momenta, against the gradients themselves.

use super::networks::inputs;
use super::value::{Compiler, weights};
use crate::test;
use ir::store::{MemoryStore, TensorStore};
use ir::target::X86_64_V2;
use libtest_mimic::Trial;
use passes::autodiff::{StateKind, TrainOptions, gradient_step, state_of};
use passes::pipeline::PassOptions;
use rescc::builders::{self, Spec};
use rescc::toolchain::BackendName;
use rescc::train::group::Alone;
use rescc::train::settings::{Kind, Recipe};
use rescc::train::step::{Codes, Step};
use std::sync::Arc;

const BATCH: u64 = 4;

pub fn tests() -> Vec<Trial> {
    vec![test("training::norms::momenta_tell_the_gradients", norms)]
}

fn norms() {
    let spec = Spec::named("cifar-resnet8", None).expect("a network");
    let g = builders::build(&Spec { width: 8, input: [3, 8, 8], ..spec }).expect("a network");
    let recipe = Recipe::find("fast", Kind::Cifar).expect("a recipe");
    let settings = recipe.settings(100, 8, Some(BATCH), None);
    let options = TrainOptions {
        momentum: settings.momentum,
        weight_decay: settings.weight_decay,
        nesterov: settings.nesterov,
        ..TrainOptions::default()
    };
    assert!(settings.weight_decay > 0.0 && settings.nesterov);
    let x = inputs(&g, &options, BATCH);
    let state = state_of(&g, &options).expect("it trains");

    let compiler = Compiler::new();
    let gradients = gradient_step(&g, &options).expect("it trains");
    let compiled = compiler.compile(&gradients, Arc::new(MemoryStore::default()), BATCH, true);
    let bytes = weights(&compiled);
    let outputs = compiler.load(&compiled, &bytes).run(&x);
    let trained = state.iter().take_while(|t| t.kind == StateKind::Parameter);
    let of_weights = trained.zip(&outputs[1..]).filter(|(t, _)| t.ty.shape.len() > 1);
    let expected: Vec<(&str, f64)> =
        of_weights.map(|(t, g)| (&*t.name, g.iter().map(|v| v * v).sum::<f64>().sqrt())).collect();
    assert_eq!(expected.len(), 8);

    let store: Arc<dyn TensorStore> = Arc::new(MemoryStore::default());
    let codes = Codes::new(&g, &store, &settings, X86_64_V2, BackendName::Cranelift, PassOptions::default())
        .expect("it compiles");
    let floats = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
    let mut tensor = |name: &str, _: &[u64]| {
        let i = state.iter().position(|t| t.name == name).expect("a tensor of the state");
        Some(floats(&x[3 + i]).iter().flat_map(|v| v.to_le_bytes()).collect())
    };
    let mut step = Step::new(&codes, &mut tensor).expect("the state is whole");
    let labels: Vec<i32> = x[1].iter().map(|&l| l as i32).collect();
    step.run(&Alone, &floats(&x[0]), &labels, 0.1);
    let names: Vec<&str> = step.weights().into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (found, (name, want)) in step.gradient_norms(&settings).into_iter().zip(expected) {
        assert!((found - want).abs() < 1e-3 * want && want > 0.0, "{name}: {found}, not {want}");
    }
}
