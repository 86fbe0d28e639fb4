use super::*;
use crate::lower::{Lowering, lower};
use crate::pipeline::{Options, compile};
use crate::tests::{Interpreter, parse};
use ir::graph::GraphBuilder;
use ir::store::MemoryStore;
use ir::target::X86_64_V3;
use ir::{DType, Dim, Graph, TensorType};
use std::sync::Arc;

/// A chain of relus with a long shortcut from its first to its end.
fn residual() -> Graph {
    let mut b = GraphBuilder::new("residual");
    let x = b.input("x", TensorType::new(DType::F32, [Dim::N, 3.into(), 5.into(), 7.into()]));
    let first = b.op("first", "subsample", &[x], &[("step", ir::op::Attr::Pair([2, 1]))]).unwrap();
    let mut v = first;
    for i in 0..4 {
        v = b
            .op(
                &format!("c{i}"),
                "clamp",
                &[v],
                &[("lo", ir::op::Attr::Float(-1.0)), ("hi", ir::op::Attr::Float(f64::from(i) + 1.0))],
            )
            .unwrap();
    }
    let sum = b.op("sum", "add", &[v, first], &[]).unwrap();
    b.output(sum);
    b.finish()
}

fn program() -> Program {
    let compiled = compile(residual(), Arc::new(MemoryStore::default()), &Options::new(X86_64_V3, 2), &Interpreter);
    compiled.unwrap().program
}

#[test]
fn a_plan_uses_memory_again_and_passes_all_checks() {
    let p = program();
    assert!(!p.verify().has_errors(), "{}", p.verify());
    let order: Vec<usize> = (0..p.calls.len()).collect();
    // The shortcut and two neighbours of the chain.
    assert_eq!(p.arena_bytes, 3 * (2u64 * 3 * 3 * 7 * 4).next_multiple_of(64));
    assert_eq!(order_kernels::peak(&p, &order), 3 * 2 * 3 * 3 * 7 * 4);
}

#[test]
fn the_checker_finds_every_planted_overlap() {
    let good = program();
    let arena: Vec<Slot> = good.slots.keys().filter(|&s| matches!(good.slots[s].space, Space::Arena { .. })).collect();
    let shortcut = *arena.iter().find(|&&s| good.slots[s].name == "first").unwrap();
    let Space::Arena { offset: kept, .. } = good.slots[shortcut].space else { unreachable!() };
    for &s in arena.iter().filter(|&&s| s != shortcut) {
        // Onto the shortcut, and half over it.
        for at in [kept, kept + 64] {
            let mut bad = good.clone();
            let Space::Arena { offset, .. } = &mut bad.slots[s].space else { unreachable!() };
            *offset = at;
            let name = &good.slots[s].name;
            let found = check_memory::check(&bad).expect_err(name);
            assert!(found.0.iter().all(|d| d.code == "E0405"), "{found}");
        }
    }
    let mut bad = good.clone();
    let Space::Arena { offset, .. } = &mut bad.slots[shortcut].space else { unreachable!() };
    *offset += 4;
    assert!(check_memory::check(&bad).is_err(), "not aligned");
}

#[test]
fn calls_are_reordered_only_if_the_peak_is_smaller() {
    // Two wide branches that are each reduced; breadth first would keep both wide values.
    let mut b = GraphBuilder::new("branches");
    let x = b.input("x", TensorType::new(DType::F32, [Dim::N, 2.into(), 8.into(), 8.into()]));
    let pad = |b: &mut GraphBuilder, name: &str, n| {
        b.op(name, "pad_channels", &[x], &[("before", ir::op::Attr::Int(n)), ("after", ir::op::Attr::Int(9 - n))])
            .unwrap()
    };
    let (w1, w2) = (pad(&mut b, "w1", 1), pad(&mut b, "w2", 2));
    let p1 = b.op("p1", "global_avg_pool", &[w1], &[]).unwrap();
    let p2 = b.op("p2", "global_avg_pool", &[w2], &[]).unwrap();
    let y = b.op("y", "add", &[p1, p2], &[]).unwrap();
    b.output(y);
    let options = Options::new(X86_64_V3, 1);
    let p = compile(b.finish(), Arc::new(MemoryStore::default()), &options, &Interpreter).unwrap().program;
    let order: Vec<&str> = p.calls.iter().map(|c| &c.node[..]).collect();
    assert_eq!(order, ["w1", "p1", "w2", "p2", "y"]);

    let p = program();
    let order: Vec<&str> = p.calls.iter().map(|c| &c.node[..]).collect();
    assert_eq!(order, ["first", "c0", "c1", "c2", "c3", "sum"]);
}

/// The two layouts have different sizes in memory.
#[test]
fn a_tensor_that_is_read_as_two_types_is_two_constants() {
    let g = parse(
        r#"rir 1
graph @two(%x: f32[N,16]) -> (%y) where N in 1..4 {
  param %w = "w" : f32[10,16]
  param %v = "w" : f32[10,16]:Oi8o
  param %u = "w" : f32[10,16]
  %a = dense %x, %w : f32[N,10]
  %b = dense %x, %v : f32[N,10]
  %c = dense %x, %u : f32[N,10]
  %y = add %a, %b, %c : f32[N,10]
}
"#,
    );
    let mut p = lower(&g, &Lowering { target: X86_64_V3, batch: 1, reference: false }).unwrap();
    plan_memory::run(&mut p);
    assert_eq!(p.verify().to_string(), "");
    assert_eq!(p.slots.values().filter(|s| matches!(s.space, Space::Const { .. })).count(), 2);
}
