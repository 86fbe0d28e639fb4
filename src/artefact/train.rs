//! A network that trains, as a library or a trainer: the programs of its training over one state.
//!
//! A program of the compiler has an input or output for each tensor of the state; the library's caller has one array.
//! So [`Ends`] gives every input and output of a program its place: a number, and an offset in that array. Programs
//! share the kernels that they have in common, and one weights section: the constants of each, then the state to begin
//! with.
//!
//! A trainer is the library of such programs with a host around it, an executable. Its step gives logits too, and it is
//! told of its run by a [`Preset`].

use super::{Constants, HOST_PREFIX, Objects, TRAIN, TRAIN_HOST, aligned, bytes_of};
use crate::train::{run, step};
use backends::Backend;
use backends::object::{self, Base, CODES, CodeDesc, Piece, StateTensorDesc, TensorKind, TrainDesc};
use ir::diag::Class;
use ir::store::TensorStore;
use ir::target::Target;
use ir::{DType, Diagnostic, Diagnostics, Graph, Kernel, Program};
use passes::Evaluator;
use passes::autodiff::{self, StateKind, StateTensor, TrainOptions};
use passes::pipeline::{self, Compiled, Options};
use runtime::host::train::preset::Preset;
use runtime::host::train::safetensors;
use runtime::train::{GRADIENTS, LABELS, LOGITS_AT, NEXT, RATE, RESULT, STATE, X};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What a saved state begins with after its length, up to the digits of its hash.
const BEFORE_HASH: &str = r#"{"__metadata__":{"hash":""#;
const HASH_DIGITS: usize = 16;

/// The programs of a network's training, planned.
pub struct Training<'a> {
    graph: &'a Graph,
    /// The network's own tensors.
    tensors: &'a dyn TensorStore,
    train: &'a TrainOptions,
    options: &'a Options<'a>,
    /// Of a trainer.
    preset: Option<&'a Preset>,
    state: Half,
    /// As [`CODES`]; `None` computes nothing.
    programs: Vec<Option<(Compiled, Ends)>>,
}

/// The tensors of the state with their places in a half.
struct Half {
    tensors: Vec<StateTensor>,
    /// Bytes from the start.
    offsets: Vec<u64>,
    parameter_bytes: u64,
    statistic_bytes: u64,
}

/// A number that the runtime gives, and bytes from the start of what has it.
type Place = (usize, u64);

/// Where a program's inputs and outputs lie.
#[derive(Default)]
struct Ends {
    inputs: Vec<Place>,
    outputs: Vec<Place>,
}

impl Half {
    fn new(tensors: Vec<StateTensor>) -> Half {
        let bytes = |kind| -> u64 {
            let of_kind = tensors.iter().filter(|t| t.kind == kind);
            of_kind.map(|t| aligned(t.ty.len_bytes(1))).sum()
        };
        let (parameter_bytes, statistic_bytes) = (bytes(StateKind::Parameter), bytes(StateKind::Statistic));
        let mut end = 0;
        let mut place = |t: &StateTensor| {
            let at = end;
            end += aligned(t.ty.len_bytes(1));
            at
        };
        let offsets = tensors.iter().map(&mut place).collect();
        Half { tensors, offsets, parameter_bytes, statistic_bytes }
    }

    /// Places of the tensors of a kind in an array that lacks the first `less` bytes of a half.
    fn places(&self, kind: StateKind, number: usize, less: u64) -> impl Iterator<Item = Place> {
        let all = self.tensors.iter().zip(&self.offsets);
        all.filter(move |(t, _)| t.kind == kind).map(move |(_, at)| (number, at - less))
    }

    /// Places of all tensors.
    fn all(&self, number: usize) -> impl Iterator<Item = Place> {
        self.offsets.iter().map(move |&at| (number, at))
    }
}

/// One of [`CODES`] as a graph, and its ends.
fn program(
    name: &str,
    g: &Graph,
    train: &TrainOptions,
    half: &Half,
    gives_logits: bool,
) -> Result<(Graph, Ends), Diagnostics> {
    use StateKind::{Momentum, Parameter, Statistic};
    let batch = || [(X, 0), (LABELS, 0), (RATE, 0)].into_iter().chain(half.all(STATE)).collect();
    let result = || [(RESULT, 0)].into_iter();
    Ok(match name {
        "step" => {
            let mut step = autodiff::training_step(g, train)?;
            let mut outputs: Vec<Place> = result().chain(half.all(NEXT)).collect();
            if gives_logits {
                step.outputs.push(step::logits(&step));
                outputs.push((RESULT, LOGITS_AT as u64));
            }
            (step, Ends { inputs: batch(), outputs })
        }
        "grad" => {
            // Statistics follow the gradients: a half without its momenta.
            let statistics = half.places(Statistic, NEXT, half.parameter_bytes);
            let outputs = result().chain(half.places(Parameter, NEXT, 0)).chain(statistics).collect();
            (autodiff::gradient_step(g, train)?, Ends { inputs: batch(), outputs })
        }
        "apply" => {
            let both = |number| half.places(Parameter, number, 0).chain(half.places(Momentum, number, 0));
            let inputs = [(RATE, 0)].into_iter().chain(both(STATE)).chain(half.places(Parameter, GRADIENTS, 0));
            let ends = Ends { inputs: inputs.collect(), outputs: both(NEXT).collect() };
            (autodiff::apply_step(g, train)?, ends)
        }
        "statistics" => {
            // The statistics of the batch alone.
            let train = TrainOptions { bn_momentum: 1.0, ..train.clone() };
            let outputs = half.places(Statistic, NEXT, 0).collect();
            (autodiff::statistics_step(g, &train)?, Ends { inputs: batch(), outputs })
        }
        _ => {
            let (open, names) = step::open(g, &half.tensors);
            let place = |name: &String| {
                let at = half.tensors.iter().position(|t| t.name == *name);
                (STATE, half.offsets[at.expect("invariant: what is opened is part of the state")])
            };
            let inputs = [(X, 0)].into_iter().chain(names.iter().map(place)).collect();
            (open, Ends { inputs, outputs: result().collect() })
        }
    })
}

