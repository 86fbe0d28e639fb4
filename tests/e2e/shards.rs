//! A batch in shards.

use super::train::{checkpoints_of, results, set_up, train};
use crate::command::rescc;
use crate::test;
use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    vec![
        test("e2e::shards::shards_go_on", resume),
        test("e2e::shards::shards_divide_the_batch", divisors),
        test("e2e::shards::shards_fail_as_a_whole", failures),
    ]
}

pub const SHARDED: [&str; 8] = ["--batch", "16", "--iters", "20", "--lr", "0.05", "--shards", "8"];

/// Steps in shards depend neither on threads nor on interruptions, and differ from whole ones.
fn resume() {
    let dir = set_up();
    train(&dir, "whole", &[&SHARDED[..], &["--checkpoint-hist", "9", "--threads", "1"]].concat()).succeeds();
    std::fs::create_dir(dir.path("on")).unwrap();
    std::fs::copy(dir.path("whole/log.csv"), dir.path("on/log.csv")).unwrap();
    let from = dir.path("whole/checkpoint-0000000008.safetensors");
    train(&dir, "on", &["--resume", &from, "--recompute", "--threads", "3"]).succeeds();
    assert!(results(&dir, "on") == results(&dir, "whole"));
    train(&dir, "one", &[&SHARDED[..6], &["--shards", "1"]].concat()).succeeds();
    assert!(results(&dir, "one") != results(&dir, "whole"), "batch norms see eighths");
    train(&dir, "default", &SHARDED[..6]).succeeds();
    assert!(results(&dir, "one") == results(&dir, "default"));
    train(&dir, "on", &["--resume", &from, "--shards", "4"]).fails(3, &["E0909", "shards: 8, 4 now"]);
}

fn divisors() {
    let dir = set_up();
    train(&dir, "run", &["--batch", "20", "--shards", "8"]).fails(2, &["E0915", "20 pictures", "8 shards"]);
    train(&dir, "run", &["--batch", "18", "--shards", "3"]).fails(2, &["E0915", "18 pictures", "3 shards"]);
    assert!(checkpoints_of(&dir, "run").is_empty());
    rescc(&["explain", "E0915"]).succeeds();
}

/// A loss that is no number in any shard is that of the step.
fn failures() {
    let dir = set_up();
    let outcome = train(&dir, "run", &["--batch", "16", "--iters", "20", "--lr", "1e30", "--shards", "4"]);
    outcome.fails(1, &["E0910", "the loss of iteration"]);
}
