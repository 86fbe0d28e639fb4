//! `rescc bench`: how long a model takes, and where the time goes.

use super::pipeline::{self, PipelineArgs};
use super::{Done, Env, Failure};
use crate::bench::{
    self, Built, Format, Run, Sampling, Settings, Subject, Times, baseline, calls, compare, op_spec, report,
};
use crate::machine::{self, Effort, Measured};
use crate::output::Folder;
use crate::store;
use crate::toolchain::{self, BackendName};
use ir::target::Target;
use ir::{Diagnostic, Program};
use passes::graph::MemoryGoal;
use passes::pipeline::PassOptions;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Measure a model, an executable or one op
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rescc bench r20.rir --threads 1,2 --time 0.5")]
pub struct Args {
    /// Model (.rir), or an executable that rescc made
    #[arg(required_unless_present = "op", conflicts_with = "op")]
    model: Option<PathBuf>,
    /// One op instead, e.g. 'conv2d 1x64x56x56 64x64x3x3 pad=1,1,1,1 epilogue=[bias,relu]'; N as a first dimension is
    /// the batch
    #[arg(long, value_name = "SPEC")]
    op: Option<String>,
    /// A training step instead of an inference: the paper's recipe, on random pictures
    #[arg(long, conflicts_with_all = ["op", "cold", "compare_passes"])]
    train: bool,
    /// Compute values of the forward pass again instead of keeping them: so many that activations take at most SIZE (12GB,
    /// 800MiB), or as little as can be
    #[arg(long, value_name = "SIZE", num_args = 0..=1, default_missing_value = pipeline::LEAST, value_parser = pipeline::memory_goal, requires = "train")]
    recompute: Option<MemoryGoal>,
    /// Numbers of threads [default: the CPUs that this process may use]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,
    /// Images of one inference
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=1024))]
    batch: Vec<u64>,
    /// Runs before each measurement [default: for a tenth of its time]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    warmup: Option<u32>,
    /// Runs of each measurement, instead of a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    iterations: Option<u32>,
    /// Seconds of each measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = bench::seconds)]
    time: f64,
    /// Take the weights out of all caches before each run; --op does both
    #[arg(long)]
    cold: bool,
    /// One row for each call, not for each kernel
    #[arg(long)]
    per_layer: bool,
    /// Also compile without each of these passes (`winograd`: without that method) and say what it gains
    #[arg(long, value_name = "P,Q", value_delimiter = ',')]
    compare_passes: Vec<String>,
    /// Compare with an earlier --json document; exit code 1 if it is slower
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// What still counts as equal to the baseline [default: 3%]
    #[arg(long, value_name = "SHARE", requires = "baseline", value_parser = baseline::share)]
    fail_above: Option<f64>,
    /// How tables are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Machine to compile for: x86-64-v2, -v3, -v4, or native for the best that this one runs
    #[arg(long, value_name = "T", default_value = "native")]
    target: String,
    /// Code generator [default: llvm where built in]
    #[arg(long, value_enum)]
    backend: Option<BackendName>,
    #[command(flatten)]
    pipeline: PipelineArgs,
}

/// What is measured.
enum What {
    Model(Box<store::Model>),
    Op(op_spec::Spec),
    Executable(PathBuf),
}

impl Args {
    /// Whether `--format json` asks for the document that `--json` gives.
    pub fn wants_json(&self) -> bool {
        self.format == Format::Json
    }

    fn threads(&self, env: &Env) -> Vec<usize> {
        if self.threads.is_empty() { vec![env.threads] } else { self.threads.iter().map(|&t| t.into()).collect() }
    }

    fn sampling(&self, threads: usize, cold: bool) -> Sampling {
        Sampling { threads, seconds: self.time, warmup: self.warmup, iterations: self.iterations, cold }
    }
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    let earlier = args.baseline.as_deref().map(baseline::load).transpose()?;
    let what = what(args)?;
    let target = toolchain::target(&args.target)?;
    let backend = args.backend.unwrap_or_else(BackendName::best);
    let threads = args.threads(env);
    let most = threads.iter().copied().max().unwrap_or(1);
    let machine = match what {
        What::Executable(_) => None,
        _ => {
            toolchain::must_run(&target)?;
            Some(peaks(&target, backend, most, env)?)
        }
    };
    let folder = Folder::temporary()?;
    let runs = measure(args, &what, &threads, machine.as_ref(), folder.path(), env)?;
    let mut done = Done::new(text(args, &runs, machine.as_ref()), document(args, &runs, machine.as_ref()));
    if !args.compare_passes.is_empty() {
        let variants = compare_passes(args, &what, threads[0], folder.path(), env)?;
        done.text += &format!("\n{}", compare::table(&variants, args.format));
        done.result["passes"] = compare::json(&variants);
    }
    if let (Some(earlier), Some(path)) = (earlier, &args.baseline) {
        let changes = earlier.compare(&runs, path)?;
        done.text += &format!("\n{}", baseline::table(&changes, args.format));
        done.result["baseline"] = baseline::json(&changes);
        if earlier.cpu != machine::cpu::name() {
            env.say(format!("note: the baseline was measured on another processor, {}", earlier.cpu));
        }
        if let Some(d) = baseline::regression(&changes, args.fail_above, path) {
            done.exit = 1;
            done.diagnostics.push(d);
        }
    }
    if let What::Model(model) = what {
        done.diagnostics.0.extend(model.warnings.0);
        done.sources = model.sources;
    }
    Ok(done)
}

