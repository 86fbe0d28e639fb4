//! `rescc run`: a model on an input at once, in process.

use super::pipeline::PipelineArgs;
use super::{Done, Env, Failure, signature};
use crate::toolchain::{self, BackendName, JitEvaluator};
use crate::{artefact, import, input, store};
use backends::cranelift::Jit;
use backends::exec::{self, Execution};
use ir::interp::elements::{decode, encode};
use ir::{DType, Diagnostic};
use passes::pipeline::Options;
use runtime::host::topk;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Run a model on a picture or tensor
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rescc run r20.rir --input random:7")]
pub struct Args {
    /// Model (.rir)
    pub model: PathBuf,
    /// Picture, .npy, `random[:SEED]` or `zeros`; may be repeated
    #[arg(short, long, value_name = "X", required = true)]
    pub input: Vec<String>,
    /// Classes to print
    #[arg(long, value_name = "K", default_value_t = 5)]
    pub top: usize,
    /// Write the outputs as .npy
    #[arg(long, value_name = "Y.npy")]
    pub out: Option<PathBuf>,
    /// Also write the value of these nodes
    #[arg(long, value_name = "NODE", requires = "tap_dir")]
    pub tap: Vec<String>,
    /// Directory for `--tap`, one .npy a node; several inputs follow each other in it
    #[arg(long, value_name = "DIR")]
    pub tap_dir: Option<PathBuf>,
    /// Run that many times and say the least time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub repeat: u32,
    /// Code generator
    #[arg(long, value_enum, default_value = "cranelift")]
    pub backend: BackendName,
    /// How pictures become the input, instead of what the model says: imagenet, imagenet-v2, cifar, caffe, tf, and
    /// `key=value` words (resize, crop, order, scale, mean, std)
    #[arg(long, value_name = "SPEC")]
    pub preprocess: Option<String>,
    #[command(flatten)]
    pub pipeline: PipelineArgs,
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    args.out.as_deref().map(|path| env.probe(path, &[&args.model])).transpose()?;
    let mut model = store::load(&args.model)?;
    model.check_hash()?;
    let dims = signature::input_dims(&model.graph)?;
    if let Some(spec) = &args.preprocess {
        model.graph.info.preprocess = Some(import::preprocess::parse(spec, dims)?);
    }
    for name in &args.tap {
        let v = model.graph.value_named(name.trim_start_matches('%'));
        let v = v.ok_or_else(|| {
            Diagnostic::error("E0810", format!("the model computes no value '{name}'"))
                .help("`rescc inspect` lists what it computes")
        })?;
        model.graph.outputs.push(v);
    }
    let inputs: Vec<(String, Vec<f32>)> =
        args.input.iter().map(|x| Ok((x.clone(), input::read(x, &model, dims)?))).collect::<Result<_, Failure>>()?;

    let jit = JitEvaluator(Jit::new()?);
    let after = args.pipeline.printer()?;
    let target = toolchain::target("native")?;
    let legal = args.backend.legal(target);
    let plan = args.pipeline.plan(&legal, env)?;
    let options = Options { passes: args.pipeline.options(after.as_deref(), plan.as_ref()), ..Options::new(legal, 1) };
    let compiled = passes::pipeline::compile(model.graph.clone(), model.store.clone(), &options, &jit)?;
    let kernels = match args.backend {
        BackendName::Cranelift => jit.0.kernels(&compiled.program.kernels)?,
        BackendName::Llvm => exec::load(&*args.backend.get()?, &compiled.program.kernels, &options.target)?,
    };
    let constants = artefact::constants(&compiled.program, &*compiled.store)?;
    let mut execution = Execution::with_kernels(kernels, &compiled.program, &constants)?;

    let mut text = String::new();
    let mut results = Vec::new();
    let mut outputs: Vec<f32> = Vec::new();
    let first_tap = model.graph.outputs.len() - args.tap.len();
    let mut taps: Vec<Vec<f32>> = vec![Vec::new(); args.tap.len()];
    let mut best_ms = f64::INFINITY;
    for (name, x) in &inputs {
        let bytes = encode(DType::F32, &x.iter().map(|&v| v.into()).collect::<Vec<f64>>());
        execution.input_mut(0).expect("invariant: the model has one input").copy_from_slice(&bytes);
        for _ in 0..args.repeat.max(1) {
            let start = Instant::now();
            execution.run();
            best_ms = best_ms.min(start.elapsed().as_secs_f64() * 1e3);
        }
        let output = |i: usize| -> Vec<f32> {
            decode(DType::F32, execution.output(i).unwrap_or(&[])).into_iter().map(|v| v as f32).collect()
        };
        let logits = output(0);
        let answers = topk::top(&logits, args.top);
        text += &format!("{name}\n");
        let mut rows = Vec::new();
        for a in &answers {
            let label = model.graph.info.labels.get(a.class).map_or("", String::as_str);
            let line = format!("  {:6.2} %  {:>4}  {label}", a.probability * 100.0, a.class);
            text += &format!("{}\n", line.trim_end());
            rows.push(json!({ "class": a.class, "label": label, "probability": a.probability }));
        }
        for (i, values) in taps.iter_mut().enumerate() {
            values.extend(output(first_tap + i));
        }
        results.push(json!({ "input": name, "top": rows }));
        outputs.extend(logits);
    }
    if let Some(path) = &args.out {
        let n = inputs.len() as u64;
        import::npy::write(path, &[n, outputs.len() as u64 / n.max(1)], &outputs)?;
    }
    for ((name, values), &v) in args.tap.iter().zip(&taps).zip(&model.graph.outputs[first_tap..]) {
        let dir = args.tap_dir.as_deref().unwrap_or(Path::new("."));
        let mut shape = model.graph.ty(v).dims(1);
        if let Some(images) = shape.first_mut() {
            *images *= inputs.len() as u64;
        }
        import::npy::write(&dir.join(format!("{}.npy", name.trim_start_matches('%'))), &shape, values)?;
    }
    if args.repeat > 1 {
        env.say(format!("best of {}: {best_ms:.2} ms on {} threads", args.repeat, rayon::current_num_threads()));
    }
    let result = json!({ "inputs": results, "best_ms": best_ms });
    Ok(Done { diagnostics: model.warnings, sources: model.sources, ..Done::new(text, result) })
}
