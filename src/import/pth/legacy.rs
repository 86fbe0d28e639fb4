//! The container before PyTorch 1.6: five pickles in a row (magic number, protocol, system, the object, the keys of
//! the storages), then for each key the number of elements and the elements.

use super::pickle::{Object, Value, run};
use super::tensors::{Places, collect, storages};
use super::{Found, malformed};
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics, Place};

/// 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

pub fn tensors(file: &[u8]) -> Result<Found, Diagnostics> {
    let magic = run(file, 0)?;
    if magic.get(magic.root) != Some(&Object::Long(MAGIC.to_vec())) {
        let d = Diagnostic::error("E0320", "the file does not begin with PyTorch's magic number");
        return Err(d.at(Place::Byte(0), "").help("is this a file of torch.save?").into());
    }
    let protocol = run(file, magic.end)?;
    if protocol.root != Value::Int(PROTOCOL) {
        return Err(foreign("the file has an unknown protocol", magic.end));
    }
    let system = run(file, protocol.end)?;
    let is_key = |k: Value| system.str(k) == Some("little_endian");
    let little = system.dict(system.root).and_then(|d| d.iter().find(|(k, _)| is_key(*k)));
    if little.is_some_and(|&(_, v)| v != Value::Bool(true)) {
        return Err(foreign("the file was written on a big-endian machine", protocol.end));
    }
    let object = run(file, system.end)?;
    let keys = run(file, object.end)?;
    let places = places(file, &storages(&object)?, &keys)?;
    collect(&object, &places)
}

/// Where the storages lie after the list of their keys.
fn places(
    file: &[u8],
    storages: &std::collections::HashMap<&str, &super::pickle::Storage>,
    keys: &super::pickle::Pickled,
) -> Result<Places, Diagnostics> {
    let Some(Object::List(list)) = keys.get(keys.root) else {
        return Err(malformed(keys.end, "the list of storages is missing"));
    };
    let mut at = keys.end;
    let mut places = Places::new();
    for &key in list {
        let Some(key) = keys.str(key) else { return Err(malformed(keys.end, "a storage's key is no string")) };
        let Some(storage) = storages.get(key) else {
            return Err(malformed(at, format!("storage '{key}' belongs to nothing")));
        };
        let count = file.get(at..).and_then(|rest| rest.first_chunk::<8>()).map(|b| i64::from_le_bytes(*b));
        let bytes = count.and_then(|n| usize::try_from(n).ok()?.checked_mul(storage.element.bytes()));
        let end = bytes.and_then(|n| (at + 8).checked_add(n)).filter(|&e| e <= file.len());
        let (Some(bytes), Some(end)) = (bytes, end) else {
            return Err(malformed(at, format!("the data of storage '{key}' is cut off")));
        };
        if places.insert(key.to_string(), (at + 8, bytes)).is_some() {
            return Err(malformed(at, format!("storage '{key}' is there twice")));
        }
        at = end;
    }
    if at != file.len() {
        return Err(malformed(at, format!("{} bytes follow the last storage", file.len() - at)));
    }
    Ok(places)
}

fn foreign(text: &str, at: usize) -> Diagnostics {
    let d = Diagnostic::error("E0320", text).class(Class::Unsupported).at(Place::Byte(at as u64), "");
    d.help("load it in PyTorch and save it again").into()
}