fn what(args: &Args) -> Result<What, Failure> {
    if let Some(spec) = &args.op {
        let spec = op_spec::parse(spec)?;
        if let (Some(n), false) = (spec.batch(), args.batch.is_empty()) {
            let text = format!("the op has a batch of {n}, and --batch gives another");
            return Err(Diagnostic::error("E0814", text)
                .help("write N for the first dimension, or leave --batch out")
                .into());
        }
        return Ok(What::Op(spec));
    }
    let path = args.model.as_deref().unwrap_or(Path::new("-"));
    if is_executable(path) {
        return Ok(What::Executable(path.to_path_buf()));
    }
    let model = store::load(path)?;
    model.check_hash()?;
    super::signature::input_dims(&model.graph)?;
    Ok(What::Model(Box::new(model)))
}

/// Whether the file begins as an ELF file does.
fn is_executable(path: &Path) -> bool {
    let mut magic = [0; 4];
    std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut magic)).is_ok() && &magic == b"\x7fELF"
}

/// Rates of this machine: saved ones, or measured now.
fn peaks(target: &Target, backend: BackendName, threads: usize, env: &Env) -> Result<Measured, Failure> {
    let legal = backend.legal(*target);
    if let Some(saved) = machine::load(&legal, threads) {
        return Ok(saved);
    }
    env.say_more("measuring the machine's peaks; `rescc hwbench --save` keeps them");
    Ok(machine::measure(&legal, backend, threads, Effort::Quick)?)
}

/// Every combination of batch, threads and temperature of the weights.
fn measure(
    args: &Args,
    what: &What,
    threads: &[usize],
    machine: Option<&Measured>,
    folder: &Path,
    env: &Env,
) -> Result<Vec<Run>, Failure> {
    let temperatures: &[bool] = match (what, args.cold) {
        (What::Op(_), false) => &[false, true],
        (_, cold) => &[cold],
    };
    let mut runs = Vec::new();
    if let What::Executable(exe) = what {
        if args.train {
            return Err(super::unsupported("`--train` of an executable"));
        }
        for &t in threads {
            let times = bench::measure(exe, args.sampling(t, args.cold))?;
            runs.push(Run { times, cold: args.cold, peak_gflops: 0.0, rows: Vec::new() });
        }
        return Ok(runs);
    }
    for batch in batches(args, what) {
        let subject = subject(what, batch)?;
        if args.train {
            runs.extend(measure_training(args, &subject, batch, threads, machine, env)?);
            continue;
        }
        let built = build(args, &subject, batch, &folder.join(format!("batch{batch}")), env)?;
        drop(subject);
        for &t in threads {
            for &cold in temperatures {
                let measure = || bench::measure(&built.exe, args.sampling(t, cold));
                let (times, machine) = as_it_is(machine, &built.target, args, t, measure)?;
                let (peak_gflops, rows) = judge(&built.program, &built.target, &times, machine, cold);
                runs.push(Run { times, cold, peak_gflops, rows });
            }
        }
    }
    Ok(runs)
}

/// What `measure` gives, and the machine as it was meanwhile: others who share it move the clock by a sixth and more,
/// and the system moves cores.
fn as_it_is<T>(
    machine: Option<&Measured>,
    target: &Target,
    args: &Args,
    threads: usize,
    measure: impl FnOnce() -> Result<T, Failure>,
) -> Result<(T, Option<Measured>), Failure> {
    let Some(m) = machine else { return Ok((measure()?, None)) };
    let backend = args.backend.unwrap_or_else(BackendName::best);
    let before = machine::now(target, backend, threads)?;
    let times = measure()?;
    let after = machine::now(target, backend, threads)?;
    Ok((times, Some(m.at(threads, before.mean(after)))))
}

/// The machine's peak on as many threads, and the calls beside it and the estimate.
fn judge(p: &Program, target: &Target, times: &Times, machine: Option<Measured>, cold: bool) -> (f64, Vec<calls::Row>) {
    let of = |m: Measured| (m.peak_gflops(times.threads as usize), calls::rows(p, target, times, &m, cold));
    machine.map_or_else(|| (0.0, Vec::new()), of)
}

