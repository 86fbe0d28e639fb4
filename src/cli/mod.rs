//! The command line: one file a verb, which parses its arguments, calls, and gives back a [`Done`].
//!
//! Results go to standard output, everything about progress and problems to standard error. With `--json` a verb
//! prints one document and nothing else; one that takes hours prints events before it, and each of all on a line. This
//! module alone prints, maps failures to exit codes, and exits.

mod bench;
mod check;
mod compile;
mod compile_train;
mod eval;
mod explain;
mod hwbench;
mod import;
mod inspect;
mod new;
mod opt;
pub mod pipeline;
mod plot;
mod progress;
mod report;
mod repro;
mod run;
mod signature;
mod targets;
mod train;
mod train_progress;
mod tune;
mod verify;

use crate::output;
use crate::render::{self, Failure, Sources};
use clap::{Parser, Subcommand, ValueEnum};
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

/// Stack of the thread that does the work: LLVM recurses deeply on long functions.
const STACK_BYTES: usize = 64 << 20;

#[derive(Parser)]
#[command(
    name = "rescc",
    version,
    about = "The compiler for residual networks: a ResNet in, one running file out",
    after_help = "Example:\n  rescc new resnet50 -o r50.rir\n\nExit codes: 0 done · 1 the answer is negative · 2 usage · 3 input not valid · 4 unsupported · \
                  5 cannot write · 6 limit · 7 toolchain missing · 70 a bug in rescc · \
                  130 or 143 ended by a signal"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Args)]
#[command(next_help_heading = "All verbs")]
struct Global {
    /// Say nothing but results and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more; may be repeated
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print one JSON document, or while training one a line
    #[arg(long, global = true)]
    json: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value = "auto")]
    color: ColorWhen,
    /// Worker threads [default: the cores that this process may use]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ColorWhen {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
enum Verb {
    New(new::Args),
    Import(import::Args),
    Check(check::Args),
    Inspect(inspect::Args),
    Opt(opt::Args),
    Compile(compile::Args),
    Run(run::Args),
    Verify(verify::Args),
    Bench(bench::Args),
    Hwbench(hwbench::Args),
    Report(report::Args),
    Train(Box<train::Args>),
    Eval(eval::Args),
    Plot(plot::Args),
    Repro(repro::Args),
    Tune(tune::Args),
    Targets(targets::Args),
    Explain(explain::Args),
}

/// What a verb sees of the global options.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    pub quiet: bool,
    pub verbose: u8,
    pub json: bool,
    /// Colour on standard output.
    pub color: bool,
    /// Colour on standard error.
    pub color_err: bool,
    /// Threads to use.
    pub threads: usize,
}

impl Env {
    /// One line of progress or explanation, to standard error.
    pub fn say(&self, line: impl AsRef<str>) {
        if !self.quiet && !self.json {
            output::say(&format!("{}\n", line.as_ref()));
        }
    }

    /// The same, only with `-v`.
    pub fn say_more(&self, line: impl AsRef<str>) {
        if self.verbose > 0 {
            self.say(line);
        }
    }

    /// With `--json`: one line about what `verb` is doing, before its document. `fields` is an object.
    pub fn tell(&self, verb: &str, event: &str, mut fields: Value) {
        if self.json && !self.quiet {
            fields["schema"] = schema(verb).into();
            fields["event"] = event.into();
            output::tell(&format!("{fields}\n"));
        }
    }

    /// Fails at once if no file can be begun at `path`, if it would be written over one of `inputs`, or mix with the JSON
    /// document.
    pub fn probe(&self, path: &Path, inputs: &[impl AsRef<Path>]) -> Result<(), Failure> {
        if inputs.iter().any(|input| output::is_same(path, input.as_ref())) {
            return Err(output::replaces(path, "what the command reads"));
        }
        if self.json && output::is_stdout(path) {
            let d = Diagnostic::error("E0819", "standard output is for the JSON document").class(Class::Usage);
            return Err(d.help("name a file with -o, or leave --json out").into());
        }
        output::probe(path)
    }

    /// Whether a progress line may be drawn.
    pub fn shows_progress(&self) -> bool {
        let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        !self.quiet && !self.json && !dumb && !set("CI") && std::io::stderr().is_terminal()
    }
}

