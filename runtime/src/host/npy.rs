//! NumPy's `.npy` files: f32 and u8 arrays in C order are read, f32, u8 and u16 are written.

use super::{Error, Kind};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

const MAGIC: &[u8] = b"\x93NUMPY";

/// An array as it lies in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<'a> {
    pub shape: Vec<usize>,
    pub data: Data<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Data<'a> {
    U8(&'a [u8]),
    F32(Vec<f32>),
}

/// Reads a file.
pub fn parse(bytes: &[u8]) -> Result<Array<'_>, Error> {
    let invalid = |what: &str, at: usize| Error::new(Kind::Invalid, what).at(at as u64);
    if !bytes.starts_with(MAGIC) {
        return Err(invalid("not a .npy file", 0));
    }
    let short = || invalid("truncated .npy header", bytes.len());
    let (header_bytes, start) = match bytes.get(6).ok_or_else(short)? {
        1 => (u64::from(u16::from_le_bytes(array(bytes, 8).ok_or_else(short)?)), 10),
        2 | 3 => (u64::from(u32::from_le_bytes(array(bytes, 8).ok_or_else(short)?)), 12),
        v => return Err(Error::new(Kind::Unsupported, format!(".npy version {v} is not read")).at(6)),
    };
    let end = usize::try_from(header_bytes).ok().and_then(|n| n.checked_add(start)).ok_or_else(short)?;
    let header = bytes.get(start..end).ok_or_else(short)?;
    let header = core::str::from_utf8(header).map_err(|_| invalid("the .npy header is not text", start))?;
    let field = |name: &str| {
        let from = header.find(&format!("'{name}':"))? + name.len() + 3;
        Some(header[from..].trim_start())
    };
    let missing = |name: &str| invalid(&format!("the .npy header has no '{name}'"), start);

    let descr = field("descr").ok_or_else(|| missing("descr"))?;
    let dtype = descr.strip_prefix('\'').and_then(|s| s.split_once('\'')).map_or(descr, |(d, _)| d);
    if !field("fortran_order").ok_or_else(|| missing("fortran_order"))?.starts_with("False") {
        return Err(
            Error::new(Kind::Unsupported, "the array is in Fortran order").help("save numpy.ascontiguousarray(x)")
        );
    }
    let shape = field("shape").ok_or_else(|| missing("shape"))?;
    let shape = shape.strip_prefix('(').and_then(|s| s.split_once(')')).ok_or_else(|| missing("shape"))?.0;
    let shape: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|s| s.parse().map_err(|_| invalid(&format!("bad dimension '{s}' in the .npy header"), start)))
        .collect::<Result<_, _>>()?;

    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let data = &bytes[end..];
    let exactly = |size: usize| match elements.and_then(|n| n.checked_mul(size)) {
        Some(n) if n == data.len() => Ok(()),
        Some(n) => Err(invalid(&format!("the array needs {n} bytes, the file has {}", data.len()), bytes.len())),
        None => Err(invalid("the array's size overflows", start)),
    };
    let data = match dtype {
        "|u1" | "<u1" => {
            exactly(1)?;
            Data::U8(data)
        }
        "<f4" => {
            exactly(4)?;
            Data::F32(data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
        }
        _ => {
            return Err(Error::new(Kind::Unsupported, format!("element type '{dtype}' is not read"))
                .help("use float32 (N, C, H, W) or uint8 (N, H, W, 3)"));
        }
    };
    Ok(Array { shape, data })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// An element that can be written.
pub trait Element: Copy {
    const DESCR: &'static str;
    fn push(self, out: &mut Vec<u8>);
}

impl Element for f32 {
    const DESCR: &'static str = "<f4";
    fn push(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
}

impl Element for u8 {
    const DESCR: &'static str = "|u1";
    fn push(self, out: &mut Vec<u8>) {
        out.push(self);
    }
}

impl Element for u16 {
    const DESCR: &'static str = "<u2";
    fn push(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
}

/// The bytes of a file, version 1.0, with the header padded so that data start at a multiple of 64.
pub fn write<T: Element>(shape: &[usize], data: &[T]) -> Vec<u8> {
    let mut dims = String::new();
    for (i, d) in shape.iter().enumerate() {
        dims += &format!("{}{d}", if i > 0 { ", " } else { "" });
    }
    if shape.len() == 1 {
        dims.push(',');
    }
    let mut header = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({dims}), }}", T::DESCR);
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut out = Vec::with_capacity(10 + header.len() + size_of_val(data));
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[1, 0]);
    out.extend_from_slice(&(header.len() as u16).to_le_bytes());
    out.extend_from_slice(header.as_bytes());
    data.iter().for_each(|&v| v.push(&mut out));
    out
}
