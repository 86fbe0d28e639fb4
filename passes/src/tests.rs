//! Whole pass lists against the graph interpreter, on integers: any difference is a bug.

mod deep;
mod faults;
mod random_graphs;
mod semantics;

use crate::graph::Winograd;
use crate::lower::{Lowering, lower};
use crate::pipeline::{Options, PassOptions, compile, optimise};
use ir::graph::Def;
use ir::interp::{self, encode, graph, program};
use ir::store::{MemoryStore, TensorData, TensorStore};
use ir::target::{TARGETS, X86_64_V3};
use ir::{Diagnostics, Graph, Kernel};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

pub struct Interpreter;

impl crate::Evaluator for Interpreter {
    fn eval(&self, kernel: &Kernel, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, Diagnostics> {
        interp::kernel::run(kernel, inputs)
    }
}

pub fn parse(text: &str) -> Graph {
    let (mut module, problems) = ir::text::parse(text);
    assert!(!problems.has_errors(), "{problems}\n{text}");
    let g = module.graphs.pop().expect("a graph");
    let found = g.verify();
    assert!(!found.has_errors(), "{found}\n{text}");
    g
}

/// A counter-based generator: the same numbers on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Small integers for every tensor of a graph. Variances are 1 and, with eps=0, folds of batch norms are exact;
/// gamma is a power of two.
pub fn weights(g: &Graph, random: &mut Random) -> Arc<dyn TensorStore> {
    let mut store = MemoryStore::default();
    for &v in &g.params {
        let Def::Param { tensor, .. } = &g.values[v].def else { continue };
        let ty = g.ty(v);
        let number = |r: &mut Random| match tensor {
            t if t.ends_with("var") => 1.0,
            t if t.ends_with("sparse") => [1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0][r.below(8) as usize],
            t if t.ends_with("gamma") => [1.0, 2.0, -1.0][r.below(3) as usize],
            _ => r.below(5) as f64 - 2.0,
        };
        let numbers: Vec<f64> = (0..ty.elements(1)).map(|_| number(random)).collect();
        let bytes = Cow::Owned(encode(ty.dtype, &numbers));
        store.insert(tensor, TensorData { dtype: ty.dtype, shape: ty.dims(1), bytes });
    }
    Arc::new(store)
}

pub fn inputs(g: &Graph, batch: u64, random: &mut Random) -> Vec<Vec<u8>> {
    let input = |&v: &ir::entity::Value| {
        let numbers: Vec<f64> = (0..g.ty(v).elements(batch)).map(|_| random.below(7) as f64 - 3.0).collect();
        encode(g.ty(v).dtype, &numbers)
    };
    g.inputs.iter().map(input).collect()
}

/// Output bytes of the graph as it is.
fn reference(g: &Graph, store: &dyn TensorStore, inputs: &[Vec<u8>], batch: u64) -> Vec<Vec<u8>> {
    let inputs: Vec<&[u8]> = inputs.iter().map(|b| &b[..]).collect();
    graph::run(g, &inputs, store, graph::Options { batch, widen: false }).unwrap()
}

/// Optimises and compiles `text` for every target; each pass keeps the outputs, and the program gives them too.
/// Returns the passes that changed something.
pub fn check_semantics(text: &str, seed: u64) -> BTreeSet<&'static str> {
    let g = parse(text);
    let batch = 2;
    let mut random = Random::new(seed);
    let (store, inputs) = (weights(&g, &mut random), inputs(&g, batch, &mut random));
    let expected = reference(&g, &*store, &inputs, batch);
    let mut active = BTreeSet::new();
    for target in TARGETS {
        let after = RefCell::new(Vec::new());
        let observe = |pass: &'static str, g: &Graph| after.borrow_mut().push((pass, g.clone()));
        // Integers stay exact without Winograd's fractions.
        let winograd = Winograd::Off;
        let passes = PassOptions { winograd, verify_each: true, after: Some(&observe), ..PassOptions::default() };
        let options = Options { passes, ..Options::new(target, batch) };
        let compiled = compile(g.clone(), store.clone(), &options, &Interpreter).unwrap();
        for (pass, g) in after.borrow().iter() {
            let same = reference(g, &*compiled.store, &inputs, batch) == expected;
            assert!(same, "{} differs after {pass} (seed {seed})\n{text}", target.name);
        }
        assert!(!compiled.program.verify().has_errors(), "{}", compiled.program.verify());
        let bytes: Vec<&[u8]> = inputs.iter().map(|b| &b[..]).collect();
        let got = program::run(&compiled.program, &bytes, &*compiled.store).unwrap();
        assert!(got == expected, "the program differs on {} (seed {seed})\n{text}", target.name);
        active.extend(compiled.log.passes.iter().filter(|p| !p.is_unchanged()).map(|p| p.pass));
    }
    active
}

