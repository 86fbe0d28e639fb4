//! Layers as public state dicts name them: each call appends ops and declares their parameters.

use super::{PoolPad, Spec};
use ir::entity::Value;
use ir::epilogue::Step;
use ir::graph::GraphBuilder;
use ir::op::{Attr, Problem};
use ir::types::Dim;
use ir::{DType, Diagnostic, Diagnostics, Graph, Place, TensorType};

/// A graph under construction. `name` arguments are value names and prefixes of tensor names.
pub struct Layers {
    g: GraphBuilder,
    bn_eps: f64,
    conv_bias: bool,
    pool_pad: PoolPad,
}

/// Kernel, stride and padding of a square window.
#[derive(Clone, Copy)]
pub struct Window {
    pub kernel: u64,
    pub stride: u64,
    pub pad: u64,
}

/// The 3×3 window with padding 1 that keeps the size at stride 1.
pub fn window3(stride: u64) -> Window {
    Window { kernel: 3, stride, pad: 1 }
}

/// The 1×1 window.
pub fn window1(stride: u64) -> Window {
    Window { kernel: 1, stride, pad: 0 }
}

impl Layers {
    /// Begins a graph with the input `%input: f32[N,C,H,W]`.
    pub fn new(spec: &Spec) -> (Layers, Value) {
        let mut g = GraphBuilder::new(spec.to_string().replace('-', "_"));
        let shape = [Dim::N].into_iter().chain(spec.input.map(Dim::Size));
        let input = g.input("input", TensorType::new(DType::F32, shape));
        (Layers { g, bn_eps: spec.bn_eps, conv_bias: spec.conv_bias, pool_pad: spec.pool_pad }, input)
    }

    pub fn finish(mut self, output: Value) -> Graph {
        self.g.output(output);
        self.g.finish()
    }

    pub fn channels(&self, v: Value) -> u64 {
        self.g.graph().ty(v).shape[1].size().expect("invariant: only the batch is symbolic")
    }

    fn op(&mut self, name: &str, op: &str, xs: &[Value], attrs: &[(&'static str, Attr)]) -> Result<Value, Diagnostics> {
        self.g.op(name, op, xs, attrs).map_err(|p| at_layer(p, name))
    }

    pub fn conv(&mut self, name: &str, x: Value, oc: u64, w: Window) -> Result<Value, Diagnostics> {
        let ic = self.channels(x);
        let weight = self.g.param(&format!("{name}.weight"), TensorType::f32(&[oc, ic, w.kernel, w.kernel]));
        let mut operands = vec![x, weight];
        let mut epilogue = Vec::new();
        if self.conv_bias {
            operands.push(self.g.param(&format!("{name}.bias"), TensorType::f32(&[oc])));
            epilogue.push(Step::Bias(2));
        }
        let attrs = [("stride", Attr::Pair([w.stride; 2])), ("pad", Attr::Quad([w.pad; 4]))];
        self.g.fused_op(name, "conv2d", &operands, &attrs, epilogue).map_err(|p| at_layer(p, name))
    }

    pub fn batch_norm(&mut self, name: &str, x: Value) -> Result<Value, Diagnostics> {
        let ty = TensorType::f32(&[self.channels(x)]);
        let gamma = self.g.param(&format!("{name}.weight"), ty.clone());
        let beta = self.g.param(&format!("{name}.bias"), ty.clone());
        let mean = self.g.state(&format!("{name}.running_mean"), ty.clone());
        let var = self.g.state(&format!("{name}.running_var"), ty);
        let attrs = [("eps", Attr::Float(self.bn_eps))];
        self.op(name, "batch_norm", &[x, gamma, beta, mean, var], &attrs)
    }

    pub fn relu(&mut self, name: &str, x: Value) -> Result<Value, Diagnostics> {
        self.op(name, "relu", &[x], &[])
    }

    pub fn add(&mut self, name: &str, x: Value, y: Value) -> Result<Value, Diagnostics> {
        self.op(name, "add", &[x, y], &[])
    }

    pub fn subsample(&mut self, name: &str, x: Value, step: u64) -> Result<Value, Diagnostics> {
        self.op(name, "subsample", &[x], &[("step", Attr::Pair([step; 2]))])
    }

    pub fn pad_channels(&mut self, name: &str, x: Value, before: u64, after: u64) -> Result<Value, Diagnostics> {
        let int = |n: u64| Attr::Int(n.cast_signed());
        self.op(name, "pad_channels", &[x], &[("before", int(before)), ("after", int(after))])
    }

    pub fn max_pool(&mut self, name: &str, x: Value, w: Window) -> Result<Value, Diagnostics> {
        let (x, pad) = match self.pool_pad {
            PoolPad::Zero if w.pad > 0 => {
                let attrs = [("pad", Attr::Quad([w.pad; 4])), ("value", Attr::Float(0.0))];
                (self.op(&format!("{name}.pad"), "pad2d", &[x], &attrs)?, 0)
            }
            _ => (x, w.pad),
        };
        let attrs = [
            ("kernel", Attr::Pair([w.kernel; 2])),
            ("stride", Attr::Pair([w.stride; 2])),
            ("pad", Attr::Quad([pad; 4])),
        ];
        self.op(name, "max_pool", &[x], &attrs)
    }

    pub fn global_avg_pool(&mut self, name: &str, x: Value) -> Result<Value, Diagnostics> {
        self.op(name, "global_avg_pool", &[x], &[])
    }

    pub fn flatten(&mut self, name: &str, x: Value) -> Result<Value, Diagnostics> {
        self.op(name, "flatten", &[x], &[])
    }

    /// A dense layer whose result is called `name` and whose tensors `tensor.weight` and `tensor.bias`.
    pub fn dense(&mut self, name: &str, tensor: &str, x: Value, out: u64) -> Result<Value, Diagnostics> {
        let inputs = self.channels(x);
        let weight = self.g.param(&format!("{tensor}.weight"), TensorType::f32(&[out, inputs]));
        let bias = self.g.param(&format!("{tensor}.bias"), TensorType::f32(&[out]));
        self.g.fused_op(name, "dense", &[x, weight, bias], &[], vec![Step::Bias(2)]).map_err(|p| at_layer(p, name))
    }
}

fn at_layer(p: Problem, name: &str) -> Diagnostics {
    let d = Diagnostic::error(p.code, p.message).at(Place::Node(name.into()), "");
    d.help(p.help.unwrap_or_else(|| "a larger --input fits".into())).into()
}
