use super::*;
use crate::interp::graph;
use crate::kernel::KernelBuilder;
use crate::op::Attr;
use crate::store::MemoryStore;
use crate::types::{DType, TensorType};

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn code(r: Result<Vec<Vec<u8>>, Diagnostics>) -> &'static str {
    r.expect_err("the kernel must fault").0[0].code
}

/// y[t, i] = x[t, i + shift] over `n` tasks, rows of 8.
fn copy(n: i64, shift: i64) -> Kernel {
    let mut k = KernelBuilder::new("copy");
    let x = k.param("x", DType::F32, &[4, 8], Role::In);
    let y = k.param("y", DType::F32, &[4, 8], Role::Out);
    let t = k.tasks(n);
    k.for_(0, 8, |k, i| {
        let v = k.load(x, &[t.clone(), &i + shift]);
        k.store(y, &[t.clone(), i], v);
    });
    k.finish()
}

#[test]
fn copies() {
    let x = f32s(&std::array::from_fn::<f32, 32, _>(|i| i as f32));
    assert_eq!(run_in_any_order(&copy(4, 0), &[&x]).unwrap(), [x]);
}

#[test]
fn faults_are_found() {
    let x = vec![0; 128];
    let e = run(&copy(4, 1), &[&x]).unwrap_err();
    assert_eq!(e.0[0].message, "kernel @copy: index 1 of %x reaches 8, its length is 8 (%t=0, %i1=7)");
    assert_eq!(code(run(&copy(4, -1), &[&x])), "E0691");
    assert_eq!(code(run(&copy(3, 0), &[&x])), "E0694");
    assert_eq!(code(run(&copy(4, 0), &[&x[..100]])), "E0690");
    assert_eq!(code(run(&copy(4, 0), &[])), "E0690");
    assert_eq!(code(run(&copy(4, 0), &[&x, &x])), "E0690");
}

#[test]
fn scratch_of_another_task_is_unwritten() {
    let mut k = KernelBuilder::new("carry");
    let y = k.param("y", DType::F32, &[2], Role::Out);
    let s = k.scratch("s", DType::F32, &[1]);
    let t = k.tasks(2);
    // Written by task 0 only.
    k.for_(t.clone(), 1, |k, _| {
        let one = k.constant(DType::F32, 1, 1.0);
        k.store(s, &[0.into()], one);
    });
    let v = k.load(s, &[0.into()]);
    k.store(y, &[t], v);
    assert_eq!(code(run(&k.finish(), &[])), "E0692");
}

#[test]
fn tasks_that_share_an_element_are_found() {
    let mut k = KernelBuilder::new("all");
    let y = k.param("y", DType::F32, &[1], Role::Out);
    k.tasks(2);
    let one = k.constant(DType::F32, 1, 1.0);
    k.store(y, &[0.into()], one);
    assert_eq!(code(run(&k.finish(), &[])), "E0693");

    // Each task reads its right neighbour's element: which value depends on the order.
    let neighbour = |tasks: i64, shift: i64| {
        let mut k = KernelBuilder::new("shift");
        let y = k.param("y", DType::F32, &[4], Role::InOut);
        let t = k.tasks(tasks);
        let v = k.load(y, &[&t + shift]);
        k.store(y, &[t], v);
        k.finish()
    };
    let data = [0; 16];
    assert_eq!(code(run(&neighbour(3, 1), &[&data])), "E0693");
    assert!(run(&neighbour(4, 0), &[&data]).is_ok());
}

#[test]
fn views_shift_and_vectors_lie_along_the_last_dimension() {
    let mut k = KernelBuilder::new("view");
    let x = k.param("x", DType::F32, &[3, 8], Role::In);
    let y = k.param("y", DType::F32, &[4], Role::Out);
    let row = k.view(x, &[1.into(), 0.into()], true);
    let tail = k.view(row, &[1.into(), 3.into()], false);
    let v = k.load_vec(tail, 4, &[0.into(), 1.into()]);
    k.store(y, &[0.into()], v);
    let x: [f32; 24] = std::array::from_fn(|i| i as f32);
    assert_eq!(run(&k.finish(), &[&f32s(&x)]).unwrap()[0], f32s(&[20.0, 21.0, 22.0, 23.0]));
}

