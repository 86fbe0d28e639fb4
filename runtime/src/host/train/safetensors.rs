//! The first part of a safetensors file: 8 bytes of little-endian length, then JSON.

use crate::host::json;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Data begins at a multiple of this.
pub const ALIGN: usize = 64;

/// The header of f32 tensors, with `metadata` before them, and the order in which their data follows: sorted by name, so
/// that the same tensors give the same bytes.
pub fn header(tensors: &[(String, Vec<u64>)], metadata: &[(&str, &str)]) -> (Vec<u8>, Vec<usize>) {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by(|&a, &b| tensors[a].0.cmp(&tensors[b].0));
    let mut object = json::Object::new();
    if !metadata.is_empty() {
        let entries = metadata.iter().fold(json::Object::new(), |o, (key, value)| o.string(key, value));
        object = object.raw("__metadata__", entries.end());
    }
    let mut at = 0u64;
    for &t in &order {
        let (name, shape) = &tensors[t];
        let end = at + 4 * shape.iter().product::<u64>();
        let shape = json::array(shape.iter().map(|n| format!("{n}")));
        object = object.raw(name, format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{at},{end}]}}"#));
        at = end;
    }
    let mut header = object.end();
    let padded = (8 + header.len()).next_multiple_of(ALIGN) - 8;
    header.extend(core::iter::repeat_n(' ', padded - header.len()));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    (bytes, order)
}
