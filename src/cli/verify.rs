//! `rescc verify`: compiled code against the float64 reference, layer by layer, and against outside outputs.

use super::pipeline::PipelineArgs;
use super::progress::Progress;
use super::{Done, Env, Failure, signature};
use crate::toolchain::{self, BackendName, JitEvaluator};
use crate::verify::{Check, Difference, Layer};
use crate::{artefact, input, store};
use backends::cranelift::Jit;
use backends::exec::{self, Execution};
use ir::diag::Class;
use ir::interp::elements::{decode, encode};
use ir::{DType, Diagnostic, Dim, Place};
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
    #[arg(long, value_name = "X", default_value_t = 1e-4, value_parser = tolerance)]
    pub tol: f64,
    /// Integer-valued inputs and weights: every difference is a fault, but that Winograd tiles of 4 are rounded
    #[arg(long)]
    pub integer: bool,
    /// Machine to compile for; this one has to run its code
    #[arg(long, value_name = "T", default_value = "native")]
    pub target: String,
    /// Images of an inference, as batches have kernels of their own: each input, and after it the input turned
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub batch: u64,
    /// Code generators [default: all that are built in]
    #[arg(long, value_enum)]
    pub backend: Vec<BackendName>,
    #[command(flatten)]
    pub pipeline: PipelineArgs,
}

fn tolerance(text: &str) -> Result<f64, String> {
    let v = text.parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0);
    v.ok_or_else(|| "a number from 0 up".into())
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    let target = toolchain::target(&args.target)?;
    toolchain::must_run(&target)?;
    let model = store::load(&args.model)?;
    model.check_hash()?;
    let dims = signature::input_dims(&model.graph)?;
    if !model.graph.inputs.iter().all(|&x| [Dim::N, args.batch.into()].contains(&model.graph.ty(x).shape[0])) {
        let d = Diagnostic::error("E0710", "the model takes another number of images than the batch");
        return Err(d.class(Class::Unsupported).help("give that number as --batch, or write N for it").into());
    }
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
        let passes = args.pipeline.options(after.as_deref(), plan.as_ref());
        let options = Options { passes, ..Options::new(legal, args.batch) };
        let compiled = passes::pipeline::compile(model.graph.clone(), model.store.clone(), &options, &jit)?;
        let program = &compiled.program;
        // The code that `compile` ships, for the machine that was asked for.
        let kernels = exec::load(&*name.get()?, &program.kernels, &target)?;
        let images = program.batch as usize;
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
                runs.push((input.as_str(), check.run(&[batch_of(x, images)], &mut |_| progress.advance(1))?));
            }
        }
        progress.finish();
        for (input, layers) in runs {
            let is_off = |l: &&Layer| !l.is_right() || (args.integer && !l.is_right_on_integers());
            let first_off = layers.iter().find(is_off);
            if args.layers {
                text += &table(&layers);
            }
            text += &summary(&layers, &format!("{backend} {}, {input}", target.name));
            results.push(json!({
                "backend": backend, "target": target.name, "batch": args.batch, "group": program.batch,
                "input": input, "right": first_off.is_none(),
                "layers": layers.iter().map(|l| json!({
                    "name": l.name, "op": l.op, "kernel": l.kernel,
                    "relative_l2": l.relative_l2, "of_bound": l.of_bound, "exact": l.exact,
                })).collect::<Vec<_>>(),
            }));
            if let (Some(l), None) = (first_off, &wrong) {
                wrong = Some(off(l, &backend));
            }
        }
        if let Some(path) = &args.against {
            let constants = artefact::constants(program, &*compiled.store)?;
            let mut execution = Execution::with_kernels(kernels.clone(), program, &constants)?;
            let mut got = Vec::new();
            for (_, x) in &inputs {
                let x: Vec<f64> = batch_of(x, images).into_iter().map(f64::from).collect();
                execution.input_mut(0).expect("invariant: one input").copy_from_slice(&encode(DType::F32, &x));
                execution.run();
                let rows = decode(DType::F32, execution.output(0).unwrap_or(&[]));
                got.extend_from_slice(&rows[..rows.len() / images]);
            }
            let outcome = compare(&got, path, args.tol)?;
            text += &format!("{backend} {}, against {}: {}\n", target.name, path.display(), outcome.text);
            wrong = wrong.or(outcome.wrong);
        }
    }
    let exit = u8::from(wrong.is_some());
    let mut diagnostics = model.warnings;
    diagnostics.0.extend(wrong);
    let result = json!({ "runs": results });
    Ok(Done { diagnostics, sources: model.sources, exit, ..Done::new(text, result) })
}

/// A batch of images that differ: the input, and after it the input turned by ever more elements.
fn batch_of(x: &[f32], images: usize) -> Vec<f32> {
    let image = |i: usize| {
        let (first, rest) = x.split_at(x.len() * i / images);
        rest.iter().chain(first)
    };
    (0..images).flat_map(image).copied().collect()
}

fn off(layer: &Layer, backend: &str) -> Diagnostic {
    let (name, kernel) = (&layer.name, &layer.kernel);
    Diagnostic::error("E0790", format!("layer '{name}' is off: {backend} code of @{kernel}"))
        .class(Class::Negative)
        .at(Place::Node(name.clone()), "")
        .note(format!("error is {:.3} times its bound, relative L2 {:.2e}", layer.of_bound, layer.relative_l2))
        .help("this is a bug of rescc: please report the model and the command line")
}

fn table(layers: &[Layer]) -> String {
    let mut t = crate::format::table(&["layer", "op", "kernel", "rel. L2", "of bound"]);
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
    crate::format::lines(&t)
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
    let Difference { largest, scale, relative_l2 } = Difference::of(got, &want);
    let text = format!("largest difference {largest:.2e} of {scale:.3}, relative L2 {relative_l2:.2e}");
    let wrong = (largest > tolerance * scale).then(|| {
        Diagnostic::error("E0791", format!("outputs differ from '{}': {text}", path.display()))
            .class(Class::Negative)
            .help("`verify --layers` finds the first layer that is off; --tol sets what is accepted")
    });
    Ok(Outcome { text, wrong })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_is_off_is_named() {
        let layer = Layer {
            name: "layer1.0.conv1".into(),
            op: "conv2d".into(),
            kernel: "conv".into(),
            relative_l2: 0.5,
            of_bound: 3.0,
            exact: false,
            rounds_integers: None,
        };
        let d = off(&layer, "llvm");
        assert_eq!((d.code, d.class), ("E0790", Class::Negative));
        assert!(d.message.contains("'layer1.0.conv1'") && d.message.contains("@conv") && d.help.is_some(), "{d}");
    }

    #[test]
    fn images_of_a_batch_differ() {
        assert_eq!(batch_of(&[1.0, 2.0, 3.0, 4.0], 1), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(batch_of(&[1.0, 2.0, 3.0, 4.0], 2), [1.0, 2.0, 3.0, 4.0, 3.0, 4.0, 1.0, 2.0]);
    }

    #[test]
    fn tolerances_are_numbers() {
        assert_eq!(tolerance("1e-3"), Ok(1e-3));
        assert_eq!(tolerance("0"), Ok(0.0));
        for text in ["nan", "inf", "-1e-9", "", "1%"] {
            assert!(tolerance(text).is_err(), "{text}");
        }
    }
}
