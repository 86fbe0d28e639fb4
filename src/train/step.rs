//! A compiled step, and the state that it takes from one iteration to the next.
//!
//! A step reads one half of the memory and writes the other; [`Step::accept`] exchanges them. Until then the old state
//! is whole, whatever the step gave.

use super::group::Group;
use super::progress::Outcome;
use super::settings::Settings;
use super::shards::Update;
use crate::code::{Code, floats, set_elements, set_floats};
use crate::counts;
use crate::eval::batches::Batches;
use crate::render::Failure;
use crate::toolchain::BackendName;
use backends::exec::Execution;
use ir::entity::Value;
use ir::graph::Def;
use ir::store::TensorStore;
use ir::target::Target;
use ir::{Diagnostic, Graph};
use passes::autodiff::{
    INPUTS_BEFORE_STATE, OUTPUTS_BEFORE_STATE, StateKind, StateTensor, TrainOptions, apply_step, gradient_step,
    state_of, training_step,
};
use passes::pipeline::{Options, PassOptions};
use runtime::host::topk;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// What is compiled before a run: the step, and the network with its parameters as inputs.
pub struct Codes {
    /// The step, or the gradients of a shard.
    pub step: Code,
    /// The rest of a step in shards.
    update: Option<Code>,
    /// `step` as a graph, before any pass.
    graph: Graph,
    evaluation: Code,
    state: Vec<StateTensor>,
    shards: u64,
    /// The output of the step that is them.
    logits: usize,
    /// Tensors of the evaluation's inputs after the first.
    read: Vec<String>,
    classes: usize,
}

impl Codes {
    /// `passes` are those of the step.
    ///
    /// Errors: E0406 and E0407 for a network that cannot be trained; those of the passes and the back end.
    pub fn new(
        graph: &Graph,
        store: &Arc<dyn TensorStore>,
        s: &Settings,
        target: Target,
        backend: BackendName,
        passes: PassOptions,
    ) -> Result<Codes, Failure> {
        let training = options(s);
        let state = state_of(graph, &training)?;
        let mut step = match s.shards {
            1 => training_step(graph, &training)?,
            _ => gradient_step(graph, &training)?,
        };
        let update = if s.shards > 1 { Some(apply_step(graph, &training)?) } else { None };
        let logits = logits(&step);
        step.outputs.push(logits);
        let outputs = step.outputs.len();
        let classes = step.ty(logits).dims(1).last().copied().unwrap_or(1) as usize;
        let (evaluation, read) = open(graph, &state);
        let options = Options::new(backend.legal(target), s.batch);
        let of_shard = Options { passes, batch: s.batch / s.shards, ..options };
        Ok(Codes {
            graph: step.clone(),
            step: Code::new(step, store.clone(), backend, &of_shard)?,
            update: update.map(|g| Code::new(g, store.clone(), backend, &options)).transpose()?,
            evaluation: Code::new(evaluation, store.clone(), backend, &options)?,
            state,
            shards: s.shards,
            logits: outputs - 1,
            read,
            classes,
        })
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Multiply-adds of a step as the graph is written, whatever method computes them.
    pub fn macs(&self) -> u64 {
        let of_shard = counts::layers(&self.graph, self.step.program().batch);
        self.shards * counts::totals(&self.graph, &of_shard).macs
    }
}

/// What the loss of a training step is computed from.
pub fn logits(step: &Graph) -> Value {
    let loss = step.order.iter().copied().find(|&n| step.op(n).name == "cross_entropy");
    step.operand(loss.expect("invariant: a training step has a loss"), 0)
}

/// What of the settings is compiled into a step.
pub fn options(s: &Settings) -> TrainOptions {
    TrainOptions {
        momentum: s.momentum,
        weight_decay: s.weight_decay,
        nesterov: s.nesterov,
        label_smoothing: s.label_smoothing,
        bn_momentum: s.bn_momentum,
        frozen: s.frozen.clone(),
    }
}

/// `graph` with what is trained as inputs, and the names of their tensors.
pub fn open(graph: &Graph, state: &[StateTensor]) -> (Graph, Vec<String>) {
    let mut g = graph.clone();
    let mut names = Vec::new();
    let (mut inputs, mut params) = (g.inputs.clone(), Vec::new());
    for &v in &graph.params {
        match &graph.values[v].def {
            Def::Param { tensor, .. } if state.iter().any(|s| s.name == *tensor) => {
                names.push(tensor.clone());
                g.values[v].def = Def::Input(inputs.len());
                inputs.push(v);
            }
            _ => params.push(v),
        }
    }
    (g.inputs, g.params) = (inputs, params);
    (g, names)
}

/// A step with its memory.
pub struct Step<'a> {
    codes: &'a Codes,
    /// Of [`Codes::step`]; its inputs are the state.
    execution: Execution<'a>,
    update: Option<Update<'a>>,
    evaluation: Batches<'a>,
}

