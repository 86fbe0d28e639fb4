//! Every network of the zoo, every kernel call against the float64 reference, and exactly on integers.

use super::{directory, path, rescc};
use crate::test;
use backends::cranelift::Jit;
use backends::exec::runs_here;
use ir::kernel::{Expr, Stmt};
use ir::target::{TARGETS, X86_64_V2};
use libtest_mimic::Trial;
use rescc::toolchain::JitEvaluator;
use rescc::verify::Check;

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
    let mut trials: Vec<Trial> = ZOO
        .iter()
        .map(|(name, flags)| {
            let title = format!("e2e::zoo::{name}{}", flags.join("_").replace("--", "_"));
            test(&title, || verify(name, flags))
        })
        .collect();
    trials.push(test("e2e::zoo::a_planted_fault_is_named", planted_fault));
    trials
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

/// A multiply-add that reads the wrong weight in one kernel: the first layer that is off has that kernel.
fn planted_fault() {
    let dir = directory();
    let model = dir.path().join("m.rir");
    rescc(&["new", "cifar-resnet20", "-o", path(&model)]);
    let loaded = rescc::store::load(&model).expect("the model that was just written loads");
    let jit = JitEvaluator(Jit::new().expect("this machine has a JIT"));
    let options = passes::pipeline::Options::new(X86_64_V2, 1);
    let mut compiled = passes::pipeline::compile(loaded.graph.clone(), loaded.store.clone(), &options, &jit)
        .expect("a network of the paper compiles");
    let is_convolution = |op: &str| ["conv2d", "winograd_output"].contains(&op);
    let convolutions: Vec<usize> =
        compiled.program.calls.iter().filter(|c| is_convolution(&c.op)).map(|c| c.kernel).collect();
    let victim = convolutions[9];
    let first = compiled.program.calls.iter().find(|c| c.kernel == victim).expect("the kernel is called").node.clone();
    assert!(swap_factors(&mut compiled.program.kernels[victim].body), "the kernel has a multiply-add to damage");
    let check = Check {
        jit: &jit.0,
        original: (&loaded.graph, &*loaded.store),
        optimised: (&compiled.graph, &*compiled.store),
        program: &compiled.program,
        kernels: &jit.0.kernels(&compiled.program.kernels).expect("the kernels compile"),
    };
    let input = rescc::input::random(1, 3 * 32 * 32);
    let layers = check.run(&[input], &mut |_| {}).expect("the reference runs");
    let off = layers.iter().find(|l| !l.is_right()).expect("the fault shows");
    assert_eq!(off.name, first);
}

/// Makes the first multiply-add of the innermost loop square its input instead of weighting it.
fn swap_factors(body: &mut [Stmt]) -> bool {
    body.iter_mut().any(|s| match s {
        Stmt::Let { expr: Expr::Fma(a, b, _), .. } => {
            *b = *a;
            true
        }
        Stmt::For(f) => swap_factors(&mut f.body),
        _ => false,
    })
}
