use super::*;
use crate::graph::GraphBuilder;
use crate::op::lookup;
use crate::types::{DType, Dim};

fn vector() -> TensorType {
    TensorType::new(DType::F32, [Dim::N, 5.into()])
}

/// A chain of relus called r1, r2, …
fn chain(n: usize) -> Graph {
    let mut b = GraphBuilder::new("chain");
    let mut v = b.input("x", vector());
    for i in 1..=n {
        v = b.op(&format!("r{i}"), "relu", &[v], &[]).unwrap();
    }
    b.output(v);
    b.finish()
}

fn relu(p: &mut Patch, name: &str, x: impl Into<Src>) -> Src {
    let op = lookup("relu").unwrap();
    p.add(name, op, Attrs::defaults(op), vec![x.into()], vec![], None)
}

fn names(g: &Graph) -> Vec<&str> {
    g.order.iter().map(|&n| g.name(g.result(n))).collect()
}

fn named(g: &Graph, name: &str) -> Value {
    g.value_named(name).unwrap()
}

#[test]
fn a_new_value_takes_the_name_and_the_place_of_the_old_one() {
    let mut g = chain(3);
    let mut p = Patch::new("test");
    let x = g.inputs[0];
    let y = relu(&mut p, "fresh", x);
    p.replace(named(&g, "r2"), y);
    g.apply(p).unwrap();
    assert_eq!(names(&g), ["r2", "r3"]);
    assert_eq!(g.operand(g.order[0], 0), x);
    assert!(g.value_named("fresh").is_none(), "the replaced value is gone, its name too");
}

#[test]
fn what_a_patch_adds_may_read_what_it_replaces() {
    let mut g = chain(2);
    let mut p = Patch::new("test");
    let r1 = named(&g, "r1");
    let y = relu(&mut p, "extra", r1);
    p.replace(r1, y);
    g.apply(p).unwrap();
    assert_eq!(names(&g), ["extra", "r1", "r2"]);
}

#[test]
fn later_patches_of_a_list_see_the_replacements_of_earlier_ones() {
    let mut g = chain(4);
    let patches = [1, 2, 3].map(|i| {
        let mut p = Patch::new("test");
        p.replace(named(&g, &format!("r{}", i + 1)), named(&g, &format!("r{i}")));
        p
    });
    g.apply_all(patches).unwrap();
    // The output keeps its name; the node is the first.
    assert_eq!(names(&g), ["r4"]);
    assert_eq!(g.operand(g.order[0], 0), g.inputs[0]);
}

#[test]
fn names_are_made_unique_and_parameters_live_as_long_as_they_are_read() {
    let mut g = chain(1);
    let r1 = named(&g, "r1");
    let mut p = Patch::new("test");
    let param = p.add_param("r1", "tensor", vector(), false);
    let y = relu(&mut p, "x", param);
    p.replace(r1, y);
    g.apply(p).unwrap();
    assert_eq!(g.params.len(), 1);
    assert_eq!(g.name(g.params[0]), "r1.1");
    assert_eq!(names(&g), ["r1"]);

    let mut p = Patch::new("test");
    let y = relu(&mut p, "y", g.inputs[0]);
    p.replace(named(&g, "r1"), y);
    g.apply(p).unwrap();
    assert!(g.params.is_empty() && g.value_named("r1.1").is_none());
}

#[test]
fn the_order_stays_topological_when_an_early_node_comes_to_read_a_late_one() {
    let mut b = GraphBuilder::new("two");
    let x = b.input("x", vector());
    let a = b.op("a", "relu", &[x], &[]).unwrap();
    let c = b.op("c", "relu", &[x], &[]).unwrap();
    b.output(a);
    b.output(c);
    let mut g = b.finish();
    let mut p = Patch::new("test");
    let y = relu(&mut p, "y", c);
    p.replace(a, y);
    g.apply(p).unwrap();
    assert_eq!(names(&g), ["c", "a"]);
    assert_eq!(g.outputs.iter().map(|&v| g.name(v)).collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn other_types_and_cycles_are_refused() {
    let mut g = chain(3);
    let mut p = Patch::new("test");
    let param = p.add_param("w", "w", TensorType::f32(&[7]), false);
    p.replace(named(&g, "r1"), param);
    assert_eq!(g.apply(p).unwrap_err().code, "E0198");

    let mut g = chain(3);
    let mut p = Patch::new("test");
    p.replace(named(&g, "r1"), named(&g, "r3"));
    assert_eq!(g.apply(p).unwrap_err().code, "E0198");
}

#[test]
fn a_long_chain_is_edited_without_recursion() {
    let mut g = chain(100_000);
    let patches: Vec<Patch> = g
        .order
        .iter()
        .map(|&n| {
            let mut p = Patch::new("test");
            let y = relu(&mut p, "again", g.operand(n, 0));
            p.replace(g.result(n), y);
            p
        })
        .collect();
    g.apply_all(patches).unwrap();
    assert_eq!(g.order.len(), 100_000);
    let first: Vec<usize> = (0..3).map(|i| g.name(g.result(g.order[i])).len()).collect();
    assert_eq!(first, [2, 2, 2]);
}
