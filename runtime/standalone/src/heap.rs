//! The heap: free lists of power-of-two blocks, and one mapping for each large block.
//!
//! Large blocks come as zero pages that cost nothing until touched, grow by `mremap` without copying, and go back to
//! the system at once. Small ones are cut from 1 MiB mappings and kept. Without memory the program ends (code 6).

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering};
use rustix::mm::{Advice, MapFlags, MremapFlags, ProtFlags, madvise, mmap_anonymous, mremap, munmap};

const LEAST_SHIFT: u32 = 4;
const CLASSES: usize = 12;
/// Blocks above this are mappings of their own.
const SMALL_BYTES: usize = 1 << (LEAST_SHIFT as usize + CLASSES - 1);
const CHUNK_BYTES: usize = 1 << 20;
const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;

struct FreeBlock {
    next: *mut FreeBlock,
}

struct Lists {
    free: [*mut FreeBlock; CLASSES],
    /// Rest of the current chunk.
    at: usize,
    end: usize,
}

pub struct Heap {
    locked: AtomicBool,
    lists: UnsafeCell<Lists>,
}

// SAFETY: `lists` is only touched while `locked` is held.
unsafe impl Sync for Heap {}

impl Heap {
    pub const fn new() -> Heap {
        Heap {
            locked: AtomicBool::new(false),
            lists: UnsafeCell::new(Lists { free: [null_mut(); CLASSES], at: 0, end: 0 }),
        }
    }

    fn with_lists<R>(&self, f: impl FnOnce(&mut Lists) -> R) -> R {
        while self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            core::hint::spin_loop();
        }
        // SAFETY: the lock is held, and `f` cannot reach it again.
        let result = f(unsafe { &mut *self.lists.get() });
        self.locked.store(false, Ordering::Release);
        result
    }
}

/// Size class of a small block: `16 << class` bytes, aligned to as much.
fn class(layout: Layout) -> Option<usize> {
    let bytes = layout.size().max(layout.align()).max(1 << LEAST_SHIFT);
    (bytes <= SMALL_BYTES).then(|| (bytes.next_power_of_two().trailing_zeros() - LEAST_SHIFT) as usize)
}

fn out_of_memory() -> ! {
    crate::system::complain("error: out of memory\n");
    crate::start::exit(6)
}

/// Zero pages; a large mapping in huge pages where the system grants them (a sixth of the cost of the first touch).
fn map(bytes: usize) -> *mut u8 {
    // SAFETY: a new anonymous mapping; advice cannot make it invalid.
    unsafe {
        let Ok(p) = mmap_anonymous(null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) else {
            out_of_memory()
        };
        if bytes >= HUGE_PAGE {
            let _ = madvise(p, bytes, Advice::LinuxHugepage);
        }
        p.cast()
    }
}

// SAFETY: blocks are disjoint, as large and as aligned as asked for, and stay valid until freed.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            return if layout.align() <= PAGE { map(layout.size()) } else { null_mut() };
        };
        let bytes = 1usize << (class + LEAST_SHIFT as usize);
        self.with_lists(|lists| {
            let block = lists.free[class];
            if !block.is_null() {
                // SAFETY: a free block holds the link to the next.
                lists.free[class] = unsafe { (*block).next };
                return block.cast();
            }
            let mut at = lists.at.next_multiple_of(bytes);
            if at + bytes > lists.end {
                let chunk = map(CHUNK_BYTES);
                lists.end = chunk.expose_provenance() + CHUNK_BYTES;
                at = chunk.addr().next_multiple_of(bytes);
            }
            lists.at = at + bytes;
            core::ptr::with_exposed_provenance_mut(at)
        })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise; large blocks are fresh mappings, which are zero.
        unsafe {
            let p = self.alloc(layout);
            if !p.is_null() && class(layout).is_some() {
                p.write_bytes(0, layout.size());
            }
            p
        }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        match class(layout) {
            Some(class) => self.with_lists(|lists| {
                let block = p.cast::<FreeBlock>();
                // SAFETY: the block is ours again, and at least 16 bytes.
                unsafe { block.write(FreeBlock { next: lists.free[class] }) };
                lists.free[class] = block;
            }),
            // SAFETY: the mapping that `alloc` or `realloc` made. It fails only if there are too many mappings.
            None => unsafe { munmap(p.cast(), layout.size()) }.unwrap_or(()),
        }
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        // SAFETY: the caller guarantees that the new size fits a layout of this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(new_bytes, layout.align()) };
        match (class(layout), class(new)) {
            (Some(a), Some(b)) if a == b => p,
            // SAFETY: a mapping of ours; it may move.
            (None, None) => match unsafe { mremap(p.cast(), layout.size(), new_bytes, MremapFlags::MAYMOVE) } {
                Ok(p) => p.cast(),
                Err(_) => out_of_memory(),
            },
            _ => {
                // SAFETY: both blocks are valid for the smaller size and do not overlap.
                unsafe {
                    let to = self.alloc(new);
                    if !to.is_null() {
                        to.copy_from_nonoverlapping(p, layout.size().min(new_bytes));
                        self.dealloc(p, layout);
                    }
                    to
                }
            }
        }
    }
}