/// Refuses what the library's arrays cannot hold.
fn check(g: &Graph, state: &[StateTensor]) -> Result<(), Diagnostics> {
    let refuse = |what: String| -> Diagnostics {
        let d = Diagnostic::error("E0710", format!("a library trains f32 tensors of at most four dimensions; {what}"));
        d.class(Class::Unsupported).help("`rescc train` has the same limits").into()
    };
    let ends = g.inputs.iter().chain(&g.outputs).map(|&v| (g.name(v), g.ty(v)));
    for (name, ty) in ends.chain(state.iter().map(|t| (&t.name[..], &t.ty))) {
        if ty.dtype != DType::F32 || ty.shape.len() > 4 {
            return Err(refuse(format!("'{name}' is {ty}")));
        }
    }
    Ok(())
}

impl<'a> Training<'a> {
    /// Differentiates the network `graph` and compiles its programs down to kernels; with a preset those of a trainer.
    ///
    /// Errors: E0406 and E0407 for a network that cannot be trained; E0710 for types that a library lacks; those of the
    /// passes.
    pub fn new(
        graph: &'a Graph,
        tensors: &'a Arc<dyn TensorStore>,
        train: &'a TrainOptions,
        options: &'a Options,
        preset: Option<&'a Preset>,
        evaluator: &dyn Evaluator,
    ) -> Result<Training<'a>, Diagnostics> {
        let state = Half::new(autodiff::state_of(graph, train)?);
        check(graph, &state.tensors)?;
        let compile = |name: &str| {
            let (g, ends) = program(name, graph, train, &state, preset.is_some())?;
            if g.outputs.is_empty() {
                return Ok(None);
            }
            Ok(Some((pipeline::compile(g, tensors.clone(), options, evaluator)?, ends)))
        };
        let programs = CODES.into_iter().map(compile).collect::<Result<_, Diagnostics>>()?;
        Ok(Training { graph, tensors: &**tensors, train, options, preset, state, programs })
    }

    /// What every program computes with, each once, and their names in each program.
    pub fn kernels(&self) -> (Vec<Kernel>, Vec<Vec<String>>) {
        let mut kernels = Vec::new();
        let mut names: HashMap<Kernel, String> = HashMap::new();
        let mut taken = HashSet::new();
        let mut name_of = |k: &Kernel| {
            let anonymous = Kernel { name: String::new(), ..k.clone() };
            let own = names.entry(anonymous).or_insert_with(|| {
                let name = ir::grad::unique(&mut taken, &k.name);
                kernels.push(Kernel { name: name.clone(), ..k.clone() });
                name
            });
            own.clone()
        };
        let mut of_program = |p: &Program| p.kernels.iter().map(&mut name_of).collect();
        let all = self.programs.iter().map(|p| p.as_ref().map_or_else(Vec::new, |(c, _)| of_program(&c.program)));
        let all = all.collect();
        (kernels, all)
    }

    /// Bytes of arena that every program can do with, with one thread.
    pub fn arena_bytes(&self) -> u64 {
        self.programs.iter().flatten().map(|(c, _)| super::arena_bytes(&c.program)).max().unwrap_or(0)
    }

    /// The most bytes of values that a program holds between its calls.
    pub fn activation_bytes(&self) -> u64 {
        self.programs.iter().flatten().map(|(c, _)| c.program.arena_bytes).max().unwrap_or(0)
    }

    /// Bytes of a half of the state.
    pub fn state_bytes(&self) -> u64 {
        2 * self.state.parameter_bytes + self.state.statistic_bytes
    }

    /// Kernel calls of a step.
    pub fn step_calls(&self) -> usize {
        self.programs.iter().flatten().next().map_or(0, |(c, _)| c.program.calls.len())
    }

    /// Compiles the kernels for `target` and writes the descriptor. Symbols of a library begin with `prefix`.
    pub fn objects(&self, backend: &dyn Backend, target: &Target, prefix: &str) -> Result<Objects<'_>, Diagnostics> {
        let prefix = self.preset.map_or_else(|| object::prefix_of(prefix), |_| HOST_PREFIX.into());
        let (kernels, names) = self.kernels();
        let compiled = backend.compile(&kernels, &object::kernel_prefix(&prefix), target)?;
        let (constants, starts, initial_at) = self.constants()?;
        let mut codes = self.programs.iter().zip(names).zip(starts).map(|((p, names), at)| match p {
            Some((c, ends)) => code(&c.program, ends, names, at),
            None => CodeDesc::nothing(self.group()),
        });
        let codes = std::array::from_fn(|_| codes.next().expect("invariant: there is a program for each code"));
        let (tensors, saved_header) = self.saved();
        let g = self.graph;
        let dims = g.ty(g.inputs[0]).dims(1);
        let input = std::array::from_fn(|i| dims.get(1 + i).map_or(1, |&n| narrow(n)));
        let t = self.train;
        let mut options = format!(
            "momentum {}{}, weight decay {}, label smoothing {}, {} of each batch in running statistics",
            t.momentum,
            if t.nesterov { " (Nesterov's)" } else { "" },
            t.weight_decay,
            t.label_smoothing,
            t.bn_momentum
        );
        if !t.frozen.is_empty() {
            options += &format!(", frozen: {}", t.frozen.join(", "));
        }
        let train = TrainDesc {
            prefix: &prefix,
            name: &g.name,
            version: env!("CARGO_PKG_VERSION"),
            target: target.name,
            codes,
            batch: self.group(),
            input,
            classes: narrow(g.ty(g.outputs[0]).dims(1).iter().product()),
            options,
            tensors,
            parameter_bytes: self.state.parameter_bytes,
            statistic_bytes: self.state.statistic_bytes,
            initial_at,
            saved_header,
            hash_at: (8 + BEFORE_HASH.len()) as u64,
            preset: self.preset.map(|preset| serde_json::to_string(preset).unwrap_or_default()),
        };
        let header = object::train_header(&train);
        let descriptor = object::train_object(&train)?;
        let runtime = ("rescc_train.o", TRAIN);
        Ok(Objects::assemble(compiled, ("train.o", descriptor), runtime, TRAIN_HOST, constants, header, prefix))
    }

    fn group(&self) -> u32 {
        narrow(self.options.batch)
    }

    /// The weights section, where the constants of each program begin in it, and where the state does.
    fn constants(&self) -> Result<(Constants<'_>, Vec<u64>, u64), Diagnostics> {
        let mut constants = Constants::default();
        let mut starts = Vec::with_capacity(self.programs.len());
        for p in &self.programs {
            starts.push(aligned(constants.len_bytes));
            if let Some((c, _)) = p {
                constants.append(&c.program, &*c.store)?;
            }
        }
        let initial_at = aligned(constants.len_bytes);
        let half = &self.state;
        for (t, &at) in half.tensors.iter().zip(&half.offsets).filter(|(t, _)| t.kind != StateKind::Momentum) {
            let less = if t.kind == StateKind::Statistic { half.parameter_bytes } else { 0 };
            constants.pieces.push(Piece { offset: initial_at + at - less, bytes: bytes_of(self.tensors, &t.name)? });
        }
        constants.len_bytes = initial_at + half.parameter_bytes + half.statistic_bytes;
        Ok((constants, starts, initial_at))
    }

    /// The tensors in the order of a saved state, and what that begins with.
    fn saved(&self) -> (Vec<StateTensorDesc>, Vec<u8>) {
        let half = &self.state;
        let list: Vec<(String, Vec<u64>)> = half.tensors.iter().map(|t| (t.name.clone(), t.ty.dims(1))).collect();
        let (zeros, network) = ("0".repeat(HASH_DIGITS), run::signature(self.graph));
        let (header, order) = safetensors::header(&list, &[("hash", &zeros), ("network", &network)]);
        let tensor = |i: usize| StateTensorDesc {
            name: list[i].0.clone(),
            offset: half.offsets[i],
            shape: list[i].1.clone(),
            kind: match half.tensors[i].kind {
                StateKind::Parameter => TensorKind::Parameter,
                StateKind::Momentum => TensorKind::Momentum,
                StateKind::Statistic => TensorKind::Statistic,
            },
        };
        (order.into_iter().map(tensor).collect(), header)
    }
}

/// Program `p` with its ends where they lie and its kernels as they are called.
fn code(p: &Program, ends: &Ends, names: Vec<String>, weights_at: u64) -> CodeDesc {
    let mut code = CodeDesc { kernels: names, weights_at, ..CodeDesc::new(p) };
    for arg in code.calls.iter_mut().flat_map(|c| &mut c.args) {
        let places = match arg.base {
            Base::Input => &ends.inputs,
            Base::Output => &ends.outputs,
            Base::Arena | Base::Const => continue,
        };
        let (number, at) = places[arg.index as usize];
        (arg.index, arg.offset) = (number as u32, arg.offset + at);
    }
    code
}

fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
