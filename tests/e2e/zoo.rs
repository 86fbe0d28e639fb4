//! Every network of the zoo, every kernel call against the float64 reference, and exactly on integers.

use super::{directory, path, rescc};
use crate::test;
use backends::exec::runs_here;
use ir::target::TARGETS;
use libtest_mimic::Trial;

/// Name and input of each network; small inputs where depth makes the reference slow.
const ZOO: [(&str, &[&str]); 14] = [
    ("resnet18", &["--input", "3x64x64"]),
    ("resnet34", &["--input", "3x64x64"]),
    ("resnet50", &["--input", "3x64x64"]),
    ("resnet50", &["--input", "3x64x64", "--stride-in", "1x1"]),
    ("resnet101", &["--input", "3x32x32"]),
    ("resnet152", &["--input", "3x32x32"]),
    ("resnet34", &["--input", "3x64x64", "--shortcut", "A"]),
    ("resnet50", &["--input", "3x32x32", "--shortcut", "C"]),
    ("plain18", &["--input", "3x64x64"]),
    ("vgg16", &["--input", "3x32x32"]),
    ("cifar-resnet20", &[]),
    ("cifar-resnet56", &["--shortcut", "B"]),
    ("cifar-resnet110", &[]),
    ("cifar-plain20", &["--width", "12"]),
];

pub fn tests() -> Vec<Trial> {
    ZOO.iter()
        .map(|(name, flags)| {
            let title = format!("e2e::zoo::{name}{}", flags.join("_").replace("--", "_"));
            test(&title, || verify(name, flags))
        })
        .collect()
}

fn verify(name: &str, flags: &[&str]) {
    let dir = directory();
    let model = dir.path().join("m.rir");
    rescc(&[&["new", name, "-o", path(&model)], flags].concat());
    rescc(&["verify", path(&model), "--layers"]);
    // What this machine does not run is compiled all the same, and said to be no more than that.
    for target in TARGETS {
        if runs_here(&target) {
            rescc(&["verify", path(&model), "--integer", "--target", target.name]);
        } else {
            rescc(&["compile", path(&model), "--target", target.name, "-o", path(&dir.path().join("m"))]);
            println!("{name}: {} compiled, not run: this machine lacks its instructions", target.name);
        }
    }
}
