//! Whole pass lists against the graph interpreter, on integers: any difference is a bug.

use crate::graph::{FoldBn, FuseEpilogue};
use crate::lower::{Lowering, lower};
use crate::pass::{Pass, PassCtx};
use crate::pipeline::{Options, PassOptions, compile, optimise};
use ir::graph::Def;
use ir::interp::{self, encode, graph, program};
use ir::store::{MemoryStore, TensorData, TensorStore};
use ir::target::{TARGETS, X86_64_V3};
use ir::{Diagnostics, Graph, Kernel};
use std::borrow::Cow;
use std::cell::RefCell;
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
pub fn check_semantics(text: &str, seed: u64) {
    let g = parse(text);
    let batch = 2;
    let mut random = Random::new(seed);
    let (store, inputs) = (weights(&g, &mut random), inputs(&g, batch, &mut random));
    let expected = reference(&g, &*store, &inputs, batch);
    for target in TARGETS {
        let after = RefCell::new(Vec::new());
        let observe = |pass: &'static str, g: &Graph| after.borrow_mut().push((pass, g.clone()));
        let passes = PassOptions { verify_each: true, after: Some(&observe), ..PassOptions::default() };
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
    }
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

#[test]
fn a_small_network_keeps_its_outputs_through_every_pass_on_every_target() {
    check_semantics(BLOCKS, 1);
}

#[test]
fn a_program_without_passes_and_one_in_f64_agree_with_the_graph() {
    let g = parse(BLOCKS);
    let mut random = Random::new(3);
    let (store, inputs) = (weights(&g, &mut random), inputs(&g, 2, &mut random));
    let expected = reference(&g, &*store, &inputs, 2);
    let wide: Vec<Vec<u8>> =
        inputs.iter().map(|b| encode(ir::DType::F64, &interp::decode(ir::DType::F32, b))).collect();
    let wide: Vec<&[u8]> = wide.iter().map(|b| &b[..]).collect();
    let compiled = compile(g.clone(), store.clone(), &Options::reference(X86_64_V3, 2), &Interpreter).unwrap();
    let got = program::run(&compiled.program, &wide, &*compiled.store).unwrap();
    let narrow = encode(ir::DType::F32, &interp::decode(ir::DType::F64, &got[0]));
    assert!(narrow == expected[0]);
}

#[test]
fn the_whole_list_is_idempotent() {
    let g = parse(BLOCKS);
    let store = weights(&g, &mut Random::new(5));
    let options = PassOptions::default();
    let once = optimise(g, store, &X86_64_V3, 2, &options, &Interpreter).unwrap();
    let text = ir::text::print_graph(&once.graph);
    let twice = optimise(once.graph, once.store, &X86_64_V3, 2, &options, &Interpreter).unwrap();
    assert_eq!(ir::text::print_graph(&twice.graph), text);
    for stats in &twice.log.passes {
        assert!(stats.is_unchanged(), "{stats:?}");
    }
}

/// Folds batch norms as `fold-bn` does, and drops the bias of the convolution.
struct FaultyFold;

impl Pass for FaultyFold {
    fn name(&self) -> &'static str {
        "faulty-fold"
    }
    fn doc(&self) -> &'static str {
        "a planted fault"
    }
    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        FoldBn.run(cx)?;
        for n in cx.graph.order.clone() {
            let d = &mut cx.graph.nodes[n];
            if d.op.name == "fold_bn_bias" {
                d.operands.truncate(4);
            }
        }
        Ok(())
    }
}

#[test]
fn a_fold_that_drops_the_bias_is_caught_by_the_interpreter() {
    let g = parse(BLOCKS);
    let mut random = Random::new(7);
    let (store, inputs) = (weights(&g, &mut random), inputs(&g, 2, &mut random));
    let expected = reference(&g, &*store, &inputs, 2);
    let fold = |pass: &dyn Pass| {
        let mut cx = PassCtx::new(g.clone(), MemoryStore::over(store.clone()), X86_64_V3, 2, &Interpreter, None);
        cx.run(pass).unwrap();
        reference(&cx.graph, &*store, &inputs, 2)
    };
    assert!(fold(&FoldBn) == expected);
    assert!(fold(&FaultyFold) != expected, "the fault must show");
}

