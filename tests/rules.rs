//! Verifier rules that the text form cannot break, or not in every way: graphs, programs and kernels are damaged in
//! memory. What text can break stands in `tests/rir/verify/` and `tests/rir/kernel/`.

use crate::test;
use ir::entity::{Buf, Reg, Var};
use ir::epilogue::Step;
use ir::graph::{Def, Graph, GraphBuilder};
use ir::kernel::{Affine, Expr, For, Stmt};
use ir::program::Space;
use ir::text::{Module, parse};
use ir::types::{Dim, TensorType};
use ir::{DType, Diagnostics, Kernel, Layout, Program};
use libtest_mimic::Trial;

/// A damage, and the code and a part of the message that the verifier must answer with.
struct Broken<T> {
    name: &'static str,
    code: &'static str,
    says: &'static str,
    damage: fn(&mut T),
}

const fn broken<T>(name: &'static str, code: &'static str, says: &'static str, damage: fn(&mut T)) -> Broken<T> {
    Broken { name, code, says, damage }
}

pub fn tests() -> Vec<Trial> {
    let mut trials = trials(GRAPHS, graph, Graph::verify);
    trials.extend(self::trials(PROGRAMS, program, Program::verify));
    trials.extend(self::trials(KERNELS, kernel, Kernel::verify));
    trials
}

/// Codes that the tests of this module provoke.
pub fn provoked() -> Vec<&'static str> {
    let graphs = GRAPHS.iter().map(|b| b.code);
    graphs.chain(PROGRAMS.iter().map(|b| b.code)).chain(KERNELS.iter().map(|b| b.code)).collect()
}

fn trials<T: 'static>(table: &'static [Broken<T>], sound: fn() -> T, verify: fn(&T) -> Diagnostics) -> Vec<Trial> {
    let trial = |b: &'static Broken<T>| {
        test(&format!("rules::{}", b.name), move || {
            let mut x = sound();
            assert_eq!(verify(&x).to_string(), "");
            (b.damage)(&mut x);
            let found = verify(&x);
            let fits = |d: &ir::Diagnostic| d.code == b.code && d.message.contains(b.says);
            assert!(found.0.iter().any(fits), "{} '{}' is not among:\n{found}", b.code, b.says);
        })
    };
    table.iter().map(trial).collect()
}

fn graph() -> Graph {
    let mut b = GraphBuilder::new("g");
    let image = [Dim::N, Dim::Size(16), Dim::Size(8), Dim::Size(8)];
    let x = b.input("x", TensorType::new(DType::F32, image));
    let w = b.param("w", TensorType::f32(&[16, 16, 1, 1]));
    let y = b.op("y", "conv2d", &[x, w], &[]).expect("the shapes fit");
    let z = b.op("z", "relu", &[y], &[]).expect("the shapes fit");
    b.output(z);
    b.finish()
}

/// The convolution of [`graph`].
fn conv(g: &mut Graph) -> &mut ir::graph::NodeData {
    let n = g.order[0];
    &mut g.nodes[n]
}

static GRAPHS: &[Broken<Graph>] = &[
    broken("order_is_topological", "E0101", "read before it is computed", |g| g.order.reverse()),
    broken("results_know_their_nodes", "E0101", "does not know the node", |g| {
        let z = g.outputs[0];
        g.values[z].def = Def::Input(0);
    }),
    broken("names_are_unique", "E0102", "'%y' is empty or taken", |g| {
        let z = g.outputs[0];
        g.values[z].name = "y".into();
    }),
    broken("names_are_not_empty", "E0102", "'%' is empty or taken", |g| {
        let z = g.outputs[0];
        g.values[z].name.clear();
    }),
    broken("operands_are_counted", "E0103", "1 operands are given", |g| {
        conv(g).operands.pop();
    }),
    broken("attributes_are_complete", "E0104", "not those of conv2d", |g| {
        conv(g).attrs.0.remove("stride");
    }),
    broken("attributes_are_of_their_kind", "E0104", "not those of conv2d", |g| {
        conv(g).attrs.0.insert("stride", ir::op::Attr::Bool(true));
    }),
    broken("results_have_inferred_types", "E0105", "not f32[N,16,8,9]", |g| {
        let z = g.outputs[0];
        g.values[z].ty.shape[3] = Dim::Size(9);
    }),
    broken("results_are_counted", "E0105", "the op has 1 results", |g| {
        let z = g.outputs[0];
        conv(g).results.push(z);
    }),
    broken("layouts_fit", "E0105", "nChw32c does not fit f32[N,16,8,8]", |g| {
        let z = g.outputs[0];
        g.values[z].ty.layout = Layout::Blocked(32);
    }),
    broken("epilogues_are_allowed", "E0106", "relu has no epilogue", |g| {
        let n = g.order[1];
        g.nodes[n].epilogue.push(Step::Relu);
    }),
    broken("epilogue_operands_are_their_own", "E0106", "not those after the op's own", |g| {
        let x = g.inputs[0];
        conv(g).operands.push(x);
        conv(g).epilogue.push(Step::Add(0));
    }),
    broken("added_tensors_lie_like_the_result", "E0106", "epilogue step add takes f32[N,16,8,8], not", |g| {
        let x = g.inputs[0];
        g.values[x].ty.layout = Layout::Blocked(8);
        conv(g).operands.push(x);
        conv(g).epilogue.push(Step::Add(2));
    }),
    broken("epilogues_are_for_floats", "E0106", "floating-point results", |g| {
        conv(g).epilogue.push(Step::Relu);
        let y = conv(g).results[0];
        g.values[y].ty.dtype = DType::U8;
    }),
    broken("there_is_an_output", "E0107", "has no output", |g| g.outputs.clear()),
    broken("outputs_are_computed", "E0107", "the output is not computed", |g| {
        g.order.pop();
    }),
    broken("batch_is_positive", "E0108", "from 0 to 4", |g| g.batch = [0, 4]),
    broken("batch_is_the_first_dimension", "E0108", "N is not the first dimension", |g| {
        let x = g.inputs[0];
        g.values[x].ty.shape[2] = Dim::N;
    }),
    broken("parameters_have_no_batch", "E0108", "no tensor of the weights has a batch N", |g| {
        let w = g.params[0];
        g.values[w].ty.shape[0] = Dim::N;
    }),
];

