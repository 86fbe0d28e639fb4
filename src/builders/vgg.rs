//! VGG-16 and VGG-19: groups of 3×3 convolutions with bias and ReLU, a 2×2 max pool after each group, three
//! dense layers. Dropout is the identity at inference and not written. Names are torchvision's.

use super::Spec;
use super::layers::{Layers, Window, window3};
use ir::{Diagnostics, Graph};

/// Width of a group as a multiple of the first.
const WIDTHS: [u64; 5] = [1, 2, 4, 8, 8];
/// Width of the hidden dense layers as a multiple of the first group's.
const HIDDEN: u64 = 64;

pub fn build(spec: &Spec) -> Result<Graph, Diagnostics> {
    let groups = if spec.depth == 16 { [2, 2, 3, 3, 3] } else { [2, 2, 4, 4, 4] };
    let (mut l, mut x) = Layers::new(spec);
    let mut index = 0; // position in torchvision's `features`
    let mut next = || {
        index += 1;
        format!("features.{}", index - 1)
    };
    for (width, convs) in WIDTHS.into_iter().zip(groups) {
        for _ in 0..convs {
            x = l.conv(&next(), x, spec.width * width, window3(1))?;
            x = l.relu(&next(), x)?;
        }
        x = l.max_pool(&next(), x, Window { kernel: 2, stride: 2, pad: 0 })?;
    }
    x = l.flatten("flatten", x)?;
    for (dense, relu) in [(0, 1), (3, 4)] {
        let name = format!("classifier.{dense}");
        x = l.dense(&name, &name, x, spec.width * HIDDEN)?;
        x = l.relu(&format!("classifier.{relu}"), x)?;
    }
    let logits = l.dense("logits", "classifier.6", x, spec.classes)?;
    Ok(l.finish(logits))
}
