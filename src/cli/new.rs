//! `rescc new`: a network of the paper with seeded weights.

use super::{Done, Env, Failure};
use crate::builders::{self, PadChannels, Shortcut, Spec, StrideIn, init};
use crate::{counts, format};
use clap::ValueEnum;
use ir::Diagnostic;
use ir::diag::Class;
use serde_json::json;
use std::path::PathBuf;

/// Build a network of the paper with He-initialised weights
#[derive(clap::Args)]
#[command(
    after_help = "Networks: resnet18, 34, 50, 101, 152 · plain18, 34 · vgg16, 19 · cifar-resnetN and cifar-plainN, \
                  N = 6n+2\n\nExample:\n  rescc new cifar-resnet20 -o r20.rir"
)]
pub struct Args {
    /// Network, e.g. resnet50
    name: String,
    /// Model to write; the weights go beside it
    #[arg(short, long, value_name = "M.rir")]
    output: PathBuf,
    /// Depth, if not in the name
    #[arg(long, value_name = "D")]
    depth: Option<u32>,
    #[command(flatten)]
    shape: ShapeArgs,
    /// Output classes [default: 1000, CIFAR 10]
    #[arg(long, value_name = "N")]
    classes: Option<u64>,
    /// Channels of the first stage [default: 64, CIFAR 16]
    #[arg(long, value_name = "C")]
    width: Option<u64>,
    /// Seed of the weights
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

/// Choices that `new` and `import` share.
#[derive(Clone, Debug, clap::Args)]
pub struct ShapeArgs {
    /// What is added to a block where shapes differ [default: B, CIFAR A]
    #[arg(long, value_enum, ignore_case = true)]
    pub shortcut: Option<ShortcutName>,
    /// Which convolution of a bottleneck has the stride: v1 or v1.5
    #[arg(long, value_enum, default_value = "3x3")]
    pub stride_in: StrideInName,
    /// Where option A puts zero channels
    #[arg(long, value_enum, default_value = "even")]
    pub pad_a: PadName,
    /// Input size [default: 3x224x224, CIFAR 3x32x32]
    #[arg(long, value_name = "CxHxW", value_parser = parse_input)]
    pub input: Option<[u64; 3]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShortcutName {
    /// Subsampled and zero-padded, without weights
    #[value(name = "A")]
    A,
    /// Projections where shapes differ
    #[value(name = "B")]
    B,
    /// Projections everywhere
    #[value(name = "C")]
    C,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StrideInName {
    /// v1: the paper, Caffe, Keras
    #[value(name = "1x1")]
    Conv1x1,
    /// v1.5: torchvision and most public weights
    #[value(name = "3x3")]
    Conv3x3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PadName {
    /// Half before, half after
    Even,
    /// All after
    End,
}

impl ShapeArgs {
    pub fn pad_channels(&self) -> PadChannels {
        match self.pad_a {
            PadName::Even => PadChannels::Even,
            PadName::End => PadChannels::End,
        }
    }

    pub fn shortcut(&self) -> Option<Shortcut> {
        Some(match self.shortcut? {
            ShortcutName::A => Shortcut::A(self.pad_channels()),
            ShortcutName::B => Shortcut::B,
            ShortcutName::C => Shortcut::C,
        })
    }

    pub fn stride_in(&self) -> StrideIn {
        match self.stride_in {
            StrideInName::Conv1x1 => StrideIn::Conv1x1,
            StrideInName::Conv3x3 => StrideIn::Conv3x3,
        }
    }
}

/// Parses `3x224x224`.
fn parse_input(text: &str) -> Result<[u64; 3], String> {
    let parts: Option<Vec<u64>> = text.split('x').map(|p| p.parse().ok()).collect();
    parts.and_then(|p| p.try_into().ok()).ok_or_else(|| "expected CHANNELSxHEIGHTxWIDTH, e.g. 3x224x224".into())
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    let spec = spec(args)?;
    let graph = builders::build(&spec)?;
    let layers = counts::layers(&graph, 1);
    let totals = counts::totals(&graph, &layers);
    let progress = super::progress::Progress::bytes(env, "weights", totals.weights_bytes);
    let saved = init::save(&args.output, graph, args.seed, &mut |bytes| progress.advance(bytes))?;
    progress.finish();
    let (rir, weights) = (saved.rir.display().to_string(), saved.weights.display().to_string());
    let text = format!(
        "{spec}: {}, {}, random weights of seed {}\nwrote {rir} and {weights} ({})\n",
        format::counted(totals.params, "parameter"),
        format::counted(totals.macs, "multiply-add"),
        args.seed,
        format::counted(saved.weights_bytes, "byte"),
    );
    let result = json!({
        "network": spec.to_string(), "rir": rir, "weights": weights, "seed": args.seed,
        "params": totals.params, "buffers": totals.buffers, "macs": totals.macs,
    });
    Ok(Done::new(text, result))
}

fn spec(args: &Args) -> Result<Spec, Failure> {
    let mut spec = Spec::named(&args.name, args.depth)?;
    match args.shape.shortcut() {
        None => {}
        Some(_) if spec.is_plain() => {
            let d = Diagnostic::error("E0301", format!("{spec} has no shortcuts")).class(Class::Usage);
            return Err(d.help("leave --shortcut out, or name the residual network").into());
        }
        Some(s) => spec.shortcut = s,
    }
    if let Shortcut::A(pad) = &mut spec.shortcut {
        *pad = args.shape.pad_channels();
    }
    spec.stride_in = args.shape.stride_in();
    spec.classes = args.classes.unwrap_or(spec.classes);
    spec.input = args.shape.input.unwrap_or(spec.input);
    spec.width = args.width.unwrap_or(spec.width);
    Ok(spec)
}