fn module(text: &str) -> Module {
    let (module, problems) = parse(text);
    assert!(!problems.has_errors(), "{problems}");
    module
}

fn program() -> Program {
    let text = r#"rir 1
program @p target "x86-64-v3" batch 1 arena 384 consts 64 {
  %s0 = input 0 "x" : f32[4,9]
  %s1 = arena "y" : f32[4,9] at 0 live 0..1
  %s2 = arena "u" : f32[4,9] at 192 live 0..1
  %s3 = output 0 "z" : f32[4,9]
  %s4 = const "w" : f32[9] at 0
  call @relu(%s0, %s1) node "y" op relu macs 0
  call @relu(%s1, %s3) node "z" op relu macs 0
}
kernel @relu(%x: in f32[4,9], %y: out f32[4,9]) tasks %t in 0..4 {
  for %i in 0..9 {
    %r: f32 = load %x[%t, %i]
    store %y[%t, %i], %r
  }
}
"#;
    module(text).programs.remove(0)
}

static PROGRAMS: &[Broken<Program>] = &[
    broken("calls_have_a_kernel", "E0501", "no kernel", |p| p.calls[0].kernel = 9),
    broken("arguments_are_counted", "E0501", "1 arguments for 2 parameters", |p| {
        p.calls[0].args.pop();
    }),
    broken("arguments_have_the_size_of_parameters", "E0501", "argument 0 has 160 bytes of f32", |p| {
        let x = p.calls[0].args[0];
        p.slots[x].dims = vec![4, 10];
    }),
    broken("inputs_are_not_written", "E0502", "writes %x", |p| p.calls[0].args.reverse()),
    broken("reads_follow_writes", "E0503", "nothing has written", |p| p.calls.swap(0, 1)),
    broken("writes_do_not_alias", "E0504", "uses it a second time", |p| p.calls[1].args[1] = p.calls[1].args[0]),
    broken("buffers_lie_in_the_arena", "E0505", "in the 256 bytes of the arena", |p| p.arena_bytes = 256),
    broken("constants_lie_in_their_section", "E0505", "in the 64 bytes of the constants", |p| {
        for s in p.slots.values_mut() {
            if let Space::Const { offset } = &mut s.space {
                *offset = 64;
            }
        }
    }),
    broken("buffers_are_aligned", "E0505", "144 bytes at 4 do not lie aligned", |p| {
        let y = p.calls[0].args[1];
        p.slots[y].space = Space::Arena { offset: 4, first: 0, last: 1 };
    }),
    broken("live_buffers_do_not_overlap", "E0506", "shares memory with %u", |p| {
        for s in p.slots.values_mut() {
            if let Space::Arena { offset, .. } = &mut s.space {
                *offset = 64;
            }
        }
    }),
    broken("buffers_are_alive_when_used", "E0506", "call 1 uses %y", |p| {
        for s in p.slots.values_mut() {
            if let Space::Arena { last, .. } = &mut s.space {
                *last = 0;
            }
        }
    }),
    broken("buffers_live_while_there_are_calls", "E0506", "alive from call 0 to 7 of 2", |p| {
        let y = p.calls[0].args[1];
        p.slots[y].space = Space::Arena { offset: 0, first: 0, last: 7 };
    }),
    broken("outputs_are_written", "E0507", "%z is never written", |p| {
        p.calls.pop();
    }),
    broken("parameters_are_few", "E0508", "has 18 parameters", |p| {
        let (arg, k) = (p.calls[0].args[0], &mut p.kernels[0]);
        for _ in 0..16 {
            let param = k.params[0];
            k.params.push(param);
            p.calls.iter_mut().for_each(|c| c.args.push(arg));
        }
    }),
];

