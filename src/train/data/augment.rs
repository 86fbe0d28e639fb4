//! One training picture: a random crop, a random mirror image, random colours; or none of these.
//!
//! What happens to a picture depends on seed, epoch and picture alone.

use super::{Pixels, Set};
use crate::render::Failure;
use crate::train::random::{Draws, Epoch, Purpose};
use crate::train::settings::{Colour, Crop, Settings};
use rand_distr::{Distribution, StandardNormal};
use runtime::host::image::Image;
use runtime::host::resize::{resize_window, shorter_side_to};

/// What is done to pictures before they are learnt from.
#[derive(Clone, Debug, PartialEq)]
pub struct Augment {
    pub crop: Crop,
    pub flip: bool,
    pub colour: Colour,
    pub pixels: Pixels,
}

/// Side of the paper's crops, for which lengths of sides are given.
const PAPER_SIDE: u64 = 224;
/// Tries for a random area and ratio before the centre is taken, as common tools do.
const TRIES: u32 = 10;
/// Principal components of the colours of ImageNet in 0..1 (Krizhevsky et al., 2012): deviations, and the directions
/// as columns.
const PCA_DEVIATIONS: [f64; 3] = [0.2175, 0.0188, 0.0045];
const PCA_DIRECTIONS: [[f64; 3]; 3] =
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]];
/// Weights of red, green and blue in a grey value (ITU-R BT.601).
const GREY: [f32; 3] = [0.299, 0.587, 0.114];

impl Augment {
    pub fn new(s: &Settings, pixels: Pixels) -> Augment {
        Augment { crop: s.crop, flip: s.flip, colour: s.colour, pixels }
    }

    /// Writes picture `image` of `set` as it is seen in `epoch` to `x`, f32[3, height, width].
    ///
    /// Errors: those of [`Set::picture`].
    pub fn fill(&self, set: &Set, image: u64, epoch: Epoch, x: &mut [f32]) -> Result<(), Failure> {
        let is_mirrored = self.flip && epoch.is_mirrored(image);
        if let (Set::Cifar(c), Crop::None | Crop::Pad, Colour::None) = (set, self.crop, self.colour) {
            let [dx, dy] = self.shift(image, epoch, c.side);
            self.pixels.moved(c.planes(image as usize), dx, dy, is_mirrored, x);
            return Ok(());
        }
        let picture = set.picture(image)?;
        let mut bytes = self.cropped(&picture, image, epoch);
        self.recolour(&mut bytes, image, epoch);
        let (w, recipe) = (self.pixels.width, self.pixels.recipe());
        recipe.normalise(x, |c, i| {
            let at = if is_mirrored { i - i % w + w - 1 - i % w } else { i };
            bytes[3 * at + c]
        });
        Ok(())
    }

    /// By how much a picture of the input's size is moved.
    fn shift(&self, image: u64, epoch: Epoch, side: usize) -> [isize; 2] {
        if self.crop == Crop::Pad { epoch.shift(image, side) } else { [0, 0] }
    }

    /// RGB bytes of the input's size.
    fn cropped(&self, picture: &Image, image: u64, epoch: Epoch) -> Vec<u8> {
        let (w, h) = (self.pixels.width, self.pixels.height);
        let (pw, ph) = (picture.width, picture.height);
        match self.crop {
            Crop::None => self.pixels.recipe().crop(picture),
            Crop::Pad => {
                let whole = self.pixels.recipe().crop(picture);
                let [dx, dy] = self.shift(image, epoch, w.min(h));
                let at = |i: usize| {
                    let (x, y) = ((i % w) as isize - dx, (i / w) as isize - dy);
                    let is_inside = (0..w as isize).contains(&x) && (0..h as isize).contains(&y);
                    if is_inside {
                        std::array::from_fn(|c| whole[3 * (y as usize * w + x as usize) + c])
                    } else {
                        [0; 3]
                    }
                };
                (0..w * h).flat_map(at).collect()
            }
            Crop::Scale { least, most } => {
                let mut draws = epoch.draws(image, Purpose::Crop);
                let side = u64::from(least) + draws.below(u64::from(most.saturating_sub(least)) + 1);
                let side = (side * w.max(h) as u64).div_ceil(PAPER_SIDE) as usize;
                let (tw, th) = shorter_side_to(side.max(w).max(h), pw, ph);
                let (x, y) = (draws.below((tw - w) as u64 + 1) as usize, draws.below((th - h) as u64 + 1) as usize);
                resize_window(&picture.pixels, pw, ph, (tw, th), x..x + w, y..y + h)
            }
            Crop::Resized { least_area } => {
                let [x, y, cw, ch] = random_area(image, epoch, least_area, pw, ph);
                let rows = picture.pixels.chunks_exact(3 * pw).skip(y).take(ch);
                let part: Vec<u8> = rows.flat_map(|row| &row[3 * x..3 * (x + cw)]).copied().collect();
                resize_window(&part, cw, ch, (w, h), 0..w, 0..h)
            }
        }
    }

