//! Ranks over MPI: the bits of one process, and an end that leaves a good checkpoint.

use super::shards::SHARDED;
use super::train::{arguments, checkpoints_of, results, set_up, train};
use crate::command::{Outcome, Scratch};
use crate::{skip, test};
use libtest_mimic::Trial;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    if !cfg!(feature = "mpi") {
        return vec![
            skip("e2e::mpi::ranks", "built without the feature mpi"),
            test("e2e::mpi::without_mpi_there_is_a_remedy", || {
                let dir = set_up();
                train(&dir, "run", &["--mpi"]).fails(7, &["E0916", "without MPI"]);
            }),
        ];
    }
    if Command::new("mpirun").arg("--version").stdout(Stdio::null()).status().is_err() {
        return vec![skip("e2e::mpi::ranks", "there is no mpirun: see tools/install-mpi.sh")];
    }
    vec![
        test("e2e::mpi::bits_do_not_depend_on_ranks", bits),
        test("e2e::mpi::a_killed_rank_ends_the_run", killed),
        test("e2e::mpi::a_signal_to_one_rank_stops_all", signal),
        test("hostile::mpi::what_ranks_refuse_is_said_once", refusals),
    ]
}

/// `mpirun` as tests need it: by any user, and with more ranks than cores.
fn mpirun(ranks: usize, args: &[String]) -> Command {
    let mut c = Command::new("mpirun");
    c.args(["--oversubscribe", "-n", &ranks.to_string(), env!("CARGO_BIN_EXE_rescc")]).args(args).arg("--mpi");
    c.envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")]);
    c.env_remove("CLICOLOR_FORCE").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    c
}

fn finish(child: Child) -> Outcome {
    let out = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Outcome { code: out.status.code(), stdout: text(out.stdout), stderr: text(out.stderr) }
}

fn run(ranks: usize, dir: &Scratch, out: &str, more: &[&str]) -> Outcome {
    finish(mpirun(ranks, &arguments(dir, out, more)).spawn().expect("mpirun starts"))
}

fn bits() {
    let dir = set_up();
    train(&dir, "alone", &[&SHARDED[..], &["--checkpoint-hist", "9"]].concat()).succeeds();
    let (norms, alone) = (dir.path("norms.csv"), dir.path("alone.csv"));
    for ranks in [1, 2, 4] {
        let out = format!("ranks{ranks}");
        // Eight shards are what --mpi means.
        let said = run(ranks, &dir, &out, &[&SHARDED[..6], &["--checkpoint-hist", "9"]].concat()).succeeds();
        assert_eq!(said.matches("model.rir").count(), 1, "one rank speaks: {said}");
        assert!(results(&dir, &out) == results(&dir, "alone"), "{ranks} ranks");
    }
    // What ranks began goes on in one process, and the other way round.
    for (from, to, ranks) in [("ranks2", "on1", None), ("alone", "on4", Some(4))] {
        let more = ["--resume", &dir.path(&format!("{from}/checkpoint-0000000008.safetensors"))];
        std::fs::create_dir(dir.path(to)).unwrap();
        std::fs::copy(dir.path("alone/log.csv"), dir.path(&format!("{to}/log.csv"))).unwrap();
        match ranks {
            Some(n) => run(n, &dir, to, &more).succeeds(),
            None => train(&dir, to, &more).succeeds(),
        };
        assert!(results(&dir, to) == results(&dir, "alone"), "{from} to {to}");
    }
    train(&dir, "norms1", &[&SHARDED[..], &["--grad-norms", &alone]].concat()).succeeds();
    run(2, &dir, "norms2", &[&SHARDED[..], &["--grad-norms", &norms]].concat()).succeeds();
    assert!(dir.read("norms.csv") == dir.read("alone.csv") && results(&dir, "norms2") == results(&dir, "alone"));
}

/// Begins a long run of four ranks and waits for its first checkpoint; gives the processes of the ranks.
fn long(dir: &Scratch) -> (Child, Vec<String>) {
    let mut child =
        mpirun(4, &arguments(dir, "run", &["--batch", "16", "--iters", "1000k"])).spawn().expect("mpirun starts");
    while checkpoints_of(dir, "run").is_empty() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let file = format!("/proc/{0}/task/{0}/children", child.id());
    let mut ranks: Vec<String> = std::fs::read_to_string(file).unwrap().split_whitespace().map(String::from).collect();
    let name = |pid: &String| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    ranks.retain(|pid| name(pid).trim() == "rescc");
    assert_eq!(ranks.len(), 4);
    (child, ranks)
}

fn send(signal: &str, process: &str) {
    assert!(Command::new("sh").args(["-c", "kill -$1 $0", process, signal]).status().unwrap().success());
}

/// Whatever is left in the folder is whole.
fn check_newest(dir: &Scratch) {
    let newest = rescc::train::checkpoint::newest(dir.path("run").as_ref()).map_err(|f| f.diagnostics);
    let (newest, problems) = newest.expect("a good checkpoint");
    assert!(newest.run.progress.iteration > 0 && problems.0.is_empty());
    assert!(!Path::new(&dir.path("run/model.rir")).exists());
}

fn killed() {
    for victim in [0, 2] {
        let dir = set_up();
        let (child, ranks) = long(&dir);
        let begun = Instant::now();
        send("KILL", &ranks[victim]);
        let outcome = finish(child);
        assert!(begun.elapsed() < Duration::from_secs(60), "the others wait for it");
        assert!(outcome.code != Some(0) && outcome.stderr.contains("signal 9"), "{outcome:?}");
        check_newest(&dir);
    }
}

fn signal() {
    let dir = set_up();
    let (child, ranks) = long(&dir);
    send("INT", &ranks[3]);
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(130), "{outcome:?}");
    assert!(outcome.stdout.contains("stopped after"), "{outcome:?}");
    check_newest(&dir);
}

fn refusals() {
    let dir = set_up();
    let once = |outcome: &Outcome, code: i32, parts: &[&str]| {
        outcome.fails(code, parts);
        assert_eq!(outcome.stderr.matches("error[").count(), 1, "{}", outcome.stderr);
    };
    once(&run(3, &dir, "run", &SHARDED), 2, &["E0915", "8 shards", "3 ranks"]);
    once(&run(2, &dir, "run", &["--batch", "20"]), 2, &["E0915", "20 pictures"]);
    once(&run(2, &dir, "run", &["--resume", &dir.path("none")]), 3, &["E0805"]);
    let wild = run(2, &dir, "run", &["--batch", "16", "--iters", "20", "--lr", "1e30"]);
    once(&wild, 1, &["E0910", "the loss of iteration"]);
    // A rank with another seed would shuffle its pictures in another way.
    let [a, b] = ["0", "1"].map(|seed| arguments(&dir, "seeds", &[&SHARDED[..], &["--seed", seed]].concat()));
    let mut c = mpirun(1, &a);
    c.args([":", "-n", "1", env!("CARGO_BIN_EXE_rescc")]).args(b).arg("--mpi");
    once(&finish(c.spawn().expect("mpirun starts")), 3, &["E0917", "same state"]);
}
