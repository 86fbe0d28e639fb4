//! `rescc import`: a state dict to a model.

use super::new::ShapeArgs;
use super::{Done, Env, Failure};
use crate::builders::{self, Family, PoolPad, Spec, StrideIn};
use crate::import::{self, StateDict, arch, labels, names, npy, preprocess};
use crate::{counts, format, output, store};
use clap::ValueEnum;
use ir::graph::Preprocess;
use ir::{Diagnostic, Graph};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Name in the weights file of a mean per pixel and channel.
const MEAN_TENSOR: &str = "preprocess.mean";
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// Import a state dict (.safetensors, .pth, .pt, .th)
#[derive(clap::Args)]
#[command(
    after_help = "Nothing in the file is executed.\n\nExample:\n  rescc import resnet20-12fca82f.th --arch cifar-resnet20 \
                  -o r20.rir"
)]
pub struct Args {
    /// File of tensors
    file: PathBuf,
    /// Model to write; the weights go beside it
    #[arg(short, long, value_name = "M.rir")]
    output: PathBuf,
    /// Network [default: guessed from names and shapes]
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    #[command(flatten)]
    shape: ShapeArgs,
    /// Epsilon of every batch norm [default: 1e-5]
    #[arg(long, value_name = "E")]
    bn_eps: Option<f64>,
    /// Border of the max pool: −∞, or zeros as in Keras
    #[arg(long, value_enum, default_value = "implicit")]
    pool_pad: PoolPadName,
    /// Rules `PATTERN -> NAME` for foreign names
    #[arg(long, value_name = "FILE")]
    rename: Option<PathBuf>,
    /// How pictures become the input: imagenet, imagenet-v2, cifar, caffe, tf, and `key=value` words [default: what is
    /// usual for the network, if anything]
    #[arg(long, value_name = "SPEC")]
    preprocess: Option<String>,
    /// Mean per pixel and channel (.npy, the input's shape), subtracted instead of the preset's mean
    #[arg(long, value_name = "FILE", requires = "preprocess")]
    mean_npy: Option<PathBuf>,
    /// Class names, a line each, or a table with columns class and name [default: CIFAR-10's, else none]
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PoolPadName {
    Implicit,
    Zero,
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    for written in [&args.output, &store::weights_beside(&args.output)] {
        if output::is_same(written, &args.file) {
            return Err(output::replaces(written, "the file that is imported"));
        }
    }
    let mut dict = import::read(&args.file)?;
    names::strip_prefixes(&mut dict);
    if let Some(path) = &args.rename {
        let rules = read_text(path)?;
        names::rename(&mut dict, &rules).map_err(|d| Failure::from(d).in_text(path, &rules))?;
    }
    let options = arch::Options {
        arch: args.arch.clone(),
        shortcut: args.shape.shortcut(),
        stride_in: args.shape.stride_in(),
        pad_channels: args.shape.pad_channels(),
        pool_pad: match args.pool_pad {
            PoolPadName::Implicit => PoolPad::Implicit,
            PoolPadName::Zero => PoolPad::Zero,
        },
        bn_eps: args.bn_eps,
        input: args.shape.input,
    };
    let in_file = |d| Failure::from(d).in_file(&args.file);
    let spec = arch::settle(&mut dict, &options).map_err(in_file)?;
    let mut graph = builders::build(&spec)?;
    let filled = import::fill(&graph, &dict, &spec.to_string()).map_err(in_file)?;
    let mean = describe(args, &spec, &mut graph, &mut dict.notes)?;
    note_conversions(&mut dict, &filled);

    let layers = counts::layers(&graph, 1);
    let totals = counts::totals(&graph, &layers);
    let mut tensors: Vec<(String, Vec<u64>)> =
        graph.params.iter().map(|&p| (import::tensor_name(&graph, p).to_string(), graph.ty(p).dims(1))).collect();
    if mean.is_some() {
        tensors.push((MEAN_TENSOR.into(), spec.input.to_vec()));
    }
    let saved = store::save(&args.output, graph, &tensors, &mut |i, out| {
        let data = match (filled.get(i), &mean) {
            (Some(&t), _) => dict.read_f32(&dict.tensors[t]),
            (None, mean) => mean.clone().unwrap_or_default(),
        };
        let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        out.write_all(&bytes)
    })?;
    for note in &dict.notes {
        env.say(format!("note: {note}"));
    }
    let (rir, weights) = (saved.rir.display().to_string(), saved.weights.display().to_string());
    let text = format!(
        "{spec}: {} parameters, {} multiply-adds, {} classes\nwrote {rir} and {weights} ({} bytes)\n",
        format::count(totals.params),
        format::count(totals.macs),
        spec.classes,
        format::count(saved.weights_bytes),
    );
    let result = json!({
        "network": spec.to_string(), "rir": rir, "weights": weights, "notes": dict.notes,
        "params": totals.params, "buffers": totals.buffers, "macs": totals.macs, "classes": spec.classes,
    });
    Ok(Done::new(text, result))
}

/// What pictures became before the public weights of this network saw them, where there is one answer.
fn usual_preprocess(spec: &Spec) -> Option<&'static str> {
    match (spec.family, spec.input) {
        _ if spec.is_plain() => None,
        (Family::Cifar, [3, 32, 32]) => Some("cifar resize=32"),
        // Those with the stride in the first 1x1 come from Caffe and Keras, each with its own.
        (Family::ImageNet, [3, 224, 224]) if spec.stride_in == StrideIn::Conv3x3 => Some("imagenet"),
        _ => None,
    }
}

