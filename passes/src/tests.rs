//! Whole pass lists against the graph interpreter, on integers: any difference is a bug.

use crate::graph::{FoldBn, FuseEpilogue, Winograd};
use crate::lower::{Lowering, lower};
use crate::pass::{Pass, PassCtx};
use crate::pipeline::{Options, PassOptions, compile, optimise};
use ir::entity::Value;
use ir::graph::{Def, GraphBuilder};
use ir::interp::{self, encode, graph, program};
use ir::op::Attr;
use ir::store::{MemoryStore, TensorData, TensorStore};
use ir::target::{TARGETS, X86_64_V3};
use ir::{DType, Diagnostics, Dim, Graph, Kernel, TensorType};
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
    let sum =
        format!("rir 1\ngraph @sum(%x: f32[N,3]) -> (%y) where N in 1..2 {{\n  %y = add {terms} : f32[N,3]\n}}\n");
    let found = lower(&parse(&sum), &Lowering { target: X86_64_V3, batch: 1, reference: false }).err().unwrap();
    assert_eq!(code(found), "E0404");
}

/// A random graph: convolutions, batch norms and what stands between them, on small images; values are shared,
/// there may be two outputs.
fn random_graph(random: &mut Random) -> Graph {
    let mut b = GraphBuilder::new("random");
    let image = |c: u64, side: u64| TensorType::new(DType::F32, [Dim::N, c.into(), side.into(), side.into()]);
    let channels = [3, 8, 16][random.below(3) as usize];
    let mut values = vec![b.input("x", image(channels, 6))];
    for i in 0..4 + random.below(10) {
        let x = values[values.len() - 1 - random.below(values.len().min(3) as u64) as usize];
        let [_, Dim::Size(c), ..] = b.graph().ty(x).shape[..] else { unreachable!("images only") };
        let y = format!("v{i}");
        let pad = random.below(2);
        let quad = Attr::Quad([pad; 4]);
        let made = match random.below(12) {
            0..4 => {
                let (oc, taps) = ([8, 16, 5][random.below(3) as usize], [1, 3][random.below(2) as usize]);
                let w = b.param(&format!("{y}.sparse"), TensorType::f32(&[oc, c, taps, taps]));
                let stride = Attr::Pair([1 + random.below(2); 2]);
                b.op(&y, "conv2d", &[x, w], &[("pad", quad), ("stride", stride)])
            }
            4 | 5 => {
                let mut vector = |name: &str| b.param(&format!("{y}.{name}"), TensorType::f32(&[c]));
                let [gamma, beta, mean, var] = ["gamma", "beta", "mean", "var"].map(&mut vector);
                b.op(&y, "batch_norm", &[x, gamma, beta, mean, var], &[("eps", Attr::Float(0.0))])
            }
            6 | 7 => b.op(&y, "relu", &[x], &[]),
            8 => b.op(&y, "clamp", &[x], &[("lo", Attr::Float(-2.0)), ("hi", Attr::Float(6.0))]),
            9 => b.op(&y, "pad2d", &[x], &[("pad", quad)]),
            10 => {
                let op = ["max_pool", "avg_pool"][random.below(2) as usize];
                b.op(&y, op, &[x], &[("kernel", Attr::Pair([2, 2])), ("stride", Attr::Pair([2, 2])), ("pad", quad)])
            }
            _ => b.op(&y, "subsample", &[x], &[("step", Attr::Pair([1 + random.below(2); 2]))]),
        };
        // What does not fit (a window larger than its image) is left out.
        let Ok(v) = made else { continue };
        values.push(v);
        let alike: Vec<Value> = values.iter().copied().filter(|&u| b.graph().ty(u) == b.graph().ty(v)).collect();
        if random.below(2) == 0 && alike.len() > 1 {
            let u = alike[random.below(alike.len() as u64) as usize];
            values.push(b.op(&format!("a{i}"), "add", &[v, u], &[]).expect("equal types"));
        }
    }
    let last = *values.last().expect("the input");
    b.output(last);
    let other = values[random.below(values.len() as u64) as usize];
    if random.below(3) == 0 && other != last {
        b.output(other);
    }
    b.finish()
}

