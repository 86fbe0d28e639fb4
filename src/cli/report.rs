//! `rescc report`: one page to look into a compiled model.

use super::pipeline::PipelineArgs;
use super::{Done, Env, Failure};
use crate::artefact::{Objects, Source};
use crate::bench::{self, Sampling, Times};
use crate::output::{self, Folder, Mode};
use crate::page::{self, Facts, Machine, Recorder, Snapshot, Subject};
use crate::toolchain::{self, BackendName, JitEvaluator};
use crate::{counts, store, tune};
use backends::cranelift::Jit;
use backends::link::{Linker, Stage};
use ir::target::Target;
use passes::pipeline::{Compiled, Options, PassOptions};
use serde_json::json;
use std::path::PathBuf;

/// Write one HTML page to look into a compiled model
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rescc report r20.rir -o r20.html --time 0.2")]
pub struct Args {
    /// Model (.rir)
    model: PathBuf,
    /// The page
    #[arg(short, long, value_name = "FILE.html")]
    output: PathBuf,
    /// Machine to compile for: x86-64-v2, -v3, -v4, or native for the best that this one runs
    #[arg(long, value_name = "T", default_value = "native")]
    target: String,
    /// Code generator [default: llvm where built in]
    #[arg(long, value_enum)]
    backend: Option<BackendName>,
    /// Images of one inference
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    batch: u64,
    /// Measure nothing: times are predicted only
    #[arg(long)]
    no_run: bool,
    /// Seconds of the measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = bench::seconds, conflicts_with = "no_run")]
    time: f64,
    #[command(flatten)]
    pipeline: PipelineArgs,
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    env.probe(&args.output, &[&args.model])?;
    let backend = args.backend.unwrap_or_else(BackendName::best);
    let target = backend.legal(toolchain::target(&args.target)?);
    if !args.no_run {
        toolchain::must_run(&target)?;
    }
    let model = store::load(&args.model)?;
    model.check_hash()?;

    let (recorder, printer) = (Recorder::default(), args.pipeline.printer()?);
    let after = |pass: &'static str, graph: &ir::Graph| {
        recorder.record(pass, graph);
        if let Some(print) = &printer {
            print(pass, graph);
        }
    };
    let plan = args.pipeline.plan(&target, env)?;
    let passes = PassOptions { after: Some(&after), ..args.pipeline.options(None, plan.as_ref()) };
    let options = Options { passes, ..Options::new(target, args.batch) };
    let evaluator = JitEvaluator(Jit::new()?);
    let compiled = passes::pipeline::compile(model.graph.clone(), model.store.clone(), &options, &evaluator)?;
    if let Some(note) = tune::unused(plan.as_ref(), &compiled.log) {
        env.say(note);
    }
    let totals = counts::totals(&model.graph, &counts::layers(&model.graph, args.batch));
    let times = match args.no_run {
        true => None,
        false => Some(measured(args, env, &model, &compiled, &target, backend)?),
    };

    let facts = Facts {
        name: model.graph.name.clone(),
        file: args.model.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        target: target.name.into(),
        backend: backend.get()?.name().into(),
        batch: args.batch,
        threads: env.threads,
        params: totals.params,
        macs: totals.macs,
    };
    let program = &compiled.program;
    let machine = Machine::get(&target, backend, env.threads, !args.no_run)?;
    let groups = (args.batch / program.batch.max(1)).max(1);
    let subject = Subject {
        facts: &facts,
        history: &recorder.history(Snapshot::of(&model.graph), &compiled.log),
        log: &compiled.log,
        program,
        texts: &page::texts(&program.kernels, backend, &target)?,
        timing: &page::timing(program, groups, &target, &machine.rates, env.threads, times),
        machine: &machine,
    };
    let html = page::html(&facts.name, &page::data(&subject));
    output::write(&args.output, Mode::Data, html.as_bytes())?;

    let path = args.output.display().to_string();
    let result = json!({
        "file": path, "bytes": html.len(), "calls": program.calls.len(), "kernels": program.kernels.len(),
        "median_us": subject.timing.run.as_ref().map(|t| t.median_us),
        "predicted_us": subject.timing.calls.iter().map(|c| c.predicted_us).sum::<f64>(),
    });
    let (sources, diagnostics) = model.close();
    let text = if output::is_stdout(&args.output) { String::new() } else { format!("{path}\n") };
    Ok(Done { diagnostics, sources, ..Done::new(text, result) })
}

/// What the executable of `compiled` says of itself.
fn measured(
    args: &Args,
    env: &Env,
    model: &store::Model,
    compiled: &Compiled,
    target: &Target,
    backend: BackendName,
) -> Result<Times, Failure> {
    // The times do not depend on how a picture becomes the input, nor on counts.
    let info = ir::graph::ModelInfo::default();
    let source = Source {
        name: &model.graph.name,
        program: &compiled.program,
        constants: &*compiled.store,
        tensors: &*model.store,
        info: &info,
        batch: args.batch,
        macs: 0,
        params: 0,
        target,
    };
    let folder = Folder::temporary()?;
    let exe = folder.path().join("model");
    let objects = Objects::new(&source, &*backend.get()?, None)?;
    Stage::new(objects.inputs(true), Folder::beside(&exe)?, &exe)?.executable(Linker::Wild)?;
    let sampling = Sampling { threads: env.threads, seconds: args.time, warmup: None, iterations: None, cold: false };
    bench::measure(&exe, sampling)
}
