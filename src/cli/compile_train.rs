//! `rescc compile --train`: a library that trains the network.

use super::compile::{Args, Clock, Emit, library};
use super::train::share;
use super::{Done, Env, Failure, unsupported};
use crate::artefact::Training;
use crate::output::{self, Mode};
use crate::toolchain::{self, BackendName, JitEvaluator};
use crate::{report, store};
use backends::cranelift::Jit;
use passes::autodiff::TrainOptions;
use passes::graph::MemoryGoal;
use passes::pipeline::{Options, PassOptions};
use serde_json::json;
use std::path::Path;

/// Images of a step unless `--batch` says otherwise: the paper's.
const BATCH: u64 = 128;

/// What is decided when a library that trains is made.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "With --train")]
pub struct TrainArgs {
    /// A library that trains the network: steps, gradients and updates as C functions (obj, lib, so, header)
    #[arg(long, conflicts_with_all = ["preprocess", "labels"])]
    pub train: bool,
    /// Momentum [default: 0.9]
    #[arg(long, value_name = "X", value_parser = share, requires = "train")]
    pub momentum: Option<f64>,
    /// Weight decay [default: 0.0001]
    #[arg(long, visible_alias = "weight-decay", value_name = "X", value_parser = share, requires = "train")]
    pub wd: Option<f64>,
    /// Nesterov's momentum [default: false]
    #[arg(long, value_name = "BOOL", requires = "train")]
    pub nesterov: Option<bool>,
    /// Label smoothing [default: 0]
    #[arg(long, value_name = "X", value_parser = share, requires = "train")]
    pub smoothing: Option<f64>,
    /// Share of a batch in the running statistics of batch norms [default: 0.1]
    #[arg(long, value_name = "X", value_parser = share, requires = "train")]
    pub bn_momentum: Option<f64>,
    /// Compute values of the forward pass again instead of keeping them: as many as an arena of SIZE (12GB, 800MiB) asks
    /// for, or for the least arena
    #[arg(long, value_name = "SIZE", num_args = 0..=1, default_missing_value = super::pipeline::LEAST, value_parser = super::pipeline::memory_goal, requires = "train")]
    pub recompute: Option<MemoryGoal>,
    /// Leave these layers as they are
    #[arg(long, value_name = "A,B", value_delimiter = ',', requires = "train")]
    pub freeze: Vec<String>,
}

impl TrainArgs {
    fn options(&self) -> TrainOptions {
        let usual = TrainOptions::default();
        TrainOptions {
            momentum: self.momentum.unwrap_or(usual.momentum),
            weight_decay: self.wd.unwrap_or(usual.weight_decay),
            nesterov: self.nesterov.unwrap_or(usual.nesterov),
            label_smoothing: self.smoothing.unwrap_or(usual.label_smoothing),
            bn_momentum: self.bn_momentum.unwrap_or(usual.bn_momentum),
            frozen: self.freeze.clone(),
        }
    }
}

/// Writes each of `outputs`.
pub fn run(args: &Args, outputs: &[(Emit, &Path)], mut clock: Clock, env: &Env) -> Result<Done, Failure> {
    for &(emit, _) in outputs {
        let what = match emit {
            Emit::Exe => "--train --emit exe",
            Emit::Rir => "--train --emit rir",
            _ => continue,
        };
        let help = match emit {
            Emit::Exe => "`rescc train` trains at once; --emit lib,header makes a library for a program of yours",
            _ => "`rescc opt --grad` shows the step",
        };
        let mut failure = unsupported(&format!("`{what}`"));
        failure.diagnostics.0.iter_mut().for_each(|d| d.help = Some(help.into()));
        return Err(failure);
    }
    let model = store::load(&args.model)?;
    model.check_hash()?;
    super::compile::input_dims(&model.graph)?;
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
    let options = Options { passes, ..Options::new(legal, args.batch.unwrap_or(BATCH)) };
    let train = args.training.options();
    let at = |diagnostics| Failure { diagnostics, sources: model.sources.clone() };
    let training = Training::new(&model.graph, &model.store, &train, &options, &evaluator).map_err(at)?;
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
    for &(emit, path) in outputs {
        match &objects {
            Some(objects) if needs_objects(&emit) => library(objects, emit, args.linker, path)?,
            _ => {
                let text = toolchain::text_of(&kernels, emit.into(), &target)?;
                output::write(path, Mode::Data, text.as_bytes())?;
            }
        }
        text += &format!("{}\n", path.display());
    }
    clock.done("link");
    let code_bytes = objects.as_ref().map_or(0, crate::artefact::Objects::code_bytes);
    if args.stats {
        clock.say(env);
        env.say(format!(
            "{} calls a step, {} kernels, {} of code, {} of state (twice), {} of arena",
            training.step_calls(),
            kernels.len(),
            report::bytes(code_bytes as u64),
            report::bytes(training.state_bytes()),
            report::bytes(training.arena_bytes())
        ));
    }
    let result = json!({
        "files": outputs.iter().map(|(_, p)| p.display().to_string()).collect::<Vec<_>>(),
        "target": target.name, "backend": backend.name(), "batch": options.batch,
        "kernels": kernels.len(), "calls": training.step_calls(), "code_bytes": code_bytes,
        "state_bytes": training.state_bytes(), "arena_bytes": training.arena_bytes(), "ms": clock.json(),
    });
    drop(objects);
    drop(training);
    let (sources, warnings) = model.close();
    Ok(Done { diagnostics: warnings, sources, ..Done::new(text, result) })
}
