//! The container since PyTorch 1.6: a zip archive with `PREFIX/data.pkl` and a stored entry for each storage.
//!
//! Read here rather than by a general library because what matters are the refusals: entries must be stored, not
//! encrypted, unique, under one prefix, disjoint, described alike by both of their headers, and have the checksum
//! that these give. Then every tensor is a range of the file.

use super::Found;
use super::pickle::run;
use super::tensors::{Places, collect, storages};
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics, Place};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const END64: &[u8] = b"PK\x06\x06";
const LOCATOR64: &[u8] = b"PK\x06\x07";
const LOCATOR64_BYTES: usize = 20;
const CENTRAL: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
/// Most entries of an archive; ResNet-1202 has 7,200 tensors.
const MAX_ENTRIES: u64 = 1 << 20;
const FLAG_ENCRYPTED: u16 = 1;
/// Sizes stand after the data, not in the local header.
const FLAG_DESCRIPTOR: u16 = 8;

/// A stored file of the archive.
struct Entry {
    name: String,
    /// Where its bytes are.
    data: Range<usize>,
}

pub fn tensors(file: &[u8]) -> Result<Found, Diagnostics> {
    let entries = entries(file)?;
    let is_pickle = |e: &&Entry| e.name == "data.pkl" || e.name.ends_with("/data.pkl");
    let Some(pickle) = entries.iter().find(is_pickle) else {
        let d = Diagnostic::error("E0318", "the archive has no data.pkl: it is no file of torch.save");
        return Err(d.help("name a file that torch.save has written").into());
    };
    let prefix = pickle.name.strip_suffix("data.pkl").unwrap_or_default();
    if let Some(other) = entries.iter().find(|e| !e.name.starts_with(prefix)) {
        return Err(refuse(&format!("entry '{}' is not under '{prefix}'", other.name), other.data.start));
    }
    let entry = |name: &str| entries.iter().find(|e| e.name.strip_prefix(prefix) == Some(name));
    if entry("constants.pkl").is_some() {
        let d = Diagnostic::error("E0317", "this is a TorchScript archive: a program with its weights");
        let d = d.class(Class::Unsupported);
        return Err(d.help("save the weights alone: torch.save(model.state_dict(), FILE)").into());
    }
    if let Some(order) = entry("byteorder").filter(|e| &file[e.data.clone()] != b"little") {
        let d = Diagnostic::error("E0318", "the file was written on a big-endian machine").class(Class::Unsupported);
        let d = d.at(Place::Byte(order.data.start as u64), "");
        return Err(d.help("load it in PyTorch and save it on a little-endian machine").into());
    }
    let object = run(&file[..pickle.data.end], pickle.data.start)?;
    let by_name: HashMap<&str, &Entry> =
        entries.iter().filter_map(|e| Some((e.name.strip_prefix(prefix)?.strip_prefix("data/")?, e))).collect();
    let place = |key: &&str| Some((key.to_string(), by_name.get(*key).map(|e| (e.data.start, e.data.len()))?));
    let places: Places = storages(&object)?.keys().filter_map(place).collect();
    collect(&object, &places)
}

/// What the directory says of an entry.
struct Listed<'a> {
    name: &'a str,
    flags: u16,
    size: u64,
    crc: u32,
    /// Where its local header is said to be.
    local: u64,
    /// Where the directory says all this.
    at: usize,
}

/// The entries of an archive, in the order of their bytes.
fn entries(file: &[u8]) -> Result<Vec<Entry>, Diagnostics> {
    let mut listed = listed(file)?;
    listed.sort_by_key(|l| l.local);
    let mut entries = Vec::with_capacity(listed.len());
    let mut free = 0;
    for l in listed {
        // Refused before it is read: entries inside each other would read the same bytes again and again.
        if l.local < free {
            return Err(refuse("two entries overlap", l.at));
        }
        let data = local_data(file, &l)?;
        free = data.end as u64;
        if crc32fast::hash(&file[data.clone()]) != l.crc {
            return Err(refuse(&format!("entry '{}' has the wrong checksum", l.name), data.start));
        }
        entries.push(Entry { name: l.name.to_string(), data });
    }
    Ok(entries)
}

