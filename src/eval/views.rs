//! How a network looks at a picture: at one place or at ten, at one size or at several.
//!
//! Ten places are the four corners and the centre, and their mirror images (Krizhevsky et al., 2012). Sizes are those
//! of the paper's multi-scale tests: the shorter side of the picture becomes as long. A network that looks once at
//! each size sees the central square of that size; one that looks ten times sees crops of its own size.

use crate::train::data::Pixels;
use runtime::host::image::Image;
use runtime::host::preprocess::Place;

const CENTRE: [Place; 2] = [Place::Centre; 2];
const PLACES: [[Place; 2]; 5] = [
    CENTRE,
    [Place::Start, Place::Start],
    [Place::End, Place::Start],
    [Place::Start, Place::End],
    [Place::End, Place::End],
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crops {
    Centre,
    Ten,
}

/// What inputs of one size a picture becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Views {
    /// A way for each size of the picture.
    pub scales: Vec<Pixels>,
    pub crops: Crops,
}

impl Views {
    /// The inputs that `picture` becomes, one after another, and the weight of each in the mean. The weights of a scale
    /// add up to 1.
    pub fn of(&self, picture: &Image) -> (Vec<f32>, Vec<f64>) {
        let (mut inputs, mut weights) = (Vec::new(), Vec::new());
        for pixels in &self.scales {
            let recipe = pixels.recipe();
            let (w, h) = recipe.resized(picture);
            // Where a picture is no larger than the input, its corners and its centre are the same.
            let is_larger = w > pixels.width || h > pixels.height;
            let (places, mirrors) = match self.crops {
                Crops::Centre => (&PLACES[..1], &[false][..]),
                Crops::Ten if is_larger => (&PLACES[..], &[false, true][..]),
                Crops::Ten => (&PLACES[..1], &[false, true][..]),
            };
            for &place in places {
                let bytes = recipe.crop_at(picture, place);
                for &is_mirrored in mirrors {
                    let at = inputs.len();
                    inputs.resize(at + pixels.elements(), 0.0);
                    let w = pixels.width;
                    recipe.normalise(&mut inputs[at..], |c, i| {
                        let i = if is_mirrored { i - i % w + w - 1 - i % w } else { i };
                        bytes[3 * i + c]
                    });
                    weights.push(1.0 / (places.len() * mirrors.len()) as f64);
                }
            }
        }
        (inputs, weights)
    }

    /// f32 elements of all inputs that a picture may become.
    pub fn most_elements(&self) -> usize {
        let views = if self.crops == Crops::Ten { 2 * PLACES.len() } else { 1 };
        self.scales.iter().map(|p| views * p.elements()).sum()
    }
}

/// The same preprocessing where the shorter side of a picture is `side`, for an input of `side`×`side`. A mean picture
/// has no such size: the means of its channels take its place.
pub fn at_scale(pixels: &Pixels, side: usize) -> Pixels {
    let mut p = Pixels { width: side, height: side, resize: Some(side), ..pixels.clone() };
    if let Some(picture) = p.mean_picture.take() {
        let plane = pixels.width * pixels.height;
        let mean = |c: usize| {
            let values = &picture[c * plane..][..plane];
            (values.iter().map(|&v| f64::from(v)).sum::<f64>() / plane as f64) as f32
        };
        p.mean = std::array::from_fn(mean);
    }
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(width: usize, height: usize, resize: Option<usize>) -> Pixels {
        let (mean, std) = ([0.0; 3], [1.0; 3]);
        Pixels { width, height, resize, bgr: false, scale: 1.0, mean, std, mean_picture: None }
    }

    /// Red is the column, green the row, blue 7.
    fn picture(width: usize, height: usize) -> Image {
        let pixels = (0..width * height).flat_map(|i| [(i % width) as u8, (i / width) as u8, 7]).collect();
        Image { width, height, pixels }
    }

    #[test]
    fn ten_crops_are_corners_and_centre_and_mirrored() {
        let views = Views { scales: vec![pixels(4, 3, None)], crops: Crops::Ten };
        let (x, weights) = views.of(&picture(10, 7));
        assert_eq!((x.len(), weights), (10 * 36, vec![0.1; 10]));
        // First pixel of each: column and row.
        let first: Vec<(f32, f32)> = x.chunks_exact(36).map(|v| (v[0], v[12])).collect();
        let expected =
            [(3., 2.), (6., 2.), (0., 0.), (3., 0.), (6., 0.), (9., 0.), (0., 4.), (3., 4.), (6., 4.), (9., 4.)];
        assert_eq!(first, expected);
        for pair in x.chunks_exact(72) {
            for row in 0..9 {
                let (mut a, b) = (pair[4 * row..][..4].to_vec(), &pair[36 + 4 * row..][..4]);
                a.reverse();
                assert_eq!(a, b);
            }
        }
    }

    #[test]
    fn places_that_are_the_same_are_looked_at_once() {
        let views = Views { scales: vec![pixels(4, 4, None), pixels(4, 4, Some(8))], crops: Crops::Ten };
        let (x, weights) = views.of(&picture(4, 4));
        assert_eq!((x.len(), weights.len()), (12 * 48, 12));
        assert_eq!(weights[..2], [0.5; 2]);
        assert_eq!(views.most_elements(), 20 * 48);
    }

    #[test]
    fn one_look_is_the_models_own() {
        let p = pixels(5, 5, Some(6));
        let image = picture(9, 13);
        let mut own = vec![0.0; 75];
        p.recipe().apply(&image, &mut own);
        let views = Views { scales: vec![p], crops: Crops::Centre };
        assert_eq!(views.of(&image), (own, vec![1.0]));
    }

    #[test]
    fn a_mean_picture_becomes_means_of_channels() {
        let own =
            Pixels { mean_picture: Some(vec![1., 3., 1., 3., 0., 0., 0., 8., 5., 5., 5., 5.]), ..pixels(2, 2, None) };
        let p = at_scale(&own, 6);
        assert_eq!((p.mean, p.mean_picture, p.resize, p.width, p.height), ([2., 2., 5.], None, Some(6), 6, 6));
    }
}
