//! Tensors as a file holds them: a table of strided views into its bytes.
//!
//! All three formats keep tensors uncompressed, so one form serves all: nothing is copied until a tensor is read.

use super::safetensors::read_header;
use half::{bf16, f16};
use ir::{Diagnostic, Diagnostics};
use safetensors::Dtype;
use std::fmt;

/// Element type of a tensor in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Element {
    pub fn bytes(self) -> usize {
        match self {
            Element::F64 | Element::I64 => 8,
            Element::F32 | Element::I32 => 4,
            Element::F16 | Element::BF16 | Element::I16 => 2,
            Element::I8 | Element::U8 | Element::Bool => 1,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Element::F64 | Element::F32 | Element::F16 | Element::BF16)
    }

    fn from_dtype(d: Dtype) -> Option<Element> {
        Some(match d {
            Dtype::F64 => Element::F64,
            Dtype::F32 => Element::F32,
            Dtype::F16 => Element::F16,
            Dtype::BF16 => Element::BF16,
            Dtype::I64 => Element::I64,
            Dtype::I32 => Element::I32,
            Dtype::I16 => Element::I16,
            Dtype::I8 => Element::I8,
            Dtype::U8 => Element::U8,
            Dtype::BOOL => Element::Bool,
            _ => return None,
        })
    }
}

/// A tensor: elements `first + Σ index·stride` of the file, in elements from byte `offset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    pub element: Element,
    pub shape: Vec<u64>,
    /// Steps between neighbours of each dimension, in elements.
    pub strides: Vec<u64>,
    /// Byte of the first element in the file.
    pub offset: usize,
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.shape.iter().map(u64::to_string).collect();
        write!(f, "{}[{}]", format!("{:?}", self.element).to_lowercase(), dims.join(","))
    }
}

/// The tensors of a file, in its order, and its bytes.
///
/// Invariant: every element of every tensor lies inside `bytes` (checked by the readers).
#[derive(Clone, Debug, Default)]
pub struct StateDict {
    pub tensors: Vec<Tensor>,
    pub bytes: Vec<u8>,
    /// What was done on the way, to be said aloud.
    pub notes: Vec<String>,
}

impl StateDict {
    pub fn from_safetensors(bytes: Vec<u8>) -> Result<StateDict, Diagnostics> {
        let mut problems = Diagnostics::default();
        let mut tensors = Vec::new();
        for e in read_header(&bytes)? {
            let Some(element) = Element::from_dtype(e.dtype) else {
                let d = Diagnostic::error("E0307", format!("tensor '{}' has elements of type {:?}", e.name, e.dtype));
                problems.push(d.help("convert the file to f32, f16, bf16 or f64"));
                continue;
            };
            let strides = contiguous(&e.shape);
            tensors.push(Tensor { name: e.name, element, shape: e.shape, strides, offset: e.range.start });
        }
        problems.into_result(StateDict { tensors, bytes, notes: Vec::new() })
    }

    /// The elements of a tensor in row-major order, as f32.
    pub fn read_f32(&self, t: &Tensor) -> Vec<f32> {
        let size = t.element.bytes();
        let count: usize = t.shape.iter().map(|&n| n as usize).product();
        if t.strides == contiguous(&t.shape) {
            let bytes = &self.bytes[t.offset..t.offset + count * size];
            return bytes.chunks_exact(size).map(|b| to_f32(t.element, b)).collect();
        }
        let mut out = Vec::with_capacity(count);
        let mut index = vec![0u64; t.shape.len()];
        for _ in 0..count {
            let element: u64 = index.iter().zip(&t.strides).map(|(i, s)| i * s).sum();
            let at = t.offset + element as usize * size;
            out.push(to_f32(t.element, &self.bytes[at..at + size]));
            // The next index in row-major order.
            for d in (0..index.len()).rev() {
                index[d] += 1;
                if index[d] < t.shape[d] {
                    break;
                }
                index[d] = 0;
            }
        }
        out
    }
}

/// Strides of a row-major tensor. Dimensions of a shape with a 0 have any strides.
pub fn contiguous(shape: &[u64]) -> Vec<u64> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d].max(1);
    }
    strides
}

/// One little-endian element. Integers are read too, for completeness of the table, but never become weights.
fn to_f32(element: Element, b: &[u8]) -> f32 {
    fn le<const N: usize>(b: &[u8]) -> [u8; N] {
        b.try_into().expect("invariant: as many bytes as the element has")
    }
    match element {
        Element::F64 => f64::from_le_bytes(le(b)) as f32,
        Element::F32 => f32::from_le_bytes(le(b)),
        Element::F16 => f16::from_le_bytes(le(b)).to_f32(),
        Element::BF16 => bf16::from_le_bytes(le(b)).to_f32(),
        Element::I64 => i64::from_le_bytes(le(b)) as f32,
        Element::I32 => i32::from_le_bytes(le(b)) as f32,
        Element::I16 => f32::from(i16::from_le_bytes(le(b))),
        Element::I8 => f32::from(i8::from_le_bytes(le(b))),
        Element::U8 | Element::Bool => f32::from(b[0]),
    }
}
