//! The program around a model: it classifies.

use crate::system::Linux;
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

/// The program. Returns its exit code.
pub fn main(args: &[&[u8]]) -> i32 {
    app::main(&Linux, &Linked, args)
}
