//! Every network of the zoo, every kernel call against the float64 reference, and exactly on integers.

use super::{directory, path, rescc};
use crate::{command, skip, test};
use backends::exec::runs_here;
use ir::target::{TARGETS, Target};
use libtest_mimic::Trial;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

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
    let mut trials: Vec<Trial> = ZOO.iter().flat_map(|&(name, flags)| trials_of(name, flags)).collect();
    trials.push(test("e2e::zoo::batches_have_kernels_of_their_own", batch));
    trials
}

/// A network of the zoo, made by the first of its trials and removed after the last.
#[derive(Clone)]
struct Network {
    name: &'static str,
    flags: &'static [&'static str],
    dir: Arc<OnceLock<TempDir>>,
}

/// A trial for the layers, and one for each target. What this machine does not run is compiled all the same.
fn trials_of(name: &'static str, flags: &'static [&'static str]) -> Vec<Trial> {
    let network = Network { name, flags, dir: Arc::default() };
    let mut trials = vec![network.trial("layers", Network::layers)];
    for target in TARGETS {
        if runs_here(&target) {
            trials.push(network.trial(target.name, move |n| n.integers(&target)));
        } else {
            let reason = format!("this machine does not run {} code; compiled, not run", target.name);
            trials.push(skip(&network.title(target.name), &reason));
            trials.push(network.trial(&format!("{}::compiles", target.name), move |n| n.compiles(&target)));
        }
    }
    trials
}

impl Network {
    fn title(&self, what: &str) -> String {
        format!("e2e::zoo::{}{}::{what}", self.name, self.flags.join("_").replace("--", "_"))
    }

    fn trial(&self, what: &str, f: impl FnOnce(&Network) + Send + 'static) -> Trial {
        let network = self.clone();
        test(&self.title(what), move || f(&network))
    }

    /// A file in the network's directory.
    fn file(&self, name: &str) -> String {
        let make = || {
            let dir = directory();
            rescc(&[&["new", self.name, "-o", path(&dir.path().join("m.rir"))], self.flags].concat());
            dir
        };
        path(&self.dir.get_or_init(make).path().join(name)).to_string()
    }

    fn layers(&self) {
        rescc(&["verify", &self.file("m.rir"), "--layers"]);
    }

    fn integers(&self, target: &Target) {
        rescc(&["verify", &self.file("m.rir"), "--integer", "--target", target.name]);
    }

    /// It compiles, and `verify` does not pretend to have run it, even where the back end has no use for the target.
    fn compiles(&self, target: &Target) {
        let model = self.file("m.rir");
        rescc(&["compile", &model, "--target", target.name, "-o", &self.file(target.name)]);
        let outcome = command::rescc(&["verify", &model, "--target", target.name, "--backend", "cranelift"]);
        outcome.fails(4, &["E0706", target.name]);
    }
}

/// Images enough for all workers get a kernel that no single image has; its first image is that of the input.
fn batch() {
    let dir = directory();
    let file = |name: &str| path(&dir.path().join(name)).to_string();
    let (model, y) = (file("m.rir"), file("y.npy"));
    rescc(&["new", "cifar-resnet8", "--input", "3x16x16", "-o", &model]);
    rescc(&["run", &model, "--input", "random:1", "--out", &y]);
    let verify = ["verify", &model, "--winograd", "on", "--against", &y, "--json"];
    let one = rescc(&verify);
    let many = rescc(&[&verify[..], &["--batch", "16"]].concat());
    let kernel = "\"winograd_conv2d\"";
    assert!(!one.contains(kernel) && many.contains(kernel), "{many}");
    // Tiles of 4 round whole numbers in this kernel too.
    rescc(&["verify", &model, "--winograd", "on", "--integer", "--batch", "16"]);
}
