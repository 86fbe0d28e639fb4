//! `rescc inspect`: layers, shapes, parameters, multiply-adds, bytes; drawings.

use super::{Done, Env, Failure};
use crate::output::{self, Mode};
use crate::{report, store};
use clap::ValueEnum;
use ir::Diagnostic;
use ir::diag::Class;
use std::cmp::Reverse;
use std::path::PathBuf;

/// Show a model's layers, shapes, parameters and costs
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rescc inspect r20.rir --sort macs")]
pub struct Args {
    /// Model (.rir); its weights are not needed
    model: PathBuf,
    /// Order of the rows
    #[arg(long, value_enum, default_value = "order")]
    sort: Sort,
    /// Count for that many images
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    batch: u64,
    /// Print Graphviz text instead of the table
    #[arg(long, conflicts_with = "svg")]
    dot: bool,
    /// Write a drawing
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Order,
    Name,
    Params,
    Macs,
    Bytes,
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    let (graph, sources, warnings) = store::load_graph(&args.model)?;
    let mut layers = report::layers(&graph, args.batch);
    let totals = report::totals(&graph, &layers);
    match args.sort {
        Sort::Order => {}
        Sort::Name => layers.sort_by(|a, b| a.name.cmp(&b.name)),
        Sort::Params => layers.sort_by_key(|l| Reverse(l.params)),
        Sort::Macs => layers.sort_by_key(|l| Reverse(l.macs)),
        Sort::Bytes => layers.sort_by_key(|l| Reverse(l.bytes)),
    }
    let mut text = if args.dot { report::dot(&graph) } else { report::layer_table(&layers, &totals) };
    if let Some(path) = &args.svg {
        let Some(svg) = report::svg(&graph) else {
            let d = Diagnostic::error("E0804", "the drawing could not be laid out").class(Class::Unsupported);
            return Err(d.help("use --dot and Graphviz").into());
        };
        output::write(path, Mode::Data, svg.as_bytes())?;
        text.clear();
        env.say(format!("wrote {}", path.display()));
    }
    let result = report::layers_json(&layers, &totals);
    Ok(Done { diagnostics: warnings, sources, ..Done::new(text, result) })
}
