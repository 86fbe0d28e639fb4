//! Graphs and programs: results, and faults that are not a kernel's.

use super::{decode, encode, graph, program};
use crate::diag::Diagnostics;
use crate::entity::Slot;
use crate::graph::GraphBuilder;
use crate::kernel::{Kernel, KernelBuilder, Role};
use crate::layout::Layout;
use crate::program::{Call, Program, SlotData, Space};
use crate::store::MemoryStore;
use crate::types::{DType, TensorType};
use cranelift_entity::{EntityRef, PrimaryMap};

fn code<T: std::fmt::Debug>(r: Result<T, Diagnostics>) -> &'static str {
    r.expect_err("must fault").0[0].code
}

#[test]
fn inputs_and_tensors_must_fit_the_graph() {
    let mut b = GraphBuilder::new("g");
    let x = b.input("x", TensorType::f32(&[1, 4]));
    let w = b.param("w", TensorType::f32(&[3, 4]));
    let y = b.op("y", "dense", &[x, w], &[]).unwrap();
    b.output(y);
    let g = b.finish();
    let options = graph::Options { batch: 1, widen: false };
    let input = encode(DType::F32, &[1.0, 2.0, 3.0, 4.0]);
    let mut store = MemoryStore::default();
    assert_eq!(code(graph::run(&g, &[&input], &store, options)), "E0697");
    store.insert_f32("w", &[4, 3], &[1.0; 12]);
    assert_eq!(code(graph::run(&g, &[&input], &store, options)), "E0697");
    store.insert_f32("w", &[3, 4], &[1.0; 12]);
    assert_eq!(code(graph::run(&g, &[], &store, options)), "E0697");
    assert_eq!(code(graph::run(&g, &[&input[1..]], &store, options)), "E0697");
    let out = graph::run(&g, &[&input], &store, options).unwrap();
    assert_eq!(decode(DType::F32, &out[0]), [10.0; 3]);
}

#[test]
fn a_packed_tensor_is_stored_as_it_lies() {
    let mut b = GraphBuilder::new("g");
    let x = b.input("x", TensorType::f32(&[1, 4]));
    let w = b.param("w", TensorType::f32(&[8, 4]).with_layout(Layout::Panel(8)));
    let y = b.op("y", "dense", &[x, w], &[]).unwrap();
    b.output(y);
    let g = b.finish();
    let options = graph::Options { batch: 1, widen: false };
    let input = encode(DType::F32, &[1.0, 2.0, 3.0, 4.0]);
    let mut store = MemoryStore::default();
    // As many bytes in another order.
    store.insert_f32("w", &[8, 4], &[1.0; 32]);
    assert_eq!(code(graph::run(&g, &[&input], &store, options)), "E0697");
    store.insert_f32("w", &[1, 4, 8], &[1.0; 32]);
    let out = graph::run(&g, &[&input], &store, options).unwrap();
    assert_eq!(decode(DType::F32, &out[0]), [10.0; 8]);
}

/// y = x + w, elementwise on 4 numbers.
fn sum() -> Kernel {
    let mut k = KernelBuilder::new("sum");
    let [x, w] = ["x", "w"].map(|n| k.param(n, DType::F32, &[4], Role::In));
    let y = k.param("y", DType::F32, &[4], Role::Out);
    k.for_(0, 4, |k, i| {
        let (a, b) = (k.load(x, std::slice::from_ref(&i)), k.load(w, std::slice::from_ref(&i)));
        let c = k.add(a, b);
        k.store(y, &[i], c);
    });
    k.finish()
}

/// a = x + w; b = a + w; y = a + b, with `a` at 0 and `b` at the given offset and `a` alive until call `last`.
fn chain(b_offset: u64, last: u32) -> Program {
    let slot = |name: &str, space| SlotData { name: name.into(), dtype: DType::F32, dims: vec![4], space };
    let slots: PrimaryMap<Slot, SlotData> = [
        slot("x", Space::Input(0)),
        slot("w", Space::Const { offset: 0 }),
        slot("a", Space::Arena { offset: 0, first: 0, last }),
        slot("b", Space::Arena { offset: b_offset, first: 1, last: 2 }),
        slot("y", Space::Output(0)),
    ]
    .into_iter()
    .collect();
    let call = |args: [usize; 3], node: &str| Call {
        kernel: 0,
        args: args.map(Slot::new).to_vec(),
        node: node.into(),
        op: "add".into(),
        macs: 0,
    };
    Program {
        name: "p".into(),
        target: "x86-64-v3".into(),
        batch: 1,
        slots,
        kernels: vec![sum()],
        calls: vec![call([0, 1, 2], "a"), call([2, 1, 3], "b"), call([2, 3, 4], "y")],
        arena_bytes: 32,
        const_bytes: 16,
    }
}

#[test]
fn programs_run_on_their_arena() {
    let x = encode(DType::F32, &[1.0, 2.0, 3.0, 4.0]);
    let mut store = MemoryStore::default();
    assert_eq!(code(program::run(&chain(16, 2), &[&x], &store)), "E0696");
    store.insert_f32("w", &[4], &[10.0; 4]);
    let out = program::run(&chain(16, 2), &[&x], &store).unwrap();
    assert_eq!(decode(DType::F32, &out[0]), [32.0, 34.0, 36.0, 38.0]);
    assert_eq!(code(program::run(&chain(16, 2), &[], &store)), "E0696");
}

#[test]
fn faults_of_the_memory_plan_are_found() {
    let x = vec![0; 16];
    let mut store = MemoryStore::default();
    store.insert_f32("w", &[4], &[1.0; 4]);
    let message = |p: &Program| {
        let d = program::run(p, &[&x], &store).expect_err("the plan is wrong").0.remove(0);
        assert_eq!(d.code, "E0696");
        d.message
    };
    assert!(message(&chain(8, 2)).contains("overlaps the argument"));
    assert!(message(&chain(24, 2)).contains("leaves the arena"));
    assert_eq!(message(&chain(16, 1)), "%a lives in calls 0..=1 only");
    // b is written over a, which is read again later.
    let mut p = chain(0, 2);
    p.calls[1].args[0] = Slot::new(0);
    p.calls[2].args[1] = Slot::new(0);
    assert_eq!(message(&p), "byte 0 of %a is read, but %b lies there");
    // a is never written.
    p.calls.remove(0);
    p.calls.remove(0);
    assert_eq!(message(&p), "byte 0 of %a is read, but nothing was written there");
    let mut p = chain(16, 2);
    p.calls[0].args[2] = Slot::new(0);
    assert!(message(&p).contains("overlaps the argument %x"));
    p.calls[0].args[0] = Slot::new(1);
    assert_eq!(message(&p), "%x may not be written");
}
