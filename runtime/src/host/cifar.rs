//! The CIFAR-10 binary format: records of one label byte and 32×32 bytes each of red, green and blue.

use super::{Error, Kind};
use alloc::format;

pub const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
const RECORD: usize = 1 + 3 * PLANE;
const CLASSES: u8 = 10;

/// A checked file.
#[derive(Clone, Copy, Debug)]
pub struct Cifar<'a>(&'a [[u8; RECORD]]);

impl<'a> Cifar<'a> {
    /// Checks the length and every label.
    pub fn parse(bytes: &'a [u8]) -> Result<Cifar<'a>, Error> {
        let (records, rest) = bytes.as_chunks::<RECORD>();
        if !rest.is_empty() {
            let what = format!(
                "{} bytes are no whole number of CIFAR-10 records of {RECORD}: record {} is truncated",
                bytes.len(),
                records.len()
            );
            return Err(Error::new(Kind::Invalid, what).at((records.len() * RECORD) as u64));
        }
        if records.is_empty() {
            return Err(Error::new(Kind::Invalid, "the file is empty"));
        }
        if let Some(i) = records.iter().position(|r| r[0] >= CLASSES) {
            let what = format!("label {} of record {i} is not below {CLASSES}", records[i][0]);
            return Err(Error::new(Kind::Invalid, what)
                .at((i * RECORD) as u64)
                .help("a file of the CIFAR-10 binary version is needed"));
        }
        Ok(Cifar(records))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn label(&self, image: usize) -> usize {
        usize::from(self.0[image][0])
    }

    /// The bytes of an image: planes of red, green and blue.
    pub fn pixels(&self, image: usize) -> &'a [u8] {
        &self.0[image][1..]
    }

    /// One byte of an image: channel in RGB order, pixel in row order.
    pub fn value(&self, image: usize, channel: usize, pixel: usize) -> u8 {
        self.pixels(image)[channel * PLANE + pixel]
    }
}
