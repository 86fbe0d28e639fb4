//! The model's own preprocessing as what is done to pictures, and the other way round.

use ir::graph::Preprocess;
use runtime::host::train::pixels::Pixels;

/// What a model's `preprocess` line says; `mean_picture` is the tensor that it names.
pub fn of_model(p: &Preprocess, mean_picture: Option<Vec<f32>>) -> Pixels {
    let three = |v: &[f32], rest: f32| std::array::from_fn(|i| v.get(i).copied().unwrap_or(rest));
    Pixels {
        width: p.crop[1] as usize,
        height: p.crop[0] as usize,
        resize: p.resize.map(|s| s as usize),
        bgr: p.bgr,
        scale: p.scale,
        mean: three(&p.mean, 0.0),
        std: three(&p.std, 1.0),
        mean_picture,
    }
}

/// The `preprocess` line of a model that was trained so. `mean_tensor` is what its mean picture will be called.
pub fn preprocess(pixels: &Pixels, mean_tensor: &str) -> Preprocess {
    Preprocess {
        resize: pixels.resize.map(|s| s as u32),
        crop: [pixels.height as u32, pixels.width as u32],
        bgr: pixels.bgr,
        scale: pixels.scale,
        mean: pixels.mean.to_vec(),
        std: pixels.std.to_vec(),
        mean_tensor: pixels.mean_picture.as_ref().map(|_| mean_tensor.to_string()),
    }
}
