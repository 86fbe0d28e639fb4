//! Networks with seeded weights in memory, and the way from their graph to layers compared with the reference. The
//! way is open between its steps: a test can plant a fault there.

use backends::cranelift::Jit;
use backends::exec::{self, CompiledKernel};
use ir::graph::Def;
use ir::store::{MemoryStore, TensorStore};
use ir::target::Target;
use ir::{Graph, Program};
use passes::pipeline::{self, Compiled, Optimised, Options, PassOptions};
use rescc::builders::init::{self, Init};
use rescc::builders::{self, Spec};
use rescc::toolchain::{BackendName, JitEvaluator};
use rescc::verify::{Check, Layer};
use std::sync::Arc;

pub struct Network {
    pub graph: Graph,
    pub store: Arc<dyn TensorStore>,
    pub jit: JitEvaluator,
}

/// The spec of a network of the paper.
pub fn spec(name: &str) -> Spec {
    Spec::named(name, None).expect("a network of the paper")
}

/// The passes of an inference build up to and including `last`, and the others.
pub fn passes_around(last: &str) -> (Vec<String>, Vec<String>) {
    let mut before: Vec<String> = pipeline::inference().iter().map(|p| p.name().to_string()).collect();
    let at = before.iter().position(|n| n == last).unwrap_or_else(|| panic!("there is no pass {last}"));
    let after = before.split_off(at + 1);
    (before, after)
}

impl Network {
    pub fn build(spec: &Spec) -> Network {
        Network::of(builders::build(spec).expect("a network of the paper"))
    }

    /// No parameter is 0 or 1 throughout, as it is in a new network: what a pass does with it shows.
    pub fn of(graph: Graph) -> Network {
        const SPREAD: f32 = 0.3;
        let inits = init::plan(&graph);
        let mut store = MemoryStore::default();
        for (seed, &p) in (0..).zip(&graph.params) {
            let Def::Param { tensor, .. } = &graph.values[p].def else { continue };
            let (middle, spread) = match inits.get(tensor) {
                Some(&Init::Normal(std)) => (0.0, std * 3f32.sqrt()),
                Some(&Init::Constant(c)) if c != 0.0 => (c, c * SPREAD),
                _ => (0.0, SPREAD),
            };
            let shape = graph.ty(p).dims(1);
            let mut data = rescc::input::random(seed, shape.iter().product::<u64>() as usize);
            data.iter_mut().for_each(|x| *x = middle + spread * *x);
            store.insert_f32(tensor, &shape, &data);
        }
        let jit = JitEvaluator(Jit::new().expect("this machine has a JIT"));
        Network { graph, store: Arc::new(store), jit }
    }

    /// The graph after these passes.
    pub fn optimise(&self, passes: &[String], target: Target) -> Optimised {
        let options = PassOptions { only: Some(passes), verify_each: true, ..PassOptions::default() };
        pipeline::optimise(self.graph.clone(), self.store.clone(), &target, 1, &options, &self.jit)
            .expect("the passes succeed")
    }

    /// The program of a graph that these passes finish.
    pub fn finish(&self, o: Optimised, passes: &[String], target: Target) -> Compiled {
        let passes = PassOptions { only: Some(passes), ..PassOptions::default() };
        let options = Options { passes, ..Options::new(target, 1) };
        pipeline::compile(o.graph, o.store, &options, &self.jit).expect("the graph compiles")
    }

    pub fn compile(&self, target: Target) -> Compiled {
        let options = Options::new(target, 1);
        pipeline::compile(self.graph.clone(), self.store.clone(), &options, &self.jit).expect("the graph compiles")
    }

    /// The code that artefacts get for the program's kernels.
    pub fn kernels(&self, program: &Program, backend: BackendName, target: Target) -> Vec<Arc<CompiledKernel>> {
        let backend = backend.get().expect("it is built in");
        exec::load(&*backend, &program.kernels, &target).expect("the kernels compile")
    }

    /// Every call on one random input, compared with the graph before any pass.
    pub fn layers(&self, compiled: &Compiled, kernels: &[Arc<CompiledKernel>]) -> Vec<Layer> {
        let dims = self.graph.ty(self.graph.inputs[0]).dims(1);
        let input = rescc::input::random(1, dims.iter().product::<u64>() as usize);
        let check = Check {
            jit: &self.jit.0,
            original: (&self.graph, &*self.store),
            optimised: (&compiled.graph, &*compiled.store),
            program: &compiled.program,
            kernels,
        };
        check.run(&[input], &mut |_| {}).expect("the reference runs")
    }
}

/// Names of the layers that are off, in order.
pub fn off(layers: &[Layer]) -> Vec<&str> {
    layers.iter().filter(|l| !l.is_right()).map(|l| &l.name[..]).collect()
}
