//! `rescc opt`: runs graph passes and writes the graph that results.

use super::pipeline::{self, PipelineArgs};
use super::{Done, Env, Failure};
use crate::output::{self, Mode};
use crate::store::{self, Model};
use crate::toolchain::{self, JitEvaluator};
use crate::{counts, format, import, tune};
use backends::cranelift::Jit;
use ir::diag::Class;
use ir::text::Module;
use ir::{DType, Diagnostic, Graph};
use passes::autodiff::{TrainOptions, training_step};
use passes::graph::MemoryGoal;
use passes::pipeline::{Optimised, PassOptions};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Run graph passes
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  rescc opt r20.rir --print-after all --verify-each\n  rescc opt r20.rir --grad --passes dce"
)]
pub struct Args {
    /// Model (.rir)
    pub model: PathBuf,
    /// Write the resulting graph here [default: standard output]
    #[arg(short, long, value_name = "OUT.rir")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Make the training step of the model first: loss, gradients, update
    #[arg(long)]
    pub grad: bool,
    /// Compute values of the forward pass again instead of keeping them: so many that activations take at most SIZE (12GB,
    /// 800MiB), or as little as can be
    #[arg(long, value_name = "SIZE", num_args = 0..=1, default_missing_value = pipeline::LEAST, value_parser = pipeline::memory_goal, requires = "grad")]
    pub recompute: Option<MemoryGoal>,
    /// Say what each pass did and what it left alone
    #[arg(long)]
    pub stats: bool,
    /// Machine to optimise for
    #[arg(long, value_name = "T", default_value = "native")]
    pub target: String,
    /// Batch size to optimise for
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub batch: u64,
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    // A model may be optimised in its place.
    args.output.as_deref().map(|path| env.probe(path, &[] as &[&Path])).transpose()?;
    let model = store::load(&args.model)?;
    model.check_hash()?;
    args.output.as_deref().map(|path| model.spare(path)).transpose()?;
    let target = toolchain::target(&args.target)?;
    let evaluator = JitEvaluator(Jit::new()?);
    let after = args.pipeline.printer()?;
    let plan = args.pipeline.plan(&target, env)?;
    let graph = match args.grad {
        true => training_step(&model.graph, &TrainOptions::default())?,
        false => model.graph.clone(),
    };
    let options = args.pipeline.options(after.as_deref(), plan.as_ref());
    let options = PassOptions { recompute: args.recompute, ..options };
    let optimised = passes::pipeline::optimise(graph, model.store.clone(), &target, args.batch, &options, &evaluator)?;
    if let Some(note) = tune::unused(plan.as_ref(), &optimised.log) {
        env.say(note);
    }
    if args.stats {
        let mut t = format::table(&["pass", "patches", "nodes", "parameters", "left alone", "ms"]);
        for p in &optimised.log.passes {
            let left = optimised.log.refused.iter().filter(|r| r.pass == p.pass).count();
            t.add_row([
                p.pass.to_string(),
                p.patches.to_string(),
                format!("{} -> {}", p.nodes[0], p.nodes[1]),
                format!("{} -> {}", p.params[0], p.params[1]),
                left.to_string(),
                format!("{:.1}", p.time.as_secs_f64() * 1e3),
            ]);
        }
        env.say(format::lines(&t).trim_end());
        if let Some(r) = &optimised.log.recomputed {
            env.say(counts::recomputed(r));
        }
    }
    let result = json!({
        "passes": optimised.log.passes.iter().map(|p| json!({
            "pass": p.pass, "patches": p.patches, "nodes": p.nodes, "params": p.params,
        })).collect::<Vec<_>>(),
        "left_alone": optimised.log.refused.iter().map(|r| json!({
            "pass": r.pass, "node": r.node, "reason": r.keep.name, "why": r.keep.why,
        })).collect::<Vec<_>>(),
    });
    let shown = match &args.output {
        Some(path) => {
            let saved = write(path, &args.model, &model, optimised)?;
            env.say(format!("wrote {saved}"));
            String::new()
        }
        None => {
            let mut graph = optimised.graph;
            // The model's weights file does not have what passes have computed.
            if !tensors(&graph).iter().all(|n| model.store.get(n).is_some()) {
                graph.info.weights = None;
            }
            text(graph)
        }
    };
    Ok(Done { diagnostics: model.warnings, sources: model.sources, ..Done::new(shown, result) })
}

fn text(graph: Graph) -> String {
    ir::text::print(&Module { info: graph.info.clone(), graphs: vec![graph], ..Module::default() })
}

/// Names of the tensors that the graph reads.
fn tensors(graph: &Graph) -> BTreeSet<String> {
    let params = graph.params.iter().map(|&p| import::tensor_name(graph, p).to_string());
    params.chain(graph.info.preprocess.as_ref().and_then(|p| p.mean_tensor.clone())).collect()
}

/// Writes the graph; with its own weights file if passes have computed tensors, or if the model's weights do not lie
/// beside it.
fn write(path: &Path, from: &Path, model: &Model, optimised: Optimised) -> Result<String, Failure> {
    let Optimised { graph, store, .. } = optimised;
    let names = tensors(&graph);
    let folder =
        |p: &Path| p.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new(".")).canonicalize().ok();
    let is_beside = folder(path) == folder(from);
    if is_beside && names.iter().all(|n| model.store.get(n).is_some()) {
        output::write(path, Mode::Data, text(graph).as_bytes())?;
        return Ok(path.display().to_string());
    }
    if let Some(name) = names.iter().find(|n| store.get(n).is_some_and(|t| t.dtype != DType::F32)) {
        let d = Diagnostic::error("E0804", format!("tensor '{name}' is no f32: weights files are written in f32"));
        let d = d.class(Class::Unsupported).help("leave -o out to print the graph without its weights");
        return Err(Failure { diagnostics: d.into(), sources: model.sources.clone() });
    }
    if !output::is_same(path, from) {
        model.spare(&store::weights_beside(path))?;
    }
    let tensors: Vec<(String, Vec<u64>)> =
        names.into_iter().map(|n| (n.clone(), store.get(&n).map(|t| t.shape).unwrap_or_default())).collect();
    let saved = store::save(path, graph, &tensors, &mut |i, out| match store.get(&tensors[i].0) {
        Some(t) => out.write_all(&t.bytes),
        None => Ok(()),
    })?;
    Ok(format!("{} and {}", saved.rir.display(), saved.weights.display()))
}
