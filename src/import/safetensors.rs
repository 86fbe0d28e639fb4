//! safetensors files: a strict reader of headers and a deterministic writer.
//!
//! A file is 8 bytes of little-endian header length, a JSON header, and data. Read here: no duplicate names,
//! known element types, and ranges that tile the data exactly, without holes, overlap or overflow; every tensor
//! at fault is named. (The `safetensors` crate, whose types are used, stops at the first fault, names no tensor
//! and lets a duplicate replace the first.) Written: keys sorted, data in that order and beginning at a multiple
//! of 64, so that the same tensors give the same bytes.

use super::{MAX_NAME_BYTES, MAX_RANK};
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics, Place};
use runtime::host::train::safetensors::header;
use safetensors::Dtype;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;

/// Longest header that is read, as in the format's own library.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<u64>,
    /// Where its bytes are in the file.
    pub range: Range<usize>,
}

/// Reads the header of a whole file, in the order of the data.
pub fn read_header(file: &[u8]) -> Result<Vec<Entry>, Diagnostics> {
    let Some((length, rest)) = file.split_first_chunk::<8>() else {
        let d = invalid(format!("the file has {} bytes; a safetensors file has at least 8", file.len()), 0);
        return Err(d.help("the file is truncated: fetch it again").into());
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        let d = invalid(format!("the header is said to have {length} bytes, the limit is {MAX_HEADER_BYTES}"), 0);
        return Err(d.help("this is no safetensors file").into());
    }
    let length = length as usize;
    if length > rest.len() {
        let d = invalid(format!("the header is said to have {length} bytes, {} follow", rest.len()), 0);
        return Err(d.help("the file is truncated: fetch it again").into());
    }
    let (header, data) = rest.split_at(length);
    let header: Header = serde_json::from_slice(header).map_err(|e| {
        // The header is one line, so that the column is the offset.
        let at = if e.line() == 1 { 8 + e.column().saturating_sub(1) as u64 } else { 8 };
        let text = e.to_string();
        let text = text.split(" at line ").next().unwrap_or(&text);
        Diagnostics::from(invalid(format!("the header is not valid: {text}"), at).help("the file is damaged"))
    })?;
    check(header, 8 + length, data.len())
}

/// Checks the tensors against the data section, which begins at `start` and has `len` bytes.
fn check(header: Header, start: usize, len: usize) -> Result<Vec<Entry>, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut seen = HashSet::new();
    let mut entries = Vec::with_capacity(header.0.len());
    for (name, info) in header.0 {
        let mut fault = |text: String| {
            let d = Diagnostic::error("E0312", text).at(Place::Tensor(name.clone()), "");
            problems.push(d.help("the file is damaged or was written wrongly: fetch or export it again"));
        };
        if name.is_empty() || name.contains('\0') || name.len() > MAX_NAME_BYTES {
            fault("a tensor's name is empty, too long or contains NUL".into());
            continue;
        }
        if !seen.insert(name.clone()) {
            fault(format!("tensor '{name}' is there twice"));
            continue;
        }
        let [begin, end] = info.data_offsets;
        let Ok(dtype) = Dtype::deserialize(serde_json::Value::String(info.dtype.clone())) else {
            fault(format!("tensor '{name}' has the unknown element type '{}'", info.dtype));
            continue;
        };
        if info.shape.len() > MAX_RANK {
            fault(format!("tensor '{name}' has {} dimensions, the limit is {MAX_RANK}", info.shape.len()));
            continue;
        }
        if begin > end || end > len as u64 {
            fault(format!("tensor '{name}' lies at {begin}..{end} of {len} data bytes"));
            continue;
        }
        let bits = info.shape.iter().try_fold(dtype.bitsize() as u64, |n, &d| n.checked_mul(d));
        if bits.is_none_or(|b| b % 8 != 0 || b / 8 != end - begin) {
            fault(format!("tensor '{name}' is {} {:?} but has {} bytes", info.dtype, info.shape, end - begin));
            continue;
        }
        entries.push(Entry { name, dtype, shape: info.shape, range: start + begin as usize..start + end as usize });
    }
    entries.sort_by(|a, b| (a.range.start, a.range.end, &a.name).cmp(&(b.range.start, b.range.end, &b.name)));
    let mut expected = start;
    for e in entries.iter().filter(|_| !problems.has_errors()).collect::<Vec<_>>() {
        if e.range.start != expected {
            let what =
                if e.range.start < expected { "overlaps the tensor before it" } else { "leaves a hole before it" };
            let d = Diagnostic::error("E0312", format!("tensor '{}' {what}", e.name));
            problems.push(
                d.at(Place::Tensor(e.name.clone()), format!("begins at byte {}, not {expected}", e.range.start))
                    .help("the file is damaged or was written wrongly: fetch or export it again"),
            );
            break;
        }
        expected = e.range.end;
    }
    if !problems.has_errors() && expected != start + len {
        let d = invalid(format!("{} bytes follow the last tensor", start + len - expected), expected as u64);
        problems.push(d.help("the file is damaged or has something appended"));
    }
    problems.into_result(entries)
}

