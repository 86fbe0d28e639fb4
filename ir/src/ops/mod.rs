//! One file an operator; [`ALL`] is the table.
//!
//! A body is the definition of its op: the plainest loops, generic in element type and layout. It indexes by
//! logical position through [`BufType::at`](crate::op::BufType::at), so any layout that the shape rule admits just
//! works. Tasks are digits of the task number, one element is computed by one task in one fixed order.
//!
//! To add an op: a file here, a line in [`ALL`], an oracle in `tests/oracle/`, cases in `tests/conformance/`.

use crate::op::OpDef;

pub mod add;
pub mod avg_pool;
pub mod batch_norm;
pub mod bn_scale;
pub mod bn_shift;
pub mod cast;
pub mod clamp;
pub mod conv2d;
pub mod conv2d_grad_input;
pub mod conv2d_grad_weight;
pub mod dense;
pub mod flatten;
pub mod flip_filter;
pub mod fold_bn_bias;
pub mod fold_bn_weight;
pub mod global_avg_pool;
pub mod max_pool;
pub mod normalize_u8;
pub mod pad2d;
pub mod pad_channels;
pub mod relu;
pub mod reorder;
pub mod reshape;
pub mod scale_shift;
pub mod softmax;
pub mod subsample;
pub mod sum_splits;
pub mod winograd_input;
pub mod winograd_output;
pub mod winograd_weight;

/// Shape and cost rules and body pieces that several ops share.
mod common;
mod fold;
pub mod pool;
pub mod window;
pub mod winograd;

#[cfg(test)]
mod tests;

/// Every op, sorted by name.
pub static ALL: &[&OpDef] = &[
    &add::ADD,
    &avg_pool::AVG_POOL,
    &batch_norm::BATCH_NORM,
    &bn_scale::BN_SCALE,
    &bn_shift::BN_SHIFT,
    &cast::CAST,
    &clamp::CLAMP,
    &conv2d::CONV2D,
    &conv2d_grad_input::CONV2D_GRAD_INPUT,
    &conv2d_grad_weight::CONV2D_GRAD_WEIGHT,
    &dense::DENSE,
    &flatten::FLATTEN,
    &flip_filter::FLIP_FILTER,
    &fold_bn_bias::FOLD_BN_BIAS,
    &fold_bn_weight::FOLD_BN_WEIGHT,
    &global_avg_pool::GLOBAL_AVG_POOL,
    &max_pool::MAX_POOL,
    &normalize_u8::NORMALIZE_U8,
    &pad2d::PAD2D,
    &pad_channels::PAD_CHANNELS,
    &relu::RELU,
    &reorder::REORDER,
    &reshape::RESHAPE,
    &scale_shift::SCALE_SHIFT,
    &softmax::SOFTMAX,
    &subsample::SUBSAMPLE,
    &sum_splits::SUM_SPLITS,
    &winograd_input::WINOGRAD_INPUT,
    &winograd_output::WINOGRAD_OUTPUT,
    &winograd_weight::WINOGRAD_WEIGHT,
];
