//! Which network a state dict is of, from `--arch` or from its names and shapes.
//!
//! Names and shapes tell depth, widths, classes, and projections. They do not tell v1 from v1.5, nor option A from
//! a plain network: those are choices with a default that is said aloud. Relatives of the ResNets whose layers
//! differ are refused by name; nothing is guessed about them.

use super::StateDict;
use crate::builders::{Family, PadChannels, PoolPad, Shortcut, Spec, StrideIn};
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics};
use std::collections::HashMap;

/// What the command line says about the network.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub arch: Option<String>,
    pub shortcut: Option<Shortcut>,
    pub stride_in: StrideIn,
    pub pad_channels: PadChannels,
    pub pool_pad: PoolPad,
    pub bn_eps: Option<f64>,
    pub input: Option<[u64; 3]>,
}

/// Shapes by name.
type Shapes<'a> = HashMap<&'a str, &'a [u64]>;

/// Settles the network; gives tensors of the two CIFAR lineages one name; notes what was decided.
pub fn settle(dict: &mut StateDict, options: &Options) -> Result<Spec, Diagnostics> {
    let shapes = shapes(dict);
    let mut notes = Vec::new();
    let mut spec = match &options.arch {
        Some(name) => Spec::named(name, None)?,
        None => {
            let name = guess(&shapes)?;
            notes.push(format!("taken for {name} by its names and shapes (--arch decides otherwise)"));
            Spec::named(&name, None)?
        }
    };
    let dim = |name: &str, d: usize| shapes.get(name).and_then(|s| s.get(d)).copied();
    let head = ["fc.weight", "linear.weight", "classifier.6.weight"];
    spec.classes = head.iter().find_map(|n| dim(n, 0)).unwrap_or(spec.classes);
    spec.width = dim("conv1.weight", 0).or(dim("features.0.weight", 0)).unwrap_or(spec.width);
    if let Some(input) = options.input {
        spec.input = input;
    } else if let Some(c) = dim("conv1.weight", 1).or(dim("features.0.weight", 1)) {
        spec.input[0] = c;
    }
    spec.bn_eps = options.bn_eps.unwrap_or(spec.bn_eps);
    spec.pool_pad = options.pool_pad;
    spec.stride_in = options.stride_in;
    if spec.family != Family::Vgg {
        spec.conv_bias = shapes.contains_key("conv1.bias");
        if spec.conv_bias {
            notes.push("convolutions have a bias before their batch norm; it is kept".into());
        }
        spec.shortcut = shortcut(&spec, &shapes, options, &mut notes);
    }
    if spec.has_bottlenecks() {
        notes.push(match spec.stride_in {
            StrideIn::Conv1x1 => "v1: stride 2 in the first 1x1 convolution".into(),
            StrideIn::Conv3x3 => "v1.5: stride 2 in the 3x3 convolution (v1 weights need --stride-in 1x1)".into(),
        });
    }
    if options.bn_eps.is_some() {
        notes.push(format!("batch norm eps {}", spec.bn_eps));
    }
    drop(shapes);
    use_lineage_names(dict, spec.family);
    dict.notes.extend(notes);
    Ok(spec)
}

fn shapes(dict: &StateDict) -> Shapes<'_> {
    dict.tensors.iter().map(|t| (t.name.as_str(), t.shape.as_slice())).collect()
}

/// Shortcut option: of the command line, else projections where there are tensors for them.
fn shortcut(spec: &Spec, shapes: &Shapes, options: &Options, notes: &mut Vec<String>) -> Shortcut {
    if let Some(s) = options.shortcut {
        return match s {
            Shortcut::A(_) => Shortcut::A(options.pad_channels),
            s => s,
        };
    }
    if spec.is_plain() {
        return Shortcut::Plain;
    }
    let projects = |block: &str| {
        ["downsample", "shortcut"].iter().any(|b| shapes.contains_key(format!("{block}.{b}.0.weight").as_str()))
    };
    // The first block keeps its width unless it is a bottleneck: a projection there is option C.
    let bottleneck = shapes.contains_key("layer1.0.conv3.weight");
    match (projects("layer1.1") || (!bottleneck && projects("layer1.0")), projects("layer2.0")) {
        (true, _) => Shortcut::C,
        (false, true) => Shortcut::B,
        (false, false) => {
            let where_ = match options.pad_channels {
                PadChannels::Even => "half of the zero channels before, half after",
                PadChannels::End => "the zero channels after",
            };
            notes.push(format!("no projections: shortcuts of option A, {where_}"));
            if options.arch.is_none() {
                notes.push("a plain network has the same tensors: if this is one, name it by --arch".into());
            }
            Shortcut::A(options.pad_channels)
        }
    }
}

