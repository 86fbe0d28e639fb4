//! The gradient of the loss of whole networks: directional derivatives in f64, all parameters together and each alone.

use super::value::{Compiler, dot, random, weights};
use crate::test;
use ir::store::MemoryStore;
use ir::text::{Module, parse, print};
use ir::{DType, Graph};
use libtest_mimic::Trial;
use passes::autodiff::{StateKind, TrainOptions, gradient_step, state_of, training_step};
use rescc::builders::{self, PadChannels, Shortcut, Spec};
use std::sync::Arc;

const BATCH: u64 = 4;

fn cifar(name: &str, shortcut: Option<Shortcut>) -> Spec {
    let spec = Spec::named(name, None).expect("a network of the paper");
    Spec { width: 4, input: [3, 12, 12], shortcut: shortcut.unwrap_or(spec.shortcut), ..spec }
}

/// Name and small form of each network.
pub fn networks() -> Vec<(&'static str, Spec)> {
    let bottleneck =
        Spec { width: 4, input: [3, 64, 64], classes: 7, ..Spec::named("resnet50", None).expect("a network") };
    let vgg = Spec { width: 4, input: [3, 32, 32], classes: 7, ..Spec::named("vgg16", None).expect("a network") };
    vec![
        ("resnet20_a", cifar("cifar-resnet20", None)),
        ("resnet20_a_end", cifar("cifar-resnet20", Some(Shortcut::A(PadChannels::End)))),
        ("resnet20_b", cifar("cifar-resnet20", Some(Shortcut::B))),
        ("resnet20_c", cifar("cifar-resnet20", Some(Shortcut::C))),
        ("plain20", cifar("cifar-plain20", None)),
        ("bottleneck", bottleneck),
        ("vgg", vgg),
    ]
}

pub fn tests() -> Vec<Trial> {
    let mut trials: Vec<Trial> = networks()
        .into_iter()
        .map(|(name, spec)| test(&format!("training::networks::{name}"), move || directions(name, &spec)))
        .collect();
    trials.push(test("training::networks::steps_parse_back", || {
        for (name, spec) in networks() {
            let g = builders::build(&spec).expect("a network");
            for g in [training_step(&g, &TrainOptions::default()), gradient_step(&g, &TrainOptions::default())] {
                let g = g.unwrap_or_else(|d| panic!("{name}: {d}"));
                assert!(!g.verify().has_errors(), "{name}: {}", g.verify());
                let once = print(&Module { graphs: vec![g], ..Module::default() });
                let (again, problems) = parse(&once);
                assert!(!problems.has_errors(), "{name}: {problems}");
                assert!(print(&again) == once, "{name} does not parse back to itself");
            }
        }
    }));
    trials
}

/// Inputs of a step: images, labels, learning rate, state. Parameters are spread as in a network at work.
pub fn inputs(g: &Graph, options: &TrainOptions, batch: u64) -> Vec<Vec<f64>> {
    let step = training_step(g, options).unwrap_or_else(|d| panic!("{d}"));
    let state = state_of(g, options).unwrap_or_else(|d| panic!("{d}"));
    let classes = g.ty(g.outputs[0]).dims(1)[1];
    let fill = |(i, &v): (usize, &ir::entity::Value)| -> Vec<f64> {
        let ty = step.ty(v);
        let len = ty.elements(batch) as usize;
        let uniform = random(i as u64 + 1, len);
        if ty.dtype == DType::I32 {
            return (0..len).map(|n| ((n * 5 + 3) as u64 % classes) as f64).collect();
        }
        let Some(tensor) = i.checked_sub(3).map(|i| &state[i]) else {
            return if i == 2 { vec![0.1] } else { uniform };
        };
        let dims = ty.dims(1);
        match tensor.kind {
            StateKind::Momentum => uniform.iter().map(|x| 0.01 * x).collect(),
            StateKind::Statistic if tensor.name.ends_with("var") => uniform.iter().map(|x| 1.0 + 0.5 * x).collect(),
            StateKind::Parameter if dims.len() > 1 => {
                let fan_in: u64 = dims[1..].iter().product();
                uniform.iter().map(|x| x * (6.0 / fan_in as f64).sqrt()).collect()
            }
            // Scales near 1, shifts and biases near 0.
            StateKind::Parameter if tensor.name.ends_with(".weight") => uniform.iter().map(|x| 1.0 + 0.3 * x).collect(),
            _ => uniform.iter().map(|x| 0.3 * x).collect(),
        }
    };
    step.inputs.iter().enumerate().map(fill).collect()
}

fn directions(name: &str, spec: &Spec) {
    const STEP: f64 = 1e-7;
    let g = builders::build(spec).expect("a network");
    let options = TrainOptions { label_smoothing: 0.1, ..TrainOptions::default() };
    let gradient = gradient_step(&g, &options).unwrap_or_else(|d| panic!("{name}: {d}"));
    let compiler = Compiler::new();
    let compiled = compiler.compile(&gradient, Arc::new(MemoryStore::default()), BATCH, true);
    let bytes = weights(&compiled);
    let mut run = compiler.load(&compiled, &bytes);
    let x = inputs(&g, &options, BATCH);
    let out = run.run(&x);
    let parameters = state_of(&g, &options).expect("as before");
    let parameters: Vec<_> = parameters.iter().filter(|t| t.kind == StateKind::Parameter).collect();
    let grads = &out[1..=parameters.len()];
    let mut derivative = |directions: &[(usize, Vec<f64>)]| {
        let mut moved = |by: f64| {
            let mut x = x.clone();
            for (i, u) in directions {
                x[3 + i].iter_mut().zip(u).for_each(|(x, u)| *x += by * u);
            }
            run.run(&x)[0][0]
        };
        (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
    };
    // Along the gradient plus noise, so that the derivative is not by chance near 0.
    let direction = |i: usize| {
        let norm = dot(&grads[i], &grads[i]).sqrt();
        assert!(norm > 1e-6, "{name}: the gradient of {} vanishes", parameters[i].name);
        let noise = random(1000 + i as u64, grads[i].len());
        let length = dot(&noise, &noise).sqrt();
        let u: Vec<f64> = grads[i].iter().zip(&noise).map(|(g, n)| g / norm + 0.5 * n / length).collect();
        (i, u)
    };
    let all: Vec<(usize, Vec<f64>)> = (0..parameters.len()).map(direction).collect();
    let mut worst = (0.0f64, String::new());
    let mut check = |what: &str, directions: &[(usize, Vec<f64>)], limit: f64| {
        let want = derivative(directions);
        let got: f64 = directions.iter().map(|(i, u)| dot(&grads[*i], u)).sum();
        let off = (got - want).abs() / got.abs();
        assert!(off <= limit, "{name}: along {what} {got:e}, by differences {want:e}: off by {off:e}");
        if off > worst.0 {
            worst = (off, what.to_string());
        }
    };
    check("all parameters", &all, 1e-6);
    for (i, one) in all.iter().enumerate() {
        check(&parameters[i].name, std::slice::from_ref(one), 1e-5);
    }
    println!("{name}: {} tensors, worst {:e} in {}", parameters.len(), worst.0, worst.1);
}
