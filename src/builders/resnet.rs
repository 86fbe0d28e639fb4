//! Plain and residual networks: a stem, stages of blocks, global average, one dense layer.
//!
//! Each convolution has a batch norm after it; ReLU follows each but the last of a block, where it comes after
//! the addition. The first block of every stage but the first halves the map and doubles the width.

use super::layers::{Layers, Window, window1, window3};
use super::{Family, PadChannels, Shortcut, Spec, StrideIn};
use ir::entity::Value;
use ir::{Diagnostics, Graph};

/// A bottleneck's last convolution has this many times the stage's width.
const EXPANSION: u64 = 4;

pub fn build(spec: &Spec) -> Result<Graph, Diagnostics> {
    let (mut l, input) = Layers::new(spec);
    let cifar = spec.family == Family::Cifar;
    let stem = if cifar { window3(1) } else { Window { kernel: 7, stride: 2, pad: 3 } };
    let mut x = l.conv("conv1", input, spec.width, stem)?;
    x = l.batch_norm("bn1", x)?;
    x = l.relu("relu1", x)?;
    if !cifar {
        x = l.max_pool("maxpool", x, window3(2))?;
    }
    for (stage, &blocks) in blocks(spec).iter().enumerate() {
        for i in 0..blocks {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = block(&mut l, spec, &format!("layer{}.{i}", stage + 1), x, spec.width << stage, stride)?;
        }
    }
    x = l.global_avg_pool("avgpool", x)?;
    let logits = l.dense("logits", if cifar { "linear" } else { "fc" }, x, spec.classes)?;
    Ok(l.finish(logits))
}

/// Blocks of each stage.
fn blocks(spec: &Spec) -> Vec<u32> {
    match (spec.family, spec.depth) {
        (Family::Cifar, d) => vec![(d - 2) / 6; 3],
        (_, 18) => vec![2, 2, 2, 2],
        (_, 34 | 50) => vec![3, 4, 6, 3],
        (_, 101) => vec![3, 4, 23, 3],
        (_, 152) => vec![3, 8, 36, 3],
        (_, d) => unreachable!("invariant: Spec::named has refused depth {d}"),
    }
}

fn block(l: &mut Layers, spec: &Spec, name: &str, x: Value, width: u64, stride: u64) -> Result<Value, Diagnostics> {
    let convs: Vec<(u64, Window)> = if !spec.has_bottlenecks() {
        vec![(width, window3(stride)), (width, window3(1))]
    } else {
        let (first, middle) = match spec.stride_in {
            StrideIn::Conv1x1 => (stride, 1),
            StrideIn::Conv3x3 => (1, stride),
        };
        vec![(width, window1(first)), (width, window3(middle)), (width * EXPANSION, window1(1))]
    };
    let last = convs.len();
    let mut y = x;
    for (i, (oc, window)) in convs.into_iter().enumerate() {
        let i = i + 1;
        y = l.conv(&format!("{name}.conv{i}"), y, oc, window)?;
        y = l.batch_norm(&format!("{name}.bn{i}"), y)?;
        if i < last {
            y = l.relu(&format!("{name}.relu{i}"), y)?;
        }
    }
    if let Some(s) = shortcut(l, spec, name, x, l.channels(y), stride)? {
        y = l.add(&format!("{name}.add"), y, s)?;
    }
    l.relu(&format!("{name}.out"), y)
}

/// The value that is added to a block's output, if any.
fn shortcut(
    l: &mut Layers,
    spec: &Spec,
    name: &str,
    x: Value,
    oc: u64,
    stride: u64,
) -> Result<Option<Value>, Diagnostics> {
    let ic = l.channels(x);
    let same = stride == 1 && ic == oc;
    Ok(match spec.shortcut {
        Shortcut::Plain => None,
        Shortcut::A(_) | Shortcut::B if same => Some(x),
        Shortcut::A(pad) => {
            let mut s = x;
            if stride > 1 {
                s = l.subsample(&format!("{name}.subsample"), s, stride)?;
            }
            if oc > ic {
                let before = match pad {
                    PadChannels::Even => (oc - ic) / 2,
                    PadChannels::End => 0,
                };
                s = l.pad_channels(&format!("{name}.pad"), s, before, oc - ic - before)?;
            }
            Some(s)
        }
        Shortcut::B | Shortcut::C => {
            let branch = if spec.family == Family::Cifar { "shortcut" } else { "downsample" };
            let s = l.conv(&format!("{name}.{branch}.0"), x, oc, window1(stride))?;
            Some(l.batch_norm(&format!("{name}.{branch}.1"), s)?)
        }
    })
}
