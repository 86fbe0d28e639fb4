//! Gradients: rules against differences, whole networks against directional derivatives, steps against their formulas.

mod networks;
mod rules;
mod step;
mod value;

use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    [rules::tests(), networks::tests(), step::tests()].into_iter().flatten().collect()
}
