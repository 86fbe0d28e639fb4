//! Bad input ends in a message with its place and a remedy, the right exit code, and nothing left behind.

mod command_line;
mod containers;
mod models;
mod outputs;
mod replacing;
mod state_dicts;

use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    let mut trials = command_line::tests();
    trials.extend(containers::tests());
    trials.extend(models::tests());
    trials.extend(outputs::tests());
    trials.extend(replacing::tests());
    trials.extend(state_dicts::tests());
    trials
}

use crate::command::{Outcome, Scratch, rescc};

/// Imports `bytes` as a file called `name`; asserts that no file was written.
fn import(name: &str, bytes: &[u8], args: &[&str]) -> Outcome {
    let dir = Scratch::new();
    let (from, out) = (dir.write(name, bytes), dir.path("out.rir"));
    let outcome = rescc(&[&["import", &from, "-o", &out], args].concat());
    assert_eq!(dir.files(), [name], "{outcome:?}");
    outcome
}

/// A small network: its text and its weights, in a directory.
fn small_model() -> Scratch {
    let dir = Scratch::new();
    rescc(&["new", "cifar-resnet8", "--width", "4", "-o", &dir.path("m.rir")]).succeeds();
    dir
}
