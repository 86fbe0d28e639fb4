//! `rescc check`: parses and verifies a model and its weights; changes nothing.

use super::{Done, Env, Failure};
use crate::{counts, format, store};
use ir::diag::Class;
use ir::{Place, Severity};
use serde_json::json;
use std::path::PathBuf;

/// Parse and verify a model and its weights
#[derive(clap::Args)]
#[command(
    after_help = "Exits with 1 if the model has errors, with 3 if it cannot be read.\n\nExample:\n  rescc check r20.rir"
)]
pub struct Args {
    /// Model (.rir)
    model: PathBuf,
}

pub fn run(args: &Args, _env: &Env) -> Result<Done, Failure> {
    let model = store::load(&args.model).map_err(negative)?;
    model.check_hash()?;
    let layers = counts::layers(&model.graph, 1);
    let totals = counts::totals(&model.graph, &layers);
    let g = &model.graph;
    let text = format!(
        "{}: no errors; graph @{} with {}, {}\n",
        args.model.display(),
        g.name,
        format::counted(totals.layers, "node"),
        format::counted(totals.params, "parameter")
    );
    let result = json!({ "graph": g.name, "nodes": totals.layers, "params": totals.params });
    Ok(Done { diagnostics: model.warnings, sources: model.sources, ..Done::new(text, result) })
}

/// Errors in a text that could be read are this verb's answer, not its failure.
fn negative(mut f: Failure) -> Failure {
    let readable = f.sources.main.as_ref().is_some_and(|(_, text)| text.is_some());
    for d in &mut f.diagnostics.0 {
        let in_text = d.labels.iter().any(|l| matches!(l.place, Place::Text(_) | Place::Node(_)));
        if readable && in_text && d.severity == Severity::Error && d.class == Class::Invalid {
            d.class = Class::Negative;
        }
    }
    f
}
