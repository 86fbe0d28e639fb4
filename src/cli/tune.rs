//! `rescc tune`: a plan of how a model is best computed on this machine.

use super::pipeline::PipelineArgs;
use super::progress::Progress;
use super::{Done, Env, Failure, signature};
use crate::bench::{self, Format, Sampling, Settings, Sheet, Subject};
use crate::machine::cpu;
use crate::output::{self, Folder, Mode};
use crate::store;
use crate::toolchain::{self, BackendName};
use crate::tune::{File, Search};
use serde_json::json;
use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Measure how each convolution is best computed here
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rescc tune r20.rir -o r20.plan.json")]
pub struct Args {
    /// Model (.rir)
    model: PathBuf,
    /// Plan for `compile --plan`
    #[arg(short, long, value_name = "PLAN")]
    output: PathBuf,
    /// Seconds after which no further candidate is tried
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0, value_parser = bench::seconds)]
    budget: f64,
    /// Seconds that each candidate runs
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5, value_parser = bench::seconds)]
    time: f64,
    /// Images of one inference
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    batch: u64,
    /// Machine to compile for: x86-64-v2, -v3, -v4, or native for the best that this one runs
    #[arg(long, value_name = "T", default_value = "native")]
    target: String,
    /// Code generator [default: llvm where built in]
    #[arg(long, value_enum)]
    backend: Option<BackendName>,
    #[command(flatten)]
    pipeline: PipelineArgs,
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    env.probe(&args.output, &[&args.model])?;
    let backend = args.backend.unwrap_or_else(BackendName::best);
    let target = backend.legal(toolchain::target(&args.target)?);
    toolchain::must_run(&target)?;
    let model = store::load(&args.model)?;
    model.check_hash()?;
    signature::input_dims(&model.graph)?;
    let folder = Folder::temporary()?;
    let subject = Subject { graph: model.graph.clone(), store: model.store.clone() };
    let progress: Cell<Option<Progress>> = Cell::new(None);
    let search = Search {
        subject: &subject,
        settings: Settings { target, backend, batch: args.batch, passes: args.pipeline.options(None, None) },
        timing: Sampling { threads: env.threads, seconds: args.time, warmup: None, iterations: None, cold: false },
        folder: folder.path(),
        deadline: Instant::now() + Duration::from_secs_f64(args.budget),
        progress: &|_, of| {
            let p = progress.take().unwrap_or_else(|| Progress::count(env, "candidates", of));
            p.advance(1);
            progress.set(Some(p));
        },
    };
    let found = search.run()?;
    if let Some(p) = progress.take() {
        p.finish();
    }
    let file = File::new(&target, cpu::name(), env.threads, [found.usual_ms, found.tuned_ms], found.entries);
    output::write(&args.output, Mode::Data, file.text().as_bytes())?;
    let mut s = Sheet::new(2, &["convolution", "computed", "usual us", "tuned us", "gain"]);
    for e in &file.convolutions {
        let fields = [
            ("winograd", e.winograd),
            ("panel", e.panel),
            ("rows", e.rows),
            ("panels", e.panels),
            ("channels", e.channels),
        ];
        let how: Vec<String> = fields.iter().filter(|f| f.1 > 0).map(|(n, v)| format!("{n}={v}")).collect();
        let us = |us: f64| format!("{us:.1}");
        let gain = format!("{:.3}x", e.usual_us / e.tuned_us);
        s.row(vec![e.what.clone(), how.join(" "), us(e.usual_us), us(e.tuned_us), gain]);
    }
    let mut text = if file.convolutions.is_empty() { String::new() } else { format!("{}\n", s.print(Format::Table)) };
    text += &match file.convolutions.len() {
        0 => format!("nothing is clearly faster than as usual, {:.3} ms\n", file.usual_ms),
        n => format!(
            "{n} convolutions are computed in another way: {:.3} ms instead of {:.3}, {:.3}x\n",
            file.tuned_ms,
            file.usual_ms,
            file.usual_ms / file.tuned_ms
        ),
    };
    if found.measured < found.candidates {
        text += &format!("{} of {} candidates tried: --budget gives it more time\n", found.measured, found.candidates);
    }
    text += &format!("{}\n", args.output.display());
    let result = json!({ "plan": file, "candidates": found.candidates, "measured": found.measured });
    Ok(Done { diagnostics: model.warnings, sources: model.sources, ..Done::new(text, result) })
}
