//! The networks of "Deep Residual Learning for Image Recognition" (He, Zhang, Ren, Sun, 2015) as graphs.
//!
//! A [`Spec`] says which network and how its weights' lineage writes it; [`build`] makes the graph, whose
//! parameters carry the names of public state dicts. The importer builds the same graph and fills it, so a
//! network is described in one place. [`init`] makes weights for a graph.
//!
//! Counts (parameters, buffers, multiply-adds) of every network are held by `tests/e2e/counts.rs`.

pub mod init;
mod layers;
mod resnet;
mod vgg;

use ir::diag::Class;
use ir::{Diagnostic, Diagnostics, Graph};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// 7×7 stem, four stages, maps from 56×56: 18 to 152 layers.
    ImageNet,
    /// 3×3 stem, three stages, maps from 32×32: 6n+2 layers.
    Cifar,
    /// Convolutions with bias, pools between, three dense layers.
    Vgg,
}

/// What is added to the output of a block (section 3.3 of the paper).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// Nothing: a plain network.
    Plain,
    /// The input; where shapes differ, every second pixel and zero channels.
    A(PadChannels),
    /// The input; where shapes differ, a projection.
    B,
    /// A projection always.
    C,
}

/// Where option A puts the new zero channels. The paper leaves it open, and weights trained with one are
/// silently wrong under the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PadChannels {
    /// Half before, half after: what the public CIFAR weights were trained with.
    #[default]
    Even,
    /// All after.
    End,
}

/// Which convolution of a bottleneck has the stride.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StrideIn {
    /// The first 1×1: the paper and the Caffe and Keras releases ("v1").
    Conv1x1,
    /// The 3×3: torchvision and most public weights ("v1.5").
    #[default]
    Conv3x3,
}

/// How a max pool treats its border.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolPad {
    /// The pool pads with −∞.
    #[default]
    Implicit,
    /// Zeros are put around its input (Keras): the same after a ReLU.
    Zero,
}

/// A network and how it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    pub family: Family,
    pub depth: u32,
    pub shortcut: Shortcut,
    pub stride_in: StrideIn,
    pub classes: u64,
    /// Channels, height, width.
    pub input: [u64; 3],
    /// Channels of the first stage.
    pub width: u64,
    pub bn_eps: f64,
    /// Whether convolutions before a batch norm have a bias of their own.
    pub conv_bias: bool,
    pub pool_pad: PoolPad,
}

const IMAGENET_DEPTHS: [u32; 5] = [18, 34, 50, 101, 152];
const VGG_DEPTHS: [u32; 2] = [16, 19];
/// The deepest CIFAR network that is built: 6·1000+2. The paper's deepest has 1202 layers.
const MAX_CIFAR_DEPTH: u32 = 6002;
/// With these limits no count of elements, bytes or multiply-adds overflows 64 bits.
const MAX_CLASSES: u64 = 1 << 20;
const MAX_WIDTH: u64 = 1 << 12;
const MAX_SIDE: u64 = 1 << 13;
const MAX_WEIGHTS_BYTES: u64 = 16 << 30;

impl Spec {
    /// The network called `name` with the paper's sizes: `resnet50`, `plain34`, `vgg16`, `cifar-resnet20`,
    /// `cifar-plain` with a `depth`.
    pub fn named(name: &str, depth: Option<u32>) -> Result<Spec, Diagnostics> {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = &name[stem.len()..];
        let depth = match (digits.parse().ok(), depth) {
            (Some(a), Some(b)) if a != b => {
                let d = no_such(format!("'{name}' and --depth {b} name two depths"));
                return Err(d.help("give one of them").into());
            }
            (a, b) => a.or(b),
        };
        let family = match stem {
            "resnet" | "plain" => Family::ImageNet,
            "cifar-resnet" | "cifar-plain" => Family::Cifar,
            "vgg" => Family::Vgg,
            _ => return Err(unknown(name)),
        };
        let Some(depth) = depth else {
            let help = format!("{}, e.g. '{stem}{}'", depths(family), example(family));
            return Err(no_such(format!("'{name}' has no depth")).help(help).into());
        };
        let known = match family {
            Family::ImageNet => IMAGENET_DEPTHS.contains(&depth),
            Family::Vgg => VGG_DEPTHS.contains(&depth),
            Family::Cifar => is_cifar_depth(depth),
        };
        if !known {
            let help = match family {
                Family::ImageNet if is_cifar_depth(depth) => {
                    format!("did you mean 'cifar-{stem}{depth}'? Without 'cifar-' {}", depths(family))
                }
                _ => depths(family),
            };
            return Err(no_such(format!("there is no {stem} of depth {depth}")).help(help).into());
        }
        let cifar = family == Family::Cifar;
        let shortcut = match family {
            _ if stem.ends_with("plain") => Shortcut::Plain,
            Family::ImageNet => Shortcut::B,
            Family::Cifar => Shortcut::A(PadChannels::Even),
            Family::Vgg => Shortcut::Plain,
        };
        Ok(Spec {
            family,
            depth,
            shortcut,
            stride_in: StrideIn::default(),
            classes: if cifar { 10 } else { 1000 },
            input: if cifar { [3, 32, 32] } else { [3, 224, 224] },
            width: if cifar { 16 } else { 64 },
            bn_eps: 1e-5,
            conv_bias: family == Family::Vgg,
            pool_pad: PoolPad::default(),
        })
    }

