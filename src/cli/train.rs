//! `rescc train`: a network learns from labelled pictures, by a step that is compiled for this machine.

use super::train_progress::Progress;
use super::{Done, Env, Failure, pipeline, signature};
use crate::figure::runs::Run;
use crate::output::{self, Mode};
use crate::toolchain::{self, BackendName};
use crate::train::checkpoint::{self, Checkpoint};
use crate::train::data::feed::Source;
use crate::train::data::{Augment, Pixels, Place, Set, pixels};
use crate::train::group::{self, Group};
use crate::train::run::{self, Job};
use crate::train::schedule::{self, Schedule, Warmup};
use crate::train::settings::{Colour, Crop, Kind, Length, Mean, Recipe, Settings};
use crate::train::step::Codes;
use crate::train::traces::Places;
use crate::train::{log, shards};
use crate::{artefact, counts, figure, import, machine, store};
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics};
use passes::graph::MemoryGoal;
use passes::pipeline::PassOptions;
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Train a network on labelled pictures
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rescc train r20.rir --data cifar10:cifar --recipe fast --epochs 1 --out run")]
pub struct Args {
    /// Model (.rir) with the weights to begin with
    model: PathBuf,
    /// Pictures: cifar10:DIR (binary version) or folder:DIR (DIR/train/CLASS/*.jpg, DIR/val/CLASS/*.jpg)
    #[arg(long, value_name = "KIND:DIR", value_parser = Place::parse)]
    data: Place,
    /// Folder for checkpoints, log.csv and the trained model.rir; one that holds a run only with --resume
    #[arg(short, long, visible_alias = "output", value_name = "DIR")]
    out: PathBuf,
    /// he2015 (the paper's) or fast (one cycle) [default: he2015]
    #[arg(long, value_name = "NAME")]
    recipe: Option<String>,
    /// Length of the run in epochs [default: the recipe's]
    #[arg(long, value_name = "N", conflicts_with = "iters", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    epochs: Option<u64>,
    /// Length of the run in steps, like 64k
    #[arg(long, value_name = "N", value_parser = schedule::iterations)]
    iters: Option<u64>,
    /// Pictures of a step
    #[arg(short, long, visible_alias = "batch-size", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    batch: Option<u64>,
    /// Parts of a batch that are computed one after the other, or by several processes [default: 1, with --mpi 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    shards: Option<u64>,
    /// Train together with the other processes of `mpirun -n N rescc train --mpi …`: each computes its share of the shards
    #[arg(long)]
    mpi: bool,
    /// Peak of the learning rate
    #[arg(long, value_name = "X", value_parser = positive)]
    lr: Option<f64>,
    /// How the rate falls: 32k,48k (a tenth at each), constant, cosine or one-cycle
    #[arg(long, visible_alias = "sched", value_name = "S", value_parser = Schedule::parse)]
    schedule: Option<Schedule>,
    /// Another rate at first: lr:0.01,until-err:0.8 or lr:0.01,iters:400
    #[arg(long, value_name = "W", value_parser = Warmup::parse)]
    warmup: Option<Warmup>,
    /// Weight decay
    #[arg(long, visible_alias = "weight-decay", value_name = "X", value_parser = share)]
    wd: Option<f64>,
    /// Momentum
    #[arg(long, value_name = "X", value_parser = share)]
    momentum: Option<f64>,
    /// Nesterov's momentum
    #[arg(long, value_name = "BOOL")]
    nesterov: Option<bool>,
    /// Label smoothing
    #[arg(long, value_name = "X", value_parser = share)]
    smoothing: Option<f64>,
    /// No random crops, mirror images and colours
    #[arg(long)]
    no_aug: bool,
    /// Leave these layers as they are
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    freeze: Vec<String>,
    /// Seed of the order of pictures and of what is done to them [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Only so many of the first pictures, of the training and of the evaluation set
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Go on from a checkpoint, or from the newest one of a folder; settings come from there
    #[arg(long, value_name = "CKPT")]
    resume: Option<PathBuf>,
    /// Steps between checkpoints [default: an epoch]
    #[arg(long, value_name = "N", value_parser = schedule::iterations)]
    recovery_interval: Option<u64>,
    /// Checkpoints that are kept
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    checkpoint_hist: u16,
    /// The log [default: log.csv in --out]
    #[arg(long, value_name = "FILE.csv")]
    log: Option<PathBuf>,
    /// Write events for TensorBoard into this folder
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
    /// Write the norms of the gradients of filters and matrices, every 50 steps
    #[arg(long, value_name = "FILE.csv")]
    grad_norms: Option<PathBuf>,
    /// Compute values of the forward pass again instead of keeping them: so many that activations take at most SIZE (12GB,
    /// 800MiB), or as little as can be
    #[arg(long, value_name = "SIZE", num_args = 0..=1, default_missing_value = pipeline::LEAST, value_parser = pipeline::memory_goal)]
    recompute: Option<MemoryGoal>,
    /// What follows a loss that is not finite
    #[arg(long, value_enum, default_value = "stop")]
    on_nan: OnNan,
    /// Machine to compile for: x86-64-v2, -v3, -v4, or native for the best that this one runs
    #[arg(long, value_name = "T", default_value = "native")]
    target: String,
    /// Code generator [default: llvm where built in]
    #[arg(long, value_enum)]
    backend: Option<BackendName>,
}

