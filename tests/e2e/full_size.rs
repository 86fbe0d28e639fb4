//! ResNet-50 at 224×224: every call of the compiled code against the unoptimised graph in float64, with a fault in one
//! kernel of the third stage. What that kernel computes is off, by name, and nothing else.

use crate::faults::damage_kernel_of;
use crate::network::{Network, off, spec};
use crate::test;
use libtest_mimic::Trial;
use rescc::toolchain::{self, BackendName};

pub fn tests() -> Vec<Trial> {
    vec![test("e2e::full_size::a_fault_in_a_template_of_resnet50_is_named", fault)]
}

fn fault() {
    let backend = BackendName::best();
    let target = backend.legal(toolchain::target("native").expect("this machine is a target"));
    let network = Network::build(&spec("resnet50"));
    let mut compiled = network.compile(target);
    let damaged = damage_kernel_of(&mut compiled.program, "layer3.1");
    let kernels = network.kernels(&compiled.program, backend, target);
    let layers = network.layers(&compiled, &kernels);
    assert_eq!(layers.len(), compiled.program.calls.len());
    assert_eq!(off(&layers), damaged);
}