    /// Every network of the paper by name.
    pub fn names() -> Vec<String> {
        let mut names = Vec::new();
        names.extend(IMAGENET_DEPTHS.map(|d| format!("resnet{d}")));
        names.extend(["plain18", "plain34"].map(String::from));
        names.extend(VGG_DEPTHS.map(|d| format!("vgg{d}")));
        for stem in ["cifar-resnet", "cifar-plain"] {
            names.extend([20, 32, 44, 56, 110, 1202].map(|d| format!("{stem}{d}")));
        }
        names
    }

    /// Whether blocks are bottlenecks of three convolutions.
    pub fn has_bottlenecks(&self) -> bool {
        self.family == Family::ImageNet && self.depth >= 50
    }

    pub fn is_plain(&self) -> bool {
        self.shortcut == Shortcut::Plain
    }
}

impl fmt::Display for Spec {
    /// The name that [`Spec::named`] takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stem = match (self.family, self.is_plain()) {
            (Family::ImageNet, false) => "resnet",
            (Family::ImageNet, true) => "plain",
            (Family::Cifar, false) => "cifar-resnet",
            (Family::Cifar, true) => "cifar-plain",
            (Family::Vgg, _) => "vgg",
        };
        write!(f, "{stem}{}", self.depth)
    }
}

/// The graph of a network. Its one input is `%input`, its one output `%logits`.
///
/// Errors: the input is too small for a layer, or a size is zero.
pub fn build(spec: &Spec) -> Result<Graph, Diagnostics> {
    if spec.classes == 0 || spec.width == 0 || spec.input.contains(&0) {
        return Err(Diagnostic::error("E0302", "classes, width and input sizes must be at least 1").into());
    }
    if spec.classes > MAX_CLASSES || spec.width > MAX_WIDTH || spec.input.iter().any(|&n| n > MAX_SIDE) {
        let d = Diagnostic::error("E0302", "a size is beyond every limit").class(Class::Limit);
        let limits = format!("classes up to {MAX_CLASSES}, width up to {MAX_WIDTH}, input up to {MAX_SIDE}");
        return Err(d.help(limits).into());
    }
    if !(spec.bn_eps >= 0.0 && spec.bn_eps.is_finite()) {
        let d = Diagnostic::error("E0302", format!("{} is no epsilon of a batch norm", spec.bn_eps));
        return Err(d.help("it is a small positive number such as 1e-5").into());
    }
    let graph = match spec.family {
        Family::Vgg => vgg::build(spec),
        Family::ImageNet | Family::Cifar => resnet::build(spec),
    }?;
    let bytes: u64 = graph.params.iter().map(|&p| graph.ty(p).len_bytes(1)).sum();
    if bytes > MAX_WEIGHTS_BYTES {
        let d = Diagnostic::error("E0302", format!("the weights have {bytes} bytes, the limit is {MAX_WEIGHTS_BYTES}"));
        return Err(d.class(Class::Limit).help("a smaller --width or --input fits").into());
    }
    Ok(graph)
}

fn is_cifar_depth(depth: u32) -> bool {
    (8..=MAX_CIFAR_DEPTH).contains(&depth) && depth % 6 == 2
}

fn no_such(text: String) -> Diagnostic {
    Diagnostic::error("E0301", text).class(Class::Usage)
}

fn depths(family: Family) -> String {
    match family {
        Family::ImageNet => "depths are 18, 34, 50, 101 and 152".into(),
        Family::Vgg => "depths are 16 and 19".into(),
        Family::Cifar => format!("depths are 6n+2: 20, 32, 44, 56, 110, 1202, … up to {MAX_CIFAR_DEPTH}"),
    }
}

fn example(family: Family) -> u32 {
    match family {
        Family::ImageNet => 50,
        Family::Cifar => 20,
        Family::Vgg => 16,
    }
}

fn unknown(name: &str) -> Diagnostics {
    let names = Spec::names();
    let near = ir::text::nearest(name, names.iter().map(String::as_str));
    let d = no_such(format!("there is no network '{name}'"));
    match near {
        Some(n) => d.help(format!("did you mean '{n}'?")),
        None => d.help("resnet18 to resnet152, plain18, plain34, vgg16, vgg19, cifar-resnetN, cifar-plainN"),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_depth_of_the_other_family_is_told() {
        let refused = |name| Spec::named(name, None).unwrap_err().0.remove(0);
        let help = |name| refused(name).help.unwrap_or_default();
        assert!(help("resnet20").starts_with("did you mean 'cifar-resnet20'?"), "{}", help("resnet20"));
        assert!(help("plain56").starts_with("did you mean 'cifar-plain56'?"), "{}", help("plain56"));
        assert!(help("resnet21").starts_with("depths are 18"), "{}", help("resnet21"));
        for name in ["resnet20", "resnet", "resent50"] {
            assert_eq!(refused(name).class, Class::Usage, "{name}");
        }
    }
}
