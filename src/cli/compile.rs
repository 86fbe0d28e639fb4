//! `rescc compile`: a model to an executable, an object, a library, or what lies between.

use super::compile_train::{self, TrainArgs};
use super::pipeline::PipelineArgs;
use super::{Done, Env, Failure, signature};
use crate::artefact::{self, Objects, Source};
use crate::output::{self, Folder, Mode, Output};
use crate::toolchain::{self, BackendName, JitEvaluator};
use crate::{counts, format, import, store, tune};
use backends::cranelift::Jit;
use backends::link;
use ir::Diagnostic;
use ir::diag::Class;
use passes::pipeline::{Compiled, Options};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Compile a model to an executable or library
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rescc compile r20.rir -o r20")]
pub struct Args {
    /// Model (.rir)
    pub model: PathBuf,
    /// What to write; several kinds are named OUT.o, OUT.a, OUT.h, …
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Kinds of output [default: by the suffix of OUT, else exe]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND,…")]
    pub emit: Vec<Emit>,
    /// Machine to compile for: x86-64-v2, -v3, -v4, or native for the best that this one runs
    #[arg(long, value_name = "T", default_value = "x86-64-v3")]
    pub target: String,
    /// Code generator [default: llvm where built in]
    #[arg(long, value_enum)]
    pub backend: Option<BackendName>,
    /// Images of one inference [default: 1], or of a step [default: 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub batch: Option<u64>,
    /// Where weights go
    #[arg(long, value_enum, default_value = "embed")]
    pub weights: Weights,
    /// Linker: built in, the C compiler, or lld
    #[arg(long, value_enum, default_value = "wild")]
    pub linker: Linker,
    /// How pictures become the input, instead of what the model says: imagenet, imagenet-v2, cifar, caffe, tf, and
    /// `key=value` words (resize, crop, order, scale, mean, std)
    #[arg(long, value_name = "SPEC")]
    pub preprocess: Option<String>,
    /// Class names, a line each, instead of those of the model
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Prefix of exported symbols [default: the graph's name and `_`]
    #[arg(long, value_name = "P_", value_parser = symbol_prefix)]
    pub prefix: Option<String>,
    /// Say what each step took
    #[arg(long)]
    pub stats: bool,
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    // Last: what follows would stand under its heading.
    #[command(flatten)]
    pub training: TrainArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Emit {
    /// Standalone executable
    Exe,
    /// Relocatable object
    Obj,
    /// Static library
    Lib,
    /// Shared library
    So,
    /// C header
    Header,
    /// LLVM's text
    LlvmIr,
    /// Assembly
    Asm,
    /// NVIDIA's virtual assembly
    Ptx,
    /// The lowered program and its kernels
    Rir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Weights {
    /// Into the artefact
    Embed,
    /// Beside it, checked by hash
    #[value(hide = true)]
    External,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Linker {
    Wild,
    Cc,
    Lld,
}

/// Parts of one compilation and what each took.
pub struct Clock {
    steps: Vec<(&'static str, f64)>,
    last: Instant,
}

impl Clock {
    fn new() -> Clock {
        Clock { steps: Vec::new(), last: Instant::now() }
    }

    pub fn done(&mut self, step: &'static str) {
        self.steps.push((step, self.last.elapsed().as_secs_f64() * 1e3));
        self.last = Instant::now();
    }

    pub fn say(&self, env: &Env) {
        for (step, ms) in &self.steps {
            env.say(format!("{step:>9} {ms:8.1} ms"));
        }
    }

    pub fn json(&self) -> serde_json::Map<String, serde_json::Value> {
        self.steps.iter().map(|(s, ms)| (s.to_string(), json!(ms))).collect()
    }
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    if args.weights == Weights::External {
        return Err(compile_train::refused("`--weights external`", "leave the option out: weights are embedded"));
    }
    let emits = if args.emit.is_empty() { vec![Emit::of_suffix(&args.output)] } else { args.emit.clone() };
    let path_of = |emit: Emit| if emits.len() == 1 { args.output.clone() } else { emit.path(&args.output) };
    let outputs: Vec<(Emit, PathBuf)> = emits.iter().map(|&emit| (emit, output::resolved(&path_of(emit)))).collect();
    check_outputs(&outputs, &args.model, env)?;
    let mut clock = Clock::new();
    if args.training.train {
        return compile_train::run(args, &outputs, clock, env);
    }
    let batch = args.batch.unwrap_or(1);
    let mut model = store::load(&args.model)?;
    model.check_hash()?;
    outputs.iter().try_for_each(|(_, path)| model.spare(path))?;
    let [channels, height, width] = signature::input_dims(&model.graph)?;
    if let Some(spec) = &args.preprocess {
        model.graph.info.preprocess = Some(import::preprocess::parse(spec, [channels, height, width])?);
    }
    if let Some(path) = &args.labels {
        model.graph.info.labels = labels(path, signature::output_elements(&model.graph))?;
    }
    clock.done("load");

    let target = toolchain::target(&args.target)?;
    let name = args.backend.unwrap_or_else(BackendName::best);
    let backend = name.get()?;
    let evaluator = JitEvaluator(Jit::new()?);
    let after = args.pipeline.printer()?;
    let legal = name.legal(target);
    let plan = args.pipeline.plan(&legal, env)?;
    let options =
        Options { passes: args.pipeline.options(after.as_deref(), plan.as_ref()), ..Options::new(legal, batch) };
    let info = model.graph.info.clone();
    let totals = counts::totals(&model.graph, &counts::layers(&model.graph, 1));
    let graph_name = model.graph.name.clone();
    let compiled = passes::pipeline::compile(model.graph.clone(), model.store.clone(), &options, &evaluator)?;
    clock.done("optimise");
    if let Some(note) = tune::unused(plan.as_ref(), &compiled.log) {
        env.say(note);
    }

    let Compiled { program, store: constants, .. } = compiled;
    let source = Source {
        name: &graph_name,
        program: &program,
        constants: &*constants,
        tensors: &*model.store,
        info: &info,
        batch,
        macs: totals.macs,
        params: totals.params,
        target: &target,
    };
    let (mut written, mut executable, mut code_bytes) = (Vec::new(), None, 0);
    for (emit, path) in outputs {
        match emit {
            Emit::Exe => {
                let objects = Objects::new(&source, &*backend, None)?;
                clock.done("compile");
                code_bytes = objects.code_bytes();
                executable = Some(link::Stage::new(objects.inputs(true), Folder::beside(&path)?, &path)?);
            }
            Emit::Obj | Emit::Lib | Emit::So | Emit::Header => {
                let prefix = args.prefix.as_deref().unwrap_or(&graph_name);
                let objects = Objects::new(&source, &*backend, Some(prefix))?;
                code_bytes = objects.code_bytes();
                library(&objects, emit, args.linker, &path)?;
                clock.done("compile");
            }
            Emit::LlvmIr | Emit::Asm | Emit::Ptx => {
                let text = toolchain::text_of(&program.kernels, emit.into(), &target)?;
                output::write(&path, Mode::Data, text.as_bytes())?;
            }
            Emit::Rir => {
                let text = format!("rir 1\n\n{}", ir::text::print_program(&program));
                output::write(&path, Mode::Data, text.as_bytes())?;
            }
        }
        written.push(path);
    }
    // The linker maps the weights twice: what they were computed from has to go first.
    drop(constants);
    let (sources, warnings) = model.close();
    if let Some(stage) = executable {
        stage.executable(args.linker.into())?;
        clock.done("link");
    }
    let p = &program;
    let peak = peak_memory();
    let mut text = String::new();
    for path in written.iter().filter(|p| !output::is_stream(p)) {
        text += &format!("{}\n", path.display());
    }
    if args.stats {
        clock.say(env);
        env.say(format!(
            "{} calls of {} kernels, {} of code, {} of weights, {} of activations, {} of arena (one thread)",
            p.calls.len(),
            p.kernels.len(),
            format::bytes(code_bytes as u64),
            format::bytes(p.const_bytes),
            format::bytes(p.arena_bytes),
            format::bytes(artefact::arena_bytes(p))
        ));
        if let Some(peak) = peak {
            env.say(format!("{} of memory held at most", format::bytes(peak)));
        }
    }
    let result = json!({
        "files": written.iter().map(|p| p.display().to_string()).collect::<Vec<_>>(),
        "target": target.name, "backend": backend.name(), "batch": batch, "group": p.batch,
        "kernels": p.kernels.len(), "calls": p.calls.len(), "code_bytes": code_bytes,
        "weights_bytes": p.const_bytes, "activation_bytes": p.arena_bytes, "arena_bytes": artefact::arena_bytes(p),
        "peak_memory_bytes": peak, "ms": clock.json(),
    });
    Ok(Done { diagnostics: warnings, sources, ..Done::new(text, result) })
}

/// Refuses outputs that cannot be written, or that would replace each other or the model.
fn check_outputs(outputs: &[(Emit, PathBuf)], model: &Path, env: &Env) -> Result<(), Failure> {
    for (i, (emit, path)) in outputs.iter().enumerate() {
        if outputs[..i].iter().any(|(_, other)| other == path) {
            return Err(output::replaces(path, "another output"));
        }
        if matches!(emit, Emit::Exe | Emit::Obj | Emit::So) && output::is_stream(path) {
            let d = Diagnostic::error("E0803", "a linker's output cannot go to a pipe or device").class(Class::Output);
            return Err(d.help("name a file: -o model").into());
        }
        env.probe(path, &[model])?;
    }
    Ok(())
}

/// A prefix of symbols that are not the runtime's own.
fn symbol_prefix(text: &str) -> Result<String, String> {
    match backends::object::prefix_of(text).as_str() {
        "rescc_core" | "rescc_train" => Err("functions of the runtime begin with that".into()),
        _ => Ok(text.into()),
    }
}

/// Writes a library, an object or a header.
pub fn library(objects: &Objects, emit: Emit, linker: Linker, path: &Path) -> Result<(), Failure> {
    match emit {
        Emit::Header => {
            // What is read from a pipe has no name yet.
            let file = match path.file_name() {
                Some(name) if !output::is_stream(path) => name.to_string_lossy().into_owned(),
                _ => format!("{}.h", objects.prefix()),
            };
            output::write(path, Mode::Data, objects.header(&file).as_bytes())
        }
        Emit::Lib => {
            let mut out = Output::create(path, Mode::Data)?;
            objects.write_archive(&mut out).map_err(|e| out.failure(&e))?;
            out.commit()
        }
        Emit::So => {
            let soname = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let exports = vec![format!("{}_*", objects.prefix())];
            let folder = Folder::beside(path)?;
            Ok(link::shared_library(objects.inputs(false), linker.into(), &soname, &exports, folder, path)?)
        }
        _ => Ok(link::relocatable(objects.inputs(false), linker.into(), Folder::beside(path)?, path)?),
    }
}

/// Class names from a file.
fn labels(path: &Path, classes: u64) -> Result<Vec<String>, Failure> {
    let bytes = import::read_file(path, runtime::host::MAX_FILE_BYTES)?;
    let text = String::from_utf8_lossy(&bytes);
    import::labels::parse(&text, classes).map_err(|d| Failure::from(d).in_text(path, &text))
}

impl Emit {
    /// What the name of the output asks for.
    fn of_suffix(path: &Path) -> Emit {
        match path.extension().and_then(|e| e.to_str()) {
            Some("o") => Emit::Obj,
            Some("a") => Emit::Lib,
            Some("so") => Emit::So,
            Some("h") => Emit::Header,
            Some("ll") => Emit::LlvmIr,
            Some("s") => Emit::Asm,
            Some("ptx") => Emit::Ptx,
            Some("rir") => Emit::Rir,
            _ => Emit::Exe,
        }
    }

    /// The name of one of several outputs.
    fn path(self, out: &Path) -> PathBuf {
        let suffix = match self {
            Emit::Exe => return out.to_path_buf(),
            Emit::Obj => "o",
            Emit::Lib => "a",
            Emit::So => "so",
            Emit::Header => "h",
            Emit::LlvmIr => "ll",
            Emit::Asm => "s",
            Emit::Ptx => "ptx",
            Emit::Rir => "rir",
        };
        output::with_suffix(out, suffix)
    }
}

impl From<Linker> for link::Linker {
    fn from(l: Linker) -> link::Linker {
        match l {
            Linker::Wild => link::Linker::Wild,
            Linker::Cc => link::Linker::Cc,
            Linker::Lld => link::Linker::Lld,
        }
    }
}

impl From<Emit> for toolchain::CodeText {
    fn from(e: Emit) -> toolchain::CodeText {
        match e {
            Emit::Ptx => toolchain::CodeText::Ptx,
            Emit::Asm => toolchain::CodeText::Asm,
            _ => toolchain::CodeText::Llvm,
        }
    }
}

/// The most memory that this process has held so far, in bytes, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?;
    Some(kib.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    #[test]
    fn help_offers_what_there_is_under_its_heading() {
        let command = super::Args::augment_args(clap::Command::new("compile"));
        let arg = |id: &str| command.get_arguments().find(|a| a.get_id() == id).expect("an option of compile");
        assert_eq!(arg("stats").get_help_heading(), None);
        assert_eq!(arg("momentum").get_help_heading(), Some("With --train"));
        let weights = arg("weights").get_possible_values();
        let offered: Vec<&str> = weights.iter().filter(|v| !v.is_hide_set()).map(|v| v.get_name()).collect();
        assert_eq!(offered, ["embed"]);
    }
}
