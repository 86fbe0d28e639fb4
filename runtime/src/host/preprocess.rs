//! From pixels to the input of a network: resize, centre crop, normalise.
//!
//! `(value / scale − mean) / std` in f32, in that order: bit-equal to what the common training pipelines compute
//! (a fused `a·value + b` differs in the last bit).

use super::image::Image;
use super::resize::{resize_window, shorter_side_to};
use super::{Error, Kind};
use crate::abi::Model;
use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

/// What a model does to a picture. `mean`, `std` and `mean_tensor` are in the channel order of the input.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'a> {
    /// Length of the shorter side after resizing; `None` leaves the picture as it is.
    pub resize: Option<usize>,
    /// Size of the crop.
    pub width: usize,
    pub height: usize,
    pub bgr: bool,
    pub scale: f32,
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// f32[3, height, width] subtracted instead of `mean`.
    pub mean_tensor: Option<&'a [f32]>,
}

impl<'a> Recipe<'a> {
    /// The recipe that a compiled model carries.
    pub fn of_model(model: &'a Model) -> Result<Recipe<'a>, Error> {
        let p = &model.preprocess;
        if p.known == 0 {
            return Err(Error::new(Kind::Unsupported, "the model does not say how a picture becomes its input")
                .help("compile it with --preprocess, or give --npy"));
        }
        if model.channels != 3 {
            return Err(Error::new(
                Kind::Unsupported,
                format!("the model takes {} channels, pictures have 3", model.channels),
            )
            .help("give --npy"));
        }
        let (width, height) = (model.width as usize, model.height as usize);
        let mean_tensor = (!p.mean_tensor.is_null()).then(|| {
            // SAFETY: the descriptor's contract: f32[channels, height, width] that lives as long as the model.
            unsafe { core::slice::from_raw_parts(p.mean_tensor, 3 * width * height) }
        });
        let three = |v: [f32; 4]| [v[0], v[1], v[2]];
        Ok(Recipe {
            resize: (p.resize != 0).then_some(p.resize as usize),
            width,
            height,
            bgr: p.bgr != 0,
            scale: p.scale,
            mean: three(p.mean),
            std: three(p.std),
            mean_tensor,
        })
    }

    /// f32 elements of one input.
    pub fn elements(&self) -> usize {
        3 * self.width * self.height
    }

    /// A picture of any size into one input, f32[3, height, width].
    pub fn apply(&self, image: &Image, x: &mut [f32]) {
        let pixels = self.crop(image);
        self.normalise(x, |c, i| pixels[3 * i + c]);
    }

    /// The resized and cropped pixels, 3 bytes each.
    pub fn crop(&self, image: &Image) -> Vec<u8> {
        self.crop_at(image, [Place::Centre; 2])
    }

    /// Width and height of a picture after resizing.
    pub fn resized(&self, image: &Image) -> (usize, usize) {
        match self.resize {
            Some(side) => shorter_side_to(side, image.width, image.height),
            None => (image.width, image.height),
        }
    }

    /// As [`crop`](Self::crop), at another `place` (across, down).
    pub fn crop_at(&self, image: &Image, place: [Place; 2]) -> Vec<u8> {
        let (width, height) = self.resized(image);
        let columns = cropped(width, self.width, place[0]);
        let rows = cropped(height, self.height, place[1]);
        let resized;
        let (window, stride, origin) = if (width, height) == (image.width, image.height) {
            (&image.pixels, 3 * width, 3 * (rows.from.start * width + columns.from.start))
        } else {
            resized = resize_window(
                &image.pixels,
                image.width,
                image.height,
                (width, height),
                columns.from.clone(),
                rows.from.clone(),
            );
            (&resized, 3 * columns.from.len(), 0)
        };
        let mut out = alloc::vec![0; self.elements()];
        let kept = 3 * columns.from.len();
        for row in 0..rows.from.len() {
            let from = origin + row * stride;
            let to = 3 * ((rows.to + row) * self.width + columns.to);
            out[to..to + kept].copy_from_slice(&window[from..from + kept]);
        }
        out
    }

    /// Fills `x` f32[3, height, width] from `value(channel, pixel)`, channels in RGB order.
    pub fn normalise(&self, x: &mut [f32], value: impl Fn(usize, usize) -> u8) {
        let plane = self.width * self.height;
        for (c, out) in x.chunks_exact_mut(plane).enumerate() {
            let from = if self.bgr { 2 - c } else { c };
            match self.mean_tensor {
                Some(mean) => {
                    let mean = &mean[c * plane..(c + 1) * plane];
                    for (i, (x, m)) in out.iter_mut().zip(mean).enumerate() {
                        *x = (f32::from(value(from, i)) / self.scale - m) / self.std[c];
                    }
                }
                None => {
                    let table: [f32; 256] =
                        core::array::from_fn(|v| (v as f32 / self.scale - self.mean[c]) / self.std[c]);
                    for (i, x) in out.iter_mut().enumerate() {
                        *x = table[usize::from(value(from, i))];
                    }
                }
            }
        }
    }
}

/// Where a crop lies along one axis. A picture that is shorter than the crop lies in its middle, whatever the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Start,
    Centre,
    End,
}

/// One axis of a crop: positions `from` of the picture go to `to..` of the crop; the rest is zero.
struct Cropped {
    from: Range<usize>,
    to: usize,
}

fn cropped(length: usize, crop: usize, place: Place) -> Cropped {
    if length <= crop {
        return Cropped { from: 0..length, to: (crop - length) / 2 };
    }
    let rest = length - crop;
    let start = match place {
        Place::Start => 0,
        // Half to even: an odd rest goes down if the half is even.
        Place::Centre => rest / 2 + usize::from(rest % 4 == 3),
        Place::End => rest,
    };
    Cropped { from: start..start + crop, to: 0 }
}
