//! A network as it trains: parameters are inputs, batch norms use the statistics of the batch and pass them on to the
//! running ones, epilogues are ops of their own, and the loss stands where a softmax may have stood.
//!
//! A strided 1×1 convolution becomes one at stride 1 on a copy of the pixels that it reads. Its gradients, by the rules
//! of these two ops, are then dense convolutions, which are twice as fast as strided ones.

use super::sweep::{Done, sweep};
use super::{TrainOptions, at, momentum_of, tensor_of};
use crate::graph::sample_pointwise::reads_a_sample;
use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use ir::entity::{Node, Value};
use ir::epilogue::Step;
use ir::grad::unique;
use ir::graph::{Def, GraphBuilder};
use ir::op::Attr;
use ir::ops::channels;
use ir::types::Dim;
use ir::{DType, Diagnostic, Diagnostics, Graph, Layout, TensorType};
use std::collections::{HashMap, HashSet};

/// Tensors of the state, each with the graph parameter that holds it.
pub struct State {
    pub parameters: Vec<(String, Value)>,
    pub statistics: Vec<(String, Value)>,
}

fn untrainable(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("E0407", message)
}

/// What of a network can be trained: the network without what its output does not depend on, which has no gradient.
pub fn live(g: &Graph, options: &TrainOptions) -> Result<Graph, Diagnostics> {
    check(g, options)?;
    let mut live = g.clone();
    live.apply_all([]).expect("invariant: a graph without patches stays as it is");
    Ok(live)
}

/// What of a [`live`] network is trained: the parameters that are neither frozen nor `state`, and the statistics of the
/// batch norms that are not frozen. Parameters that are one tensor are named once.
pub fn state(g: &Graph, options: &TrainOptions) -> Result<State, Diagnostics> {
    let statistics: HashSet<Value> = g
        .order
        .iter()
        .filter(|&&n| g.op(n).name == "batch_norm")
        .flat_map(|&n| g.nodes[n].operands[3..5].iter().copied())
        .filter(|&v| g.is_param(v))
        .collect();
    let read: HashSet<Value> = g.order.iter().flat_map(|&n| g.nodes[n].operands.iter().copied()).collect();
    let mut seen = HashSet::new();
    let mut out = State { parameters: Vec::new(), statistics: Vec::new() };
    for &v in g.params.iter().filter(|v| read.contains(v)) {
        let Def::Param { tensor, state } = &g.values[v].def else {
            unreachable!("invariant: the params of a graph are defined as such")
        };
        let (is_statistic, ty) = (statistics.contains(&v), g.ty(v));
        if is_frozen(tensor, options) || (*state && !is_statistic) || !ty.dtype.is_float() || !seen.insert(tensor) {
            continue;
        }
        if !tensor.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+')) {
            let message = format!("the tensor name '{tensor}' cannot be the name of an input");
            return Err(untrainable(message).help("rename it: letters, digits, '_', '.', '-' and '+'").into());
        }
        if ty.layout != Layout::Plain {
            let d = untrainable(format!("the tensor '{tensor}' is packed as {}", ty.layout));
            return Err(d.help("start from a graph that no pass has changed").into());
        }
        let list = if is_statistic { &mut out.statistics } else { &mut out.parameters };
        list.push((tensor.clone(), v));
    }
    if out.parameters.is_empty() {
        return Err(untrainable(format!("no parameter of @{} is left to be trained", g.name)).into());
    }
    Ok(out)
}

/// One input, one output of logits, and prefixes that name something.
fn check(g: &Graph, options: &TrainOptions) -> Result<(), Diagnostics> {
    let (&[x], &[y]) = (&g.inputs[..], &g.outputs[..]) else {
        let (i, o) = (g.inputs.len(), g.outputs.len());
        return Err(
            untrainable(format!("@{} has {i} inputs and {o} outputs; one of each can be trained", g.name)).into()
        );
    };
    let ty = g.ty(y);
    if !matches!(ty.shape[..], [Dim::N, Dim::Size(_)]) || !ty.dtype.is_float() || g.ty(x).shape.first() != Some(&Dim::N)
    {
        let message = format!("the output %{} is {ty}; what is trained gives logits [N,classes] of images", g.name(y));
        return Err(untrainable(message).into());
    }
    let names = || g.params.iter().filter_map(|&v| tensor_of(g, v));
    for prefix in &options.frozen {
        let one = TrainOptions { frozen: vec![prefix.clone()], ..TrainOptions::default() };
        if !names().any(|t| is_frozen(t, &one)) {
            let d =
                untrainable(format!("there is no tensor '{prefix}' to freeze, and none that begins with '{prefix}.'"));
            let layers: Vec<&str> = names().filter_map(|t| t.rsplit_once('.')).map(|(layer, _)| layer).collect();
            return Err(match ir::text::nearest(prefix, layers) {
                Some(near) => d.help(format!("did you mean '{near}'?")),
                None => d,
            }
            .into());
        }
    }
    Ok(())
}

