//! From an inference graph to the graphs of training.
//!
//! | graph | inputs | outputs |
//! |---|---|---|
//! | [`training_step`] | images, labels, learning rate, state | loss, state |
//! | [`gradient_step`] | the same | loss, gradients, running statistics |
//! | [`statistics_step`] | the same | running statistics |
//! | [`apply_step`] | learning rate, parameters, momenta, gradients | parameters, momenta |
//!
//! The state is every trainable parameter, then the momentum of each, then every running statistic; [`state_of`] lists
//! it. It enters under the names of its tensors (momenta: `TENSOR.momentum`) and leaves, in the same order, as
//! `NAME.next`. A step writes nothing that it reads: whoever runs it swaps the two halves, so that an interrupted step
//! leaves the old state as it was. What is frozen stays a parameter of the graph, from the weights file.
//!
//! The way: [`form`] rewrites the network as it trains (batch statistics, epilogues as ops of their own, no softmax at
//! the end), [`sweep`] takes the gradients by the rules of the op table, and each parameter is updated as soon as its
//! gradient is whole, so that no gradient lives longer than it must. All of it is ordinary graph: printed, verified,
//! optimised and compiled as any other.

mod form;
mod sweep;
mod vjp;

pub use vjp::vjp;

use form::Form;
use ir::entity::Value;
use ir::graph::{Def, GraphBuilder};
use ir::op::{Attr, Problem};
use ir::types::Dim;
use ir::{DType, Diagnostic, Diagnostics, Graph, Place, TensorType};
use std::collections::{HashMap, HashSet};

/// How a network is trained. The defaults are those of the paper, section 3.4, but for label smoothing, which it lacks.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    pub momentum: f64,
    pub weight_decay: f64,
    pub nesterov: bool,
    pub label_smoothing: f64,
    /// Weight of a batch in the running statistics.
    pub bn_momentum: f64,
    /// Tensors and layers that stay as they are, by name: `conv1` is `conv1.weight` and all else that begins with
    /// `conv1.`. Their batch norms use the running statistics.
    pub frozen: Vec<String>,
}

