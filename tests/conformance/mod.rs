//! Suite × engine: one list of cases (op × shapes × layouts × epilogues × data), run by everything that executes
//! kernels, and compared with the oracles. A new engine inherits all cases; a new op is missed by the coverage
//! test until it has an oracle and a case.

mod bits;
mod case;
mod cases;
mod engine;
mod propagation;
mod sensitivity;

use crate::{skip, test};
pub use case::Case;
use case::{Data, Variant};
pub use cases::gradients as gradient_cases;
use engine::{Engine, Interpreter, Jit};
use libtest_mimic::Trial;
use std::collections::BTreeSet;
use std::sync::Arc;

pub fn tests() -> Vec<Trial> {
    let mut trials = vec![
        test("conformance::every_kernel_is_proven", || {
            for case in cases::all() {
                for v in case.bodies().iter().chain(&case.all_templates()) {
                    let proof = v.kernel.verify();
                    assert!(!proof.has_errors(), "{case}, {v}: {proof}");
                }
            }
        }),
        test("conformance::a_slightly_wrong_operand_is_noticed", sensitivity::check),
        test("conformance::a_number_for_an_infinity_is_noticed", sensitivity::infinities),
    ];
    let engines: Vec<Arc<dyn Engine>> = vec![Arc::new(Interpreter), Arc::new(Jit)];
    trials.extend(engines.into_iter().flat_map(trials_of));
    #[cfg(feature = "llvm")]
    for target in &ir::target::TARGETS {
        trials.extend(trials_of(Arc::new(engine::LlvmObject(*target))));
    }
    #[cfg(not(feature = "llvm"))]
    trials.push(skip("conformance::llvm", "built without LLVM"));
    trials
}

/// The ops that have a case.
pub fn ops() -> BTreeSet<&'static str> {
    cases::all().iter().map(|c| c.op.name).collect()
}

/// One trial an op. Where the machine cannot run the engine's code, it is compiled only, and that is said.
fn trials_of(engine: Arc<dyn Engine>) -> Vec<Trial> {
    if let Some(why) = engine.cannot_run() {
        let name = format!("conformance::{}", engine.name());
        let compiled = format!("{name}::compiles");
        return vec![
            skip(&name, &format!("{why}; compiled, not run")),
            test(&compiled, move || {
                let kernels =
                    cases::all().iter().flat_map(|c| variants(c, engine.as_ref())).map(|v| v.kernel).collect();
                engine.compile(unique(kernels)).unwrap_or_else(|e| panic!("{e}"));
            }),
        ];
    }
    let trial = |name: &str, f: fn(&dyn Engine, &str)| {
        let (engine, what) = (engine.clone(), name.to_string());
        test(&format!("conformance::{}::{name}", engine.name()), move || f(engine.as_ref(), &what))
    };
    let mut trials: Vec<Trial> = ops().into_iter().map(|op| trial(op, check)).collect();
    trials.push(trial("nan_and_inf", |engine, _| propagation::check(engine)));
    trials.push(trial("normalize_u8_bits", |engine, _| bits::check(engine)));
    trials
}

/// Bodies in both element types and all layouts, and the templates for the engine's target.
fn variants(case: &Case, engine: &dyn Engine) -> Vec<Variant> {
    let mut out = case.bodies();
    match engine.target() {
        Some(target) => out.extend(case.templates(&target)),
        None => out.extend(case.all_templates()),
    }
    out
}

/// Symbols of one object differ.
fn unique(kernels: Vec<ir::Kernel>) -> Vec<ir::Kernel> {
    let rename = |(i, mut k): (usize, ir::Kernel)| {
        k.name = format!("{}_{i}", k.name);
        k
    };
    kernels.into_iter().enumerate().map(rename).collect()
}

/// All cases of an op against its oracle.
fn check(engine: &dyn Engine, op: &str) {
    let cases: Vec<Case> = cases::all().into_iter().filter(|c| c.op.name == op).collect();
    let jobs: Vec<(&Case, Variant)> =
        cases.iter().flat_map(|c| variants(c, engine).into_iter().map(move |v| (c, v))).collect();
    let kernels = unique(jobs.iter().map(|(_, v)| v.kernel.clone()).collect());
    let compiled = engine.load(kernels).unwrap_or_else(|e| panic!("{e}"));
    let mut problems = Vec::new();
    for ((case, variant), run) in jobs.iter().zip(&compiled) {
        for data in [Data::Random, Data::Integers] {
            let inputs = case.inputs(data, variant.dtype);
            let truths = case.truths(&inputs);
            let bytes = variant.pack(&inputs);
            let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
            let verdict = match run(&bytes) {
                Ok(out) => variant.compare(&out, &truths, data == Data::Integers && case.is_exact_on_integers()),
                Err(e) => Err(e.to_string()),
            };
            if let Err(e) = verdict {
                problems.push(format!("{case}, {variant}, {data:?} data: {e}"));
            }
        }
    }
    assert!(
        problems.is_empty(),
        "{} of {} differ:\n{}",
        problems.len(),
        2 * jobs.len(),
        problems[..problems.len().min(8)].join("\n")
    );
}
