//! `rescc verify`: compiled code against the float64 reference, layer by layer, and against outside outputs.

use super::pipeline::PipelineArgs;
use super::progress::Progress;
use super::{Done, Env, Failure, compile};
use crate::toolchain::{self, BackendName, JitEvaluator};
use crate::verify::{Check, Layer};
use crate::{artefact, input, store};
use backends::cranelift::Jit;
use backends::exec::{self, Execution};
use ir::diag::Class;
use ir::interp::elements::{decode, encode};
use ir::{DType, Diagnostic, Place};
use passes::pipeline::Options;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Compare compiled code with the float64 reference
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rescc verify r20.rir --layers")]
pub struct Args {
    /// Model (.rir)
    pub model: PathBuf,
    /// Compare each layer, given the reference's inputs
    #[arg(long)]
    pub layers: bool,
    /// Pictures, .npy, `random[:SEED]` or `zeros` to compare on
    #[arg(short, long, value_name = "X", default_value = "random:1")]
    pub input: Vec<String>,
    /// Expected outputs (.npy) of the inputs
    #[arg(long, value_name = "Y.npy")]
    pub against: Option<PathBuf>,
    /// Largest difference from `--against`, relative to its largest element
    #[arg(long, value_name = "X", default_value_t = 1e-4)]
    pub tol: f64,
    /// Integer-valued inputs and weights: every difference is a fault, but that Winograd tiles of 4 are rounded
    #[arg(long)]
    pub integer: bool,
    /// Machine to compile for
    #[arg(long, value_name = "T", default_value = "native")]
    pub target: String,
    /// Code generators [default: all that are built in]
    #[arg(long, value_enum)]
    pub backend: Vec<BackendName>,
    #[command(flatten)]
    pub pipeline: PipelineArgs,
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    let model = store::load(&args.model)?;
    let dims = compile::input_dims(&model.graph)?;
    let target = toolchain::target(&args.target)?;
    let jit = JitEvaluator(Jit::new()?);
    let inputs: Vec<(String, Vec<f32>)> =
        args.input.iter().map(|x| Ok((x.clone(), input::read(x, &model, dims)?))).collect::<Result<_, Failure>>()?;
    let names = match &args.backend[..] {
        [] if BackendName::best() == BackendName::Llvm => vec![BackendName::Llvm, BackendName::Cranelift],
        [] => vec![BackendName::Cranelift],
        some => some.to_vec(),
    };
    let mut text = String::new();
    let mut results = Vec::new();
    let mut wrong = None;
    for name in names {
        let after = args.pipeline.printer()?;
        let legal = name.legal(target);
        let plan = args.pipeline.plan(&legal, env)?;
        let options =
            Options { passes: args.pipeline.options(after.as_deref(), plan.as_ref()), ..Options::new(legal, 1) };
        let compiled = passes::pipeline::compile(model.graph.clone(), model.store.clone(), &options, &jit)?;
        let program = &compiled.program;
        let kernels = match name {
            BackendName::Cranelift => jit.0.kernels(&program.kernels)?,
            BackendName::Llvm => exec::load(&*name.get()?, &program.kernels, &options.target)?,
        };
        let check = Check {
            jit: &jit.0,
            original: (&model.graph, &*model.store),
            optimised: (&compiled.graph, &*compiled.store),
            program,
            kernels: &kernels,
        };
        let backend = format!("{name:?}").to_lowercase();
        let mut runs = Vec::new();
        let progress = Progress::count(env, "layers", program.calls.len() * inputs.len().max(1));
        if args.integer {
            runs.push(("integers", check.run_on_integers(&mut |_| progress.advance(1))?));
        } else {
            for (input, x) in &inputs {
                runs.push((input.as_str(), check.run(std::slice::from_ref(x), &mut |_| progress.advance(1))?));
            }
        }
        progress.finish();
        for (input, layers) in runs {
            let is_off = |l: &&Layer| !l.is_right() || (args.integer && !l.is_right_on_integers());
            let first_off = layers.iter().find(is_off);
            if args.layers {
                text += &table(&layers);
            }
            text += &summary(&layers, &format!("{backend} {}, {input}", options.target.name));
            results.push(json!({
                "backend": backend, "target": options.target.name, "input": input, "right": first_off.is_none(),
                "layers": layers.iter().map(|l| json!({
                    "name": l.name, "op": l.op, "kernel": l.kernel,
                    "relative_l2": l.relative_l2, "of_bound": l.of_bound, "exact": l.exact,
                })).collect::<Vec<_>>(),
            }));
            if let (Some(l), None) = (first_off, &wrong) {
                wrong = Some(
                    Diagnostic::error("E0790", format!("layer '{}' is off: {backend} code of @{}", l.name, l.kernel))
                        .class(Class::Negative)
                        .at(Place::Node(l.name.clone()), "")
                        .note(format!("error is {:.3} times its bound, relative L2 {:.2e}", l.of_bound, l.relative_l2))
                        .help("this is a bug of rescc: please report the model and the command line"),
                );
            }
        }
        if let Some(path) = &args.against {
            let constants = artefact::constants(program, &*compiled.store)?;
            let mut execution = Execution::with_kernels(kernels.clone(), program, &constants)?;
            let mut got = Vec::new();
            for (_, x) in &inputs {
                let x: Vec<f64> = x.iter().map(|&v| v.into()).collect();
                execution.input_mut(0).expect("invariant: one input").copy_from_slice(&encode(DType::F32, &x));
                execution.run();
                got.extend(decode(DType::F32, execution.output(0).unwrap_or(&[])));
            }
            let outcome = compare(&got, path, args.tol)?;
            text += &format!("{backend} {}, against {}: {}\n", options.target.name, path.display(), outcome.text);
            wrong = wrong.or(outcome.wrong);
        }
    }
    let exit = u8::from(wrong.is_some());
    let mut diagnostics = model.warnings;
    diagnostics.0.extend(wrong);
    let result = json!({ "runs": results });
    Ok(Done { diagnostics, sources: model.sources, exit, ..Done::new(text, result) })
}

