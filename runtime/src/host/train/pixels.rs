//! From bytes to the numbers of a network's input: the training set's mean, and random crops of padded pictures.
//!
//! `(byte / scale − mean) / std` in f32, in that order, as the compiled model does it: what a network was trained on is
//! bit for bit what it will see.

use super::pictures::Pictures;
use crate::host::preprocess::Recipe;
use alloc::vec;
use alloc::vec::Vec;

/// How bytes become numbers, with its own memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    pub width: usize,
    pub height: usize,
    /// Length of the shorter side before the centre crop of an evaluation.
    pub resize: Option<usize>,
    pub bgr: bool,
    pub scale: f32,
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// f32[3, height, width], subtracted instead of `mean`.
    pub mean_picture: Option<Vec<f32>>,
}

impl Pixels {
    /// The mean picture of a set, and no division but that by 255.
    pub fn mean_picture(set: &Pictures, images: usize) -> Pixels {
        let mut sums = vec![0u64; 3 * set.side * set.side];
        for i in 0..images {
            sums.iter_mut().zip(set.planes(i)).for_each(|(s, &p)| *s += u64::from(p));
        }
        let mean = sums.iter().map(|&s| (s as f64 / images.max(1) as f64 / 255.0) as f32).collect();
        Pixels { mean_picture: Some(mean), ..Pixels::plain(set.side) }
    }

    /// Mean and standard deviation of each channel of a set.
    pub fn channels(set: &Pictures, images: usize) -> Pixels {
        let plane = set.side * set.side;
        let n = (images.max(1) * plane) as f64;
        let mut moments = [[0u64; 2]; 3];
        for i in 0..images {
            for (m, plane) in moments.iter_mut().zip(set.planes(i).chunks_exact(plane)) {
                for &p in plane {
                    m[0] += u64::from(p);
                    m[1] += u64::from(p) * u64::from(p);
                }
            }
        }
        let mean = moments.map(|m| m[0] as f64 / n / 255.0);
        let variance = |m: [u64; 2], mean: f64| (m[1] as f64 / n / (255.0 * 255.0) - mean * mean).max(0.0);
        let deviation = |m: [u64; 2], mean: f64| libm::sqrt(variance(m, mean));
        let std: [f64; 3] = core::array::from_fn(|c| deviation(moments[c], mean[c]));
        // A set of one colour has no deviation to divide by.
        let std = std.map(|s| if s > 1e-6 { s as f32 } else { 1.0 });
        Pixels { mean: mean.map(|m| m as f32), std, ..Pixels::plain(set.side) }
    }

    fn plain(side: usize) -> Pixels {
        Pixels {
            width: side,
            height: side,
            resize: None,
            bgr: false,
            scale: 255.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            mean_picture: None,
        }
    }

    /// For the functions of an evaluation.
    pub fn recipe(&self) -> Recipe<'_> {
        Recipe {
            resize: self.resize,
            width: self.width,
            height: self.height,
            bgr: self.bgr,
            scale: self.scale,
            mean: self.mean,
            std: self.std,
            mean_tensor: self.mean_picture.as_deref(),
        }
    }

    /// f32 elements of one input.
    pub fn elements(&self) -> usize {
        3 * self.width * self.height
    }

    /// Planes of a picture that is as large as the input, moved by (`dx`, `dy`) pixels to the right and down and
    /// mirrored, into `x` f32[3, height, width]. What comes in from outside is 0: the mean.
    pub fn moved(&self, planes: &[u8], dx: isize, dy: isize, is_mirrored: bool, x: &mut [f32]) {
        let (w, h) = (self.width, self.height);
        // Columns of the input that the picture covers.
        let (from, to) = (dx.clamp(0, w as isize) as usize, (w as isize + dx).clamp(0, w as isize) as usize);
        let source = (from as isize - dx) as usize;
        for (c, out) in x.chunks_exact_mut(w * h).enumerate() {
            let channel = if self.bgr { 2 - c } else { c };
            let plane = &planes[channel * w * h..][..w * h];
            for (y, row) in out.chunks_exact_mut(w).enumerate() {
                row.fill(0.0);
                let sy = y as isize - dy;
                if !(0..h as isize).contains(&sy) || from >= to {
                    continue;
                }
                let at = sy as usize * w + source;
                let (bytes, out) = (&plane[at..at + to - from], &mut row[from..to]);
                match &self.mean_picture {
                    Some(mean) => {
                        let mean = &mean[c * w * h + at..][..to - from];
                        for ((x, &b), m) in out.iter_mut().zip(bytes).zip(mean) {
                            *x = (f32::from(b) / self.scale - m) / self.std[c];
                        }
                    }
                    None => {
                        for (x, &b) in out.iter_mut().zip(bytes) {
                            *x = (f32::from(b) / self.scale - self.mean[c]) / self.std[c];
                        }
                    }
                }
                if is_mirrored {
                    row.reverse();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Pictures {
        let pixels: Vec<u8> = (0..2 * 3 * 16).map(|i| (i * 37 % 256) as u8).collect();
        Pictures { side: 4, pixels, labels: vec![0, 1] }
    }

    #[test]
    fn unmoved_pictures_are_what_the_model_sees() {
        let set = set();
        for p in [Pixels::mean_picture(&set, 2), Pixels::channels(&set, 2)] {
            let (mut ours, mut theirs) = (vec![0.0; 48], vec![0.0; 48]);
            p.moved(set.planes(1), 0, 0, false, &mut ours);
            p.recipe().apply(&set.picture(1), &mut theirs);
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn moves_and_mirrors() {
        let set = set();
        let p = Pixels::mean_picture(&set, 1);
        // The mean of one picture is the picture: all becomes 0. Of two, it is not.
        let mut x = vec![1.0; 48];
        p.moved(set.planes(0), 1, -2, true, &mut x);
        assert!(x.iter().all(|v| v.abs() < 1e-7));
        let p = Pixels::mean_picture(&set, 2);
        let (mut still, mut moved) = (vec![0.0; 48], vec![9.0; 48]);
        p.moved(set.planes(0), 0, 0, false, &mut still);
        p.moved(set.planes(0), 1, -2, true, &mut moved);
        for c in 0..3 {
            for y in 0..4usize {
                for x in 0..4usize {
                    // Mirrored after the move: column x holds column 3 − x of the moved picture, 2 − x of the still one.
                    let want = if y + 2 < 4 && x < 3 { still[c * 16 + (y + 2) * 4 + 2 - x] } else { 0.0 };
                    assert_eq!(moved[c * 16 + y * 4 + x], want, "{c} {y} {x}");
                }
            }
        }
        for (dx, dy) in [(4, 0), (-4, 0), (0, 4), (0, -4), (9, 9)] {
            p.moved(set.planes(0), dx, dy, false, &mut moved);
            assert!(moved.iter().all(|&v| v == 0.0), "{dx} {dy}");
        }
    }

    #[test]
    fn means_and_deviations() {
        let set = Pictures { side: 1, pixels: vec![0, 255, 51, 255, 255, 51], labels: vec![0, 0] };
        let p = Pixels::channels(&set, 2);
        assert_eq!((p.mean, p.std), ([0.5, 1.0, 0.2], [0.5, 1.0, 1.0]));
        assert_eq!(Pixels::mean_picture(&set, 2).mean_picture.unwrap(), [0.5, 1.0, 0.2]);
    }
}