const SHORTCUT: &str = r#"rir 1
graph @shortcut(%x: f32[N,2,3,3]) -> (%y) where N in 1..2 {
  param %w = "w" : f32[2,2,1,1]
  %c = conv2d %x, %w : f32[N,2,3,3]
  %s = add %c, %x : f32[N,2,3,3]
  %y = add %s, %c : f32[N,2,3,3]
}
"#;

/// Fuses `s` into `c` although `c` is read again: what `fuse-epilogue` refuses as `HasOtherReader`.
struct FaultyFuse;

impl Pass for FaultyFuse {
    fn name(&self) -> &'static str {
        "faulty-fuse"
    }
    fn doc(&self) -> &'static str {
        "a planted fault"
    }
    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        let g = &cx.graph;
        let [c, s] = ["c", "s"].map(|n| g.value_named(n).expect("named above"));
        let d = &g.nodes[g.def(c).expect("a node")];
        let operands = [d.operands[0], d.operands[1], g.inputs[0]].map(ir::graph::Src::Old).to_vec();
        let mut p = ir::graph::Patch::new("faulty-fuse");
        let y = p.add("fused", d.op, d.attrs.clone(), operands, vec![ir::epilogue::Step::Add(2)], None);
        p.replace(c, y);
        p.replace(s, y);
        cx.apply(vec![p]).map(|_| ())
    }
}

#[test]
fn an_add_fused_over_a_value_that_is_read_later_is_caught_by_the_interpreter() {
    let g = parse(SHORTCUT);
    let mut random = Random::new(9);
    let (store, inputs) = (weights(&g, &mut random), inputs(&g, 2, &mut random));
    let expected = reference(&g, &*store, &inputs, 2);
    let fuse = |pass: &dyn Pass| {
        let mut cx = PassCtx::new(g.clone(), MemoryStore::over(store.clone()), X86_64_V3, 2, &Interpreter, None);
        cx.run(pass).unwrap();
        assert!(!cx.graph.verify().has_errors());
        (reference(&cx.graph, &*store, &inputs, 2), cx.log)
    };
    let (kept, log) = fuse(&FuseEpilogue);
    assert!(kept == expected);
    assert!(log.why("s").any(|r| r.keep.name == "HasOtherReader"), "{log:?}");
    assert!(fuse(&FaultyFuse).0 != expected, "the fault must show");
}

#[test]
fn a_limit_stops_after_that_many_patches_and_what_it_leaves_still_compiles() {
    let g = parse(BLOCKS);
    let mut random = Random::new(11);
    let (store, inputs) = (weights(&g, &mut random), inputs(&g, 2, &mut random));
    let expected = reference(&g, &*store, &inputs, 2);
    for limit in 0..12 {
        let passes = PassOptions { limit: Some(limit), verify_each: true, ..PassOptions::default() };
        let options = Options { passes, ..Options::new(X86_64_V3, 2) };
        let compiled = compile(g.clone(), store.clone(), &options, &Interpreter).unwrap();
        assert_eq!(compiled.log.passes.iter().map(|p| p.patches).sum::<usize>(), limit);
        let bytes: Vec<&[u8]> = inputs.iter().map(|b| &b[..]).collect();
        let got = program::run(&compiled.program, &bytes, &*compiled.store).unwrap();
        assert!(got == expected, "differs with {limit} patches");
    }
}

#[test]
fn outputs_that_are_inputs_parameters_or_one_value_are_copied() {
    check_semantics(
        r#"rir 1
graph @outputs(%x: f32[N,2,3,3]) -> (%x, %y, %z, %k) where N in 1..2 {
  param %k = "k" : f32[2,3]
  %r = relu %x : f32[N,2,3,3]
  %y = flatten %r : f32[N,18]
  %z = reshape %r shape=[N,2,9] : f32[N,2,9]
}
"#,
        13,
    );
}

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
    let sum = format!(
        "rir 1\ngraph @sum(%x: f32[N,3]) -> (%y) where N in 1..2 {{\n  %y = add {terms} : f32[N,3]\n}}\n"
    );
    let found = lower(&parse(&sum), &Lowering { target: X86_64_V3, batch: 1, reference: false }).err().unwrap();
    assert_eq!(code(found), "E0404");
}
