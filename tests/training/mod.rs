//! Gradients: rules against differences, whole networks against directional derivatives, steps against their formulas.

mod networks;
mod norms;
mod recompute;
mod rules;
mod shards;
mod step;
mod value;

use crate::filetest::{FileTest, Outcome};
use ir::text::{Module, print};
use libtest_mimic::Trial;
use passes::autodiff::{TrainOptions, training_step};

pub fn tests() -> Vec<Trial> {
    [rules::tests(), networks::tests(), norms::tests(), recompute::tests(), shards::tests(), step::tests()]
        .into_iter()
        .flatten()
        .collect()
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
