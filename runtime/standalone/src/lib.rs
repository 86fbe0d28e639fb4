//! The host program of a standalone executable: what stands around a compiled model when there is no libc.
//!
//! It is linked with a model's library of prefix `rescc` and brings `_start`, the memory functions that compilers
//! call, a heap, threads, files and a clock; what the program *does* is `runtime::host`. Linux on x86-64.
//!
//! # Invariants
//! - No undefined symbols but those of the model's library and driver (`rescc_model`, `rescc_arena_bytes`,
//!   `rescc_core_infer_traced`).
//! - No thread-local storage: threads are raw clones.
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

extern crate alloc;

mod heap;
mod mem;
mod start;
mod system;

use core::fmt::Write;
use runtime::abi::{Model, Par};
use runtime::host::app;
use runtime::host::engine::Library;

unsafe extern "C" {
    /// The descriptor that the compiler wrote.
    static rescc_model: Model;
    fn rescc_arena_bytes(batch: u32, threads: u32) -> usize;
    /// What the library's `rescc_infer` calls, with a place for the time of each call.
    fn rescc_core_infer_traced(
        model: *const Model,
        x: *const f32,
        y: *mut f32,
        batch: u32,
        arena: *mut u8,
        arena_bytes: usize,
        par: *const Par,
        ticks: *mut u64,
    ) -> i32;
}

/// The library that this program is linked with.
struct Linked;

// SAFETY: the compiler made `infer` for that descriptor.
unsafe impl Library for Linked {
    fn model(&self) -> &Model {
        // SAFETY: read-only data of the library.
        unsafe { &rescc_model }
    }

    fn arena_bytes(&self, batch: u32, threads: u32) -> usize {
        // SAFETY: takes any number.
        unsafe { rescc_arena_bytes(batch, threads) }
    }

    unsafe fn infer(
        &self,
        x: *const f32,
        y: *mut f32,
        batch: u32,
        arena: *mut u8,
        arena_bytes: usize,
        par: *const Par,
        ticks: *mut u64,
    ) -> i32 {
        // SAFETY: the caller's promise.
        unsafe { rescc_core_infer_traced(self.model(), x, y, batch, arena, arena_bytes, par, ticks) }
    }
}

#[global_allocator]
static HEAP: heap::Heap = heap::Heap::new();

/// The program. Returns its exit code.
fn main(args: &[&[u8]]) -> i32 {
    app::main(&system::Linux, &Linked, args)
}

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