/// Shards with `--mpi` unless `--shards` says otherwise: the bits are those of 1, 2, 4 and 8 ranks.
const SHARDS: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OnNan {
    /// End the run; the state before that step is kept
    Stop,
    /// Leave the batch out
    Skip,
}

fn positive(text: &str) -> Result<f64, String> {
    let v = text.parse::<f64>().ok().filter(|v| v.is_finite() && *v > 0.0);
    v.ok_or_else(|| "a positive number".into())
}

pub fn share(text: &str) -> Result<f64, String> {
    let v = text.parse::<f64>().ok().filter(|v| (0.0..1.0).contains(v));
    v.ok_or_else(|| "a number from 0 up to 1".into())
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    let group = group::join(args.mpi)?;
    let is_first = group::leads(&*group);
    let result = train(args, &Env { quiet: env.quiet || !is_first, ..*env }, &*group);
    match result {
        Ok(done) => Ok(Done { is_silent: !is_first, ..done }),
        // The rank whose failure it is says it, and gives the exit code.
        Err(f) if f.diagnostics.0.is_empty() => Ok(Done { is_silent: true, ..Done::default() }),
        Err(f) => Err(f),
    }
}

/// What is read and compiled before a run.
struct Setup {
    model: store::Model,
    source: Arc<Source>,
    test: Option<Set>,
    codes: Codes,
    resumed: Option<Checkpoint>,
    warnings: Diagnostics,
    log: PathBuf,
    /// Of the folder that the first rank writes to.
    claim: Option<File>,
}

fn set_up(args: &Args, env: &Env, group: &dyn Group) -> Result<Setup, Failure> {
    let model = store::load(&args.model)?;
    model.check_hash()?;
    let dims = signature::input_dims(&model.graph)?;
    let mut warnings = Diagnostics::default();
    let resumed = args.resume.as_deref().map(|p| resume(p, &mut warnings)).transpose()?;
    let classes = model.graph.outputs.first().and_then(|&y| model.graph.ty(y).dims(1).last().copied()).unwrap_or(0);
    let mut set = args.data.training(dims, classes)?;
    let mut test = args.data.evaluation(dims, classes)?;
    if let Some(test) = &test {
        set.check_evaluation(test).map_err(|d| Failure::from(d).in_file(&args.data.dir))?;
    }
    let limit = args.limit.or(resumed.as_ref().and_then(|c| c.run.settings.limit));
    if let Some(n) = limit {
        set.truncate(n);
        test.iter_mut().for_each(|t| t.truncate(n));
    }
    let settings = settings(args, &model, &set, resumed.as_ref().map(|c| &c.run.settings))?;
    shards::check(settings.shards, settings.batch, group.size())?;
    if let Some(c) = &resumed {
        run::check(c, &model, &set.fingerprint(), &settings)?;
    }
    let pixels = pixels(&settings, &model, &set, dims)?;
    let log = args.log.clone().unwrap_or_else(|| args.out.join("log.csv"));
    let mut claim = None;
    if group::leads(group) {
        let traces = places(args, &log);
        traces.check(&args.out)?;
        claim = Some(checkpoint::claim(&args.out)?);
        checkpoint::refuse_other_run(&args.out, resumed.as_ref().map(|c| c.path.as_path()))?;
        output::probe(&args.out.join("model.rir"))?;
        traces.probe()?;
    }

    let backend = args.backend.unwrap_or_else(BackendName::best);
    let begun = Instant::now();
    let target = toolchain::target(&args.target)?;
    let passes = PassOptions { recompute: args.recompute, ..PassOptions::default() };
    let codes = Codes::new(&model.graph, &model.store, &settings, target, backend, passes)?;
    let program = codes.step.program();
    let mib = artefact::arena_bytes(program) as f64 / f64::from(1 << 20);
    let again = codes.step.log().recomputed.map_or_else(String::new, |r| format!(" ({})", counts::recomputed(&r)));
    let cut = match (settings.shards, group.size()) {
        (1, _) => String::new(),
        (n, 1) => format!(" in {n} shards"),
        (n, ranks) => format!(" in {n} shards on {ranks} ranks"),
    };
    let seconds = begun.elapsed().as_secs_f64();
    env.say(format!(
        "step compiled in {seconds:.1} s: arena {mib:.0} MiB{again}; {} pictures, {} steps of {}{cut}",
        set.len(),
        settings.iterations,
        settings.batch
    ));
    env.tell(
        "train",
        "compiled",
        json!({
            "seconds": seconds, "arena_bytes": artefact::arena_bytes(program), "activation_bytes": program.arena_bytes, "pictures": set.len(),
            "iterations": settings.iterations, "batch": settings.batch, "shards": settings.shards, "ranks": group.size(),
        }),
    );
    let augment = Augment::new(&settings, pixels);
    let part = group::part(group, settings.batch);
    let source = Arc::new(Source { set, augment, settings, part });
    Ok(Setup { model, source, test, codes, resumed, warnings, log, claim })
}

