//! Initial weights: He normal for filters, as torchvision does; the same seed gives the same bytes anywhere.
//!
//! Filters are normal with variance 2 / fan-out, biases 0, gamma 1, beta 0, running means 0. Running variances
//! are what one forward pass over normalised pictures would expect to measure, not 1: with 1 a batch norm
//! does not normalise, every residual addition doubles the variance, and a network of 1202 layers overflows.
//!
//! Every tensor draws from a ChaCha stream of its own, numbered by declaration, so that drawing order is free.

use crate::import::tensor_name;
use crate::render::Failure;
use crate::store::{self, Saved};
use ir::Graph;
use ir::entity::Value;
use ir::epilogue::Step;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

/// How one tensor begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    Constant(f32),
    /// Normal around 0 with this standard deviation.
    Normal(f32),
}

/// What is expected of a value's elements, never too small: too small a variance would let a network grow.
#[derive(Clone, Copy)]
struct Moment {
    /// Mean square.
    square: f64,
    /// Whether they are as often negative as positive.
    centred: bool,
}

/// The initial value of every parameter of `g`, by tensor name.
pub fn plan(g: &Graph) -> HashMap<String, Init> {
    let mut inits = HashMap::new();
    let mut set = |v: Value, init: Init| {
        if let ir::graph::Def::Param { tensor, .. } = &g.values[v].def {
            inits.insert(tensor.clone(), init);
        }
    };
    let mut moments: HashMap<Value, Moment> = HashMap::new();
    for &n in &g.order {
        let node = &g.nodes[n];
        let of = |v: &Value| moments.get(v).copied().unwrap_or(Moment { square: 1.0, centred: true });
        let x = of(&node.operands[0]);
        let y = match node.op.name {
            "conv2d" | "dense" => {
                let w = g.ty(node.operands[1]).dims(1);
                let taps: u64 = w[2..].iter().product();
                let std = (2.0 / (w[0] * taps) as f64).sqrt();
                set(node.operands[1], Init::Normal(std as f32));
                for step in &node.epilogue {
                    if let Step::Bias(b) = *step {
                        set(node.operands[b], Init::Constant(0.0));
                    }
                }
                Moment { square: (w[1] * taps) as f64 * std * std * x.square, centred: true }
            }
            "batch_norm" => {
                for (i, value) in [(1, 1.0), (2, 0.0), (3, 0.0), (4, x.square as f32)] {
                    set(node.operands[i], Init::Constant(value));
                }
                Moment { square: 1.0, centred: true }
            }
            "relu" if x.centred => Moment { square: x.square / 2.0, centred: false },
            "add" => node.operands.iter().map(of).fold(Moment { square: 0.0, centred: true }, |a, b| Moment {
                square: a.square + b.square,
                centred: a.centred && b.centred,
            }),
            // The largest of nine half normals.
            "max_pool" => Moment { square: 4.0 * x.square, ..x },
            _ => x,
        };
        moments.insert(node.results[0], y);
    }
    inits
}

/// Writes the model of `graph` with the weights of `seed`. `advance` hears how many bytes are done.
///
/// Errors: E0803.
pub fn save(path: &Path, graph: Graph, seed: u64, advance: &mut dyn FnMut(u64)) -> Result<Saved, Failure> {
    let inits = plan(&graph);
    let tensors: Vec<(String, Vec<u64>)> =
        graph.params.iter().map(|&p| (tensor_name(&graph, p).to_string(), graph.ty(p).dims(1))).collect();
    store::save(path, graph, &tensors, &mut |i, out| {
        let (name, shape) = &tensors[i];
        let init = *inits.get(name).unwrap_or(&Init::Constant(0.0));
        let len: u64 = shape.iter().product();
        write(init, len, seed, i as u64, out)?;
        advance(4 * len);
        Ok(())
    })
}

/// Writes the elements of tensor number `stream` to `out`, little-endian f32.
pub fn write(init: Init, len: u64, seed: u64, stream: u64, out: &mut dyn Write) -> io::Result<()> {
    const CHUNK: u64 = 1 << 14;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let mut bytes = Vec::new();
    let mut left = len;
    while left > 0 {
        let n = left.min(CHUNK);
        bytes.clear();
        for _ in 0..n {
            let x: f32 = match init {
                Init::Constant(c) => c,
                Init::Normal(std) => {
                    let z: f64 = StandardNormal.sample(&mut rng);
                    (z * f64::from(std)) as f32
                }
            };
            bytes.extend_from_slice(&x.to_le_bytes());
        }
        out.write_all(&bytes)?;
        left -= n;
    }
    Ok(())
}
