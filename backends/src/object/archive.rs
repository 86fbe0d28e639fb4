//! `P.a`: a System V archive with the symbol index that linkers look up.
//!
//! No dates, owners or modes, so equal members give equal archives.

use object::read::{Object, ObjectSymbol};
use std::io::{self, BufWriter, Write};

pub struct Member<'a> {
    /// File name inside the archive.
    pub name: String,
    /// An object.
    pub bytes: &'a [u8],
}

const MAGIC: &[u8] = b"!<arch>\n";

/// Writes an archive of `members`.
pub fn write_archive(members: &[Member], out: impl Write) -> io::Result<()> {
    // Names of more than 15 bytes stand in the member `//`; the header then says where.
    let mut long_names = Vec::new();
    let mut names = Vec::with_capacity(members.len());
    for m in members {
        if m.name.len() < 16 {
            names.push(format!("{}/", m.name));
        } else {
            names.push(format!("/{}", long_names.len()));
            long_names.extend_from_slice(m.name.as_bytes());
            long_names.extend_from_slice(b"/\n");
        }
    }
    let mut symbols: Vec<(usize, Vec<u8>)> = Vec::new();
    for (i, m) in members.iter().enumerate() {
        let file = object::File::parse(m.bytes).map_err(io::Error::other)?;
        for s in file.symbols().filter(|s| s.is_global() && s.is_definition()) {
            symbols.push((i, s.name_bytes().map_err(io::Error::other)?.to_vec()));
        }
    }

    // Offsets in the index count from the start of the file, so the index' own length comes first.
    let index_len = 4 + 4 * symbols.len() + symbols.iter().map(|(_, s)| s.len() + 1).sum::<usize>();
    let mut at = MAGIC.len() + 60 + even(index_len);
    if !long_names.is_empty() {
        at += 60 + even(long_names.len());
    }
    let mut offsets = Vec::with_capacity(members.len());
    for m in members {
        let offset = u32::try_from(at)
            .map_err(|_| io::Error::new(io::ErrorKind::FileTooLarge, "an archive holds at most 4 GiB"))?;
        offsets.push(offset);
        at += 60 + even(m.bytes.len());
    }

    let mut out = BufWriter::with_capacity(1 << 20, out);
    out.write_all(MAGIC)?;
    let mut index = (symbols.len() as u32).to_be_bytes().to_vec();
    for (member, _) in &symbols {
        index.extend(offsets[*member].to_be_bytes());
    }
    for (_, name) in &symbols {
        index.extend(name);
        index.push(0);
    }
    entry(&mut out, "/", &index)?;
    if !long_names.is_empty() {
        entry(&mut out, "//", &long_names)?;
    }
    for (m, name) in members.iter().zip(&names) {
        entry(&mut out, name, m.bytes)?;
    }
    out.flush()
}

/// Members start at even offsets.
fn even(len: usize) -> usize {
    len.next_multiple_of(2)
}

fn entry(out: &mut impl Write, name: &str, bytes: &[u8]) -> io::Result<()> {
    writeln!(out, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 644, bytes.len())?;
    out.write_all(bytes)?;
    if bytes.len() % 2 == 1 {
        out.write_all(b"\n")?;
    }
    Ok(())
}
