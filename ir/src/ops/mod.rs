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
pub mod avg_pool_grad;
pub mod batch_norm;
pub mod batch_norm_grad_input;
pub mod batch_norm_grad_params;
pub mod batch_statistics;
pub mod bias;
pub mod bn_scale;
pub mod bn_shift;
pub mod cast;
pub mod channel_dot;
pub mod channel_moments;
pub mod channel_sum;
pub mod clamp;
pub mod clamp_grad;
pub mod conv2d;
pub mod conv2d_grad_input;
pub mod conv2d_grad_weight;
pub mod crop2d;
pub mod cross_entropy;
pub mod cross_entropy_grad;
pub mod dense;
pub mod dense_grad_weight;
pub mod fill;
pub mod flatten;
pub mod flip_filter;
pub mod fold_bn_bias;
pub mod fold_bn_weight;
pub mod global_avg_pool;
pub mod global_avg_pool_grad;
pub mod later;
pub mod max_pool;
pub mod max_pool_grad;
pub mod normalize_u8;
pub mod pad2d;
pub mod pad_channels;
pub mod relu;
pub mod relu_grad;
pub mod reorder;
pub mod reshape;
pub mod running_average;
pub mod scale;
pub mod scale_shift;
pub mod sgd_step;
pub mod slice_channels;
pub mod softmax;
pub mod softmax_grad;
pub mod subsample;
pub mod subsample_grad;
pub mod sum_splits;
pub mod transpose;
pub mod winograd_conv2d;
pub mod winograd_grad_weight;
pub mod winograd_input;
pub mod winograd_output;
pub mod winograd_weight;

/// Sums over everything but the channels.
pub mod channels;
/// Shape and cost rules and body pieces that several ops share.
mod common;
mod fold;
/// Each element for itself.
pub mod map;
pub mod pool;
pub mod splits;
pub mod window;
pub mod winograd;

#[cfg(test)]
mod tests;

/// Every op, sorted by name.
pub static ALL: &[&OpDef] = &[
    &add::ADD,
    &avg_pool::AVG_POOL,
    &avg_pool_grad::AVG_POOL_GRAD,
    &batch_norm::BATCH_NORM,
    &batch_norm_grad_input::BATCH_NORM_GRAD_INPUT,
    &batch_norm_grad_params::BATCH_NORM_GRAD_PARAMS,
    &batch_statistics::BATCH_STATISTICS,
    &bias::BIAS,
    &bn_scale::BN_SCALE,
    &bn_shift::BN_SHIFT,
    &cast::CAST,
    &channel_dot::CHANNEL_DOT,
    &channel_moments::CHANNEL_MOMENTS,
    &channel_sum::CHANNEL_SUM,
    &clamp::CLAMP,
    &clamp_grad::CLAMP_GRAD,
    &conv2d::CONV2D,
    &conv2d_grad_input::CONV2D_GRAD_INPUT,
    &conv2d_grad_weight::CONV2D_GRAD_WEIGHT,
    &crop2d::CROP2D,
    &cross_entropy::CROSS_ENTROPY,
    &cross_entropy_grad::CROSS_ENTROPY_GRAD,
    &dense::DENSE,
    &dense_grad_weight::DENSE_GRAD_WEIGHT,
    &fill::FILL,
    &flatten::FLATTEN,
    &flip_filter::FLIP_FILTER,
    &fold_bn_bias::FOLD_BN_BIAS,
    &fold_bn_weight::FOLD_BN_WEIGHT,
    &global_avg_pool::GLOBAL_AVG_POOL,
    &global_avg_pool_grad::GLOBAL_AVG_POOL_GRAD,
    &later::LATER,
    &max_pool::MAX_POOL,
    &max_pool_grad::MAX_POOL_GRAD,
    &normalize_u8::NORMALIZE_U8,
    &pad2d::PAD2D,
    &pad_channels::PAD_CHANNELS,
    &relu::RELU,
    &relu_grad::RELU_GRAD,
    &reorder::REORDER,
    &reshape::RESHAPE,
    &running_average::RUNNING_AVERAGE,
    &scale::SCALE,
    &scale_shift::SCALE_SHIFT,
    &sgd_step::SGD_STEP,
    &slice_channels::SLICE_CHANNELS,
    &softmax::SOFTMAX,
    &softmax_grad::SOFTMAX_GRAD,
    &subsample::SUBSAMPLE,
    &subsample_grad::SUBSAMPLE_GRAD,
    &sum_splits::SUM_SPLITS,
    &transpose::TRANSPOSE,
    &winograd_conv2d::WINOGRAD_CONV2D,
    &winograd_grad_weight::WINOGRAD_GRAD_WEIGHT,
    &winograd_input::WINOGRAD_INPUT,
    &winograd_output::WINOGRAD_OUTPUT,
    &winograd_weight::WINOGRAD_WEIGHT,
];