const BLOCKS: &str = r#"rir 1
graph @blocks(%x: f32[N,3,9,9]) -> (%out) where N in 1..4 {
  param %w0 = "stem.weight" : f32[16,3,3,3]
  param %g0 = "stem.gamma" : f32[16]
  param %b0 = "stem.beta" : f32[16]
  param %m0 = "stem.mean" : f32[16]
  param %v0 = "stem.var" : f32[16]
  param %w1 = "one.weight" : f32[16,16,3,3]
  param %c1 = "one.bias" : f32[16]
  param %g1 = "one.gamma" : f32[16]
  param %b1 = "one.beta" : f32[16]
  param %m1 = "one.mean" : f32[16]
  param %v1 = "one.var" : f32[16]
  param %w2 = "two.weight" : f32[32,16,1,1]
  param %w3 = "three.weight" : f32[32,16,1,1]
  param %wd = "fc.weight" : f32[5,32]
  param %bd = "fc.bias" : f32[5]
  %s0 = conv2d %x, %w0 pad=1,1,1,1 : f32[N,16,9,9]
  %s1 = batch_norm %s0, %g0, %b0, %m0, %v0 eps=0 : f32[N,16,9,9]
  %s = relu %s1 : f32[N,16,9,9]
  %z = pad2d %s pad=1,1,1,1 : f32[N,16,11,11]
  %p = max_pool %z kernel=3x3 stride=2x2 : f32[N,16,5,5]
  %a0 = conv2d %p, %w1 pad=1,1,1,1 epilogue=[bias %c1] : f32[N,16,5,5]
  %a1 = batch_norm %a0, %g1, %b1, %m1, %v1 eps=0 : f32[N,16,5,5]
  %a2 = add %a1, %p : f32[N,16,5,5]
  %a = relu %a2 : f32[N,16,5,5]
  %d0 = conv2d %a, %w2 stride=2x2 : f32[N,32,3,3]
  %e0 = conv2d %a, %w3 stride=2x2 : f32[N,32,3,3]
  %f0 = add %d0, %e0 : f32[N,32,3,3]
  %f = relu %f0 : f32[N,32,3,3]
  %q = max_pool %f kernel=3x3 : f32[N,32,1,1]
  %r = flatten %q : f32[N,32]
  %out = dense %r, %wd epilogue=[bias %bd] : f32[N,5]
}
"#;

const SHORTCUT: &str = r#"rir 1
graph @shortcut(%x: f32[N,2,3,3]) -> (%y) where N in 1..2 {
  param %w = "w" : f32[2,2,1,1]
  %c = conv2d %x, %w : f32[N,2,3,3]
  %s = add %c, %x : f32[N,2,3,3]
  %y = add %s, %c : f32[N,2,3,3]
}
"#;

#[test]
fn what_cannot_be_done_has_a_code() {
    let g = parse(SHORTCUT);
    let store: Arc<dyn TensorStore> = Arc::new(MemoryStore::default());
    let code = |d: Diagnostics| d.0[0].code;

    let names = ["no-such-pass".to_string()];
    let options = PassOptions { only: Some(&names), ..PassOptions::default() };
    let found = optimise(g.clone(), store.clone(), &X86_64_V3, 1, &options, &Interpreter).err().unwrap();
    assert_eq!(code(found), "E0401");

    let found = compile(g.clone(), store.clone(), &Options::new(X86_64_V3, 3), &Interpreter).err().unwrap();
    assert_eq!(code(found), "E0402");

    // The weights lack what the packing of `w` reads.
    let wide = SHORTCUT.replace("[N,2,3,3]", "[N,8,3,3]").replace("[2,2,1,1]", "[8,8,1,1]");
    let found = compile(parse(&wide), store, &Options::new(X86_64_V3, 1), &Interpreter).err().unwrap();
    assert_eq!(code(found), "E0403");

    let terms = ["%x"; 16].join(", ");
    let sum =
        format!("rir 1\ngraph @sum(%x: f32[N,3]) -> (%y) where N in 1..2 {{\n  %y = add {terms} : f32[N,3]\n}}\n");
    let found = lower(&parse(&sum), &Lowering { target: X86_64_V3, batch: 1, reference: false }).err().unwrap();
    assert_eq!(code(found), "E0404");
}
