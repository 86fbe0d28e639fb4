//! Every gradient rule: by differences in f64, element by element, and for linear ops by their adjoint on integers.

use super::value::{dot, interpret, random};
use crate::conformance::{Case, gradient_cases};
use crate::test;
use ir::entity::Value;
use ir::grad::Gradient;
use ir::graph::GraphBuilder;
use ir::ops;
use ir::{DType, Graph};
use libtest_mimic::Trial;
use passes::autodiff::vjp;
use std::collections::BTreeSet;

pub fn tests() -> Vec<Trial> {
    vec![
        test("training::rules::differences", || gradient_cases().iter().for_each(differences)),
        test("training::rules::adjoints_on_integers", || gradient_cases().iter().for_each(adjoint)),
        test("training::rules::every_rule_has_a_case_and_what_has_none_says_why", || {
            let tested: BTreeSet<&str> = gradient_cases().iter().map(|c| c.op.name).collect();
            for op in ops::ALL {
                match op.grad {
                    Gradient::Rule(_) => assert!(tested.contains(op.name), "the gradient of {} is not tested", op.name),
                    Gradient::None(why) => assert!(why.len() > 10, "{} has no gradient, and no reason", op.name),
                }
            }
        }),
    ]
}

/// The case as a graph of f64 with every operand an input.
fn graph(case: &Case) -> Graph {
    let mut b = GraphBuilder::new("case");
    let wide = |t: &ir::TensorType| if t.dtype == DType::F32 { t.with_dtype(DType::F64) } else { t.clone() };
    let operands: Vec<Value> =
        case.operands().iter().enumerate().map(|(i, t)| b.input(&format!("x{i}"), wide(t))).collect();
    let attrs: Vec<_> = case.attrs().0.iter().map(|(&name, a)| (name, a.clone())).collect();
    let y = b.op("y", case.op.name, &operands, &attrs).unwrap_or_else(|p| panic!("{case}: {p:?}"));
    b.output(y);
    b.finish()
}

fn elements(g: &Graph, v: Value) -> usize {
    g.ty(v).elements(1) as usize
}

/// Inputs without ties and away from 0, where `relu` and its kin have kinks: an odd number of steps from it, shuffled.
fn inputs(case: &Case, g: &Graph) -> Vec<Vec<f64>> {
    let input = |(i, &v): (usize, &Value)| {
        let len = elements(g, v);
        if g.ty(v).dtype == DType::I32 {
            return (0..len).map(|n| (n * 7 % 3) as f64).collect();
        }
        let keys = random(17 * i as u64 + 5, len);
        let mut order: Vec<usize> = (0..len).collect();
        order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
        let step = 1.0 / len as f64;
        let is_variance = case.op.operands.get(i) == Some(&"var");
        let value = |rank: usize| {
            let x = (2 * rank + 1) as f64 * step - 1.0 + step * 1e-2;
            if is_variance { 1.3 + x } else { x }
        };
        order.into_iter().map(value).collect()
    };
    g.inputs.iter().enumerate().map(input).collect()
}

fn differences(case: &Case) {
    const STEP: f64 = 1e-5;
    let g = graph(case);
    let wrt: Vec<Value> = differentiable(case, &g);
    let gradient = vjp(&g, &wrt).unwrap_or_else(|d| panic!("{case}: {d}"));
    assert!(!gradient.verify().has_errors(), "{case}: {}", gradient.verify());
    let x = inputs(case, &g);
    let seed = random(99, elements(&g, g.outputs[0]));
    let grads = interpret(&gradient, &[&x[..], std::slice::from_ref(&seed)].concat(), 1);
    let value = |x: &[Vec<f64>]| dot(&interpret(&g, x, 1)[0], &seed);
    for (&v, grad) in wrt.iter().zip(&grads) {
        let i = g.inputs.iter().position(|&u| u == v).expect("an input");
        let largest = grad.iter().fold(0.0f64, |m, g| m.max(g.abs()));
        assert!(largest > 1e-3, "{case}: the gradient of operand {i} vanishes");
        for (at, got) in grad.iter().enumerate() {
            let moved = |by: f64| {
                let mut x = x.clone();
                x[i][at] += by;
                value(&x)
            };
            let want = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let close = (got - want).abs() <= 1e-7 * largest.max(1.0);
            assert!(close, "{case}: operand {i}, element {at}: {got:e}, by differences {want:e}");
        }
    }
}

/// Operands that a gradient is taken of: floats, and not the statistics of a batch norm, which are given.
fn differentiable(case: &Case, g: &Graph) -> Vec<Value> {
    let is_given = |i: usize| case.op.name == "batch_norm" && i > 2;
    let is_asked = |(i, v): &(usize, &Value)| g.ty(**v).dtype.is_float() && !is_given(*i);
    g.inputs.iter().enumerate().filter(is_asked).map(|(_, &v)| v).collect()
}

/// Ops that are linear in their first operand, and those that are linear in the second too, the first being fixed.
const LINEAR: [&str; 17] = [
    "add",
    "avg_pool",
    "cast",
    "conv2d",
    "crop2d",
    "dense",
    "flatten",
    "global_avg_pool",
    "pad2d",
    "pad_channels",
    "reorder",
    "reshape",
    "slice_channels",
    "subsample",
    "transpose",
    "scale_shift",
    "bias",
];
const BILINEAR: [&str; 2] = ["conv2d", "dense"];

/// ⟨A·x, y⟩ = ⟨x, A'·y⟩, exactly: all numbers are integers, and divisors powers of two.
fn adjoint(case: &Case) {
    let name = case.op.name;
    // Affine: linear only with other operands 0, or sums of quotients that are no integers.
    let is_affine = matches!(name, "scale_shift" | "bias") || (name == "pad2d" && case.attrs().float("value") != 0.0);
    if !LINEAR.contains(&name) || is_affine {
        return;
    }
    let is_mean = matches!(name, "avg_pool" | "global_avg_pool");
    let g = graph(case);
    let integers = |seed: u64, len: usize| -> Vec<f64> {
        // With means, multiples of all divisors that occur.
        let unit = if is_mean { 2.0 * 3.0 * 4.0 * 5.0 * 7.0 * 9.0 } else { 1.0 };
        random(seed, len).into_iter().map(|x| (x * 5.0).round() * unit).collect()
    };
    let x: Vec<Vec<f64>> = g.inputs.iter().enumerate().map(|(i, &v)| integers(i as u64 + 3, elements(&g, v))).collect();
    let y = integers(77, elements(&g, g.outputs[0]));
    let operands = if name == "add" || BILINEAR.contains(&name) { g.inputs.len() } else { 1 };
    for i in 0..operands {
        let mut x = x.clone();
        if name == "add" {
            (0..x.len()).filter(|&j| j != i).for_each(|j| x[j].fill(0.0));
        }
        let gradient = vjp(&g, &[g.inputs[i]]).unwrap_or_else(|d| panic!("{case}: {d}"));
        let forward = dot(&interpret(&g, &x, 1)[0], &y);
        let back = dot(&x[i], &interpret(&gradient, &[&x[..], std::slice::from_ref(&y)].concat(), 1)[0]);
        assert!(forward == back, "{case}: operand {i}: <Ax, y> = {forward}, <x, A'y> = {back}");
        assert!(forward != 0.0 || y.len() < 4, "{case}: <Ax, y> is 0, which proves nothing");
    }
}
