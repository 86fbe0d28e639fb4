//! Compiled code against the float64 reference, layer by layer.
//!
//! The reference is the graph as the user wrote it: no pass has touched it, every op runs as its body, in f64,
//! compiled. Each kernel call of the optimised program then gets the reference's inputs (rounded to f32) and must
//! give the reference's output within the bound for its sum:
//! |error| ≤ γ(K)·Σ|x·w|, γ(K) = K·u / (1 − K·u), u = 2⁻²⁴ (Higham, "Accuracy and Stability of Numerical
//! Algorithms", §3.1), where K is the number of terms plus a few roundings of inputs, weights and epilogue.
//! A Winograd convolution is bounded alike, by the magnitudes that pass through its transforms.
//! So one wrong layer cannot hide behind another, and the first one that is off has a name.

mod difference;
mod layout;

pub use difference::Difference;

use self::difference::distance;
use self::layout::{from_layout, to_layout};
use backends::cranelift::Jit;
use backends::exec::CompiledKernel;
use ir::entity::{Node, Value};
use ir::epilogue::Step;
use ir::interp::elements::{decode, encode};
use ir::op::{BodyCtx, BufType};
use ir::ops::winograd::Grid;
use ir::ops::{winograd_conv2d, winograd_input, winograd_output};
use ir::store::TensorStore;
use ir::{DType, Diagnostic, Diagnostics, Graph, Layout, Program};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How one kernel call compares with the reference.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The graph value that the call computes.
    pub name: String,
    pub op: String,
    pub kernel: String,
    /// ‖got − want‖₂ / ‖want‖₂
    pub relative_l2: f64,
    /// Largest |error| as a share of the bound; at most 1 if the layer is right.
    pub of_bound: f64,
    /// Whether every element is the f32 nearest to what is wanted.
    pub exact: bool,
    /// The relative L2 that is right where f32 is too short for this op even if all operands are small integers.
    pub rounds_integers: Option<f64>,
}

impl Layer {
    pub fn is_right(&self) -> bool {
        self.of_bound <= 1.0
    }

    /// Whether it is right if all operands are small integers.
    pub fn is_right_on_integers(&self) -> bool {
        self.exact || self.rounds_integers.is_some_and(|most| self.relative_l2 <= most)
    }
}

/// Unit roundoff of f32.
const UNIT: f64 = 1.0 / (1 << 24) as f64;
/// Roundings besides those of the sum: input, weight, folded weight, and the epilogue's steps.
const EXTRA_ROUNDINGS: i64 = 8;

/// Values of the reference by name, as f64 in plain layout.
type Values = HashMap<String, Vec<f64>>;

/// Compares every call of `program` with the reference on `input`.
///
/// `original` is the graph before any pass, `optimised` the one that `program` was lowered from; `stores` are
/// theirs. `kernels` are the program's, compiled by the back end under test.
pub struct Check<'a> {
    pub jit: &'a Jit,
    pub original: (&'a Graph, &'a dyn TensorStore),
    pub optimised: (&'a Graph, &'a dyn TensorStore),
    pub program: &'a Program,
    pub kernels: &'a [Arc<CompiledKernel>],
}

