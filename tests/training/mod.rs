//! Gradients: rules against differences, whole networks against directional derivatives, steps against their formulas.

mod networks;
mod norms;
mod recompute;
mod rules;
mod shards;
mod step;
mod value;

use crate::filetest::{FileTest, Outcome};
use crate::test;
use ir::text::{Module, print};
use libtest_mimic::Trial;
use passes::autodiff::{TrainOptions, training_step};

pub fn tests() -> Vec<Trial> {
    let mut trials = vec![test("training::what_is_off_is_seen", || {
        let want = [1.0, -2.0];
        assert_eq!(value::off(&want, &[1.0, -2.001], 1e-3), None);
        for got in [[1.0, -2.1], [f64::NAN, -2.0], [1.0, f64::NAN], [f64::INFINITY, -2.0]] {
            assert!(value::off(&want, &got, 1e-3).is_some(), "{got:?}");
        }
    })];
    let all = [rules::tests(), networks::tests(), norms::tests(), recompute::tests(), shards::tests(), step::tests()];
    trials.extend(all.into_iter().flatten());
    trials
}

/// `// test grad [FROZEN…]`: the training step of the file's graph, or the problem that it has.
pub fn file(t: &FileTest) -> Outcome {
    let options = TrainOptions { frozen: t.arguments.clone(), ..TrainOptions::default() };
    let [g] = &t.module.graphs[..] else { return Outcome::Failure("the file has not one graph".into()) };
    match training_step(g, &options) {
        Err(d) => Outcome::Problems(d),
        Ok(step) => {
            let found = step.verify();
            if found.has_errors() {
                return Outcome::Failure(format!("the step is not valid:\n{found}"));
            }
            Outcome::Text(print(&Module { graphs: vec![step], info: t.module.info.clone(), ..Module::default() }))
        }
    }
}
