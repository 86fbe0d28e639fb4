//! `rescc eval`: how often networks are right about labelled pictures.

use super::progress::Progress as Bar;
use super::{Done, Env, Failure, signature};
use crate::eval::ensemble::{self, Look, Member};
use crate::eval::responses;
use crate::eval::tally::Tally;
use crate::eval::views::Crops;
use crate::figure;
use crate::output::{self, Mode};
use crate::toolchain::{self, BackendName};
use crate::train::data::{Pixels, Place, Set, pixels};
use crate::train::settings::Kind;
use crate::{format, import, render, store};
use comfy_table::CellAlignment;
use ir::diag::Class;
use ir::{Diagnostic, Graph, Severity};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Longest side of pictures that a network looks at.
const MOST_SCALE: u32 = 4096;

/// Evaluate networks on labelled pictures
#[derive(clap::Args)]
#[command(after_help = "Several models are an ensemble: the mean of their probabilities.\n\n\
                  Example:\n  rescc eval r20.rir --data cifar10:cifar --preprocess cifar --confusion matrix.svg")]
pub struct Args {
    /// Models (.rir)
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Pictures: cifar10:DIR (binary version) or folder:DIR (DIR/val/CLASS/*.jpg, or DIR/CLASS/*.jpg)
    #[arg(long, value_name = "KIND:DIR", value_parser = Place::parse)]
    data: Place,
    /// Looks at a picture: its centre, or its corners and centre and their mirror images
    #[arg(long, value_enum, default_value = "1")]
    crops: CropsArg,
    /// Lengths of the shorter side of pictures; the scores of all are averaged [default: the model's own]
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_SCALE)))]
    scales: Vec<u32>,
    /// Only so many of the first pictures; of a folder, of each class in turn
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Write which class was taken for which, .svg or .csv
    #[arg(long, value_name = "FILE", value_parser = figure_or_table)]
    confusion: Option<PathBuf>,
    /// Print how many pictures of each class were right
    #[arg(long)]
    per_class: bool,
    /// Write the standard deviation of the response of every 3x3 convolution, .svg or .csv
    #[arg(long, value_name = "FILE", value_parser = figure_or_table)]
    responses: Option<PathBuf>,
    /// How pictures become the input, instead of what the models say: imagenet, imagenet-v2, cifar, caffe, tf, and
    /// `key=value` words (resize, crop, order, scale, mean, std)
    #[arg(long, value_name = "SPEC")]
    preprocess: Option<String>,
    /// Machine to compile for: x86-64-v2, -v3, -v4, or native for the best that this one runs
    #[arg(long, value_name = "T", default_value = "native")]
    target: String,
    /// Code generator [default: llvm where built in]
    #[arg(long, value_enum)]
    backend: Option<BackendName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CropsArg {
    #[value(name = "1")]
    One,
    #[value(name = "10")]
    Ten,
}

/// A file whose ending says what is written.
pub fn figure_or_table(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|e| e.to_str()) {
        Some("svg" | "csv") => Ok(path),
        _ => Err("the name ends in .svg or .csv".into()),
    }
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    let crops = if args.crops == CropsArg::Ten { Crops::Ten } else { Crops::Centre };
    let backend = args.backend.unwrap_or_else(BackendName::best);
    let scales = args.scales.iter().map(|&s| s as usize).collect();
    let look = Look { crops, scales, target: toolchain::target(&args.target)?, backend };
    [&args.confusion, &args.responses].into_iter().flatten().try_for_each(|p| env.probe(p, &args.models))?;

    let mut models = args.models.iter().map(|p| store::load(p)).collect::<Result<Vec<_>, _>>()?;
    let mut set: Option<([u64; 3], Set)> = None;
    let (mut members, mut looks) = (Vec::new(), Vec::new());
    for (model, path) in models.iter_mut().zip(&args.models) {
        model.check_hash()?;
        let dims = signature::input_dims(&model.graph)?;
        if let Some(spec) = &args.preprocess {
            model.graph.info.preprocess = Some(import::preprocess::parse(spec, dims)?);
        }
        let pixels = pixels(model, dims, &look).map_err(|d| Failure::from(d).in_file(path))?;
        let (first, set) = match &set {
            Some(s) => s,
            None => set.insert((dims, pictures(args, dims)?)),
        };
        if args.data.kind == Kind::Cifar && *first != dims {
            let d = Diagnostic::error("E0906", "the networks see the pictures of CIFAR-10 at different sizes");
            return Err(Failure::from(d.help("evaluate them one by one")).in_file(path));
        }
        let member = Member::new(model, &pixels, set, &look);
        members.push(member.map_err(|f| f.in_file(path))?);
        looks.push(pixels);
    }
    let (_, set) = set.expect("invariant: there is a model");

    let begun = Instant::now();
    let bar = Bar::count(env, "pictures", set.len() as usize);
    let outcome = ensemble::evaluate(&members, &set, &|n| bar.advance(n))?;
    bar.finish();
    let seconds = begun.elapsed().as_secs_f64();

    let names = class_names(&models[0].graph, &set);
    let together = &outcome.together;
    if let Some(path) = &args.confusion {
        confusion(path, together, &names)?;
    }
    let mut responses = Vec::new();
    if let Some(path) = &args.responses {
        for ((model, pixels), file) in models.iter().zip(&looks).zip(&args.models) {
            let seen = &outcome.readable;
            let bar = Bar::count(env, "responses", seen.len());
            let advance = |n| bar.advance(n);
            let found = responses::deviations(model, pixels, &set, seen, look.target, look.backend, &advance);
            responses.push((name_of(file), found.map_err(|f| f.in_file(file))?));
            bar.finish();
        }
        write_responses(path, &responses)?;
    }
    let mut text = accuracy_table(&args.models, &outcome.alone, together);
    if args.per_class {
        text += &format!("\n{}", class_table(together, &names));
    }
    let alone: Vec<Value> = args.models.iter().zip(&outcome.alone).map(|(m, t)| with_model(t, m)).collect();
    let mut result = counts(together);
    let failed = outcome.unreadable.0.len();
    let classes: Vec<Value> = together
        .classes
        .iter()
        .map(|(&c, [n, top5])| {
            json!({ "class": c, "name": names[c as usize], "n": n, "top1": together.count(c, c), "top5": top5 })
        })
        .collect();
    for (name, layers) in &responses {
        let mean = layers.iter().map(|(_, v)| v).sum::<f64>() / layers.len() as f64;
        text += &format!("{name}: mean deviation of responses {mean:.3}\n");
    }
    let layer = |(name, std): &(String, f64)| json!({ "name": name, "std": std });
    let responses: Vec<Value> = responses
        .iter()
        .map(|(name, layers)| json!({ "model": name, "layers": layers.iter().map(layer).collect::<Vec<_>>() }))
        .collect();
    for (key, value) in [
        ("responses", Value::Array(responses)),
        ("models", Value::Array(alone)),
        ("classes", Value::Array(classes)),
        ("unreadable", json!(failed)),
        ("seconds", json!(seconds)),
        ("images_per_second", json!(together.n as f64 / seconds)),
    ] {
        result[key] = value;
    }
    env.say(format!("{} pictures in {seconds:.1} s", together.n));
    let mut diagnostics = outcome.unreadable;
    let exit = diagnostics.0.iter().find(|d| d.severity == Severity::Error).map_or(0, |d| render::exit_code(d.class));
    let sources = models.first().map(|m| m.sources.clone()).unwrap_or_default();
    models.into_iter().for_each(|m| diagnostics.0.extend(m.warnings.0));
    // Pictures are named by their messages: no text belongs to them.
    let sources = if exit == 0 { sources } else { render::Sources::default() };
    Ok(Done { diagnostics, sources, exit, ..Done::new(text, result) })
}

/// The pictures, as many as are asked for.
fn pictures(args: &Args, dims: [u64; 3]) -> Result<Set, Failure> {
    let mut set = args.data.pictures(dims)?;
    if let Some(n) = args.limit {
        set.truncate(n);
    }
    Ok(set)
}

/// What the model does to a picture.
fn pixels(model: &store::Model, dims: [u64; 3], look: &Look) -> Result<Pixels, Diagnostic> {
    let unsupported =
        |text: String, help: &str| Diagnostic::error("E0812", text).class(Class::Unsupported).help(help.to_string());
    let Some(p) = &model.graph.info.preprocess else {
        let text = "the model does not say how a picture becomes its input";
        return Err(unsupported(text.into(), "give --preprocess, such as `imagenet` or `cifar`"));
    };
    let mean = model.mean_picture();
    if dims[0] != 3 || mean.as_ref().is_some_and(|m| m.len() as u64 != dims.iter().product::<u64>()) {
        let text = format!("pictures do not fit an input of {}x{}x{}", dims[0], dims[1], dims[2]);
        return Err(unsupported(text, "networks of pictures have three channels"));
    }
    let pixels = pixels::of_model(p, mean);
    let side = pixels.width.max(pixels.height);
    match look.scales.iter().find(|&&s| look.crops == Crops::Ten && s < side) {
        Some(s) => {
            let text = format!("crops of {}x{} pixels are not in a picture of {s}", pixels.height, pixels.width);
            Err(Diagnostic::error("E0912", text).help(format!("give scales from {side} up, or one look (--crops 1)")))
        }
        None => Ok(pixels),
    }
}

/// Names of the network's classes: its own, those of the data, or numbers.
fn class_names(g: &Graph, set: &Set) -> Vec<String> {
    let outputs = signature::output_elements(g) as usize;
    let known = [g.info.labels.clone(), set.classes()].into_iter().find(|names| names.len() == outputs);
    known.unwrap_or_else(|| (0..outputs).map(|c| c.to_string()).collect())
}

fn share(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / of as f64
}

/// Errors of each model, and of all together if there are several.
fn accuracy_table(models: &[PathBuf], alone: &[Tally], together: &Tally) -> String {
    let mut table = format::table(&["model", "top-1 error", "top-5 error", "right"]);
    let mut row = |name: String, t: &Tally| {
        let error = |right: u64| format!("{:.2} %", share(t.n - right, t.n));
        table.add_row([name, error(t.top1()), error(t.top5), format!("{} of {}", t.top1(), t.n)]);
    };
    models.iter().zip(alone).for_each(|(m, t)| row(m.display().to_string(), t));
    if models.len() > 1 {
        row("together".into(), together);
    }
    right_aligned(table, 1..3)
}

/// A line for each class that has pictures.
fn class_table(t: &Tally, names: &[String]) -> String {
    let mut table = format::table(&["class", "pictures", "right", "error", "most often taken for"]);
    for (&c, [n, _]) in &t.classes {
        let right = t.count(c, c);
        // Of answers as frequent as each other the first.
        let of_row = t.confusion.range((c, 0)..=(c, u32::MAX)).filter(|((_, a), _)| *a != c);
        let worst = of_row.max_by(|(a, n), (b, m)| n.cmp(m).then(b.cmp(a)));
        let worst = worst.map_or(String::new(), |(&(_, a), n)| format!("{} ({n})", names[a as usize]));
        let error = format!("{:.2} %", share(n - right, *n));
        table.add_row([names[c as usize].clone(), n.to_string(), right.to_string(), error, worst]);
    }
    right_aligned(table, 1..4)
}

fn right_aligned(mut table: comfy_table::Table, columns: std::ops::Range<usize>) -> String {
    for column in columns {
        if let Some(c) = table.column_mut(column) {
            c.set_cell_alignment(CellAlignment::Right);
        }
    }
    format::lines(&table)
}

fn counts(t: &Tally) -> Value {
    json!({ "n": t.n, "top1": t.top1(), "top5": t.top5, "acc1": share(t.top1(), t.n), "acc5": share(t.top5, t.n) })
}

fn with_model(t: &Tally, model: &Path) -> Value {
    let mut v = counts(t);
    v["model"] = json!(model.display().to_string());
    v
}

/// What a model is called: its file, or its run's folder.
fn name_of(model: &Path) -> String {
    let folder = model.parent().and_then(Path::file_name).filter(|_| model.ends_with("model.rir"));
    folder.or(model.file_stem()).unwrap_or_default().to_string_lossy().into_owned()
}

/// Writes deviations as a picture in the manner of figure 7, or as a table with a line for each layer.
fn write_responses(path: &Path, networks: &[(String, Vec<(String, f64)>)]) -> Result<(), Failure> {
    let bytes = match path.extension().is_some_and(|e| e == "svg") {
        true => {
            let values = |(name, layers): &(String, Vec<(String, f64)>)| {
                (name.clone(), layers.iter().map(|(_, v)| *v).collect::<Vec<_>>())
            };
            let networks: Vec<_> = networks.iter().map(values).collect();
            figure::runs::layers(&networks, "standard deviation")?.into_bytes()
        }
        false => {
            let rows = networks.iter().flat_map(|(model, layers)| {
                let numbered = (1..).zip(layers);
                numbered.map(move |(i, (name, v))| vec![model.clone(), i.to_string(), name.clone(), v.to_string()])
            });
            let head = ["model", "layer", "name", "std"].map(String::from).to_vec();
            table(path, [head].into_iter().chain(rows))?
        }
    };
    output::write(path, Mode::Data, &bytes)
}

/// Rows of fields as CSV.
fn table(path: &Path, rows: impl Iterator<Item = Vec<String>>) -> Result<Vec<u8>, Failure> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for row in rows {
        csv.write_record(row).map_err(|e| output::failure(path, 0, &std::io::Error::other(e)))?;
    }
    csv.into_inner().map_err(|e| output::failure(path, 0, e.error()))
}

/// Writes the matrix as a picture or as a table: a row for each class, a column for each answer.
fn confusion(path: &Path, t: &Tally, names: &[String]) -> Result<(), Failure> {
    let bytes = match path.extension().is_some_and(|e| e == "svg") {
        true => figure::matrix::svg(t, names)?.into_bytes(),
        false => {
            let counts = |label| (0..names.len() as u32).map(move |answer| t.count(label, answer).to_string());
            let head = ["class".to_string()].into_iter().chain(names.iter().cloned()).collect();
            let row = |(label, name): (u32, &String)| [name.clone()].into_iter().chain(counts(label)).collect();
            table(path, [head].into_iter().chain((0..).zip(names).map(row)))?
        }
    };
    output::write(path, Mode::Data, &bytes)
}