impl Check<'_> {
    /// `step` is told of each layer as it is done.
    pub fn run(&self, inputs: &[Vec<f32>], step: &mut dyn FnMut(&Layer)) -> Result<Vec<Layer>, Diagnostics> {
        let reference = self.reference(inputs)?;
        let mut layers = Vec::new();
        for call in &self.program.calls {
            let node = self.node_of(call)?;
            let operands: Vec<Vec<f64>> = self.optimised.0.nodes[node]
                .operands
                .iter()
                .map(|&v| self.operand(v, &reference))
                .collect::<Result<_, _>>()?;
            let want = self.operand(self.optimised.0.result(node), &reference)?;
            let layer = self.layer(node, &self.kernels[call.kernel], &operands, &want)?;
            step(&layer);
            layers.push(layer);
        }
        Ok(layers)
    }

    /// Gives every call small integers as operands, weights included, and compares with the body of its op: sums
    /// are exact then, so any difference is a fault (see [`Layer::is_right_on_integers`]).
    pub fn run_on_integers(&self, step: &mut dyn FnMut(&Layer)) -> Result<Vec<Layer>, Diagnostics> {
        let g = self.optimised.0;
        let mut layers = Vec::new();
        for call in &self.program.calls {
            let node = self.node_of(call)?;
            let ctx = self.body_ctx(g, node, DType::F64);
            let operands: Vec<Vec<f64>> = (0..).zip(&ctx.operands).map(|(i, t)| integers(i, t)).collect();
            let bytes: Vec<Vec<u8>> = operands.iter().map(|x| encode(DType::F64, x)).collect();
            let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
            let want = self.jit.run_once(&g.op(node).kernel(&ctx), &bytes)?;
            let layer = self.layer(node, &self.kernels[call.kernel], &operands, &decode(DType::F64, &want[0]))?;
            step(&layer);
            layers.push(layer);
        }
        Ok(layers)
    }

    fn node_of(&self, call: &ir::program::Call) -> Result<Node, Diagnostics> {
        let value = self.optimised.0.value_named(&call.node);
        value.and_then(|v| self.optimised.0.def(v)).ok_or_else(|| {
            Diagnostic::error("E0790", format!("the program computes '{}', which the graph does not have", call.node))
                .class(ir::diag::Class::Internal)
                .into()
        })
    }

    fn batch(&self) -> u64 {
        self.program.batch
    }

    /// Runs the original graph in f64 and keeps what the optimised one still computes or reads.
    fn reference(&self, inputs: &[Vec<f32>]) -> Result<Values, Diagnostics> {
        let (g, store) = self.original;
        let kept: HashSet<&str> = self.optimised.0.values.values().map(|v| v.name.as_str()).collect();
        let mut values: HashMap<Value, Vec<u8>> = HashMap::new();
        for (&v, data) in g.inputs.iter().zip(inputs) {
            let data: Vec<f64> = data.iter().map(|&x| x.into()).collect();
            values.insert(v, encode(DType::F64, &data));
        }
        let mut readers_left: HashMap<Value, usize> = HashMap::new();
        for &n in &g.order {
            for &v in &g.nodes[n].operands {
                *readers_left.entry(v).or_default() += 1;
            }
        }
        let mut reference = Values::new();
        let mut keep = |v: Value, bytes: &[u8]| {
            if kept.contains(g.name(v)) {
                reference.insert(g.name(v).to_string(), decode(DType::F64, bytes));
            }
        };
        for (&v, bytes) in &values {
            keep(v, bytes);
        }
        for &n in &g.order {
            let data = &g.nodes[n];
            let ctx = self.body_ctx(g, n, DType::F64);
            let kernel = data.op.kernel(&ctx);
            for &v in &data.operands {
                if g.is_param(v) && !values.contains_key(&v) {
                    values.insert(v, encode(DType::F64, &parameter(g, store, v)?));
                }
            }
            let operands: Vec<&[u8]> = data.operands.iter().map(|v| values[v].as_slice()).collect();
            let results = self.jit.run_once(&kernel, &operands)?;
            for (&v, bytes) in data.results.iter().zip(results) {
                keep(v, &bytes);
                values.insert(v, bytes);
            }
            for v in &data.operands {
                let left = readers_left.get_mut(v).expect("invariant: operands were counted");
                *left -= 1;
                if *left == 0 {
                    values.remove(v);
                }
            }
        }
        Ok(reference)
    }

    /// The context of a node's body with plain layouts and the given float type.
    fn body_ctx<'g>(&self, g: &'g Graph, n: Node, float: DType) -> BodyCtx<'g> {
        let data = &g.nodes[n];
        let buf = |v: &Value| {
            let t = BufType::of(g.ty(*v), self.batch());
            BufType { dtype: if t.dtype.is_float() { float } else { t.dtype }, layout: Layout::Plain, ..t }
        };
        BodyCtx {
            operands: data.operands.iter().map(buf).collect(),
            results: data.results.iter().map(buf).collect(),
            attrs: &data.attrs,
            epilogue: &data.epilogue,
        }
    }

    /// Runs `kernel` on a node's operands, given in plain layout, and compares with `want`.
    fn layer(
        &self,
        n: Node,
        kernel: &CompiledKernel,
        operands: &[Vec<f64>],
        want: &[f64],
    ) -> Result<Layer, Diagnostics> {
        let (g, _) = self.optimised;
        let data = &g.nodes[n];
        let inputs: Vec<Vec<u8>> = data
            .operands
            .iter()
            .zip(operands)
            .map(|(&v, x)| encode(DType::F32, &to_layout(x, &BufType::of(g.ty(v), self.batch()))))
            .collect();
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        let result = g.result(n);
        let got = kernel.run_once(&inputs)?;
        let got = from_layout(&decode(DType::F32, &got[0]), &BufType::of(g.ty(result), self.batch()));
        let bound = self.bound(n, operands)?;

        // A transform spreads what is not finite over its tile, in the order of its own sums.
        let spreads = data.op.name.starts_with("winograd_");
        let elements = || got.iter().copied().zip(want.iter().copied());
        let of_bound = elements()
            .zip(&bound)
            .filter(|(_, bound)| bound.is_finite() || !spreads)
            .map(|((got, want), &bound)| share(got, want, bound))
            .fold(0.0, f64::max);
        let rounded = match data.op.name {
            "winograd_output" | "winograd_conv2d" => Some(2.0 * UNIT),
            // Long sums of rounded products: the bound alone tells.
            "winograd_grad_weight" => Some(f64::INFINITY),
            _ => None,
        };
        Ok(Layer {
            name: g.name(result).to_string(),
            op: data.op.name.to_string(),
            kernel: kernel.kernel().name.clone(),
            relative_l2: Difference::of(&got, want).relative_l2,
            of_bound,
            exact: elements().all(|(got, want)| is_nearest(got, want)),
            rounds_integers: rounded.filter(|_| Grid::of(&data.attrs).is_ok_and(|grid| !grid.is_exact_on_integers())),
        })
    }

    /// A value of the optimised graph as the reference has it.
    fn operand(&self, v: Value, reference: &Values) -> Result<Vec<f64>, Diagnostics> {
        let (g, store) = self.optimised;
        if let Some(x) = reference.get(g.name(v)) {
            return Ok(x.clone());
        }
        if g.is_param(v) {
            return Ok(from_layout(&parameter(g, store, v)?, &BufType::of(g.ty(v), self.batch())));
        }
        // Layouts are the optimiser's: a reordered value is the value.
        match g.def(v) {
            Some(n) if matches!(g.op(n).name, "reorder" | "flatten" | "reshape") => {
                self.operand(g.operand(n, 0), reference)
            }
            // So are tiles and samples that a convolution reads, and parts of long sums; a wrong definition of them shows
            // in its result.
            Some(n) if matches!(g.op(n).name, "winograd_input" | "subsample" | "add") => {
                let operands = g.nodes[n].operands.iter();
                let operands = operands.map(|&v| Ok(encode(DType::F64, &self.operand(v, reference)?)));
                let operands = operands.collect::<Result<Vec<_>, Diagnostics>>()?;
                let operands: Vec<&[u8]> = operands.iter().map(Vec::as_slice).collect();
                let copy = self.jit.run_once(&g.op(n).kernel(&self.body_ctx(g, n, DType::F64)), &operands)?;
                Ok(decode(DType::F64, &copy[0]))
            }
            _ => {
                // An output that was blocked inside has given its name to the copy of it that is plain.
                let copies = g.order.iter().filter(|&&n| g.op(n).name == "reorder" && g.operand(n, 0) == v);
                let known = copies.filter_map(|&n| reference.get(g.name(g.result(n)))).next().cloned();
                known.ok_or_else(|| {
                    let d = Diagnostic::error("E0790", format!("the reference has no value '{}'", g.name(v)));
                    d.class(ir::diag::Class::Internal).into()
                })
            }
        }
    }

    /// Error bound for each element of the node's result.
    fn bound(&self, n: Node, operands: &[Vec<f64>]) -> Result<Vec<f64>, Diagnostics> {
        let (g, _) = self.optimised;
        let data = &g.nodes[n];
        let mut ctx = self.body_ctx(g, n, DType::F64);
        let positive: Vec<Step> = data
            .epilogue
            .iter()
            .copied()
            .filter(|s| !matches!(s, Step::Relu | Step::Clamp(..) | Step::ReluGrad(_)))
            .collect();
        ctx.epilogue = &positive;
        let k = ((data.op.properties.roundings)(&ctx) + EXTRA_ROUNDINGS) as f64 * UNIT;
        let gamma = k / (1.0 - k);
        if data.op.name == "softmax" {
            // Relative to probabilities, which are at most 1.
            let len = ctx.results[0].dims.iter().product::<i64>() as usize;
            return Ok(vec![gamma; len]);
        }
        let magnitudes: Vec<Vec<u8>> =
            operands.iter().map(|x| encode(DType::F64, &x.iter().map(|v| v.abs()).collect::<Vec<_>>())).collect();
        let magnitudes: Vec<&[u8]> = magnitudes.iter().map(Vec::as_slice).collect();
        let body = match data.op.name {
            "winograd_input" => winograd_input::body_of_magnitudes(&ctx),
            "winograd_output" => winograd_output::body_of_magnitudes(&ctx),
            "winograd_conv2d" => winograd_conv2d::body_of_magnitudes(&ctx),
            _ => data.op.kernel(&ctx),
        };
        let sums = self.jit.run_once(&body, &magnitudes)?;
        Ok(decode(DType::F64, &sums[0]).into_iter().map(|s| s * gamma).collect())
    }
}