    fn recolour(&self, rgb: &mut [u8], image: u64, epoch: Epoch) {
        let mut draws = epoch.draws(image, Purpose::Colour);
        let to_byte = |v: f32| v.round().clamp(0.0, 255.0) as u8;
        match self.colour {
            Colour::None => {}
            Colour::Pca(deviation) => {
                let along: [f64; 3] = std::array::from_fn(|i| PCA_DEVIATIONS[i] * deviation * normal(&mut draws));
                let add = PCA_DIRECTIONS.map(|row| 255.0 * row.iter().zip(along).map(|(d, a)| d * a).sum::<f64>());
                for pixel in rgb.as_chunks_mut::<3>().0 {
                    pixel.iter_mut().zip(add).for_each(|(v, a)| *v = to_byte(f32::from(*v) + a as f32));
                }
            }
            Colour::Jitter(strength) => {
                let [brightness, contrast, saturation] =
                    std::array::from_fn(|_| draws.between((1.0 - strength).max(0.0), 1.0 + strength) as f32);
                let grey = |p: &[f32; 3]| p.iter().zip(GREY).map(|(v, g)| v * g).sum::<f32>();
                let mut pixels: Vec<[f32; 3]> =
                    rgb.as_chunks::<3>().0.iter().map(|p| p.map(|v| f32::from(v) * brightness)).collect();
                let mean = pixels.iter().map(|p| f64::from(grey(p))).sum::<f64>() / pixels.len().max(1) as f64;
                for (p, out) in pixels.iter_mut().zip(rgb.as_chunks_mut::<3>().0) {
                    *p = p.map(|v| (v - mean as f32) * contrast + mean as f32);
                    let g = grey(p);
                    *out = p.map(|v| to_byte((v - g) * saturation + g));
                }
            }
        }
    }
}

/// A number from the standard normal distribution.
fn normal(draws: &mut Draws) -> f64 {
    StandardNormal.sample(&mut draws.0)
}

/// Left, top, width and height of a part of a picture: `least_area` to all of its area, ratio from 3/4 to 4/3.
fn random_area(image: u64, epoch: Epoch, least_area: f64, width: usize, height: usize) -> [usize; 4] {
    let mut draws = epoch.draws(image, Purpose::Crop);
    for _ in 0..TRIES {
        let area = draws.between(least_area, 1.0) * (width * height) as f64;
        let ratio = draws.between((3.0f64 / 4.0).ln(), (4.0f64 / 3.0).ln()).exp();
        let (w, h) = ((area * ratio).sqrt().round() as usize, (area / ratio).sqrt().round() as usize);
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let x = draws.below((width - w) as u64 + 1) as usize;
            let y = draws.below((height - h) as u64 + 1) as usize;
            return [x, y, w, h];
        }
    }
    let side = width.min(height);
    [(width - side) / 2, (height - side) / 2, side, side]
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::host::train::pictures::Pictures;

    const EPOCH: Epoch = Epoch { seed: 1, epoch: 0 };

    fn set(side: usize, images: usize) -> Set {
        let pixels = (0..images * 3 * side * side).map(|i| (i * 31 % 251) as u8).collect();
        Set::Cifar(Pictures { side, pixels, labels: vec![0; images] })
    }

    fn augment(crop: Crop, colour: Colour, side: usize) -> Augment {
        let Set::Cifar(c) = set(side, 4) else { unreachable!() };
        Augment { crop, flip: true, colour, pixels: Pixels::channels(&c, 4) }
    }

    fn seen(a: &Augment, set: &Set, image: u64, epoch: Epoch) -> Vec<f32> {
        let mut x = vec![f32::NAN; a.pixels.elements()];
        a.fill(set, image, epoch, &mut x).unwrap();
        x
    }

    #[test]
    fn every_way_fills_the_input_and_depends_on_its_key_alone() {
        let set = set(16, 4);
        let crops = [Crop::None, Crop::Pad, Crop::Scale { least: 256, most: 480 }, Crop::Resized { least_area: 0.35 }];
        for crop in crops {
            for colour in [Colour::None, Colour::Pca(0.1), Colour::Jitter(0.4)] {
                let a = augment(crop, colour, 16);
                let first = seen(&a, &set, 2, EPOCH);
                assert!(first.iter().all(|v| v.is_finite()), "{crop:?} {colour:?}");
                seen(&a, &set, 1, EPOCH);
                assert_eq!(first, seen(&a, &set, 2, EPOCH));
                let later: Vec<_> = (1..8).map(|epoch| seen(&a, &set, 2, Epoch { epoch, ..EPOCH })).collect();
                assert!(later.iter().any(|x| *x != first), "{crop:?} {colour:?}");
            }
        }
    }

    /// The way over bytes and the direct way over planes show the same picture, but for the border.
    #[test]
    fn both_ways_to_pad_and_crop_agree() {
        let set = set(16, 8);
        let direct = augment(Crop::Pad, Colour::None, 16);
        let around = augment(Crop::Pad, Colour::Jitter(0.0), 16);
        for image in 0..8 {
            let (a, b) = (seen(&direct, &set, image, EPOCH), seen(&around, &set, image, EPOCH));
            let differ = a.iter().zip(&b).filter(|(a, b)| (**a - **b).abs() > 1e-5).count();
            let border = a.iter().filter(|v| **v == 0.0).count();
            assert!(differ <= border, "{image}: {differ} {border}");
        }
    }

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let mut draws = EPOCH.draws(0, Purpose::Colour);
        let z: Vec<f64> = (0..10_000).map(|_| normal(&mut draws)).collect();
        let mean = z.iter().sum::<f64>() / 1e4;
        let variance = z.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1e4;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.07, "{mean} {variance}");
    }

    #[test]
    fn areas_lie_inside() {
        for (w, h) in [(500, 375), (1, 1), (1000, 3), (3, 1000), (224, 224)] {
            for image in 0..100 {
                let [x, y, cw, ch] = random_area(image, EPOCH, 0.08, w, h);
                assert!(cw > 0 && ch > 0 && x + cw <= w && y + ch <= h, "{w}x{h} {x} {y} {cw} {ch}");
            }
        }
    }
}
