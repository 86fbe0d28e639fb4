//! CIFAR-10, binary version: `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`.
//!
//! A network whose input is a half, a quarter or an eighth as large sees the means of 2×2, 4×4 or 8×8 pixels.

use crate::import;
use crate::render::Failure;
use ir::{Diagnostic, Place};
use runtime::host::image::Image;
use runtime::host::{MAX_FILE_BYTES, cifar};
use std::path::Path;

pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
/// Smallest side to which pictures are shrunk.
const LEAST_SIDE: u64 = 4;

/// Pictures in memory.
pub struct Cifar {
    pub side: usize,
    /// u8[images, 3, side, side].
    pub pixels: Vec<u8>,
    pub labels: Vec<u8>,
}

impl Cifar {
    /// The 50,000 pictures of the five files in `dir`.
    pub fn training(dir: &Path, dims: [u64; 3]) -> Result<Cifar, Failure> {
        let names: Vec<String> = (1..=5).map(|i| format!("data_batch_{i}.bin")).collect();
        Cifar::load(dir, &names, dims)
    }

    /// The 10,000 pictures of `test_batch.bin` in `dir`.
    pub fn evaluation(dir: &Path, dims: [u64; 3]) -> Result<Cifar, Failure> {
        Cifar::load(dir, &["test_batch.bin".to_string()], dims)
    }

    fn load(dir: &Path, names: &[String], dims: [u64; 3]) -> Result<Cifar, Failure> {
        let fits = |s: u64| (LEAST_SIDE..=cifar::SIDE as u64).contains(&s) && (cifar::SIDE as u64).is_multiple_of(s);
        let side = match dims {
            [3, h, w] if h == w && fits(h) => h as usize,
            [c, h, w] => {
                let text = format!("CIFAR-10 pictures are 3x32x32, the network takes {c}x{h}x{w}");
                let d = Diagnostic::error("E0906", text);
                return Err(d.help("make a network for them: `rescc new cifar-resnet20 -o r20.rir`").into());
            }
        };
        let mut set = Cifar { side, pixels: Vec::new(), labels: Vec::new() };
        for name in names {
            let path = dir.join(name);
            let bytes = import::read_file(&path, MAX_FILE_BYTES)?;
            let file = cifar::Cifar::parse(&bytes).map_err(|e| {
                let mut d = super::damaged(e.what);
                if let Some(at) = e.at {
                    d = d.at(Place::Byte(at), "");
                }
                Failure::from(d.help("fetch the binary version of CIFAR-10 again")).in_file(&path)
            })?;
            for i in 0..file.len() {
                set.labels.push(file.label(i) as u8);
                shrink(file.pixels(i), side, &mut set.pixels);
            }
        }
        Ok(set)
    }

    /// Bytes of a picture, planes of red, green and blue.
    pub fn planes(&self, image: usize) -> &[u8] {
        let len = 3 * self.side * self.side;
        &self.pixels[image * len..][..len]
    }

    pub fn picture(&self, image: usize) -> Image {
        let plane = self.side * self.side;
        let planes = self.planes(image);
        let pixels = (0..plane).flat_map(|i| [planes[i], planes[plane + i], planes[2 * plane + i]]).collect();
        Image { width: self.side, height: self.side, pixels }
    }
}

/// Appends planes of 32×32 pixels as planes of `side`×`side`: means of blocks, rounded to nearest.
fn shrink(planes: &[u8], side: usize, out: &mut Vec<u8>) {
    let factor = cifar::SIDE / side;
    if factor == 1 {
        out.extend_from_slice(planes);
        return;
    }
    let area = (factor * factor) as u32;
    for plane in planes.chunks_exact(cifar::SIDE * cifar::SIDE) {
        for y in 0..side {
            for x in 0..side {
                let row = |dy: usize| &plane[(y * factor + dy) * cifar::SIDE + x * factor..][..factor];
                let sum: u32 = (0..factor).flat_map(row).map(|&p| u32::from(p)).sum();
                out.push(((sum + area / 2) / area) as u8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_takes_means_of_blocks() {
        let planes: Vec<u8> = (0..3 * 1024).map(|i| ((i % 32) * 4 + (i / 32) % 2) as u8).collect();
        let mut out = Vec::new();
        shrink(&planes, 16, &mut out);
        assert_eq!(out.len(), 3 * 256);
        // Columns 0 and 1 hold 0 and 4, rows add 0 and 1: the mean is 2.5.
        assert_eq!((out[0], out[1], out[16]), (3, 11, 3));
        out.clear();
        shrink(&planes, 32, &mut out);
        assert_eq!(out, planes);
    }

    #[test]
    fn sizes_that_do_not_divide_are_refused() {
        for dims in [[3, 33, 33], [3, 32, 16], [1, 32, 32], [3, 2, 2], [3, 64, 64], [3, 0, 0]] {
            let e = Cifar::training(Path::new("nowhere"), dims).err().expect("a refusal");
            assert_eq!(e.diagnostics.0[0].code, "E0906", "{dims:?}");
        }
    }
}
