//! `rescc plot`: logs of training as one figure.

use super::{Done, Env, Failure};
use crate::figure::runs::{self, Run};
use crate::output::{self, Mode};
use crate::train::log;
use ir::Diagnostic;
use ir::diag::Class;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Draw the errors of training runs
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rescc plot run.csv -o curves.svg")]
pub struct Args {
    /// Logs, or folders of runs with a log.csv
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// Figure to write
    #[arg(short, long, value_name = "F.svg")]
    output: PathBuf,
    /// What the runs are called [default: their folders]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    names: Vec<String>,
    /// Training errors to the left and test errors to the right, as in figure 1 of the paper
    #[arg(long)]
    apart: bool,
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    env.probe(&args.output, &args.logs)?;
    if !args.names.is_empty() && args.names.len() != args.logs.len() {
        let text = format!("{} names for {} runs", args.names.len(), args.logs.len());
        let d = Diagnostic::error("E0911", text).class(Class::Usage);
        return Err(d.help("give a name for each, or none").into());
    }
    let mut list = Vec::new();
    for (i, path) in args.logs.iter().enumerate() {
        let file = if path.is_dir() { path.join("log.csv") } else { path.clone() };
        let name = args.names.get(i).cloned().unwrap_or_else(|| name_of(&file));
        list.push(Run { name, lines: log::read(&file)? });
    }
    output::write(&args.output, Mode::Data, runs::errors(&list, args.apart)?.as_bytes())?;
    let rows: Vec<_> = list.iter().map(|r| json!({ "name": r.name, "lines": r.lines.len() })).collect();
    Ok(Done::new(
        if output::is_stream(&args.output) { String::new() } else { format!("{}\n", args.output.display()) },
        json!({ "figure": args.output.display().to_string(), "runs": rows }),
    ))
}

/// The folder of a run's log; else the name of the file.
fn name_of(file: &Path) -> String {
    let folder = file.parent().and_then(Path::file_name).filter(|_| file.file_name().is_some_and(|n| n == "log.csv"));
    folder.or(file.file_stem()).unwrap_or_default().to_string_lossy().into_owned()
}