/// What a run leaves to look at.
fn places<'a>(args: &'a Args, log: &'a Path) -> Places<'a> {
    Places { log, events: args.tensorboard.as_deref(), norms: args.grad_norms.as_deref() }
}

fn train(args: &Args, env: &Env, group: &dyn Group) -> Result<Done, Failure> {
    let setup = group::agree(group, set_up(args, env, group))?;
    let Setup { model, source, test, codes, resumed, mut warnings, log, claim: _claim } = setup;
    let s = &source.settings;
    let job = Job {
        group,
        model: &model,
        source: source.clone(),
        test: test.as_ref(),
        codes: &codes,
        out: &args.out,
        traces: places(args, &log),
        every: args.recovery_interval.unwrap_or_else(|| source.steps()),
        keep: args.checkpoint_hist.into(),
        skips: args.on_nan == OnNan::Skip,
    };
    output::finish_on_signal();
    let done_before = resumed.as_ref().map_or(0, |c| c.run.progress.iteration);
    let backend = args.backend.unwrap_or_else(BackendName::best);
    let peak = machine::peak_gflops(codes.step.target(), backend, env.threads)? * group.size() as f64;
    let mut progress =
        Progress::new(env, (s.iterations - done_before) as usize, 2.0 * codes.macs() as f64 / (peak * 1e9));
    let begun = Instant::now();
    let end = job.run(resumed.as_ref(), &mut |r| progress.step(r))?;
    let seconds = begun.elapsed().as_secs_f64();
    progress.finish();
    if !group::leads(group) {
        return Ok(Done::default());
    }
    if output::is_stream(&log) {
        env.say(format!("no curves.svg: what went to the log '{}' cannot be read again", log.display()));
    } else {
        let name = args.out.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let curves = figure::runs::errors(&[Run { name, lines: log::read(&log)? }], false)?;
        output::write(&args.out.join("curves.svg"), Mode::Data, curves.as_bytes())?;
    }
    if end.skipped > 0 {
        let text = format!("{} of {} batches were left out: their loss was not finite", end.skipped, end.steps);
        warnings.push(Diagnostic::warning("E0910", text).help("lower --lr, or add a --warmup"));
    }
    let rate = if end.steps > 0 { (end.steps * s.batch) as f64 / end.elapsed.as_secs_f64() } else { 0.0 };
    let mut said = match (&end.model, end.signal) {
        (Some(m), _) => format!("{}\n", m.display()),
        (None, _) => format!(
            "stopped after {} of {} steps: {}\n",
            end.progress.iteration,
            s.iterations,
            end.checkpoint.display()
        ),
    };
    if let Some(error) = end.test_error {
        said += &format!("test error {:.2} %\n", 100.0 * error);
    }
    let program = codes.step.program();
    let result = json!({
        "iterations": end.progress.iteration, "of": s.iterations, "skipped": end.skipped,
        "model": end.model.as_ref().map(|m| m.display().to_string()),
        "checkpoint": end.checkpoint.display().to_string(),
        "test_error": end.test_error, "images_per_second": rate, "seconds": seconds,
        "waited_seconds": end.waited.as_secs_f64(), "arena_bytes": artefact::arena_bytes(program), "activation_bytes": program.arena_bytes, "settings": s,
        "recomputed": codes.step.log().recomputed.as_ref().map(counts::recomputed_json),
    });
    let exit = end.signal.filter(|_| end.model.is_none()).map_or(0, |n| (128 + n) as u8);
    warnings.0.extend(model.warnings.0);
    Ok(Done { diagnostics: warnings, sources: model.sources, exit, ..Done::new(said, result) })
}