/// The directory of an archive.
fn listed(file: &[u8]) -> Result<Vec<Listed<'_>>, Diagnostics> {
    let (count, mut at, end) = directory(file)?;
    let mut seen = HashSet::new();
    let mut listed = Vec::new();
    for _ in 0..count {
        let h = Fields { file, at, end };
        let name_at = at + 46;
        let (name_len, extra_len, comment_len) = (h.u16(28)?, h.u16(30)?, h.u16(32)?);
        let extra_at = name_at + usize::from(name_len);
        let next = extra_at + usize::from(extra_len) + usize::from(comment_len);
        if file.get(at..at + 4) != Some(CENTRAL) || next > end {
            return Err(refuse("the directory of the archive is damaged", at));
        }
        let Ok(name) = std::str::from_utf8(&file[name_at..extra_at]) else {
            return Err(refuse("an entry's name is not UTF-8", at));
        };
        let (flags, method) = (h.u16(8)?, h.u16(10)?);
        if flags & FLAG_ENCRYPTED != 0 {
            return Err(refuse(&format!("entry '{name}' is encrypted"), at));
        }
        if method != 0 {
            return Err(refuse(&format!("entry '{name}' is compressed; torch.save only stores"), at));
        }
        let mut wide = [u64::from(h.u32(24)?), u64::from(h.u32(20)?), u64::from(h.u32(42)?)];
        widen(&mut wide, &file[extra_at..extra_at + usize::from(extra_len)]);
        let [size, stored, local] = wide;
        if size != stored {
            return Err(refuse(&format!("entry '{name}' is stored, yet has two sizes"), at));
        }
        if !seen.insert(name) {
            return Err(refuse(&format!("entry '{name}' is there twice"), at));
        }
        listed.push(Listed { name, flags, size, crc: h.u32(16)?, local, at });
        at = next;
    }
    Ok(listed)
}

/// Number of entries, and where the directory begins and ends.
fn directory(file: &[u8]) -> Result<(u64, usize, usize), Diagnostics> {
    let truncated = || {
        let d = Diagnostic::error("E0318", "the end of the archive is missing");
        Diagnostics::from(d.at(Place::Byte(file.len() as u64), "").help("the file is truncated: fetch it again"))
    };
    let lowest = file.len().saturating_sub(END_BYTES + usize::from(u16::MAX));
    let highest = file.len().checked_sub(END_BYTES).ok_or_else(truncated)?;
    let is_end = |&at: &usize| {
        let comment = usize::from(u16::from_le_bytes([file[at + 20], file[at + 21]]));
        file[at..].starts_with(END) && at + END_BYTES + comment == file.len()
    };
    let at = (lowest..=highest).rev().find(is_end).ok_or_else(truncated)?;
    let h = Fields { file, at, end: file.len() };
    let (mut count, mut size, mut start) = (u64::from(h.u16(10)?), u64::from(h.u32(12)?), u64::from(h.u32(16)?));
    let mut end = at;
    if count == 0xffff || size == 0xffff_ffff || start == 0xffff_ffff {
        let locator = at.checked_sub(LOCATOR64_BYTES).filter(|&l| file[l..].starts_with(LOCATOR64));
        let l = Fields { file, at: locator.ok_or_else(truncated)?, end: file.len() };
        let at64 = usize::try_from(l.u64(8)?).ok().filter(|&a| a < at).ok_or_else(truncated)?;
        if !file[at64..].starts_with(END64) {
            return Err(refuse("the directory of the archive is damaged", at64));
        }
        let w = Fields { file, at: at64, end: file.len() };
        (count, size, start) = (w.u64(32)?, w.u64(40)?, w.u64(48)?);
        end = at64;
    }
    if count > MAX_ENTRIES {
        let d = Diagnostic::error("E0801", format!("the archive has {count} entries, the limit is {MAX_ENTRIES}"));
        return Err(d.class(Class::Limit).help("is this a file of torch.save?").into());
    }
    match start.checked_add(size) {
        Some(stop) if stop <= end as u64 => Ok((count, start as usize, stop as usize)),
        _ => Err(refuse("the directory of the archive lies outside the file", at)),
    }
}

