//! The example in the help of every verb works as it stands there.

use crate::command::{Scratch, rescc, rescc_in};
use crate::test;
use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    verbs().into_iter().map(|v| test(&format!("e2e::examples::{v}"), move || example(&v))).collect()
}

/// The verbs that `rescc --help` lists.
fn verbs() -> Vec<String> {
    let help = rescc(&["--help"]).succeeds();
    let commands = help.split("Commands:").nth(1).expect("the help lists commands");
    let first_word = |l: &str| l.split_whitespace().next().map(String::from);
    commands.lines().skip(1).map_while(first_word).filter(|v| v != "help").collect()
}

fn example(verb: &str) {
    let dir = Scratch::new();
    rescc(&["new", "cifar-resnet20", "-o", &dir.path("r20.rir")]).succeeds();
    // The content of a file decides what it is, not its name.
    dir.write("resnet20-12fca82f.th", dir.read("r20.safetensors"));
    // A step of 128 grey pictures.
    std::fs::create_dir(dir.path("cifar")).unwrap();
    let files = (1..=5).map(|i| format!("data_batch_{i}")).chain(["test_batch".into()]);
    for f in files {
        dir.write(&format!("cifar/{f}.bin"), vec![7; 26 * 3073]);
    }
    dir.write("run.csv", "iteration,epoch,lr,loss,train_error,test_error\n50,0.1,0.1,2.3,0.9,\n390,1,0.1,,,0.8\n");
    let help = rescc(&[verb, "--help"]).succeeds();
    let example = help.split("Example:").nth(1).unwrap_or_else(|| panic!("{verb} --help has no example"));
    let lines: Vec<&str> = example.lines().filter_map(|l| l.trim().strip_prefix("rescc ")).collect();
    assert!(!lines.is_empty(), "{help}");
    for line in lines {
        let args: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(args[0], verb);
        rescc_in(&dir, &args).succeeds();
    }
}
