//! The host program of a standalone executable: what stands around a compiled model when there is no libc.
//!
//! It is linked with a model's library of prefix `rescc` and brings `_start`, the memory functions that compilers
//! call, a heap, threads, files and a clock; what the program *does* is `runtime::host`. Linux on x86-64.
//!
//! # Invariants
//! - No undefined symbols but those of the model's library (`rescc_model`, `rescc_infer`, `rescc_arena_bytes`).
//! - No thread-local storage: threads are raw clones.
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

extern crate alloc;

mod heap;
mod mem;
mod start;
mod system;

use alloc::vec::Vec;
use runtime::abi::Model;
use system::System;

unsafe extern "C" {
    /// The descriptor that the compiler wrote.
    static rescc_model: Model;
    fn rescc_infer(
        x: *const f32,
        y: *mut f32,
        batch: u32,
        arena: *mut u8,
        arena_bytes: usize,
        par: *const runtime::abi::Par,
    ) -> i32;
    fn rescc_arena_bytes(batch: u32, threads: u32) -> usize;
}

#[global_allocator]
static HEAP: heap::Heap = heap::Heap::new();

/// The program. Returns its exit code.
fn main(_args: &[&[u8]]) -> i32 {
    // SAFETY: the model's library defines the descriptor and never changes it.
    let model = unsafe { &rescc_model };
    let elements = (model.channels * model.height * model.width * model.batch) as usize;
    let mut y: Vec<f32> = alloc::vec![0.0; (model.classes * model.batch) as usize];
    let x: Vec<f32> = alloc::vec![0.0; elements];
    // SAFETY: sizes as the descriptor says; the arena is fresh, page-aligned memory.
    let code = unsafe {
        let bytes = rescc_arena_bytes(model.batch, 1);
        let arena = system::map(bytes.max(1));
        rescc_infer(x.as_ptr(), y.as_mut_ptr(), model.batch, arena, bytes, core::ptr::null())
    };
    let best = (0..y.len()).max_by(|&a, &b| y[a].total_cmp(&y[b])).unwrap_or(0);
    System.print(alloc::format!("code {code}, class of the zero image {best}\n").as_bytes());
    i32::from(code != 0)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    // A panic is a bug of ours; say where, without the heap.
    system::complain(b"internal error at ");
    if let Some(place) = info.location() {
        system::complain(place.file().as_bytes());
        let mut digits = [b'0'; 11];
        digits[0] = b':';
        let mut line = place.line();
        for d in digits[1..].iter_mut().rev() {
            *d = b'0' + (line % 10) as u8;
            line /= 10;
        }
        system::complain(&digits);
    }
    system::complain(b"\n");
    start::exit(70)
}

// The precompiled `alloc` names the unwinder; nothing unwinds here, so these are never called.

#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    start::exit(70)
}