/// Puts preprocessing and labels into the model; returns the mean image, if there is one. What is assumed is noted.
fn describe(args: &Args, spec: &Spec, graph: &mut Graph, notes: &mut Vec<String>) -> Result<Option<Vec<f32>>, Failure> {
    let input = spec.input;
    let mut mean = None;
    if let Some(words) = &args.preprocess {
        let mut p: Preprocess = preprocess::parse(words, input)?;
        if let Some(path) = &args.mean_npy {
            let array = npy::read(path)?;
            if array.shape != input {
                let text = format!("the mean has shape {:?}, the input {input:?}", array.shape);
                let d = Diagnostic::error("E0309", text).help("save it as channels, height, width");
                return Err(Failure::from(d).in_file(path));
            }
            p.mean = vec![0.0; input[0] as usize];
            p.mean_tensor = Some(MEAN_TENSOR.into());
            mean = Some(array.data.into_iter().map(|x| x as f32).collect());
        }
        graph.info.preprocess = Some(p);
    } else if let Some(usual) = usual_preprocess(spec) {
        graph.info.preprocess = Some(preprocess::parse(usual, input)?);
        notes.push(format!("pictures are prepared as usual for {spec}, by '{usual}'; --preprocess changes that"));
    }
    if let Some(path) = &args.labels {
        let text = read_text(path)?;
        graph.info.labels = labels::parse(&text, spec.classes).map_err(|d| Failure::from(d).in_text(path, &text))?;
    } else if spec.family == Family::Cifar && spec.classes == 10 {
        graph.info.labels = labels::parse(labels::CIFAR10, spec.classes)?;
        notes.push("classes are called as in CIFAR-10; --labels changes that".into());
    }
    Ok(mean)
}

fn note_conversions(dict: &mut StateDict, filled: &[usize]) {
    let mut kinds: Vec<String> = filled
        .iter()
        .map(|&i| dict.tensors[i].element)
        .filter(|&e| e != import::Element::F32)
        .map(|e| format!("{e:?}").to_lowercase())
        .collect();
    kinds.sort();
    kinds.dedup();
    if !kinds.is_empty() {
        dict.notes.push(format!("tensors of type {} were converted to f32", kinds.join(", ")));
    }
}

fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(import::read_file(path, MAX_TEXT_BYTES)?).map_err(|_| {
        let d = Diagnostic::error("E0807", "this is no text: it is not UTF-8");
        Failure::from(d.help("save the file as UTF-8")).in_file(path)
    })
}
