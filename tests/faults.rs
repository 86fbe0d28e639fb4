//! Planted faults: each mistake that a pass, a template or the memory planner could make is made on purpose, on the
//! code of whole networks, and what should notice it does. Each test first shows that the sound version passes.
//!
//! | fault | is found by |
//! |---|---|
//! | an index is off by one | the kernel verifier |
//! | tasks overlap | the kernel verifier |
//! | buffers overlap in the arena | the memory checker, and the program verifier |
//! | a fold drops the bias of a convolution | `verify`, which names the layer |
//! | an addition goes over a shortcut that is read later | `verify`, which names the layer; the memory checker |
//! | a template multiplies the wrong numbers | `verify`, which names the layer |
//!
//! `tests/e2e/full_size.rs` plants the last one in a ResNet-50 at full size.

use crate::network::{Network, off, passes_around, spec};
use crate::test;
use ir::entity::Slot;
use ir::kernel::{Affine, Expr, Kernel, Role, Stmt};
use ir::program::{Call, Space};
use ir::target::{TARGETS, X86_64_V2, X86_64_V3};
use ir::{Diagnostics, Graph, Place, Program};
use libtest_mimic::Trial;
use passes::program::check_memory;
use rescc::builders::Spec;
use rescc::toolchain::BackendName;

pub fn tests() -> Vec<Trial> {
    vec![
        test("faults::an_index_off_by_one", index_off_by_one),
        test("faults::tasks_that_overlap", overlapping_tasks),
        test("faults::an_overlap_in_the_arena", arena_overlap),
        test("faults::a_fold_that_drops_the_convolution_bias", dropped_bias),
        test("faults::an_addition_over_a_shortcut_that_is_read_later", overwritten_shortcut),
        test("faults::a_template_that_multiplies_the_wrong_numbers", wrong_factors),
    ]
}

/// Networks whose kernels together come from every template: small ones, all channels can be blocked.
fn small_networks() -> [Spec; 2] {
    [
        Spec { width: 16, input: [3, 64, 64], classes: 10, ..spec("resnet18") },
        Spec { width: 16, ..spec("cifar-resnet8") },
    ]
}

/// The kernels of small networks for every CPU level, each with the number of its parameter that holds a filter. The
/// matrices of dense layers are no filters: their last panel may have rows that nobody reads.
fn kernels() -> Vec<(Kernel, Option<usize>)> {
    let mut out: Vec<(Kernel, Option<usize>)> = Vec::new();
    for spec in small_networks() {
        let network = Network::build(&spec);
        for target in TARGETS {
            let program = network.compile(target).program;
            for (i, kernel) in program.kernels.into_iter().enumerate() {
                let filters = program.calls.iter().any(|c| c.kernel == i && c.op == "conv2d");
                out.push((kernel, filters.then_some(1)));
            }
        }
    }
    for (k, _) in &out {
        assert_eq!(k.verify().to_string(), "", "@{}", k.name);
    }
    assert!(out.len() > 40, "{} kernels", out.len());
    out
}

/// Calls `f` on every statement, those of loops after the loop.
fn walk(body: &mut [Stmt], f: &mut impl FnMut(&mut Stmt)) {
    for s in body {
        f(s);
        if let Stmt::For(l) = s {
            walk(&mut l.body, f);
        }
    }
}

/// All accesses to a buffer that is written or read from end to end, moved by one along each of its dimensions.
fn index_off_by_one() {
    for (kernel, filter) in kernels() {
        let whole = kernel.params.iter().copied().enumerate();
        let whole = whole.filter(|&(i, b)| kernel.bufs[b].role == Role::Out || filter == Some(i)).map(|(_, b)| b);
        for buf in whole {
            for dimension in 0..kernel.bufs[buf].shape.len() {
                let mut bad = kernel.clone();
                let shift = |at: &mut [Affine]| at[dimension] = &at[dimension] + 1;
                walk(&mut bad.body, &mut |s| match s {
                    Stmt::Let { expr: Expr::Load { buf: b, at }, .. } | Stmt::Store { buf: b, at, .. } if *b == buf => {
                        shift(at);
                    }
                    Stmt::View { of, at, .. } if *of == buf => shift(at),
                    _ => {}
                });
                let what = format!("@{}, dimension {dimension} of {buf}", kernel.name);
                finds(&bad.verify(), "E0606", &what);
            }
        }
    }
}