impl<'a> Step<'a> {
    /// The state comes from `tensor(name, shape)`; momenta that it lacks begin at 0.
    ///
    /// Errors: E0908 if another tensor is missing.
    pub fn new(codes: &'a Codes, tensor: &mut dyn FnMut(&str, &[u64]) -> Option<Vec<u8>>) -> Result<Step<'a>, Failure> {
        let (execution, evaluation) = (codes.step.execution()?, Batches::new(&codes.evaluation)?);
        let update = codes.update.as_ref().map(Update::new).transpose()?;
        let mut step = Step { codes, execution, update, evaluation };
        for (i, t) in codes.state.iter().enumerate() {
            let memory = step.execution.input_mut(INPUTS_BEFORE_STATE + i);
            let memory = memory.expect("invariant: a step reads its state");
            match tensor(&t.name, &t.ty.dims(1)) {
                Some(bytes) if bytes.len() == memory.len() => memory.copy_from_slice(&bytes),
                None if t.kind == StateKind::Momentum => memory.fill(0),
                _ => {
                    let d = Diagnostic::error("E0908", format!("there is no tensor '{}' {}", t.name, t.ty));
                    return Err(d.help("the weights or the checkpoint belong to another network").into());
                }
            }
        }
        Ok(step)
    }

    /// Numbers of a picture.
    pub fn image_elements(&self) -> usize {
        self.execution.input(0).map_or(0, <[u8]>::len) / 4 / self.codes.step.program().batch as usize
    }

    fn set_inputs(&mut self, x: &[f32], labels: &[i32], lr: f32) {
        set_floats(self.input(0), x);
        set_elements(self.input(1), labels.iter().map(|v| v.to_le_bytes()));
        set_floats(self.input(2), &[lr]);
    }

    /// As [`run`](Self::run) of one shard, for the microseconds of each call.
    pub fn run_timed(&mut self, x: &[f32], labels: &[i32], lr: f32) -> Vec<f64> {
        self.set_inputs(x, labels, lr);
        let timed = |i| {
            let begun = Instant::now();
            self.execution.step(i);
            begun.elapsed().as_secs_f64() * 1e6
        };
        (0..self.codes.step.program().calls.len()).map(timed).collect()
    }

    /// Runs one step on a batch, of which `x` and `labels` are this rank's part. The state is as it was until
    /// [`accept`](Self::accept).
    pub fn run(&mut self, group: &dyn Group, x: &[f32], labels: &[i32], lr: f32) -> Outcome {
        let Some(mut update) = self.update.take() else { return self.run_program(x, labels, lr) };
        let pictures = self.codes.step.group();
        for (x, labels) in x.chunks(pictures * self.image_elements()).zip(labels.chunks(pictures)) {
            let Outcome { loss, wrong } = self.run_program(x, labels, lr);
            // All but the logits: loss, gradients and statistics.
            let outputs = (OUTPUTS_BEFORE_STATE..self.codes.logits).filter_map(|i| self.execution.output(i));
            update.push(outputs, [loss, wrong as f32]);
        }
        let shards = self.codes.shards;
        let [loss, wrong] = update.mean(group, shards);
        let old = (0..2 * self.parameters()).filter_map(|i| self.execution.input(INPUTS_BEFORE_STATE + i));
        update.run(lr, old);
        self.update = Some(update);
        // A whole number as long as nothing is rounded, which powers of two see to.
        Outcome { loss, wrong: (wrong * shards as f32) as u64 }
    }

    fn run_program(&mut self, x: &[f32], labels: &[i32], lr: f32) -> Outcome {
        self.set_inputs(x, labels, lr);
        self.execution.run();
        let output = |i| floats(self.execution.output(i).unwrap_or_default());
        let loss = output(0).next().unwrap_or(f32::NAN);
        let logits: Vec<f32> = output(self.codes.logits).collect();
        let answers = logits.chunks_exact(self.codes.classes).map(topk::best);
        let wrong = answers.zip(labels).filter(|(a, l)| *a as i32 != **l).count() as u64;
        Outcome { loss, wrong }
    }

    /// Takes the new state.
    pub fn accept(&mut self) -> Result<(), Failure> {
        if let Some(update) = &self.update {
            update.accept(&mut self.execution, INPUTS_BEFORE_STATE);
            return Ok(());
        }
        for i in 0..self.codes.state.len() {
            self.execution.swap(INPUTS_BEFORE_STATE + i, OUTPUTS_BEFORE_STATE + i)?;
        }
        Ok(())
    }

    /// Number of tensors that are trained.
    fn parameters(&self) -> usize {
        self.codes.state.iter().filter(|t| t.kind == StateKind::Parameter).count()
    }

    /// Filters and matrices that are trained: their places in the state, and their names.
    pub fn weights(&self) -> Vec<(usize, &str)> {
        let state = self.codes.state.iter().enumerate();
        let weights = state.filter(|(_, t)| t.kind == StateKind::Parameter && t.ty.shape.len() > 1);
        weights.map(|(i, t)| (i, t.name.as_str())).collect()
    }

    /// Norms of the loss's gradients for [`weights`](Self::weights), between [`run`](Self::run) and
    /// [`accept`](Self::accept): a gradient is what the step added to the momentum, without the decay.
    pub fn gradient_norms(&self, s: &Settings) -> Vec<f64> {
        let parameters = self.parameters();
        let before = |i| floats(self.execution.input(INPUTS_BEFORE_STATE + i).unwrap_or_default()).map(f64::from);
        let new = |i| match &self.update {
            Some(update) => update.next(i),
            None => self.execution.output(OUTPUTS_BEFORE_STATE + i).unwrap_or_default(),
        };
        let after = |i| floats(new(i)).map(f64::from);
        let norm = |(i, _): (usize, &str)| {
            let momenta = after(parameters + i).zip(before(parameters + i));
            let gradient = momenta.zip(before(i)).map(|((new, old), w)| new - s.momentum * old - s.weight_decay * w);
            gradient.map(|g| g * g).sum::<f64>().sqrt()
        };
        self.weights().into_iter().map(norm).collect()
    }

    /// Name, shape and elements of every tensor of the state.
    pub fn state(&self) -> Vec<(String, Vec<u64>, &[u8])> {
        let bytes = |i| self.execution.input(INPUTS_BEFORE_STATE + i).unwrap_or_default();
        self.codes.state.iter().enumerate().map(|(i, t)| (t.name.clone(), t.ty.dims(1), bytes(i))).collect()
    }

    /// Whether every number of the state is finite.
    pub fn is_finite(&self) -> bool {
        self.state().iter().all(|(_, _, bytes)| floats(bytes).all(f32::is_finite))
    }

    /// Wrongly classified pictures of `images`, by the running statistics. `fill(i, x)` writes picture `i`.
    ///
    /// Errors: those of `fill`.
    pub fn evaluate(
        &mut self,
        images: Range<u64>,
        label: &dyn Fn(u64) -> u32,
        fill_one: &(dyn Fn(u64, &mut [f32]) -> Result<(), Failure> + Sync),
    ) -> Result<u64, Failure> {
        for (i, name) in self.codes.read.iter().enumerate() {
            let at = self.codes.state.iter().position(|t| t.name == *name);
            let from = at.and_then(|at| self.execution.input(INPUTS_BEFORE_STATE + at)).unwrap_or_default();
            if let Some(to) = self.evaluation.input_mut(1 + i) {
                to.copy_from_slice(from);
            }
        }
        let mut wrong = 0;
        let first = images.start;
        let mut see = |i: u64, logits: &[f32]| wrong += u64::from(topk::best(logits) as u32 != label(first + i));
        self.evaluation.each(images.end - first, &|i, x: &mut [f32]| fill_one(first + i, x), &mut see)?;
        Ok(wrong)
    }

    fn input(&mut self, i: usize) -> &mut [u8] {
        self.execution.input_mut(i).unwrap_or_default()
    }
}