/// A training step on each number of threads.
fn measure_training(
    args: &Args,
    subject: &Subject,
    batch: u64,
    threads: &[usize],
    machine: Option<&Measured>,
    env: &Env,
) -> Result<Vec<Run>, Failure> {
    let codes = with_settings(args, batch, env, |settings| bench::train::build(subject, settings))?;
    let again =
        codes.step.log().recomputed.map_or_else(String::new, |r| format!(" ({})", crate::counts::recomputed(&r)));
    let arena = crate::artefact::arena_bytes(codes.step.program()) as f64 / f64::from(1 << 20);
    env.say(format!("batch {batch}: arena {arena:.0} MiB{again}"));
    let of = |&t: &usize| {
        let target = codes.step.target();
        let measure = || bench::train::measure(&codes, subject, args.sampling(t, false));
        let (times, machine) = as_it_is(machine, target, args, t, measure)?;
        let (peak_gflops, rows) = judge(codes.step.program(), target, &times, machine, false);
        Ok(Run { times, cold: false, peak_gflops, rows })
    };
    threads.iter().map(of).collect()
}

fn batches(args: &Args, what: &What) -> Vec<u64> {
    let fixed = match what {
        What::Op(spec) => spec.batch(),
        _ => None,
    };
    match fixed {
        Some(n) => vec![n],
        None if args.batch.is_empty() => vec![1],
        None => args.batch.clone(),
    }
}

fn subject(what: &What, batch: u64) -> Result<Subject, Failure> {
    match what {
        What::Op(spec) => spec.subject(batch),
        What::Model(m) => Ok(Subject { graph: m.graph.clone(), store: m.store.clone() }),
        What::Executable(_) => Err(super::unsupported("compiling an executable")),
    }
}

fn build(args: &Args, subject: &Subject, batch: u64, exe: &Path, env: &Env) -> Result<Built, Failure> {
    with_settings(args, batch, env, |settings| bench::build(subject, settings, exe))
}

/// Calls `f` with what the command line says about compiling.
fn with_settings<T>(
    args: &Args,
    batch: u64,
    env: &Env,
    f: impl FnOnce(&Settings) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let after = args.pipeline.printer()?;
    let (target, backend) = (toolchain::target(&args.target)?, args.backend.unwrap_or_else(BackendName::best));
    let plan = args.pipeline.plan(&backend.legal(target), env)?;
    let passes = args.pipeline.options(after.as_deref(), plan.as_ref());
    let passes = PassOptions { recompute: args.recompute, ..passes };
    f(&Settings { target, backend, batch, passes })
}

fn compare_passes(
    args: &Args,
    what: &What,
    threads: usize,
    folder: &Path,
    env: &Env,
) -> Result<Vec<compare::Variant>, Failure> {
    if matches!(what, What::Executable(_)) {
        return Err(super::unsupported("`--compare-passes` of an executable"));
    }
    let batch = batches(args, what)[0];
    let (target, backend) = (toolchain::target(&args.target)?, args.backend.unwrap_or_else(BackendName::best));
    let plan = args.pipeline.plan(&backend.legal(target), env)?;
    let settings = Settings { target, backend, batch, passes: args.pipeline.options(None, plan.as_ref()) };
    compare::compare(&subject(what, batch)?, &settings, &args.compare_passes, args.sampling(threads, args.cold), folder)
}

/// CSV holds one table: that of the calls where rows are asked for, else that of the runs.
fn text(args: &Args, runs: &[Run], machine: Option<&Measured>) -> String {
    let f = args.format;
    let mut out = String::new();
    if f != Format::Csv {
        out += &format!("{}\n", report::machine_text(machine));
    }
    if f != Format::Csv || !args.per_layer {
        out += &report::runs(runs, f);
    }
    for r in runs {
        if f == Format::Csv && !args.per_layer {
            break;
        }
        let rows = if args.per_layer { r.rows.clone() } else { calls::by_kernel(&r.rows, r.peak_gflops) };
        if f != Format::Csv {
            let t = &r.times;
            let (batch, threads) = (t.batch, t.threads);
            out += &format!(
                "\nbatch {batch}, {threads} thread{}, weights {}\n\n",
                if threads == 1 { "" } else { "s" },
                report::temperature(r)
            );
        }
        if !rows.is_empty() {
            out += &report::table(&rows, !args.per_layer, r.times.sum_us(), f);
        }
        if f != Format::Csv {
            out += &report::summary(r, &r.rows);
        }
    }
    out
}

fn document(args: &Args, runs: &[Run], machine: Option<&Measured>) -> Value {
    let first = runs.first().map(|r| &r.times);
    json!({
        "subject": args.op.clone().or_else(|| args.model.as_ref().map(|p| p.display().to_string())),
        "name": first.map(|t| &t.name),
        "target": first.map(|t| &t.target),
        "backend": machine.map(|m| &m.backend),
        "machine": report::machine_json(machine),
        "median_ms": first.map(|t| t.median_us / 1e3),
        "images_per_second": runs.first().map(report::images_per_s),
        "runs": runs.iter().map(report::run_json).collect::<Vec<_>>(),
        "calls": report::calls_json(runs),
    })
}