impl Default for TrainOptions {
    fn default() -> TrainOptions {
        TrainOptions {
            momentum: 0.9,
            weight_decay: 1e-4,
            nesterov: false,
            label_smoothing: 0.0,
            bn_momentum: 0.1,
            frozen: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    Parameter,
    Momentum,
    Statistic,
}

/// One tensor of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateTensor {
    /// Name of the input; the output is `NAME.next`. Of parameters and statistics, also the name in the weights file.
    pub name: String,
    pub ty: TensorType,
    pub kind: StateKind,
}

/// Inputs of a step before the state: images, labels, learning rate.
pub const INPUTS_BEFORE_STATE: usize = 3;
/// Outputs of a step before the state: the loss.
pub const OUTPUTS_BEFORE_STATE: usize = 1;

/// The state of a training step of `graph`, in order.
///
/// Errors: as [`training_step`].
pub fn state_of(graph: &Graph, options: &TrainOptions) -> Result<Vec<StateTensor>, Diagnostics> {
    let graph = &form::live(graph, options)?;
    let state = form::state(graph, options)?;
    let tensor = |kind: StateKind| {
        move |(tensor, v): &(String, Value)| StateTensor {
            name: if kind == StateKind::Momentum { momentum_of(tensor) } else { tensor.clone() },
            ty: graph.ty(*v).clone(),
            kind,
        }
    };
    let (parameters, statistics) = (state.parameters.iter(), state.statistics.iter());
    let momenta = parameters.clone().map(tensor(StateKind::Momentum));
    let all = parameters.map(tensor(StateKind::Parameter)).chain(momenta);
    Ok(all.chain(statistics.map(tensor(StateKind::Statistic))).collect())
}

fn momentum_of(tensor: &str) -> String {
    format!("{tensor}.momentum")
}

/// One step of stochastic gradient descent on the network `graph`, whose output is logits or their softmax.
///
/// Errors: E0406 for an op on the way from a parameter to the loss that has no gradient; E0407 for a graph that cannot
/// be trained, or options that make no sense for it.
pub fn training_step(graph: &Graph, options: &TrainOptions) -> Result<Graph, Diagnostics> {
    let graph = &form::live(graph, options)?;
    let mut form = Form::new(graph, options)?;
    form.forward()?;
    let mut next: HashMap<Value, [Value; 2]> = HashMap::new();
    let (lr, momenta) = (form.lr, form.momentum.clone());
    let mut update = |b: &mut GraphBuilder, names: &mut HashSet<String>, w: Value, g: Value| {
        let v = momenta[&w];
        let results = [w, v].map(|old| ir::grad::unique(names, &format!("{}.next", b.graph().name(old))));
        let results = b.node(&results, "sgd_step", &[w, v, g, lr], &update_attrs(options))?;
        next.insert(w, [results[0], results[1]]);
        Ok(())
    };
    form.backward(&mut update)?;
    let parameters = form.parameters.clone();
    form.output(form.loss);
    parameters.iter().for_each(|w| form.output(next[w][0]));
    parameters.iter().for_each(|w| form.output(next[w][1]));
    form.output_statistics();
    Ok(form.finish("step"))
}

/// The loss and its gradient for each trainable parameter, called `TENSOR.grad`, without the update.
///
/// Errors: as [`training_step`].
pub fn gradient_step(graph: &Graph, options: &TrainOptions) -> Result<Graph, Diagnostics> {
    let graph = &form::live(graph, options)?;
    let mut form = Form::new(graph, options)?;
    form.forward()?;
    let mut grads: HashMap<Value, Value> = HashMap::new();
    let mut keep = |b: &mut GraphBuilder, names: &mut HashSet<String>, w: Value, g: Value| {
        let name = ir::grad::unique(names, &format!("{}.grad", b.graph().name(w)));
        b.rename(g, name);
        grads.insert(w, g);
        Ok(())
    };
    form.backward(&mut keep)?;
    form.output(form.loss);
    for w in form.parameters.clone() {
        form.output(grads[&w]);
    }
    form.output_statistics();
    Ok(form.finish("gradients"))
}

/// The running statistics that a batch leaves, without a loss.
///
/// Errors: as [`training_step`].
pub fn statistics_step(graph: &Graph, options: &TrainOptions) -> Result<Graph, Diagnostics> {
    let graph = &form::live(graph, options)?;
    let mut form = Form::new(graph, options)?;
    form.forward()?;
    form.output_statistics();
    Ok(form.finish("statistics"))
}

/// The update of a step alone, for gradients that come from elsewhere: summed over several machines, say.
///
/// Errors: as [`training_step`].
pub fn apply_step(graph: &Graph, options: &TrainOptions) -> Result<Graph, Diagnostics> {
    let graph = &form::live(graph, options)?;
    let state = form::state(graph, options)?;
    let mut b = GraphBuilder::new(format!("{}_apply", graph.name));
    let mut names = HashSet::from(["lr".to_string()]);
    let lr = b.input("lr", TensorType::new(DType::F32, [Dim::Size(1)]));
    let mut inputs = |suffix: &str| -> Vec<Value> {
        let input = |(tensor, v): &(String, Value)| {
            let name = ir::grad::unique(&mut names, &format!("{tensor}{suffix}"));
            b.input(&name, graph.ty(*v).clone())
        };
        state.parameters.iter().map(input).collect()
    };
    let [parameters, momenta, grads] = ["", ".momentum", ".grad"].map(&mut inputs);
    let mut next = [Vec::new(), Vec::new()];
    for ((&w, &v), &g) in parameters.iter().zip(&momenta).zip(&grads) {
        let results = [w, v].map(|old| ir::grad::unique(&mut names, &format!("{}.next", b.graph().name(old))));
        let attrs = update_attrs(options);
        let results = b.node(&results, "sgd_step", &[w, v, g, lr], &attrs).map_err(|p| at(p, b.graph().name(w)))?;
        next.iter_mut().zip(results).for_each(|(list, v)| list.push(v));
    }
    next.concat().into_iter().for_each(|v| b.output(v));
    Ok(b.finish())
}

fn update_attrs(options: &TrainOptions) -> [(&'static str, Attr); 3] {
    [
        ("momentum", Attr::Float(options.momentum)),
        ("weight_decay", Attr::Float(options.weight_decay)),
        ("nesterov", Attr::Bool(options.nesterov)),
    ]
}

/// A problem at the node or value `name`.
fn at(p: Problem, name: &str) -> Diagnostics {
    let mut d = Diagnostic::error(p.code, p.message).at(Place::Node(name.into()), "");
    d.help = p.help;
    d.into()
}

/// Name of the tensor that a parameter is.
fn tensor_of(graph: &Graph, v: Value) -> Option<&str> {
    match &graph.values[v].def {
        Def::Param { tensor, .. } => Some(tensor),
        _ => None,
    }
}