/// A checkpoint file, or the newest whole one of a folder, with warnings of newer ones.
fn resume(path: &Path, warnings: &mut Diagnostics) -> Result<Checkpoint, Failure> {
    if !path.is_dir() {
        return checkpoint::read(path);
    }
    let (found, problems) = checkpoint::newest(path)?;
    warnings.0.extend(problems.0);
    Ok(found)
}

/// A recipe by its name.
///
/// Errors: E0911.
pub fn recipe(name: &str, kind: Kind) -> Result<&'static Recipe, Diagnostic> {
    let none = || Diagnostic::error("E0911", format!("there is no recipe '{name}'")).class(Class::Usage);
    Recipe::find(name, kind).ok_or_else(|| none().help("recipes are he2015 and fast"))
}

/// The recipe's settings, or those of a checkpoint, with what the command line says. A recipe that is named beside a
/// checkpoint gives them anew, so that a difference is seen.
fn settings(args: &Args, model: &store::Model, set: &Set, begun: Option<&Settings>) -> Result<Settings, Failure> {
    let length = args.epochs.map(Length::Epochs).or(args.iters.map(Length::Iterations));
    let mut s = match begun {
        Some(s) if args.recipe.is_none() => s.clone(),
        _ => recipe(args.recipe.as_deref().unwrap_or("he2015"), args.data.kind)?.settings(
            set.len(),
            counts::weighted_layers(&model.graph),
            args.batch,
            length,
        ),
    };
    s.batch = args.batch.unwrap_or(s.batch);
    s.shards = args.shards.or(begun.map(|s| s.shards)).unwrap_or(if args.mpi { SHARDS } else { 1 });
    s.iterations = length.map_or(s.iterations, |l| l.iterations(set.len(), s.batch));
    s.lr = args.lr.unwrap_or(s.lr);
    s.schedule = args.schedule.clone().unwrap_or(s.schedule);
    s.warmup = args.warmup.or(s.warmup);
    s.weight_decay = args.wd.unwrap_or(s.weight_decay);
    s.momentum = args.momentum.unwrap_or(s.momentum);
    s.nesterov = args.nesterov.unwrap_or(s.nesterov);
    s.label_smoothing = args.smoothing.unwrap_or(s.label_smoothing);
    s.seed = args.seed.unwrap_or(s.seed);
    s.limit = args.limit.or(s.limit);
    if args.no_aug {
        (s.crop, s.flip, s.colour) = (Crop::None, false, Colour::None);
    }
    if !args.freeze.is_empty() {
        s.frozen.clone_from(&args.freeze);
    }
    if s.batch > set.len() {
        let text = format!("a batch of {} pictures is more than the {} that there are", s.batch, set.len());
        return Err(Diagnostic::error("E0911", text).class(Class::Usage).help("lower --batch").into());
    }
    Ok(s)
}

/// How bytes become the input.
fn pixels(s: &Settings, model: &store::Model, set: &Set, dims: [u64; 3]) -> Result<Pixels, Failure> {
    let images = set.len() as usize;
    match (s.mean, set) {
        (Mean::Pixel, Set::Cifar(c)) => Ok(Pixels::mean_picture(c, images)),
        (Mean::Channel, Set::Cifar(c)) => Ok(Pixels::channels(c, images)),
        _ => {
            let own = model.graph.info.preprocess.clone();
            let p = match own {
                Some(p) => p,
                None => {
                    // The proportions of the usual evaluation: a crop of 224 from 256.
                    let (side, spec) = (dims[1].max(dims[2]), "imagenet");
                    let crop = format!("{spec} resize={} crop={}x{}", side * 256 / 224, dims[1], dims[2]);
                    import::preprocess::parse(&crop, dims)?
                }
            };
            let mean = model.mean_picture();
            if dims[0] != 3 || mean.as_ref().is_some_and(|m| m.len() as u64 != dims.iter().product::<u64>()) {
                let text = format!("pictures do not fit an input of {}x{}x{}", dims[0], dims[1], dims[2]);
                return Err(Diagnostic::error("E0906", text).help("networks of pictures have three channels").into());
            }
            Ok(pixels::of_model(&p, mean))
        }
    }
}
