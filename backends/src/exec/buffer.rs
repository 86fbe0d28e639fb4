//! Memory at a 64-byte boundary.

use memmap2::{Advice, MmapMut};
use std::ops::{Deref, DerefMut};

/// Alignment of the arena, the weights and scratch.
pub(super) const ALIGN: usize = 64;

/// From here on memory is a mapping of its own: two huge pages.
const LARGE: usize = 4 << 20;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; ALIGN]);

/// Bytes that start at a 64-byte boundary. Many of them come in huge pages where the system grants these: a step of
/// training walks through so much memory that small pages' addresses do not stay in the TLB.
pub struct AlignedBytes {
    bytes: Bytes,
    len: usize,
}

enum Bytes {
    Lines(Vec<Line>),
    Pages(MmapMut),
}

impl AlignedBytes {
    pub fn zeroed(len: usize) -> AlignedBytes {
        let bytes = huge_pages(len).map(Bytes::Pages);
        let lines = || Bytes::Lines(vec![Line([0; ALIGN]); len.div_ceil(ALIGN)]);
        AlignedBytes { bytes: bytes.unwrap_or_else(lines), len }
    }

    pub fn copy_of(bytes: &[u8]) -> AlignedBytes {
        let mut out = AlignedBytes::zeroed(bytes.len());
        out.copy_from_slice(bytes);
        out
    }
}

/// A mapping of zeros, if so many bytes are worth one and the system gives it.
fn huge_pages(len: usize) -> Option<MmapMut> {
    let map = MmapMut::map_anon((len >= LARGE).then_some(len)?).ok()?;
    // Advice that is not taken costs nothing but speed.
    let _ = map.advise(Advice::HugePage);
    Some(map)
}

impl Deref for AlignedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.bytes {
            // SAFETY: the lines hold at least `len` initialised bytes.
            Bytes::Lines(lines) => unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), self.len) },
            Bytes::Pages(map) => map,
        }
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            // SAFETY: as above, and `self` is borrowed mutably.
            Bytes::Lines(lines) => unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), self.len) },
            Bytes::Pages(map) => map,
        }
    }
}

pub(super) fn is_aligned(pointer: *const u8, align: u64) -> bool {
    (pointer.addr() as u64).is_multiple_of(align)
}

/// Bytes of the caller that are aligned, or our own.
pub(super) enum Memory<'a> {
    Borrowed(&'a [u8]),
    Own(AlignedBytes),
}

impl<'a> Memory<'a> {
    /// `bytes` where they are, or a copy if they are not aligned.
    pub fn aligned(bytes: &'a [u8], align: u64) -> Memory<'a> {
        if is_aligned(bytes.as_ptr(), align) {
            Memory::Borrowed(bytes)
        } else {
            Memory::Own(AlignedBytes::copy_of(bytes))
        }
    }
}

impl Deref for Memory<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Memory::Borrowed(b) => b,
            Memory::Own(b) => b,
        }
    }
}