fn is_frozen(tensor: &str, options: &TrainOptions) -> bool {
    let under = |prefix: &String| {
        let rest = tensor.strip_prefix(&prefix[..]);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || prefix.ends_with('.'))
    };
    options.frozen.iter().any(under)
}

/// The graph under construction.
pub struct Form<'a> {
    g: &'a Graph,
    options: &'a TrainOptions,
    b: GraphBuilder,
    names: HashSet<String>,
    /// What stands for a value of the network.
    now: SecondaryMap<Value, PackedOption<Value>>,
    labels: Value,
    pub lr: Value,
    /// Inputs that are trained, in order.
    pub parameters: Vec<Value>,
    /// The momentum of each.
    pub momentum: HashMap<Value, Value>,
    /// The statistic tensors in order, with the value that leaves the step.
    statistics: Vec<(String, Value)>,
    pub loss: Value,
}

impl<'a> Form<'a> {
    /// Of a [`live`] network.
    pub fn new(g: &'a Graph, options: &'a TrainOptions) -> Result<Form<'a>, Diagnostics> {
        let state = state(g, options)?;
        let mut b = GraphBuilder::new(g.name.clone());
        // Values of the network keep their names.
        let results = g.order.iter().flat_map(|&n| &g.nodes[n].results);
        let mut names: HashSet<String> = results.map(|&v| g.name(v).to_string()).collect();
        let mut input = |name: &str, ty: TensorType| {
            let name = unique(&mut names, name);
            b.input(&name, ty)
        };
        let mut now: SecondaryMap<Value, PackedOption<Value>> = SecondaryMap::new();
        let x = g.inputs[0];
        now[x] = input(g.name(x), g.ty(x).clone()).into();
        let labels = input("labels", TensorType::new(DType::I32, [Dim::N]));
        let lr = input("lr", TensorType::new(g.ty(g.outputs[0]).dtype, [Dim::Size(1)]));
        let mut of_tensor: HashMap<&str, Value> = HashMap::new();
        let mut parameters = Vec::new();
        for (tensor, v) in &state.parameters {
            let w = input(tensor, g.ty(*v).clone());
            of_tensor.insert(tensor, w);
            parameters.push(w);
        }
        let velocity =
            |(w, (tensor, v)): (&Value, &(String, Value))| (*w, input(&momentum_of(tensor), g.ty(*v).clone()));
        let momentum = parameters.iter().zip(&state.parameters).map(velocity).collect();
        let mut statistics = Vec::new();
        for (tensor, v) in &state.statistics {
            let s = input(tensor, g.ty(*v).clone());
            of_tensor.insert(tensor, s);
            statistics.push((tensor.clone(), s));
        }
        for &v in &g.params {
            let Def::Param { tensor, state } = &g.values[v].def else { continue };
            let frozen = |b: &mut GraphBuilder, names: &mut HashSet<String>| {
                let name = unique(names, g.name(v));
                b.add_param(&name, tensor, g.ty(v).clone(), *state)
            };
            now[v] = match of_tensor.get(&tensor[..]) {
                Some(&input) => input,
                None => frozen(&mut b, &mut names),
            }
            .into();
        }
        *b.info() = g.info.clone();
        Ok(Form { g, options, b, names, now, labels, lr, parameters, momentum, statistics, loss: labels })
    }

    /// The network and its loss.
    pub fn forward(&mut self) -> Result<(), Diagnostics> {
        let g = self.g;
        let mut logits = g.outputs[0];
        while let Some(n) = g.def(logits).filter(|&n| g.op(n).name == "softmax") {
            logits = g.operand(n, 0);
        }
        for &n in &g.order {
            let y = g.result(n);
            let is_after = g.op(n).name == "softmax" && g.outputs[0] == y;
            if !is_after {
                self.node(n).map_err(|p| at(p, g.name(y)))?;
            }
        }
        let name = self.name("loss");
        let smoothing = [("label_smoothing", Attr::Float(self.options.label_smoothing))];
        let operands = [self.value(logits), self.labels];
        self.loss = self.b.op(&name, "cross_entropy", &operands, &smoothing).map_err(|p| at(p, g.name(logits)))?;
        Ok(())
    }

    /// Gradients of the loss; `done` gets those of the parameters.
    pub fn backward(&mut self, done: Done) -> Result<(), Diagnostics> {
        let name = self.name("loss.grad");
        let seed = self.b.op(&name, "fill", &[self.loss], &[]).map_err(|p| at(p, "loss"))?;
        sweep(&mut self.b, &mut self.names, self.loss, seed, &self.parameters, done)
    }

    pub fn output(&mut self, v: Value) {
        self.b.output(v);
    }

    pub fn output_statistics(&mut self) {
        self.statistics.iter().for_each(|(_, v)| self.b.output(*v));
    }

    /// The graph `NETWORK_what`, without nodes that no output needs.
    pub fn finish(self, what: &str) -> Graph {
        let mut g = self.b.finish();
        g.name = format!("{}_{what}", g.name);
        g.batch = self.g.batch;
        g.apply_all([]).expect("invariant: a graph without patches stays as it is");
        g
    }

    fn name(&mut self, name: &str) -> String {
        unique(&mut self.names, name)
    }

    fn value(&self, v: Value) -> Value {
        self.now[v].expect("invariant: operands come before their readers")
    }

    fn node(&mut self, n: Node) -> Result<(), ir::op::Problem> {
        let g = self.g;
        let d = &g.nodes[n];
        if d.op.name == "batch_norm" && self.trains(n) {
            return self.batch_norm(n);
        }
        let mut operands: Vec<Value> = d.operands.iter().map(|&v| self.value(v)).collect();
        let own = operands.len() - d.epilogue.iter().map(|s| s.operands().len()).sum::<usize>();
        let mut attrs = d.attrs.clone();
        if reads_a_sample(g, n) {
            let name = self.name(&format!("{}.sample", g.name(d.results[0])));
            let step = Attr::Pair(attrs.pair("stride"));
            operands[0] = self.b.op(&name, "subsample", &operands[..1], &[("step", step)])?;
            attrs = attrs.set("stride", Attr::Pair([1, 1]));
        }
        let attrs: Vec<(&'static str, Attr)> = attrs.0.iter().map(|(&name, a)| (name, a.clone())).collect();
        let mut names: Vec<String> = d.results.iter().map(|&v| g.name(v).to_string()).collect();
        if !d.epilogue.is_empty() {
            names = vec![self.name(&format!("{}.sum", g.name(d.results[0])))];
        }
        let results = self.b.node(&names, d.op.name, &operands[..own], &attrs)?;
        for (&old, &new) in d.results.iter().zip(&results) {
            self.b.set_layout(new, g.ty(old).layout);
            self.now[old] = new.into();
        }
        let mut y = results[0];
        for (i, step) in d.epilogue.iter().enumerate() {
            let is_last = i + 1 == d.epilogue.len();
            let last = g.name(d.results[0]).to_string();
            let name = if is_last { last } else { self.name(&format!("{last}.step{i}")) };
            let float = |x: f32| Attr::Float(x.into());
            y = match *step {
                Step::Bias(b) => self.b.op(&name, "bias", &[y, operands[b]], &[])?,
                Step::ScaleShift(a, b) => self.b.op(&name, "scale_shift", &[y, operands[a], operands[b]], &[])?,
                Step::Add(s) => self.b.op(&name, "add", &[y, operands[s]], &[])?,
                Step::Relu => self.b.op(&name, "relu", &[y], &[])?,
                Step::ReluGrad(s) => self.b.op(&name, "relu_grad", &[y, operands[s]], &[])?,
                Step::Clamp(lo, hi) => self.b.op(&name, "clamp", &[y], &[("lo", float(lo)), ("hi", float(hi))])?,
            };
            self.now[d.results[0]] = y.into();
        }
        Ok(())
    }

    /// Whether a batch norm has statistics that are part of the state.
    fn trains(&self, n: Node) -> bool {
        let g = self.g;
        let is_state = |&v: &Value| tensor_of(g, v).is_some_and(|t| self.statistics.iter().any(|(s, _)| s == t));
        g.nodes[n].operands[3..5].iter().all(is_state)
    }

    /// Statistics of the batch, the batch norm with them, and the running ones.
    fn batch_norm(&mut self, n: Node) -> Result<(), ir::op::Problem> {
        let g = self.g;
        let d = &g.nodes[n];
        let y = d.results[0];
        let x = self.value(d.operands[0]);
        let splits = [channels::splits_attr(g.ty(d.operands[0]))];
        let [sums, squares, mean, var] =
            ["sums", "squares", "mean", "var"].map(|what| self.name(&format!("{}.{what}", g.name(y))));
        let moments = self.b.node(&[sums, squares], "channel_moments", &[x], &splits)?;
        let statistics = self.b.node(&[mean, var], "batch_statistics", &[x, moments[0], moments[1]], &[])?;
        let (mean, var) = (statistics[0], statistics[1]);
        let [gamma, beta] = [1, 2].map(|i| self.value(d.operands[i]));
        let eps = ("eps", d.attrs.0["eps"].clone());
        let normalised = self.b.op(g.name(y), "batch_norm", &[x, gamma, beta, mean, var], &[eps])?;
        self.b.set_layout(normalised, g.ty(y).layout);
        self.now[y] = normalised.into();
        for (i, of_batch) in [(3, vec![mean]), (4, vec![var, x])] {
            let tensor = tensor_of(g, d.operands[i]).expect("invariant: a statistic of the state is a parameter");
            let at = self.statistics.iter().position(|(s, _)| s == tensor);
            let at = at.expect("invariant: a batch norm that trains has its statistics in the state");
            let operands = [&[self.statistics[at].1], &of_batch[..]].concat();
            let name = unique(&mut self.names, &format!("{tensor}.next"));
            let momentum = [("momentum", Attr::Float(self.options.bn_momentum))];
            self.statistics[at].1 = self.b.op(&name, "running_average", &operands, &momentum)?;
        }
        Ok(())
    }
}
