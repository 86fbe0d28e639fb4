//! Graphs with numbers: inputs by position as f64, outputs as f64, whatever the element types are.

use backends::cranelift::Jit;
use backends::exec::{AlignedBytes, Execution};
use ir::interp::{decode, encode, graph};
use ir::program::Space;
use ir::store::{MemoryStore, TensorStore};
use ir::target::X86_64_V3;
use ir::{DType, Graph};
use passes::pipeline::{self, Compiled, Options};
use rescc::toolchain::JitEvaluator;
use std::sync::Arc;

/// Numbers in −1..1, the same in every run.
pub fn random(seed: u64, len: usize) -> Vec<f64> {
    rescc::input::random(seed, len).into_iter().map(f64::from).collect()
}

/// Σ aᵢ·bᵢ
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What is off by more than `limit` of the largest wanted number.
pub fn off(want: &[f64], got: &[f64], limit: f64) -> Option<String> {
    let d = crate::difference(got, want);
    (d.largest > limit * d.scale).then(|| format!("off by {:e} of {:e}", d.largest, d.scale))
}

/// The outputs of a graph by the interpreter, in the element types that it has.
pub fn interpret(g: &Graph, inputs: &[Vec<f64>], batch: u64) -> Vec<Vec<f64>> {
    let bytes: Vec<Vec<u8>> = g.inputs.iter().zip(inputs).map(|(&v, x)| encode(g.ty(v).dtype, x)).collect();
    let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    let options = graph::Options { batch, widen: false };
    let out = graph::run(g, &bytes, &MemoryStore::default(), options).unwrap_or_else(|d| panic!("{d}"));
    g.outputs.iter().zip(out).map(|(&v, bytes)| decode(g.ty(v).dtype, &bytes)).collect()
}

/// A graph as a program in this process.
pub struct Compiler {
    jit: JitEvaluator,
}

impl Compiler {
    pub fn new() -> Compiler {
        Compiler { jit: JitEvaluator(Jit::new().expect("this machine has a JIT")) }
    }

    pub fn evaluator(&self) -> &JitEvaluator {
        &self.jit
    }

    /// `reference`: no passes, bodies only, f64 for every f32.
    pub fn compile(&self, g: &Graph, store: Arc<dyn TensorStore>, batch: u64, reference: bool) -> Compiled {
        let options = Options { reference, ..Options::new(X86_64_V3, batch) };
        pipeline::compile(g.clone(), store, &options, &self.jit).unwrap_or_else(|d| panic!("{d}"))
    }

    /// Code and memory of a program; its weights must outlive it.
    pub fn load<'a>(&self, compiled: &'a Compiled, weights: &'a [u8]) -> Loaded<'a> {
        let run = Execution::new(&self.jit.0, &compiled.program, weights).unwrap_or_else(|d| panic!("{d}"));
        Loaded { compiled, run }
    }
}

/// The weights section of a program.
pub fn weights(compiled: &Compiled) -> AlignedBytes {
    rescc::artefact::constants(&compiled.program, &*compiled.store).unwrap_or_else(|d| panic!("{d}"))
}

pub struct Loaded<'a> {
    compiled: &'a Compiled,
    run: Execution<'a>,
}

impl Loaded<'_> {
    fn dtype(&self, space: Space) -> DType {
        let slot = self.compiled.program.slots.values().find(|s| s.space == space);
        slot.map_or(DType::F32, |s| s.dtype)
    }

    pub fn run(&mut self, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
        for (i, x) in inputs.iter().enumerate() {
            let dtype = self.dtype(Space::Input(i as u32));
            if let Some(memory) = self.run.input_mut(i) {
                memory.copy_from_slice(&encode(dtype, x));
            }
        }
        self.run.run();
        let count = self.compiled.graph.outputs.len();
        let output = |i| decode(self.dtype(Space::Output(i as u32)), self.run.output(i).expect("an output"));
        (0..count).map(output).collect()
    }
}
