//! One file an operator; [`ALL`] is the table.

use crate::op::OpDef;

pub mod conv2d;
mod relu;

/// Every op, sorted by name.
pub static ALL: &[&OpDef] = &[&conv2d::CONV2D, &relu::RELU];

/// Shape and cost rules and body pieces that several ops share.
mod common;
