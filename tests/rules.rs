//! Verifier rules that the text form cannot break: graphs and programs are damaged in memory.

use crate::test;
use ir::graph::{Graph, GraphBuilder};
use ir::text::parse;
use ir::types::{Dim, TensorType};
use ir::{DType, Layout, Program};
use libtest_mimic::Trial;

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
    let (mut module, problems) = parse(text);
    assert!(!problems.has_errors(), "{problems}");
    module.programs.remove(0)
}

fn broken_graph(name: &str, code: &'static str, damage: fn(&mut Graph)) -> Trial {
    test(&format!("rules::{name}"), move || {
        let mut g = graph();
        assert_eq!(g.verify().to_string(), "");
        damage(&mut g);
        assert!(g.verify().0.iter().any(|d| d.code == code), "{code} is not among:\n{}", g.verify());
    })
}

fn broken_program(name: &str, code: &'static str, damage: fn(&mut Program)) -> Trial {
    test(&format!("rules::{name}"), move || {
        let mut p = program();
        assert_eq!(p.verify().to_string(), "");
        damage(&mut p);
        assert!(p.verify().0.iter().any(|d| d.code == code), "{code} is not among:\n{}", p.verify());
    })
}

pub fn tests() -> Vec<Trial> {
    use ir::program::Space;
    vec![
        broken_graph("order_is_topological", "E0101", |g| g.order.reverse()),
        broken_graph("names_are_unique", "E0102", |g| {
            let z = g.outputs[0];
            g.values[z].name = "y".into();
        }),
        broken_graph("operands_are_counted", "E0103", |g| {
            let n = g.order[0];
            g.nodes[n].operands.pop();
        }),
        broken_graph("attributes_are_complete", "E0104", |g| {
            let n = g.order[0];
            g.nodes[n].attrs.0.remove("stride");
        }),
        broken_graph("results_have_inferred_types", "E0105", |g| {
            let z = g.outputs[0];
            g.values[z].ty.shape[3] = Dim::Size(9);
        }),
        broken_graph("layouts_fit", "E0105", |g| {
            let z = g.outputs[0];
            g.values[z].ty.layout = Layout::Blocked(32);
        }),
        broken_graph("epilogues_are_allowed", "E0106", |g| {
            let n = g.order[1];
            g.nodes[n].epilogue.push(ir::epilogue::Step::Relu);
        }),
        broken_graph("there_is_an_output", "E0107", |g| g.outputs.clear()),
        broken_graph("batch_is_positive", "E0108", |g| g.batch = [0, 4]),
        broken_program("arguments_fit", "E0501", |p| {
            p.calls[0].args.pop();
        }),
        broken_program("inputs_are_not_written", "E0502", |p| p.calls[0].args.reverse()),
        broken_program("reads_follow_writes", "E0503", |p| p.calls.swap(0, 1)),
        broken_program("writes_do_not_alias", "E0504", |p| p.calls[1].args[1] = p.calls[1].args[0]),
        broken_program("buffers_lie_in_the_arena", "E0505", |p| p.arena_bytes = 256),
        broken_program("live_buffers_do_not_overlap", "E0506", |p| {
            for s in p.slots.values_mut() {
                if let Space::Arena { offset, .. } = &mut s.space {
                    *offset = 64;
                }
            }
        }),
        broken_program("buffers_are_alive_when_used", "E0506", |p| {
            for s in p.slots.values_mut() {
                if let Space::Arena { last, .. } = &mut s.space {
                    *last = 0;
                }
            }
        }),
        broken_program("outputs_are_written", "E0507", |p| {
            p.calls.pop();
        }),
        broken_program("parameters_are_few", "E0508", |p| {
            let (arg, k) = (p.calls[0].args[0], &mut p.kernels[0]);
            for _ in 0..16 {
                let param = k.params[0];
                k.params.push(param);
                p.calls.iter_mut().for_each(|c| c.args.push(arg));
            }
        }),
    ]
}