/// What a verb gives back.
#[derive(Debug, Default)]
pub struct Done {
    /// Result for people, ending in a newline.
    pub text: String,
    /// `result` of the JSON document.
    pub result: Value,
    /// Warnings and notes.
    pub diagnostics: Diagnostics,
    pub sources: Sources,
    /// 0, or 1 if the answer is negative.
    pub exit: u8,
    /// Another process says it all.
    pub is_silent: bool,
}

impl Done {
    pub fn new(text: impl Into<String>, result: Value) -> Done {
        Done { text: text.into(), result, ..Done::default() }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    output::remove_unfinished_on_signals();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) if e.use_stderr() => {
            if std::env::args_os().any(|a| a == "--json") {
                let text = e.render().to_string();
                let d = Diagnostic::error("E0820", text.trim_end().trim_start_matches("error: ")).class(Class::Usage);
                // One line, since some verbs are read by lines.
                output::print(&format!("{}\n", document("rescc", false, &Value::Null, &d.into(), &Sources::default())));
            } else {
                let _ = e.print();
            }
            return ExitCode::from(2);
        }
        Err(e) => {
            output::print(&e.render().to_string());
            return ExitCode::SUCCESS;
        }
    };
    let mut env = env(&cli.global);
    env.json |= cli.verb.wants_json();
    // A list of threads is for what `bench` measures, not for itself.
    if let Some(n) = cli.global.threads.filter(|_| !matches!(cli.verb, Verb::Bench(_))) {
        // The one pool of the process; nothing has used it yet.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(n.into()).build_global();
    }
    let (name, has_events) = (cli.verb.name(), matches!(cli.verb, Verb::Train(_)));
    std::panic::set_hook(Box::new(|_| {}));
    let worker = std::thread::Builder::new().name(name.into()).stack_size(STACK_BYTES);
    let verb = cli.verb;
    let result = match worker.spawn(move || caught(|| verb.run(&env))).map(std::thread::JoinHandle::join) {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(internal("the worker thread ended")),
        Err(e) => Err(Diagnostic::error("E0801", format!("cannot start a thread: {e}")).class(Class::Limit).into()),
    };
    ExitCode::from(conclude(name, has_events, result, &env))
}

/// Runs `f`; a panic becomes an internal error with its message and place.
fn caught(f: impl FnOnce() -> Result<Done, Failure>) -> Result<Done, Failure> {
    use std::sync::{Arc, Mutex, PoisonError};
    let seen = Arc::new(Mutex::new(None));
    let sink = Arc::clone(&seen);
    std::panic::set_hook(Box::new(move |info| {
        // The first panic is the cause; those of other threads follow from it.
        sink.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| info.to_string());
    }));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or_else(|_| {
        let text = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(internal(&text.unwrap_or_default()))
    })
}

fn internal(what: &str) -> Failure {
    let d = Diagnostic::error("E0800", "internal error of rescc").class(Class::Internal).note(what.to_string());
    let d = d.note(format!("rescc {}", env!("CARGO_PKG_VERSION")));
    d.help("this is a bug: please report it with the command line and, if you may, the file").into()
}

/// What documents of a verb are named by.
fn schema(verb: &str) -> String {
    format!("rescc.{verb}/1")
}

/// The document that `--json` prints.
fn document(verb: &str, ok: bool, result: &Value, diagnostics: &Diagnostics, sources: &Sources) -> Value {
    json!({
        "schema": schema(verb),
        "ok": ok,
        "result": result,
        "diagnostics": render::json(diagnostics, sources),
    })
}

/// Prints what a verb gave and returns the exit code. The document of a verb that has events is a line too.
fn conclude(verb: &str, has_events: bool, result: Result<Done, Failure>, env: &Env) -> u8 {
    let (ok, text, value, diagnostics, sources, exit) = match result {
        Ok(d) if d.is_silent => return d.exit,
        Ok(d) => (d.exit == 0, d.text, d.result, d.diagnostics, d.sources, d.exit),
        Err(f) => {
            let exit = f.exit_code();
            (false, String::new(), Value::Null, f.diagnostics, f.sources, exit)
        }
    };
    if env.json {
        let document = document(verb, ok, &value, &diagnostics, &sources);
        output::print(&if has_events { format!("{document}\n") } else { format!("{document:#}\n") });
    } else {
        output::print(&text);
        let said = if env.quiet && ok { String::new() } else { render::text(&diagnostics, &sources, env.color_err) };
        output::say(&said);
    }
    exit
}