/// Where an entry's bytes are, once its local header agrees with the directory.
fn local_data(file: &[u8], l: &Listed) -> Result<Range<usize>, Diagnostics> {
    let &Listed { name, flags, size, .. } = l;
    let disagree = || refuse(&format!("the two headers of entry '{name}' disagree"), l.at);
    let at = usize::try_from(l.local).ok().filter(|&a| a < file.len()).ok_or_else(disagree)?;
    let h = Fields { file, at, end: file.len() };
    let name_at = at + 30;
    let name_end = name_at + usize::from(h.u16(26)?);
    let start = name_end + usize::from(h.u16(28)?);
    let mut sizes = [u64::from(h.u32(22)?), u64::from(h.u32(18)?), 0];
    if let Some(extra) = file.get(name_end..start) {
        widen(&mut sizes, extra);
    }
    let described_later = flags & FLAG_DESCRIPTOR != 0 && sizes[..2] == [0, 0];
    let same = file[at..].starts_with(LOCAL)
        && file.get(name_at..name_end) == Some(name.as_bytes())
        && (h.u16(6)?, h.u16(8)?) == (flags, 0)
        && (described_later || sizes[..2] == [size, size]);
    let end = usize::try_from(size).ok().and_then(|n| start.checked_add(n)).filter(|&e| e <= file.len());
    match end {
        Some(end) if same => Ok(start..end),
        _ => Err(disagree()),
    }
}

/// Replaces saturated 32-bit fields (size, stored size, offset) by those of the zip64 extra field.
fn widen(fields: &mut [u64; 3], mut extra: &[u8]) {
    while let Some((head, rest)) = extra.split_first_chunk::<4>() {
        let (id, len) = (u16::from_le_bytes([head[0], head[1]]), u16::from_le_bytes([head[2], head[3]]));
        let Some((mut body, rest)) = rest.split_at_checked(len.into()) else { return };
        if id == 1 {
            for f in fields.iter_mut().filter(|f| **f == 0xffff_ffff) {
                let Some((wide, rest)) = body.split_first_chunk::<8>() else { return };
                *f = u64::from_le_bytes(*wide);
                body = rest;
            }
        }
        extra = rest;
    }
}

/// Little-endian fields of a record at `at`, which must end before `end`.
struct Fields<'a> {
    file: &'a [u8],
    at: usize,
    end: usize,
}

impl Fields<'_> {
    fn bytes<const N: usize>(&self, offset: usize) -> Result<[u8; N], Diagnostics> {
        let at = self.at + offset;
        let bytes = self.file.get(at..at + N).filter(|_| at + N <= self.end).and_then(|b| b.try_into().ok());
        bytes.ok_or_else(|| refuse("the directory of the archive is damaged", self.at))
    }

    fn u16(&self, offset: usize) -> Result<u16, Diagnostics> {
        self.bytes(offset).map(u16::from_le_bytes)
    }

    fn u32(&self, offset: usize) -> Result<u32, Diagnostics> {
        self.bytes(offset).map(u32::from_le_bytes)
    }

    fn u64(&self, offset: usize) -> Result<u64, Diagnostics> {
        self.bytes(offset).map(u64::from_le_bytes)
    }
}

fn refuse(text: &str, at: usize) -> Diagnostics {
    let d = Diagnostic::error("E0318", text).at(Place::Byte(at as u64), "");
    d.help("the file is damaged or was not written by torch.save: fetch it again, or save it again").into()
}