#[test]
fn random_graphs_keep_their_outputs_through_every_pass_on_every_target() {
    let mut active = BTreeSet::new();
    for seed in 0..32 {
        let g = random_graph(&mut Random::new(seed));
        active.extend(check_semantics(&format!("rir 1\n{}", ir::text::print_graph(&g)), seed));
    }
    // A generator that gives some pass nothing to do tests nothing of it.
    let expected = ["canonicalize", "dce", "fold-bn", "fold-constants", "fuse-epilogue", "select-layout", "split-bn"];
    assert_eq!(active.into_iter().filter(|p| expected.contains(p)).collect::<Vec<_>>(), expected);
}

/// A CIFAR network of `3·n` blocks with options A shortcuts, as text.
fn cifar(n: usize) -> String {
    let mut out = String::from("rir 1\ngraph @cifar(%x: f32[N,3,32,32]) -> (%out) where N in 1..4 {\n");
    let (mut body, mut params) = (String::new(), String::new());
    let mut conv = |name: &str, x: &str, ic: u32, oc: u32, stride: u32, side: u32, body: &mut String| {
        params += &format!("  param %{name}.w = \"{name}.w\" : f32[{oc},{ic},3,3]\n");
        for p in ["gamma", "beta", "mean", "var"] {
            params += &format!("  param %{name}.{p} = \"{name}.{p}\" : f32[{oc}]\n");
        }
        *body += &format!(
            "  %{name}.c = conv2d %{x}, %{name}.w stride={stride}x{stride} pad=1,1,1,1 : f32[N,{oc},{side},{side}]\n  \
             %{name}.n = batch_norm %{name}.c, %{name}.gamma, %{name}.beta, %{name}.mean, %{name}.var eps=0 : f32[N,{oc},{side},{side}]\n"
        );
    };
    conv("stem", "x", 3, 16, 1, 32, &mut body);
    body += "  %r0 = relu %stem.n : f32[N,16,32,32]\n";
    let mut x = "r0".to_string();
    let mut width = 16;
    for (stage, oc) in [16, 32, 64].into_iter().enumerate() {
        for i in 0..n {
            let side = 32 >> stage;
            let stride = if oc == width { 1 } else { 2 };
            let b = format!("s{stage}b{i}");
            conv(&format!("{b}.1"), &x, width, oc, stride, side, &mut body);
            let ty = format!("f32[N,{oc},{side},{side}]");
            body += &format!("  %{b}.r = relu %{b}.1.n : {ty}\n");
            conv(&format!("{b}.2"), &format!("{b}.r"), oc, oc, 1, side, &mut body);
            if stride == 2 {
                body += &format!("  %{b}.s = subsample %{x} step=2x2 : f32[N,{width},{side},{side}]\n");
                body += &format!("  %{b}.p = pad_channels %{b}.s before={0} after={0} : {ty}\n", width / 2);
                x = format!("{b}.p");
            }
            body += &format!("  %{b}.a = add %{b}.2.n, %{x} : {ty}\n  %{b} = relu %{b}.a : {ty}\n");
            (x, width) = (b, oc);
        }
    }
    body += &format!("  %g = global_avg_pool %{x} : f32[N,64]\n  %out = dense %g, %fc : f32[N,10]\n}}\n");
    params += "  param %fc = \"fc\" : f32[10,64]\n";
    out += &params;
    out + &body
}

/// Gives zeros, for graphs whose numbers do not matter.
struct Zeros;

impl crate::Evaluator for Zeros {
    fn eval(&self, kernel: &Kernel, _: &[&[u8]]) -> Result<Vec<Vec<u8>>, Diagnostics> {
        let outs = kernel.params.iter().map(|&b| &kernel.bufs[b]).filter(|b| b.role != ir::kernel::Role::In);
        Ok(outs.map(|b| vec![0; b.len_bytes() as usize]).collect())
    }
}

#[test]
fn the_deepest_network_of_the_paper_becomes_a_short_program() {
    let g = parse(&cifar(200));
    let store = weights(&g, &mut Random::new(1));
    let passes = PassOptions { winograd: Winograd::Off, ..PassOptions::default() };
    let options = Options { passes, ..Options::new(X86_64_V3, 1) };
    let compiled = compile(g, store, &options, &Zeros).unwrap();
    let p = &compiled.program;
    // A call for each convolution, two for each option-A shortcut, pool and dense.
    assert_eq!(p.calls.len(), 1201 + 2 * 2 + 2);
    assert_eq!(p.kernels.len(), 15, "{:?}", p.kernels.iter().map(|k| &k.name).collect::<Vec<_>>());
    // Three images of the first stage.
    assert_eq!(p.arena_bytes, 3 * 16 * 32 * 32 * 4);
}
