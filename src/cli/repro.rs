//! `rescc repro`: an experiment of the paper, as a table beside the paper's numbers and as a figure.

use super::progress::Progress as Bar;
use super::{Done, Env, Failure, signature};
use crate::eval::responses;
use crate::figure::runs::{self, Run};
use crate::output::{self, Mode};
use crate::repro::experiments::{Group, Name, Scale, paper};
use crate::repro::train::{Bench, End, Trained};
use crate::toolchain::{self, BackendName};
use crate::train::checkpoint;
use crate::train::data::{Place, Set, cifar, pixels};
use crate::train::settings::{Kind, Settings};
use crate::{format, store};
use comfy_table::CellAlignment;
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics};
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;

/// Run an experiment of the paper
#[derive(clap::Args)]
#[command(
    after_help = "Networks that are trained already in --out are not trained again; a run that was interrupted goes on.\n\n\
                  Example:\n  rescc repro fig1 --data cifar10:cifar --scale tiny --out repro"
)]
pub struct Args {
    /// Which experiment: a table or figure of the paper
    #[arg(value_enum)]
    experiment: Name,
    /// Pictures: cifar10:DIR (binary version)
    #[arg(long, value_name = "KIND:DIR", value_parser = Place::parse)]
    data: Place,
    /// How large networks and runs are
    #[arg(long, value_enum)]
    scale: Scale,
    /// Folder for the runs, the table and the figure; one for each scale and seed
    #[arg(short, long, visible_alias = "output", value_name = "DIR")]
    out: PathBuf,
    /// Seed of weights and of what is done to pictures
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Machine to compile for: x86-64-v2, -v3, -v4, or native for the best that this one runs
    #[arg(long, value_name = "T", default_value = "native")]
    target: String,
    /// Code generator [default: llvm where built in]
    #[arg(long, value_enum)]
    backend: Option<BackendName>,
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    let backend = args.backend.unwrap_or_else(BackendName::best);
    let target = toolchain::target(&args.target)?;
    if args.data.kind != Kind::Cifar {
        let d = Diagnostic::error("E0804", "the experiments are on CIFAR-10").class(Class::Unsupported);
        return Err(d.help("give --data cifar10:DIR").into());
    }
    let bench = Bench { cifar: &args.data.dir, out: &args.out, scale: args.scale, seed: args.seed, target, backend };
    let groups = args.experiment.groups(args.scale);
    checkpoint::folder(&args.out)?;
    output::finish_on_signal();
    let mut warnings = Diagnostics::default();
    let mut trained: HashMap<&str, Trained> = HashMap::new();
    for name in groups.iter().flat_map(|g| g.networks.iter().copied()) {
        if trained.contains_key(name) {
            continue;
        }
        match one(&bench, name, &mut warnings, env)? {
            End::Trained(t) => _ = trained.insert(name, t),
            End::Stopped(signal) => {
                let text = format!("stopped while {name} was being trained; the same command goes on\n");
                let done = Done::new(text, json!({ "stopped": name }));
                return Ok(Done { exit: (128 + signal) as u8, diagnostics: warnings, ..done });
            }
        }
    }
    let networks: Vec<&Trained> = unique(&groups).into_iter().map(|n| &trained[n]).collect();
    let (figure, table) = match args.experiment {
        Name::Fig7 => responses_of(&bench, &networks)?,
        experiment => (curves(experiment, &groups, &trained)?, errors(&networks)),
    };
    let name = format!("{:?}", args.experiment).to_lowercase();
    let [svg, csv] = ["svg", "csv"].map(|ending| args.out.join(format!("{name}.{ending}")));
    output::write(&svg, Mode::Data, figure.as_bytes())?;
    let mut out = csv::Writer::from_writer(Vec::new());
    for row in [&table.head].into_iter().chain(&table.rows) {
        out.write_record(row).map_err(|e| output::failure(&csv, 0, &std::io::Error::other(e)))?;
    }
    let bytes = out.into_inner().map_err(|e| output::failure(&csv, 0, e.error()))?;
    output::write(&csv, Mode::Data, &bytes)?;
    let named = |row: &Vec<String>| {
        let fields = table.head.iter().cloned().zip(row.iter().map(|v| json!(v)));
        serde_json::Value::Object(fields.collect())
    };
    let rows: Vec<_> = table.rows.iter().map(named).collect();
    let text = format!("{}\n{}\n{}\n", table.text(), csv.display(), svg.display());
    let [table, figure] = [csv, svg].map(|path| path.display().to_string());
    let result = json!({ "experiment": name, "networks": rows, "table": table, "figure": figure });
    Ok(Done { diagnostics: warnings, ..Done::new(text, result) })
}

