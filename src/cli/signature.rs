//! What verbs that run a model ask of its inputs and outputs.

use super::Failure;
use ir::diag::Class;
use ir::{Diagnostic, Graph};

/// Channels, height and width of the model's input.
pub fn input_dims(g: &Graph) -> Result<[u64; 3], Failure> {
    let shape = g.inputs.first().map(|&x| g.ty(x).dims(1)).unwrap_or_default();
    match shape[..] {
        [_, c, h, w] if g.inputs.len() == 1 => Ok([c, h, w]),
        _ => Err(Diagnostic::error("E0710", "the model's input is not one f32 image")
            .class(Class::Unsupported)
            .help("networks with several inputs can be checked, inspected and optimised, not yet compiled or run")
            .into()),
    }
}

/// Elements of the first output for one image.
pub fn output_elements(g: &Graph) -> u64 {
    g.outputs.first().map_or(0, |&y| g.ty(y).dims(1).iter().product())
}
