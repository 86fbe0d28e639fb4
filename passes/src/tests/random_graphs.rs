//! Random graphs keep their outputs.

use super::{Random, check_semantics};
use ir::entity::Value;
use ir::graph::GraphBuilder;
use ir::op::Attr;
use ir::{DType, Dim, Graph, TensorType};
use std::collections::BTreeSet;

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
