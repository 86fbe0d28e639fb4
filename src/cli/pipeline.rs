//! Options of the verbs that optimise a graph.

use super::{Env, Failure};
use crate::machine::cpu;
use crate::tune;
use ir::target::Target;
use ir::{Diagnostics, Graph};
use passes::graph::{MemoryGoal, Winograd};
use passes::pipeline::{PassOptions, by_name};
use passes::plan::Plan;
use std::path::PathBuf;

/// Called after each pass with its name and the graph.
pub type After = dyn Fn(&'static str, &Graph);

/// Which passes run, and what is shown of them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PipelineArgs {
    /// Run these graph passes instead of the usual ones
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub passes: Option<Vec<String>>,
    /// Leave these passes out
    #[arg(long, value_name = "P,Q", value_delimiter = ',')]
    pub skip: Vec<String>,
    /// Convolutions by Winograd's method: where it is faster, wherever it can be, or nowhere
    #[arg(long, value_enum, default_value = "auto")]
    pub winograd: WinogradArg,
    /// Compute convolutions as this plan of `rescc tune` says
    #[arg(long, value_name = "PLAN")]
    pub plan: Option<PathBuf>,
    /// Print the graph after this pass, or after `all`
    #[arg(long, value_name = "P")]
    pub print_after: Option<String>,
    /// Verify the graph after each pass
    #[arg(long)]
    pub verify_each: bool,
    /// Stop after that many patches
    #[arg(long, value_name = "K")]
    pub passes_limit: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum WinogradArg {
    #[default]
    Auto,
    On,
    Off,
}

impl From<WinogradArg> for Winograd {
    fn from(arg: WinogradArg) -> Winograd {
        match arg {
            WinogradArg::Auto => Winograd::Auto,
            WinogradArg::On => Winograd::On,
            WinogradArg::Off => Winograd::Off,
        }
    }
}

/// What follows `--recompute`: nothing, or the most that activations of a training step may take.
pub fn memory_goal(text: &str) -> Result<MemoryGoal, String> {
    if text == LEAST {
        return Ok(MemoryGoal::Least);
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (number, unit) = text.split_at(digits);
    let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim_start())).map(|(_, bytes)| bytes);
    match (number.parse::<f64>(), unit) {
        (Ok(n), Some(bytes)) if n > 0.0 => Ok(MemoryGoal::Within((n * bytes) as u64)),
        _ => Err("a size like 12GB or 800MiB".into()),
    }
}

/// What `--recompute` without a size means.
pub const LEAST: &str = "least";

const UNITS: [(&str, f64); 6] = [
    ("MB", 1e6),
    ("GB", 1e9),
    ("kB", 1e3),
    ("KiB", 1024.0),
    ("MiB", 1024.0 * 1024.0),
    ("GiB", 1024.0 * 1024.0 * 1024.0),
];

impl PipelineArgs {
    /// `plan` is what [`plan`](Self::plan) gave.
    pub fn options<'a>(&'a self, after: Option<&'a After>, plan: Option<&'a Plan>) -> PassOptions<'a> {
        PassOptions {
            only: self.passes.as_deref(),
            skip: &self.skip,
            limit: self.passes_limit.map(|k| usize::try_from(k).unwrap_or(usize::MAX)),
            winograd: self.winograd.into(),
            plan,
            recompute: None,
            verify_each: self.verify_each,
            after,
        }
    }

    /// The plan of `--plan`. Says what differs here from where it was measured.
    ///
    /// Errors: those of [`tune::load`].
    pub fn plan(&self, target: &Target, env: &Env) -> Result<Option<Plan>, Failure> {
        let Some(path) = &self.plan else { return Ok(None) };
        let file = tune::load(path, target)?;
        if let Some(what) = file.differs(&cpu::name(), env.threads) {
            env.say(format!("note: {what}; it is right here too, if not the best"));
        }
        Ok(Some(file.plan()))
    }

    /// Prints the graph after the passes that `--print-after` names, to standard error.
    ///
    /// Errors: E0401 (no such pass).
    pub fn printer(&self) -> Result<Option<Box<After>>, Diagnostics> {
        let Some(wanted) = self.print_after.clone() else { return Ok(None) };
        if wanted != "all" {
            by_name(&wanted)?;
        }
        Ok(Some(Box::new(move |pass, graph| {
            if wanted == "all" || wanted == pass {
                crate::output::say(&format!("// after {pass}\nrir 1\n\n{}\n", ir::text::print_graph(graph)));
            }
        })))
    }
}
