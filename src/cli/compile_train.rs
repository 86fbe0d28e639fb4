//! `rescc compile --train`: a program or a library that trains the network.

use super::compile::{Args, Clock, Emit, library};
use super::signature::{input_dims, output_elements};
use super::train::{recipe, share};
use super::{Done, Env, Failure, unsupported};
use crate::artefact::Training;
use crate::output::{self, Folder, Mode};
use crate::toolchain::{self, BackendName, JitEvaluator};
use crate::train::data::{self, cifar};
use crate::train::settings::{Kind, Settings};
use crate::train::{run, step};
use crate::{counts, format, store};
use backends::cranelift::Jit;
use backends::link;
use ir::Graph;
use passes::graph::MemoryGoal;
use passes::pipeline::{Options, PassOptions};
use runtime::host::train::pictures::Pictures;
use runtime::host::train::preset::Preset;
use serde_json::json;
use std::path::PathBuf;

/// What is decided when a trainer, or a library that trains, is made.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "With --train")]
pub struct TrainArgs {
    /// A program that trains the network on CIFAR-10 (exe), or a library: steps, gradients and updates as C functions
    /// (obj, lib, so, header)
    #[arg(long, conflicts_with_all = ["preprocess", "labels"])]
    pub train: bool,
    /// he2015 (the paper's) or fast (one cycle): what the options below begin with, and how a program trains
    #[arg(long, default_value = "he2015", requires = "train")]
    pub recipe: String,
    /// Momentum [default: the recipe's, as all of these]
    #[arg(long, value_name = "X", value_parser = share, requires = "train")]
    pub momentum: Option<f64>,
    /// Weight decay
    #[arg(long, visible_alias = "weight-decay", value_name = "X", value_parser = share, requires = "train")]
    pub wd: Option<f64>,
    /// Nesterov's momentum
    #[arg(long, value_name = "BOOL", requires = "train")]
    pub nesterov: Option<bool>,
    /// Label smoothing
    #[arg(long, value_name = "X", value_parser = share, requires = "train")]
    pub smoothing: Option<f64>,
    /// Share of a batch in the running statistics of batch norms [default: 0.1]
    #[arg(long, value_name = "X", value_parser = share, requires = "train")]
    pub bn_momentum: Option<f64>,
    /// Compute values of the forward pass again instead of keeping them: so many that activations take at most SIZE (12GB,
    /// 800MiB), or as little as can be
    #[arg(long, value_name = "SIZE", num_args = 0..=1, default_missing_value = super::pipeline::LEAST, value_parser = super::pipeline::memory_goal, requires = "train")]
    pub recompute: Option<MemoryGoal>,
    /// Leave these layers as they are
    #[arg(long, value_name = "A,B", value_delimiter = ',', requires = "train")]
    pub freeze: Vec<String>,
}

impl TrainArgs {
    /// The recipe's settings for all of CIFAR-10, with what the command line says.
    fn settings(&self, graph: &Graph, batch: Option<u64>) -> Result<Settings, Failure> {
        let recipe = recipe(&self.recipe, Kind::Cifar)?;
        let mut s = recipe.settings(CIFAR_IMAGES, counts::weighted_layers(graph), batch, None);
        s.momentum = self.momentum.unwrap_or(s.momentum);
        s.weight_decay = self.wd.unwrap_or(s.weight_decay);
        s.nesterov = self.nesterov.unwrap_or(s.nesterov);
        s.label_smoothing = self.smoothing.unwrap_or(s.label_smoothing);
        s.bn_momentum = self.bn_momentum.unwrap_or(s.bn_momentum);
        s.frozen.clone_from(&self.freeze);
        Ok(s)
    }
}

/// Training pictures of CIFAR-10.
const CIFAR_IMAGES: u64 = 50_000;

/// Refuses a network that a trainer has no pictures for.
///
/// Errors: E0905, E0906.
fn check_pictures(graph: &Graph) -> Result<(), Failure> {
    let dims = input_dims(graph)?;
    if Pictures::for_input(dims).is_none() {
        return Err(cifar::unfit(dims).into());
    }
    let (classes, found) = (output_elements(graph), cifar::CLASSES.len() as u64);
    if classes != found {
        return Err(data::other_classes(found, classes).into());
    }
    Ok(())
}