fn table(layers: &[Layer]) -> String {
    let mut t = crate::report::table(&["layer", "op", "kernel", "rel. L2", "of bound"]);
    for l in layers {
        let mark = if l.is_right() { "" } else { "  <-- off" };
        t.add_row([
            l.name.clone(),
            l.op.clone(),
            l.kernel.clone(),
            format!("{:.1e}", l.relative_l2),
            format!("{:.1} %{mark}", l.of_bound * 100.0),
        ]);
    }
    crate::report::text(&t)
}

fn summary(layers: &[Layer], what: &str) -> String {
    let Some(w) = layers.iter().max_by(|a, b| a.of_bound.total_cmp(&b.of_bound)) else { return String::new() };
    let l2 = layers.iter().map(|l| l.relative_l2).fold(0.0, f64::max);
    let exact = layers.iter().filter(|l| l.exact).count();
    format!(
        "{what}: {} layers, {exact} of them exact; worst {} at {:.1} % of its bound; largest rel. L2 {l2:.1e}\n",
        layers.len(),
        w.name,
        w.of_bound * 100.0,
    )
}

struct Outcome {
    text: String,
    wrong: Option<Diagnostic>,
}

/// Outputs against those of a file.
fn compare(got: &[f64], path: &Path, tolerance: f64) -> Result<Outcome, Failure> {
    let want = crate::import::npy::read(path)?.data;
    if want.len() != got.len() {
        let text = format!("{} outputs are expected, the inputs give {}", want.len(), got.len());
        return Err(Failure::from(Diagnostic::error("E0811", text).help("one row for each --input")).in_file(path));
    }
    let largest = want.iter().fold(0.0f64, |m, &v| m.max(v.abs()));
    let errors = || got.iter().zip(&want).map(|(g, &w)| (g - w).abs());
    let worst = errors().fold(0.0, f64::max);
    let l2 = (errors().map(|e| e * e).sum::<f64>() / want.iter().map(|&w| w * w).sum::<f64>()).sqrt();
    let text = format!("largest difference {worst:.2e} of {largest:.3}, relative L2 {l2:.2e}");
    let wrong = (worst.is_nan() || worst > tolerance * largest).then(|| {
        Diagnostic::error("E0791", format!("outputs differ from '{}': {text}", path.display()))
            .class(Class::Negative)
            .help("`verify --layers` finds the first layer that is off; --tol sets what is accepted")
    });
    Ok(Outcome { text, wrong })
}
