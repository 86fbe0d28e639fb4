//! The host program of a standalone executable: what stands around a compiled model when there is no libc.
//!
//! It is linked with a model's library of prefix `rescc`, or with feature `train` with a library that trains, and brings
//! `_start`, the memory functions that compilers call, a heap, threads, files and a clock; what the program *does* is
//! `runtime::host`. Linux on x86-64.
//!
//! # Invariants
//! - No undefined symbols but those of the library that `infer` or `train` declares.
//! - No thread-local storage: threads are raw clones.
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

extern crate alloc;

mod heap;
mod mem;
mod start;
mod system;

#[cfg(not(feature = "train"))]
mod infer;
#[cfg(feature = "train")]
mod train;

use core::fmt::Write;
#[cfg(not(feature = "train"))]
use infer::main;
#[cfg(feature = "train")]
use train::main;

#[global_allocator]
static HEAP: heap::Heap = heap::Heap::new();

/// Standard error without the heap.
struct Complaint;

impl Write for Complaint {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        system::complain(text);
        Ok(())
    }
}

/// A panic is a bug of ours: says where.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    let _ = writeln!(Complaint, "internal error, please report it: {info}");
    start::exit(70)
}

// The precompiled `alloc` names the unwinder; nothing unwinds here, so these are never called.

#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    start::exit(70)
}
