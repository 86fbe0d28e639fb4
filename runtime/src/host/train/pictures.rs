//! Pictures of CIFAR-10 in memory, as large as a network's input.
//!
//! A network whose input is a half, a quarter or an eighth as large sees the means of 2×2, 4×4 or 8×8 pixels.

use super::checkpoint;
use crate::host::cifar;
use crate::host::image::Image;
use alloc::string::String;
use alloc::vec::Vec;

/// Smallest side to which pictures are shrunk.
const LEAST_SIDE: usize = 4;

/// Labelled pictures.
pub struct Pictures {
    pub side: usize,
    /// u8[pictures, 3, side, side].
    pub pixels: Vec<u8>,
    pub labels: Vec<u8>,
}

impl Pictures {
    /// No pictures yet, or `None` if a network with that input cannot see them.
    pub fn for_input([channels, height, width]: [u64; 3]) -> Option<Pictures> {
        let side = usize::try_from(height).ok()?;
        let fits = (LEAST_SIDE..=cifar::SIDE).contains(&side) && cifar::SIDE.is_multiple_of(side);
        (channels == 3 && height == width && fits).then(|| Pictures { side, pixels: Vec::new(), labels: Vec::new() })
    }

    /// Appends those of a file.
    pub fn extend(&mut self, file: &cifar::Cifar) {
        for i in 0..file.len() {
            self.labels.push(file.label(i) as u8);
            shrink(file.pixels(i), self.side, &mut self.pixels);
        }
    }

    /// Bytes of a picture, planes of red, green and blue.
    pub fn planes(&self, picture: usize) -> &[u8] {
        let len = 3 * self.side * self.side;
        &self.pixels[picture * len..][..len]
    }

    /// See [`checkpoint::fingerprint`].
    pub fn fingerprint(&self) -> String {
        checkpoint::fingerprint(self.labels.iter().map(|&l| l.into()))
    }

    pub fn picture(&self, picture: usize) -> Image {
        let plane = self.side * self.side;
        let planes = self.planes(picture);
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
            assert!(Pictures::for_input(dims).is_none(), "{dims:?}");
        }
        assert!(Pictures::for_input([3, 16, 16]).is_some());
    }
}