/// CIFAR networks are published with `linear` and `shortcut` or with `fc` and `downsample`.
fn use_lineage_names(dict: &mut StateDict, family: Family) {
    let pairs: [(&str, &str); 2] = match family {
        Family::Cifar => [("fc.", "linear."), (".downsample.", ".shortcut.")],
        Family::ImageNet => [("linear.", "fc."), (".shortcut.", ".downsample.")],
        Family::Vgg => return,
    };
    for t in &mut dict.tensors {
        let [(head, usual_head), (branch, usual_branch)] = pairs;
        if let Some(rest) = t.name.strip_prefix(head) {
            t.name = format!("{usual_head}{rest}");
        } else if t.name.contains(branch) {
            t.name = t.name.replacen(branch, usual_branch, 1);
        }
    }
}

/// The name of the network that has these tensors.
fn guess(shapes: &Shapes) -> Result<String, Diagnostics> {
    if let Some(relative) = relative(shapes) {
        let d = Diagnostic::error("E0324", format!("this is a {relative}")).class(Class::Unsupported);
        return Err(d.help("plain and residual networks of the 2015 paper and VGG are supported").into());
    }
    let rank = |n: &str| shapes.get(n).map(|s| s.len());
    if shapes.contains_key("features.0.weight") && shapes.contains_key("classifier.6.weight") {
        let convs = shapes.iter().filter(|(n, s)| n.starts_with("features.") && s.len() == 4).count();
        return match convs {
            13 => Ok("vgg16".into()),
            16 => Ok("vgg19".into()),
            _ => Err(unknown(shapes, &format!("a VGG with {convs} convolutions"))),
        };
    }
    let blocks: Vec<u32> = (1..=4).map(|s| blocks(shapes, s)).take_while(|&n| n > 0).collect();
    let bottleneck = rank("layer1.0.conv3.weight") == Some(4);
    match (bottleneck, blocks.as_slice()) {
        (false, [2, 2, 2, 2]) => Ok("resnet18".into()),
        (false, [3, 4, 6, 3]) => Ok("resnet34".into()),
        (true, [3, 4, 6, 3]) => Ok("resnet50".into()),
        (true, [3, 4, 23, 3]) => Ok("resnet101".into()),
        (true, [3, 8, 36, 3]) => Ok("resnet152".into()),
        (false, &[a, b, c]) if a == b && b == c => Ok(format!("cifar-resnet{}", 6 * a + 2)),
        (_, []) => Err(unknown(shapes, "no network that is known here")),
        (_, b) => Err(unknown(shapes, &format!("a residual network with stages of {b:?} blocks"))),
    }
}

/// How many blocks stage `s` has.
fn blocks(shapes: &Shapes, s: u32) -> u32 {
    const MOST: u32 = 2000;
    (0..MOST).take_while(|i| shapes.contains_key(format!("layer{s}.{i}.conv1.weight").as_str())).count() as u32
}

/// A relative of the ResNets with other layers, by the tensors that give it away.
fn relative(shapes: &Shapes) -> Option<&'static str> {
    let has = |n: &str| shapes.contains_key(n);
    let dims = |n: &str| shapes.get(n).copied().unwrap_or(&[]);
    let (first, second) = (dims("layer1.0.conv1.weight"), dims("layer1.0.conv2.weight"));
    if has("conv1.0.weight") {
        Some("ResNet with a deep stem (ResNet-C or -D)")
    } else if dims("layer2.0.downsample.1.weight").len() == 4 {
        Some("ResNet with average pooling in its shortcuts (ResNet-D)")
    } else if shapes.keys().any(|n| n.contains(".se.")) {
        Some("SE-ResNet")
    } else if has("layer1.0.conv3.weight") && second.len() == 4 && second[0] != second[1] {
        Some("ResNeXt (grouped convolutions)")
    } else if has("layer1.0.conv3.weight")
        && first.len() == 4
        && first[0] == 2 * dims("conv1.weight").first().unwrap_or(&0)
    {
        Some("wide ResNet")
    } else if has("features.0.weight") && has("features.1.running_mean") {
        Some("VGG with batch norms")
    } else {
        None
    }
}

fn unknown(shapes: &Shapes, what: &str) -> Diagnostics {
    let mut names: Vec<&str> = shapes.keys().copied().collect();
    names.sort_unstable();
    let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    let d = Diagnostic::error("E0303", format!("the architecture cannot be told from the names: {what}"));
    let d = d.note(format!("{} tensors: {shown}, …", names.len()));
    d.help("name it by --arch, and give foreign names their usual form by --rename FILE").into()
}