#[test]
fn loops_carry_values_in_parallel() {
    // (a, b) ← (b, a + b), ten times from (0, 1)
    let mut k = KernelBuilder::new("fibonacci");
    let y = k.param("y", DType::I32, &[1], Role::Out);
    let (a, b) = (k.constant(DType::I32, 1, 0.0), k.constant(DType::I32, 1, 1.0));
    let out = k.for_carry(0, 10, &[a, b], |k, _, c| vec![c[1], k.add(c[0], c[1])]);
    let empty = k.for_carry(5, 5, &out, |k, _, c| vec![k.add(c[0], c[0]), c[1]]);
    k.store(y, &[0.into()], empty[0]);
    assert_eq!(run(&k.finish(), &[]).unwrap()[0], 55i32.to_le_bytes());
}

#[test]
fn malformed_kernels_are_refused() {
    let mut k = copy(4, 0);
    if let crate::kernel::Stmt::For(f) = &mut k.body[0] {
        f.body.reverse();
    }
    assert_eq!(code(run(&k, &[&[0; 128]])), "E0602");
}

#[test]
fn a_graph_runs_in_both_precisions() {
    let mut b = crate::graph::GraphBuilder::new("g");
    let x = b.input("x", TensorType::f32(&[1, 2, 5, 5]));
    let w = b.param("w", TensorType::f32(&[3, 2, 3, 3]));
    let c = b.op("c", "conv2d", &[x, w], &[("pad", Attr::Quad([1; 4])), ("stride", Attr::Pair([2, 2]))]).unwrap();
    let y = b.op("y", "relu", &[c], &[]).unwrap();
    b.output(y);
    let g = b.finish();
    let data: Vec<f32> = (0..50).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
    let weights: Vec<f32> = (0..54).map(|i| (i * 5 % 13) as f32 - 6.0).collect();
    let mut store = MemoryStore::default();
    store.insert_f32("w", &[3, 2, 3, 3], &weights);
    // Integers: every sum is exact, so both precisions equal the plain loops.
    let mut expected = Vec::new();
    for (o, p, q) in (0..27).map(|i| (i / 9, i / 3 % 3, i % 3)) {
        let mut sum = 0.0;
        for (c, r, s) in (0..18).map(|i| (i / 9, i / 3 % 3, i % 3)) {
            let (h, v) = (2 * p + r, 2 * q + s);
            if (1..6).contains(&h) && (1..6).contains(&v) {
                sum += f64::from(data[c * 25 + (h - 1) * 5 + v - 1]) * f64::from(weights[o * 18 + c * 9 + r * 3 + s]);
            }
        }
        expected.push(f64::max(sum, 0.0));
    }
    let input = f32s(&data);
    for widen in [false, true] {
        let out = graph::run(&g, &[&input], &store, graph::Options { batch: 1, widen }).unwrap();
        let dtype = if widen { DType::F64 } else { DType::F32 };
        assert_eq!(decode(dtype, &out[0]), expected);
    }
    let e = graph::run(&g, &[&input], &MemoryStore::default(), graph::Options { batch: 1, widen: false }).unwrap_err();
    assert_eq!(e.0[0].message, "there is no tensor 'w'");
}

#[test]
fn an_index_that_overflows_is_a_fault() {
    let mut k = KernelBuilder::new("far");
    let y = k.param("y", DType::F32, &[1], Role::Out);
    let one = k.constant(DType::F32, 1, 1.0);
    let far = 1i64 << 39;
    k.for_(far, far + 1, |k, i| k.store(y, &[i * far], one));
    assert_eq!(code(run(&k.finish(), &[])), "E0691");
}
