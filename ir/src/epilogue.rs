//! The ordered steps that a layer (`conv2d`, `dense`, `scale_shift`, …) applies to an accumulator before it is stored.
//!
//! Operands of a step are operands of its node, named here by position, so that every reader of a value is
//! found in one list.

use crate::entity::Reg;
use crate::kernel::KernelBuilder;
use crate::ops::{clamp, relu, relu_grad};

/// One step. `y` is the accumulator; vectors are per output channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// y + b[c]
    Bias(usize),
    /// a[c]·y + b[c]
    ScaleShift(usize, usize),
    /// y + s, where `s` has the type of the result
    Add(usize),
    /// max(y, 0); NaN passes through
    Relu,
    /// min(max(y, lo), hi); NaN passes through
    Clamp(f32, f32),
    /// y where `s` > 0, else 0; `s` has the type of the result
    ReluGrad(usize),
}

impl Step {
    pub fn name(self) -> &'static str {
        match self {
            Step::Bias(_) => "bias",
            Step::ScaleShift(..) => "scale_shift",
            Step::Add(_) => "add",
            Step::Relu => "relu",
            Step::Clamp(..) => "clamp",
            Step::ReluGrad(_) => "relu_grad",
        }
    }

    /// Positions of this step's operands in the node's operand list.
    pub fn operands(self) -> Vec<usize> {
        match self {
            Step::Bias(b) | Step::Add(b) | Step::ReluGrad(b) => vec![b],
            Step::ScaleShift(a, b) => vec![a, b],
            Step::Relu | Step::Clamp(..) => vec![],
        }
    }

    /// The step with each operand `i` at `to(i)`.
    pub fn moved(self, to: impl Fn(usize) -> usize) -> Step {
        match self {
            Step::Bias(b) => Step::Bias(to(b)),
            Step::ScaleShift(a, b) => Step::ScaleShift(to(a), to(b)),
            Step::Add(s) => Step::Add(to(s)),
            Step::ReluGrad(s) => Step::ReluGrad(to(s)),
            Step::Relu | Step::Clamp(..) => self,
        }
    }

    /// Position of the operand that has the type of the result.
    pub fn tensor(self) -> Option<usize> {
        match self {
            Step::Add(s) | Step::ReluGrad(s) => Some(s),
            Step::Bias(_) | Step::ScaleShift(..) | Step::Relu | Step::Clamp(..) => None,
        }
    }
}

/// The steps on `y`, a scalar or a vector of channels, lane by lane. `load` gives what an operand holds there.
pub fn apply(
    k: &mut KernelBuilder,
    steps: &[Step],
    mut y: Reg,
    load: &mut dyn FnMut(&mut KernelBuilder, usize) -> Reg,
) -> Reg {
    for step in steps {
        y = match *step {
            Step::Bias(b) | Step::Add(b) => {
                let b = load(k, b);
                k.add(y, b)
            }
            Step::ScaleShift(a, b) => {
                let (a, b) = (load(k, a), load(k, b));
                k.fma(y, a, b)
            }
            Step::Relu => relu::rectified(k, y),
            Step::Clamp(lo, hi) => clamp::clamped(k, y, lo.into(), hi.into()),
            Step::ReluGrad(s) => {
                let s = load(k, s);
                relu_grad::masked(k, y, s)
            }
        };
    }
    y
}
