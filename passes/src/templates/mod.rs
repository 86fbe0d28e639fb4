//! Tuned kernels for stated shapes. Each is an alternative to the body of an op and checked against it.

use ir::op::{BodyCtx, OpDef};
use ir::target::Target;
use ir::{Kernel, Layout};

/// A combination of layouts that some template handles well.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// One layout for each operand, in order (epilogue operands included).
    pub operands: Vec<Layout>,
    pub result: Layout,
    /// Estimated nanoseconds of one execution on one core.
    pub cost_ns: f64,
}

/// What templates offer for this node, and what its generic body costs with all layouts plain (always last).
/// `ctx` has the logical dimensions; its layouts are ignored.
pub fn offers(_op: &'static OpDef, _ctx: &BodyCtx, _target: &Target) -> Vec<Offer> {
    Vec::new()
}

/// The template for this node with the layouts that `ctx` has, or `None`: use the op's body.
pub fn build(_op: &'static OpDef, _ctx: &BodyCtx, _target: &Target) -> Option<Kernel> {
    None
}
