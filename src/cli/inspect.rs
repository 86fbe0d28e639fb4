//! `rescc inspect`: layers, shapes, parameters, multiply-adds, bytes; drawings.

use super::{Done, Env, Failure};
use crate::counts::{self, Layer, Totals};
use crate::output::{self, Mode};
use crate::toolchain::{self, JitEvaluator};
use crate::{figure, format, store};
use backends::cranelift::Jit;
use clap::ValueEnum;
use comfy_table::CellAlignment;
use ir::Diagnostic;
use ir::diag::Class;
use passes::autodiff::{TrainOptions, training_step};
use passes::pipeline::{PassOptions, optimise};
use serde_json::json;
use std::cmp::Reverse;
use std::path::PathBuf;

/// Show a model's layers, shapes, parameters and costs
#[derive(clap::Args)]
#[command(
    after_help = "bytes is what a layer reads and writes, weights included.\n\nExample:\n  rescc inspect r20.rir --sort macs"
)]
pub struct Args {
    /// Model (.rir); its weights are needed for --why only
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
    /// Show the training step of the model: loss, gradients, update
    #[arg(long, conflicts_with = "why")]
    grad: bool,
    /// Say what the passes leave alone at this node, and why
    #[arg(long, value_name = "NODE", conflicts_with_all = ["dot", "svg"])]
    why: Option<String>,
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
    if let Some(node) = &args.why {
        return why(args, node.trim_start_matches('%'));
    }
    args.svg.as_deref().map(|path| env.probe(path, &[&args.model])).transpose()?;
    let (mut graph, sources, warnings) = store::load_graph(&args.model)?;
    if args.grad {
        graph = training_step(&graph, &TrainOptions::default())?;
    }
    let mut layers = counts::layers(&graph, args.batch);
    let totals = counts::totals(&graph, &layers);
    match args.sort {
        Sort::Order => {}
        Sort::Name => layers.sort_by(|a, b| a.name.cmp(&b.name)),
        Sort::Params => layers.sort_by_key(|l| Reverse(l.params)),
        Sort::Macs => layers.sort_by_key(|l| Reverse(l.macs)),
        Sort::Bytes => layers.sort_by_key(|l| Reverse(l.bytes)),
    }
    let mut text = if args.dot { figure::graph::dot(&graph) } else { table(&layers, &totals) };
    if let Some(path) = &args.svg {
        let Some(svg) = figure::graph::svg(&graph) else {
            let d = Diagnostic::error("E0804", "the drawing could not be laid out").class(Class::Unsupported);
            return Err(d.help("use --dot and Graphviz").into());
        };
        output::write(path, Mode::Data, svg.as_bytes())?;
        text.clear();
        env.say(format!("wrote {}", path.display()));
    }
    let result = counts::layers_json(&layers, &totals);
    Ok(Done { diagnostics: warnings, sources, ..Done::new(text, result) })
}

/// Runs the passes and prints what each of them refused at a node. Constants are not folded: that needs every weight
/// and refuses nothing.
fn why(args: &Args, node: &str) -> Result<Done, Failure> {
    let model = store::load(&args.model)?;
    if model.graph.value_named(node).and_then(|v| model.graph.def(v)).is_none() {
        let g = &model.graph;
        let d = Diagnostic::error("E0810", format!("the model computes no value '{node}'"));
        let near = ir::text::nearest(node, g.order.iter().map(|&n| g.name(g.result(n))));
        let d = d.help(near.map_or("`rescc inspect` lists them".into(), |n| format!("did you mean '{n}'?")));
        return Err(Failure { diagnostics: d.into(), sources: model.sources });
    }
    let skip = ["fold-constants".to_string()];
    let options = PassOptions { skip: &skip, ..PassOptions::default() };
    let target = toolchain::target("native")?;
    let evaluator = JitEvaluator(Jit::new()?);
    let (graph, tensors) = (model.graph.clone(), model.store.clone());
    let log = optimise(graph, tensors, &target, args.batch, &options, &evaluator)?.log;
    let mut text = String::new();
    for r in log.why(node) {
        text += &format!("{}: {} ({})\n", r.pass, r.keep.why, r.keep.name);
    }
    if text.is_empty() {
        text = format!("no pass refused anything at %{node}\n");
    }
    let refusals: Vec<_> =
        log.why(node).map(|r| json!({ "pass": r.pass, "reason": r.keep.name, "why": r.keep.why })).collect();
    Ok(Done::new(text, json!({ "node": node, "refused": refusals })))
}

fn table(layers: &[Layer], totals: &Totals) -> String {
    let mut table = format::table(&["name", "op", "output", "params", "MACs", "bytes"]);
    for l in layers {
        let [params, macs, bytes] = [l.params, l.macs, l.bytes].map(format::count_or_blank);
        table.add_row([&l.name, &l.op, &l.out, &params, &macs, &bytes]);
    }
    table.add_row([
        "total",
        &format::counted(totals.layers, "node"),
        "",
        &format::count(totals.params),
        &format::count(totals.macs),
        "",
    ]);
    for column in 3..6 {
        if let Some(c) = table.column_mut(column) {
            c.set_cell_alignment(CellAlignment::Right);
        }
    }
    format::lines(&table)
}