fn kernel() -> Kernel {
    let text = "rir 1
kernel @sums(%x: in f32[4,9], %y: out f32[4,9]) tasks %t in 0..4 {
  %zero: f32 = const 0
  %v = view %x at [%t, 0]
  %sum = for %i in 0..9 carry (%s = %zero) {
    %r: f32 = load %v[0, %i]
    %n: f32 = add %s, %r
    yield %n
  }
  for %j in 0..9 {
    store %y[%t, %j], %sum
  }
}
";
    module(text).kernels.remove(0)
}

/// The loop at this place of the body of [`kernel`].
fn loop_at(k: &mut Kernel, i: usize) -> &mut For {
    match &mut k.body[i] {
        Stmt::For(f) => f,
        s => panic!("{s:?} is no loop"),
    }
}

/// The indices of the store in the last loop of [`kernel`].
fn stored_at(k: &mut Kernel) -> &mut Vec<Affine> {
    match &mut loop_at(k, 3).body[0] {
        Stmt::Store { at, .. } => at,
        s => panic!("{s:?} is no store"),
    }
}

const NOWHERE: u32 = 99;

static KERNELS: &[Broken<Kernel>] = &[
    broken("the_task_has_a_variable", "E0601", "the task variable is not declared", |k| {
        k.task_var = Var::from_u32(NOWHERE);
    }),
    broken("dimensions_are_not_too_large", "E0601", "must be positive and not too large", |k| {
        k.bufs[Buf::from_u32(0)].shape = vec![i64::MAX, 2];
    }),
    broken("parameters_stand_in_order", "E0601", "in order of declaration", |k| k.params.reverse()),
    broken("views_are_declared_like_their_buffers", "E0601", "is not declared like %x", |k| {
        let view = k.bufs.iter().find(|(_, d)| d.role == ir::kernel::Role::View).expect("there is a view").0;
        k.bufs[view].shape = vec![9, 4];
    }),
    broken("registers_are_declared", "E0602", "%r99 is not declared", |k| {
        k.body.push(Stmt::Let { dst: Reg::from_u32(NOWHERE), expr: Expr::Const(0.0) });
    }),
    broken("registers_are_defined_once", "E0602", "is defined twice", |k| {
        let first = k.body[0].clone();
        k.body.push(first);
    }),
    broken("registers_are_defined_before_their_uses", "E0602", "used before it is defined", |k| k.body.swap(0, 2)),
    broken("views_are_declared", "E0605", "a view is not declared", |k| {
        let (view, of) = (Buf::from_u32(NOWHERE), Buf::from_u32(0));
        k.body.push(Stmt::View { view, of, at: vec![0.into(), 0.into()], opaque: false });
    }),
    broken("parameters_are_no_views", "E0605", "is not a view or is defined twice", |k| {
        let x = Buf::from_u32(0);
        k.body.push(Stmt::View { view: x, of: x, at: vec![0.into(), 0.into()], opaque: false });
    }),
    broken("buffers_are_declared", "E0605", "b99 is not declared", |k| {
        k.body.push(Stmt::Prefetch { buf: Buf::from_u32(NOWHERE), at: vec![0.into()] });
    }),
    broken("loop_variables_are_declared", "E0604", "a loop variable is not declared", |k| {
        loop_at(k, 3).var = Var::from_u32(NOWHERE);
    }),
    broken("variables_belong_to_one_loop", "E0604", "belongs to two loops", |k| {
        loop_at(k, 3).var = k.task_var;
    }),
    broken("loops_have_bounds", "E0604", "lacks a bound", |k| loop_at(k, 3).lo.clear()),
    broken("constants_of_indices_are_small", "E0604", "in an index is too large", |k| {
        stored_at(k)[0] = Affine::constant(1 << 41);
    }),
    broken("coefficients_of_indices_are_small", "E0604", "in an index is too large", |k| {
        stored_at(k)[0] = Affine::var(k.task_var) * (1 << 41);
    }),
    broken("divisors_of_indices_are_small", "E0604", "divisor 2199023255552 must be positive", |k| {
        stored_at(k)[0] = Affine::var(k.task_var).floordiv(1 << 41);
    }),
    broken("loop_bounds_do_not_overflow", "E0606", "a loop bound, 1099511627776*%t, may overflow", |k| {
        k.tasks = 1 << 31;
        loop_at(k, 3).hi = vec![Affine::var(k.task_var) * (1 << 40)];
    }),
];