fn env(g: &Global) -> Env {
    let forced = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty() && v != "0");
    let color = |terminal: bool| match g.color {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto if std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) => false,
        ColorWhen::Auto => terminal || forced("CLICOLOR_FORCE"),
    };
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Env {
        quiet: g.quiet,
        verbose: g.verbose,
        json: g.json,
        color: color(std::io::stdout().is_terminal()),
        color_err: color(std::io::stderr().is_terminal()),
        threads: g.threads.map_or_else(cores, usize::from),
    }
}

impl Verb {
    fn name(&self) -> &'static str {
        match self {
            Verb::New(_) => "new",
            Verb::Import(_) => "import",
            Verb::Check(_) => "check",
            Verb::Inspect(_) => "inspect",
            Verb::Opt(_) => "opt",
            Verb::Compile(_) => "compile",
            Verb::Run(_) => "run",
            Verb::Verify(_) => "verify",
            Verb::Bench(_) => "bench",
            Verb::Hwbench(_) => "hwbench",
            Verb::Report(_) => "report",
            Verb::Train(_) => "train",
            Verb::Eval(_) => "eval",
            Verb::Plot(_) => "plot",
            Verb::Repro(_) => "repro",
            Verb::Tune(_) => "tune",
            Verb::Targets(_) => "targets",
            Verb::Explain(_) => "explain",
        }
    }

    /// Whether an option of the verb itself asks for JSON.
    fn wants_json(&self) -> bool {
        match self {
            Verb::Bench(a) => a.wants_json(),
            Verb::Hwbench(a) => a.wants_json(),
            _ => false,
        }
    }

    fn run(&self, env: &Env) -> Result<Done, Failure> {
        match self {
            Verb::New(a) => new::run(a, env),
            Verb::Import(a) => import::run(a, env),
            Verb::Check(a) => check::run(a, env),
            Verb::Inspect(a) => inspect::run(a, env),
            Verb::Opt(a) => opt::run(a, env),
            Verb::Compile(a) => compile::run(a, env),
            Verb::Run(a) => run::run(a, env),
            Verb::Verify(a) => verify::run(a, env),
            Verb::Bench(a) => bench::run(a, env),
            Verb::Hwbench(a) => hwbench::run(a, env),
            Verb::Report(a) => report::run(a, env),
            Verb::Train(a) => train::run(a, env),
            Verb::Eval(a) => eval::run(a, env),
            Verb::Plot(a) => plot::run(a, env),
            Verb::Repro(a) => repro::run(a, env),
            Verb::Tune(a) => tune::run(a, env),
            Verb::Targets(a) => targets::run(a, env),
            Verb::Explain(a) => explain::run(a, env),
        }
    }
}

/// What a verb returns whose work is not there.
fn unsupported(what: &str) -> Failure {
    let d = Diagnostic::error("E0804", format!("{what} is not supported by this version")).class(Class::Unsupported);
    d.help("`rescc --help` lists what is").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_internal_error_with_its_place() {
        let hook = std::panic::take_hook();
        let failure = caught(|| panic!("the sky fell")).expect_err("a panic");
        std::panic::set_hook(hook);
        assert_eq!(failure.exit_code(), 70);
        let text = render::text(&failure.diagnostics, &failure.sources, false);
        for part in ["error[E0800]", "the sky fell", "src/cli/mod.rs", "rescc 0.", "help: this is a bug"] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }

    #[test]
    fn the_command_line_is_consistent_and_explained() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        let mut cli = Cli::command();
        cli.build();
        for verb in cli.get_subcommands() {
            let silent = verb.get_arguments().find(|a| !a.is_positional() && a.get_help().is_none());
            assert!(silent.is_none(), "{}: {silent:?}", verb.get_name());
        }
        let help = cli.find_subcommand_mut("train").expect("a verb").render_help().to_string();
        let (own, common) = help.split_once("All verbs:").expect("a heading");
        assert!(own.contains("--momentum") && !own.contains("--quiet") && common.contains("--quiet"), "{help}");
    }
}
