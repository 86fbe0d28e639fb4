//! What every op computes, written a second time: plain loops over `Vec<f64>` in logical (NCHW) order, from the
//! formulas, sharing no code with the compiler. Shapes and attributes come as plain numbers.

mod convolution;
mod elementwise;
mod fold;
mod gradient;
mod movement;
pub mod place;
mod pool;
mod softmax;
mod training;
mod winograd;

use std::collections::BTreeMap;

/// A tensor in logical row-major order.
#[derive(Clone, Debug, Default)]
pub struct Tensor {
    pub dims: Vec<usize>,
    pub data: Vec<f64>,
}

impl Tensor {
    /// Computes every element from its logical index.
    pub fn build(dims: &[usize], mut f: impl FnMut(&[usize]) -> f64) -> Tensor {
        let mut at = vec![0; dims.len()];
        let data = (0..dims.iter().product::<usize>())
            .map(|i| {
                let mut rest = i;
                for (digit, d) in at.iter_mut().zip(dims).rev() {
                    *digit = rest % d;
                    rest /= d;
                }
                f(&at)
            })
            .collect();
        Tensor { dims: dims.to_vec(), data }
    }

    pub fn at(&self, index: &[usize]) -> f64 {
        self.data[index.iter().zip(&self.dims).fold(0, |p, (i, d)| p * d + i)]
    }
}

/// A step after the sum of a convolution or dense layer. Operands by position.
#[derive(Clone, Copy, Debug)]
pub enum After {
    Bias(usize),
    ScaleShift(usize, usize),
    Add(usize),
    Relu,
    Clamp(f64, f64),
    ReluGrad(usize),
}

/// One application of an op.
pub struct Call<'a> {
    pub inputs: &'a [Tensor],
    pub numbers: &'a BTreeMap<&'static str, Vec<f64>>,
    pub words: &'a BTreeMap<&'static str, String>,
    pub after: &'a [After],
    /// The result that is asked for, of ops that have several.
    pub result: usize,
}

impl Call<'_> {
    fn x(&self) -> &Tensor {
        &self.inputs[0]
    }

    fn number(&self, name: &str) -> f64 {
        self.numbers[name][0]
    }

    fn flag(&self, name: &str) -> bool {
        self.number(name) != 0.0
    }

    fn counts<const N: usize>(&self, name: &str) -> [usize; N] {
        std::array::from_fn(|i| self.numbers[name][i] as usize)
    }

    /// Element `c` of operand `i`, a vector.
    fn of_channel(&self, i: usize, c: usize) -> f64 {
        self.inputs[i].data[c]
    }
}

/// The value of each element, and how far a computed one may be off:
/// γₙ(u)·scale + γₘ(2⁻⁵³)·scale64, where n roundings happen in the element type with unit roundoff u, m in f64 (in
/// the oracle itself, or in an op that computes in f64), and γₙ(u) = n·u/(1 − n·u).
#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub y: Tensor,
    /// Per element the sum of the magnitudes that were added.
    pub scale: Vec<f64>,
    pub roundings: f64,
    pub scale64: Vec<f64>,
    pub roundings64: f64,
}

impl Truth {
    /// Nothing is rounded: the result has exactly these bits.
    fn exact(y: Tensor) -> Truth {
        let zero = vec![0.0; y.data.len()];
        Truth { y, scale: zero.clone(), roundings: 0.0, scale64: zero, roundings64: 0.0 }
    }

    /// `roundings` on the way to each element, relative to the magnitudes in `scale`.
    fn rounded(y: Tensor, scale: Vec<f64>, roundings: usize) -> Truth {
        let n = roundings as f64;
        Truth { y, scale64: scale.clone(), scale, roundings: n, roundings64: n }
    }

    pub fn is_exact(&self) -> bool {
        self.roundings == 0.0
    }

    /// How far element `i` may be off at unit roundoff `u`.
    pub fn bound(&self, i: usize, u: f64) -> f64 {
        let gamma = |n: f64, u: f64| n * u / (1.0 - n * u);
        gamma(self.roundings, u) * self.scale[i] + gamma(self.roundings64, f64::EPSILON / 2.0) * self.scale64[i]
    }
}

/// The oracle of an op, by its name.
pub fn oracle(op: &str) -> Option<fn(&Call) -> Truth> {
    Some(match op {
        "add" => elementwise::add,
        "avg_pool" => pool::avg_pool,
        "avg_pool_grad" => training::avg_pool_grad,
        "batch_norm" => elementwise::batch_norm,
        "batch_norm_grad_input" => training::batch_norm_grad_input,
        "batch_norm_grad_params" => training::batch_norm_grad_params,
        "batch_statistics" => training::batch_statistics,
        "bias" => training::bias,
        "bn_scale" => fold::bn_scale,
        "bn_shift" => fold::bias,
        "cast" => elementwise::cast,
        "channel_dot" => training::channel_dot,
        "channel_moments" => training::channel_moments,
        "channel_sum" => training::channel_sum,
        "clamp" => elementwise::clamp,
        "clamp_grad" => training::clamp_grad,
        "conv2d" => convolution::conv2d,
        "conv2d_grad_input" => gradient::input,
        "conv2d_grad_weight" => gradient::weight,
        "crop2d" => training::crop2d,
        "cross_entropy" => training::cross_entropy,
        "cross_entropy_grad" => training::cross_entropy_grad,
        "dense" => convolution::dense,
        "dense_grad_weight" => training::dense_grad_weight,
        "fill" => training::fill,
        "flatten" => movement::flatten,
        "flip_filter" => gradient::flip_filter,
        "fold_bn_bias" => fold::bias,
        "fold_bn_weight" => fold::weight,
        "global_avg_pool" => pool::global_avg_pool,
        "global_avg_pool_grad" => training::global_avg_pool_grad,
        "later" => movement::later,
        "max_pool" => pool::max_pool,
        "max_pool_grad" => training::max_pool_grad,
        "normalize_u8" => elementwise::normalize_u8,
        "pad2d" => movement::pad2d,
        "pad_channels" => movement::pad_channels,
        "relu" => elementwise::relu,
        "relu_grad" => training::relu_grad,
        "reorder" => movement::reorder,
        "reshape" => movement::reshape,
        "running_average" => training::running_average,
        "scale" => training::scale,
        "scale_shift" => elementwise::scale_shift,
        "sgd_step" => training::sgd_step,
        "slice_channels" => training::slice_channels,
        "softmax" => softmax::softmax,
        "softmax_grad" => training::softmax_grad,
        "subsample" => movement::subsample,
        "subsample_grad" => training::subsample_grad,
        "sum_splits" => gradient::sum_splits,
        "transpose" => training::transpose,
        "winograd_input" => winograd::input,
        "winograd_output" => winograd::output,
        "winograd_grad_weight" => winograd::grad_weight,
        "winograd_conv2d" => winograd::convolution,
        "winograd_weight" => winograd::weight,
        _ => return None,
    })
}