/// |got − want| as a share of `bound`, never NaN. Where one of these is not finite, it is all or nothing.
fn share(got: f64, want: f64, bound: f64) -> f64 {
    let off = distance(got, want);
    if bound == 0.0 {
        if off == 0.0 { 0.0 } else { f64::INFINITY }
    } else if off.is_finite() && bound.is_finite() {
        off / bound
    } else if is_nearest(got, want) {
        0.0
    } else {
        f64::INFINITY
    }
}

/// Whether `got` is the f32 nearest to `want`.
fn is_nearest(got: f64, want: f64) -> bool {
    distance(f64::from(got as f32), f64::from(want as f32)) == 0.0
}

/// Integers in −2..=2, other ones for each operand.
fn integers(operand: u64, t: &BufType) -> Vec<f64> {
    let mut state = operand.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..t.dims.iter().product::<i64>())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) % 5) as f64 - 2.0
        })
        .collect()
}

/// A parameter's data as f64, in the layout that it is stored in.
fn parameter(g: &Graph, store: &dyn TensorStore, v: Value) -> Result<Vec<f64>, Diagnostics> {
    let ir::graph::Def::Param { tensor, .. } = &g.values[v].def else {
        unreachable!("invariant: only asked of parameters");
    };
    let data = store
        .get(tensor)
        .ok_or_else(|| Diagnostic::error("E0809", format!("the weights have no tensor '{tensor}'")))?;
    Ok(decode(data.dtype, &data.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_bounds() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        assert_eq!(share(1.5, 1.0, 2.0), 0.25);
        assert_eq!(share(1.0, 1.0, 0.0), 0.0);
        assert!(share(1.5, 1.0, 0.0) > 1.0);
        // Where the reference is not finite, the compiled code is not to blame for being like it, and only then.
        for (got, want) in [(nan, nan), (inf, inf), (-inf, -inf), (0.0, 0.0), (f64::from(0.1f32), 0.1), (inf, 1e39)] {
            for bound in [nan, inf] {
                assert_eq!(share(got, want, bound), 0.0, "{got}, not {want}");
            }
        }
        for (got, want) in [(nan, 1.0), (1.0, nan), (inf, 1.0), (1.0, inf), (inf, -inf), (nan, inf), (0.0, inf)] {
            for bound in [1.0, nan, inf] {
                assert_eq!(share(got, want, bound), inf, "{got}, not {want}");
            }
        }
    }
}
