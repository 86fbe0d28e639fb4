//! The ordered steps that `conv2d` and `dense` apply to an accumulator before it is stored.
//!
//! Operands of a step are operands of its node, named here by position, so that every reader of a value is
//! found in one list.

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
}

impl Step {
    pub fn name(self) -> &'static str {
        match self {
            Step::Bias(_) => "bias",
            Step::ScaleShift(..) => "scale_shift",
            Step::Add(_) => "add",
            Step::Relu => "relu",
            Step::Clamp(..) => "clamp",
        }
    }

    /// Positions of this step's operands in the node's operand list.
    pub fn operands(self) -> Vec<usize> {
        match self {
            Step::Bias(b) | Step::Add(b) => vec![b],
            Step::ScaleShift(a, b) => vec![a, b],
            Step::Relu | Step::Clamp(..) => vec![],
        }
    }
}