/// Two tasks each do the work of one.
fn overlapping_tasks() {
    for (kernel, _) in kernels().into_iter().filter(|(k, _)| k.tasks > 1) {
        let mut bad = kernel.clone();
        let half = Affine::var(bad.task_var).floordiv(2);
        let halve = |a: &mut Affine| *a = a.substitute(kernel.task_var, &half);
        walk(&mut bad.body, &mut |s| match s {
            Stmt::Let { expr: Expr::Load { at, .. }, .. }
            | Stmt::Store { at, .. }
            | Stmt::View { at, .. }
            | Stmt::Prefetch { at, .. } => at.iter_mut().for_each(halve),
            Stmt::Let { expr: Expr::Index(a), .. } => halve(a),
            Stmt::For(f) => f.lo.iter_mut().chain(&mut f.hi).for_each(halve),
            Stmt::Let { .. } => {}
        });
        finds(&bad.verify(), "E0608", &format!("@{}", kernel.name));
    }
}

#[track_caller]
fn finds(found: &Diagnostics, code: &str, what: &str) {
    assert!(found.0.iter().any(|d| d.code == code), "{what}: {code} is not among\n{found}");
}

fn offset(p: &Program, s: Slot) -> Option<u64> {
    match p.slots[s].space {
        Space::Arena { offset, .. } => Some(offset),
        _ => None,
    }
}

/// The program with one buffer of the arena at the place of another.
fn moved(good: &Program, from: Slot, onto: Slot) -> Program {
    let (mut bad, to) = (good.clone(), offset(good, onto).expect("a buffer of the arena"));
    match &mut bad.slots[from].space {
        Space::Arena { offset, .. } => *offset = to,
        space => panic!("{space:?} is not in the arena"),
    }
    bad
}

/// What a call writes.
fn result(p: &Program, c: &Call) -> Slot {
    let k = &p.kernels[c.kernel];
    let (&slot, _) = c.args.iter().zip(&k.params).find(|(_, b)| k.bufs[**b].role == Role::Out).expect("a call writes");
    slot
}

/// The result of every call in turn is put over each of its operands.
fn arena_overlap() {
    let good = Network::build(&spec("cifar-resnet8")).compile(X86_64_V3).program;
    check_memory::check(&good).expect("the plan is sound");
    let mut planted = 0;
    for call in &good.calls {
        let y = result(&good, call);
        let operands = call.args.iter().filter(|&&s| s != y && offset(&good, s).is_some());
        for &x in operands.filter(|_| offset(&good, y).is_some()) {
            let bad = moved(&good, y, x);
            let found = check_memory::check(&bad).expect_err("an operand is overwritten");
            let here = |d: &ir::Diagnostic| d.labels.iter().any(|l| l.place == Place::Node(call.node.clone()));
            assert!(found.0.iter().any(|d| here(d) && d.message.contains("over its argument")), "{found}");
            finds(&bad.verify(), "E0506", &call.node);
            planted += 1;
        }
    }
    assert!(planted >= good.calls.len() - 3, "{planted} overlaps among {} calls", good.calls.len());
}

/// The layers that are off if a pass that runs after fusion makes this mistake. No rule of the graph forbids it.
fn off_after(network: &Network, mistake: impl FnOnce(&mut Graph)) -> Vec<String> {
    let (before, after) = passes_around("fuse-epilogue");
    let mut o = network.optimise(&before, X86_64_V2);
    mistake(&mut o.graph);
    assert_eq!(o.graph.verify().to_string(), "");
    let compiled = network.finish(o, &after, X86_64_V2);
    let kernels = network.kernels(&compiled.program, BackendName::Cranelift, X86_64_V2);
    off(&network.layers(&compiled, &kernels)).into_iter().map(String::from).collect()
}

/// β + (0 − μ)·γ/√(σ² + ε) instead of β + (b − μ)·γ/√(σ² + ε), for each convolution in turn.
fn dropped_bias() {
    let network = Network::build(&Spec { conv_bias: true, ..spec("cifar-resnet8") });
    assert_eq!(off_after(&network, |_| {}), [""; 0]);
    for i in 0..7 {
        let mut layer = String::new();
        let named = off_after(&network, |g| {
            let folds: Vec<_> = g.order.iter().copied().filter(|&n| g.op(n).name == "fold_bn_bias").collect();
            assert_eq!(folds.len(), 7);
            let bias = g.result(folds[i]);
            layer = g.name(g.result(g.readers()[bias][0])).to_string();
            let left = g.nodes[folds[i]].operands.pop();
            assert!(left.is_some_and(|b| g.name(b).contains("conv") && g.name(b).ends_with(".bias")));
        });
        assert_eq!(named, [layer]);
    }
}