/// Trains one network, with a line of progress.
fn one(bench: &Bench, name: &str, warnings: &mut Diagnostics, env: &Env) -> Result<End, Failure> {
    let bar = std::cell::OnceCell::new();
    let mut begin = |s: &Settings, done: u64| {
        env.say(format!("{name}: {} steps of {}", s.iterations - done, s.batch));
        bar.get_or_init(|| Bar::count(env, "steps", (s.iterations - done) as usize));
    };
    let end = bench.train(name, warnings, &mut begin, &mut |r| {
        let Some(bar) = bar.get() else { return };
        bar.advance(1);
        if let Some((loss, error)) = r.line.window {
            bar.say(&format!("{name}: loss {loss:.4}, error {:.2} %", 100.0 * error));
        }
    })?;
    if let Some(bar) = bar.get() {
        bar.finish();
    }
    Ok(end)
}

fn unique(groups: &[Group]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for &n in groups.iter().flat_map(|g| &g.networks) {
        if !names.contains(&n) {
            names.push(n);
        }
    }
    names
}

/// A result, to be printed and to be read by programs.
struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> Table {
        Table { head: head.map(String::from).to_vec(), rows: rows.into_iter().map(Vec::from).collect() }
    }

    fn text(&self) -> String {
        let head: Vec<String> = self.head.iter().map(|h| h.replace('_', " ")).collect();
        let mut table = format::table(&head.iter().map(String::as_str).collect::<Vec<_>>());
        self.rows.iter().for_each(|r| _ = table.add_row(r));
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format::lines(&table)
    }
}

/// Errors in percent beside the paper's.
fn errors(networks: &[&Trained]) -> Table {
    let percent = |v: Option<f64>| v.map_or(String::new(), |v| format!("{v:.2}"));
    let row = |t: &&Trained| {
        let [training, test] = t.errors().map(|v| percent(v.map(|v| 100.0 * v)));
        [t.name.clone(), t.params.to_string(), t.iterations.to_string(), training, test, percent(paper(&t.name))]
    };
    let head = ["network", "parameters", "steps", "training_error", "test_error", "paper"];
    Table::new(head, networks.iter().map(row).collect())
}

fn curves(experiment: Name, groups: &[Group], trained: &HashMap<&str, Trained>) -> Result<String, Failure> {
    let run = |n: &&'static str| Run { name: n.trim_start_matches("cifar-").into(), lines: trained[n].lines.clone() };
    let panels: Vec<(&str, Vec<Run>)> =
        groups.iter().map(|g| (g.title, g.networks.iter().map(run).collect())).collect();
    Ok(match &panels[..] {
        [(_, runs)] => runs::errors(runs, experiment == Name::Fig1)?,
        panels => runs::panels(panels)?,
    })
}

/// Figure 7: deviations of responses on the test pictures.
fn responses_of(bench: &Bench, networks: &[&Trained]) -> Result<(String, Table), Failure> {
    let (mut list, mut rows) = (Vec::new(), Vec::new());
    for t in networks {
        let model = store::load(&t.model)?;
        let preprocess = model.graph.info.preprocess.as_ref().ok_or_else(|| {
            let text = format!("'{}' does not say how a picture becomes its input", t.model.display());
            Diagnostic::error("E0812", text).help("remove it: it is trained again")
        })?;
        let pixels = pixels::of_model(preprocess, model.mean_picture());
        let set = Set::Cifar(cifar::evaluation(bench.cifar, signature::input_dims(&model.graph)?)?);
        let all: Vec<u64> = (0..set.len()).collect();
        let found = responses::deviations(&model, &pixels, &set, &all, bench.target, bench.backend, &|_| ())?;
        let values: Vec<f64> = found.into_iter().map(|(_, v)| v).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        rows.push([t.name.clone(), values.len().to_string(), format!("{mean:.4}")]);
        list.push((t.name.trim_start_matches("cifar-").to_string(), values));
    }
    Ok((runs::layers(&list, "standard deviation")?, Table::new(["network", "layers", "mean_deviation"], rows)))
}