/// Writes each of `outputs`.
pub fn run(args: &Args, outputs: &[(Emit, PathBuf)], mut clock: Clock, env: &Env) -> Result<Done, Failure> {
    let makes_program = outputs.iter().any(|(emit, _)| *emit == Emit::Exe);
    if outputs.iter().any(|(emit, _)| *emit == Emit::Rir) {
        return Err(refused("`--train --emit rir`", "`rescc opt --grad` shows the step"));
    }
    if makes_program && outputs.len() > 1 {
        return Err(refused(
            "`--train` with exe and other kinds",
            "make the program and the library one after the other",
        ));
    }
    let model = store::load(&args.model)?;
    model.check_hash()?;
    outputs.iter().try_for_each(|(_, path)| model.spare(path))?;
    input_dims(&model.graph)?;
    if makes_program {
        check_pictures(&model.graph)?;
    }
    let settings = args.training.settings(&model.graph, args.batch)?;
    clock.done("load");

    let target = toolchain::target(&args.target)?;
    let name = args.backend.unwrap_or_else(BackendName::best);
    let backend = name.get()?;
    let evaluator = JitEvaluator(Jit::new()?);
    let after = args.pipeline.printer()?;
    let legal = name.legal(target);
    let plan = args.pipeline.plan(&legal, env)?;
    let passes = args.pipeline.options(after.as_deref(), plan.as_ref());
    let passes = PassOptions { recompute: args.training.recompute, ..passes };
    let options = Options { passes, ..Options::new(legal, settings.batch) };
    let train = step::options(&settings);
    let at = |diagnostics| Failure { diagnostics, sources: model.sources.clone() };
    let network = run::identity(&model.graph, &*model.store, &settings).map_err(at)?;
    let preset = makes_program.then(|| Preset {
        name: model.graph.name.clone(),
        network,
        recipe: args.training.recipe.clone(),
        settings,
    });
    let training =
        Training::new(&model.graph, &model.store, &train, &options, preset.as_ref(), &evaluator).map_err(at)?;
    clock.done("optimise");

    let prefix = args.prefix.as_deref().unwrap_or(&model.graph.name);
    let needs_objects = |emit: &Emit| !matches!(emit, Emit::LlvmIr | Emit::Asm | Emit::Ptx);
    let objects = match outputs.iter().any(|(emit, _)| needs_objects(emit)) {
        true => Some(training.objects(&*backend, &target, prefix)?),
        false => None,
    };
    clock.done("compile");
    let (kernels, _) = training.kernels();
    let mut text = String::new();
    for (emit, path) in outputs {
        let emit = *emit;
        match &objects {
            Some(objects) if emit == Emit::Exe => {
                link::Stage::new(objects.inputs(true), Folder::beside(path)?, path)?.executable(args.linker.into())?;
            }
            Some(objects) if needs_objects(&emit) => library(objects, emit, args.linker, path)?,
            _ => {
                let text = toolchain::text_of(&kernels, emit.into(), &target)?;
                output::write(path, Mode::Data, text.as_bytes())?;
            }
        }
        if !output::is_stream(path) {
            text += &format!("{}\n", path.display());
        }
    }
    clock.done("link");
    let code_bytes = objects.as_ref().map_or(0, crate::artefact::Objects::code_bytes);
    if args.stats {
        clock.say(env);
        env.say(format!(
            "{} calls a step, {} kernels, {} of code, {} of state (twice), {} of activations, {} of arena (one thread)",
            training.step_calls(),
            kernels.len(),
            format::bytes(code_bytes as u64),
            format::bytes(training.state_bytes()),
            format::bytes(training.activation_bytes()),
            format::bytes(training.arena_bytes())
        ));
    }
    let result = json!({
        "files": outputs.iter().map(|(_, p)| p.display().to_string()).collect::<Vec<_>>(),
        "target": target.name, "backend": backend.name(), "batch": options.batch,
        "kernels": kernels.len(), "calls": training.step_calls(), "code_bytes": code_bytes,
        "state_bytes": training.state_bytes(), "activation_bytes": training.activation_bytes(),
        "arena_bytes": training.arena_bytes(), "ms": clock.json(),
    });
    drop(objects);
    drop(training);
    let (sources, warnings) = model.close();
    Ok(Done { diagnostics: warnings, sources, ..Done::new(text, result) })
}

/// What cannot be made, and what helps.
pub fn refused(what: &str, help: &str) -> Failure {
    let mut failure = unsupported(what);
    failure.diagnostics.0.iter_mut().for_each(|d| d.help = Some(help.into()));
    failure
}
