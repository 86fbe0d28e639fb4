//! Memory at a 64-byte boundary.

use std::ops::{Deref, DerefMut};

/// Alignment of the arena, the weights and scratch.
pub(super) const ALIGN: usize = 64;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; ALIGN]);

/// Bytes that start at a 64-byte boundary.
#[derive(Clone)]
pub struct AlignedBytes {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedBytes {
    pub fn zeroed(len: usize) -> AlignedBytes {
        AlignedBytes { lines: vec![Line([0; ALIGN]); len.div_ceil(ALIGN)], len }
    }

    pub fn copy_of(bytes: &[u8]) -> AlignedBytes {
        let mut out = AlignedBytes::zeroed(bytes.len());
        out.copy_from_slice(bytes);
        out
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the lines hold at least `len` initialised bytes.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
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