fn invalid(text: String, at: u64) -> Diagnostic {
    Diagnostic::error("E0311", text).at(Place::Byte(at), "").class(Class::Invalid)
}

/// The header's tensors in the order of the text, duplicates included.
struct Header(Vec<(String, Info)>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Header, D::Error> {
        struct Tensors;
        impl<'de> Visitor<'de> for Tensors {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut tensors = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<std::collections::HashMap<String, String>>()?;
                    } else {
                        tensors.push((name, map.next_value()?));
                    }
                }
                Ok(Header(tensors))
            }
        }
        d.deserialize_map(Tensors)
    }
}

/// Writes f32 tensors, sorted by name: `data(i, out)` writes the elements of `tensors[i]`, little-endian.
pub fn write(
    out: &mut dyn Write,
    tensors: &[(String, Vec<u64>)],
    data: &mut dyn FnMut(usize, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let (header, order) = header(tensors, &[]);
    out.write_all(&header)?;
    order.into_iter().try_for_each(|t| data(t, out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::host::train::safetensors::ALIGN;

    fn sample() -> Vec<u8> {
        let tensors = [("b".to_string(), vec![2, 2]), ("a".to_string(), vec![3]), ("z".to_string(), vec![0])];
        let mut out = Vec::new();
        write(&mut out, &tensors, &mut |i, w| {
            let n = tensors[i].1.iter().product::<u64>();
            (0..n).try_for_each(|k| w.write_all(&(k as f32 + 10.0 * i as f32).to_le_bytes()))
        })
        .unwrap();
        out
    }

    fn with_header(header: &str, data: usize) -> Vec<u8> {
        let mut f = (header.len() as u64).to_le_bytes().to_vec();
        f.extend_from_slice(header.as_bytes());
        f.resize(f.len() + data, 0);
        f
    }

    #[test]
    fn what_is_written_reads_back_here_and_in_the_formats_own_library() {
        let file = sample();
        let entries = read_header(&file).unwrap();
        assert_eq!(entries.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["a", "b", "z"]);
        assert_eq!(entries[0].range.start % ALIGN, 0);
        let theirs = safetensors::SafeTensors::deserialize(&file).unwrap();
        for e in &entries {
            assert_eq!(theirs.tensor(&e.name).unwrap().data(), &file[e.range.clone()]);
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let file = sample();
        for n in 0..file.len() {
            assert!(read_header(&file[..n]).is_err(), "{n} bytes");
        }
    }

    #[test]
    fn faults_are_named() {
        let cases = [
            (
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
                8,
                "twice",
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
                4,
                "overlaps",
            ),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "hole"),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 9, "5 bytes follow"),
            (r#"{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}}"#, 4, "unknown element type 'Q4'"),
            (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4, "but has 4 bytes"),
            (r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#, 4, "but has 4 bytes"),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}"#, 8, "8..4"),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}"#, 4, "unknown field"),
            (r#"{"\u0000":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4, "NUL"),
            (r#"{"__metadata__":{"a":1}}"#, 0, "not valid"),
            (r"[]", 0, "not valid"),
        ];
        for (header, data, expected) in cases {
            let e = read_header(&with_header(header, data)).unwrap_err().to_string();
            assert!(e.contains(expected), "{header}\n{e}");
        }
    }
}