/// Two additions of the same shortcut %s.
const LATE_READER: &str = "rir 1
graph @late(%x: f32[N,8,9,9]) -> (%out) where N in 1..4 {
  param %w0 = \"w0\" : f32[8,8,3,3]
  param %w1 = \"w1\" : f32[8,8,3,3]
  param %w2 = \"w2\" : f32[8,8,3,3]
  param %w3 = \"w3\" : f32[8,8,3,3]
  %s   = conv2d %x, %w0 pad=1,1,1,1 : f32[N,8,9,9]
  %c1  = conv2d %s, %w1 pad=1,1,1,1 : f32[N,8,9,9]
  %r1  = relu %c1                   : f32[N,8,9,9]
  %c2  = conv2d %r1, %w2 pad=1,1,1,1 : f32[N,8,9,9]
  %a2  = add %c2, %s                : f32[N,8,9,9]
  %y2  = relu %a2                   : f32[N,8,9,9]
  %c3  = conv2d %y2, %w3 pad=1,1,1,1 : f32[N,8,9,9]
  %y3  = add %c3, %s                : f32[N,8,9,9]
  %out = global_avg_pool %y3        : f32[N,8]
}
";

/// The convolution %c2 adds its shortcut where that lies and leaves the sum there, but %y3 still needs the shortcut.
fn overwritten_shortcut() {
    let (mut module, problems) = ir::text::parse(LATE_READER);
    assert_eq!(problems.to_string(), "");
    let network = Network::of(module.graphs.remove(0));
    assert_eq!(off_after(&network, |_| {}), [""; 0]);

    // In the graph: who reads the shortcut later reads the sum.
    let value = |g: &Graph, name: &str| g.value_named(name).unwrap_or_else(|| panic!("there is no %{name}"));
    let named = off_after(&network, |g| {
        let (s, sum) = (value(g, "s"), value(g, "y2"));
        let last = g.def(value(g, "y3")).expect("it is computed");
        assert_eq!(g.readers()[s].last(), Some(&last), "both additions are fused");
        g.nodes[last].operands.iter_mut().filter(|v| **v == s).for_each(|v| *v = sum);
    });
    assert_eq!(named, ["y3"]);

    // In memory: the sum lies where the shortcut lies.
    let good = network.compile(X86_64_V3).program;
    let call = |name: &str| good.calls.iter().find(|c| c.node == name).unwrap_or_else(|| panic!("no call of %{name}"));
    let found = check_memory::check(&moved(&good, result(&good, call("y2")), result(&good, call("s"))));
    let found = found.expect_err("a value is overwritten that is read later");
    let late = |d: &ir::Diagnostic| d.message.contains("reads %s, but not all of it is there");
    let node = Place::Node("y3".into());
    assert!(found.0.iter().any(|d| late(d) && d.labels.iter().any(|l| l.place == node)), "{found}");
}

fn wrong_factors() {
    let network = Network::build(&spec("cifar-resnet20"));
    let mut compiled = network.compile(X86_64_V2);
    let kernels = network.kernels(&compiled.program, BackendName::Cranelift, X86_64_V2);
    assert_eq!(off(&network.layers(&compiled, &kernels)), [""; 0]);
    let damaged = damage_kernel_of(&mut compiled.program, "layer2.1");
    let kernels = network.kernels(&compiled.program, BackendName::Cranelift, X86_64_V2);
    assert_eq!(off(&network.layers(&compiled, &kernels)), damaged);
}

/// Damages the kernel of the first convolution of a block. Returns the layers that this kernel computes.
pub fn damage_kernel_of(p: &mut Program, block: &str) -> Vec<String> {
    let multiplies = |c: &&Call| ["conv2d", "winograd_output", "winograd_conv2d"].contains(&&c.op[..]);
    let first = p.calls.iter().filter(multiplies).find(|c| c.node.starts_with(block));
    let victim = first.unwrap_or_else(|| panic!("no convolution of {block}")).kernel;
    assert!(swap_factors(&mut p.kernels[victim].body), "the kernel has a multiply-add to damage");
    p.calls.iter().filter(|c| c.kernel == victim).map(|c| c.node.clone()).collect()
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
