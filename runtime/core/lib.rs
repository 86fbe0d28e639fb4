//! The driver as one freestanding object: what a compiled model's own `infer` calls.
//!
//! Same source as the crate `runtime`; `build.rs` compiles this file with `--emit obj`. Undefined symbols of the
//! object are at most `memcpy` and `memset`.
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

#[path = "../src/abi.rs"]
#[allow(dead_code, reason = "the whole contract is in one file; the driver needs part of it")]
mod abi;
#[path = "../src/arena.rs"]
mod arena;
#[path = "../src/cpuid.rs"]
mod cpuid;
#[path = "../src/driver.rs"]
#[allow(dead_code, reason = "what training needs is the other object's")]
mod driver;
#[path = "../src/futex.rs"]
mod futex;
#[path = "../src/params.rs"]
mod params;
#[path = "../src/trace.rs"]
mod trace;
#[path = "../src/workers.rs"]
mod workers;

use abi::{Model, Par};
use core::ffi::c_char;

/// See [`driver::infer`].
///
/// # Safety
/// As [`driver::infer`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rescc_core_infer(
    model: *const Model,
    x: *const f32,
    y: *mut f32,
    batch: u32,
    arena: *mut u8,
    arena_bytes: usize,
    par: *const Par,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { driver::infer(model, x, y, batch, arena, arena_bytes, par) }
}

/// See [`driver::infer_traced`].
///
/// # Safety
/// As [`driver::infer_traced`].
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments, reason = "the C API's, and one more")]
pub unsafe extern "C" fn rescc_core_infer_traced(
    model: *const Model,
    x: *const f32,
    y: *mut f32,
    batch: u32,
    arena: *mut u8,
    arena_bytes: usize,
    par: *const Par,
    ticks: *mut u64,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { driver::infer_traced(model, x, y, batch, arena, arena_bytes, par, ticks) }
}

/// See [`driver::arena_bytes`].
///
/// # Safety
/// `model` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rescc_core_arena_bytes(model: *const Model, batch: u32, threads: u32) -> usize {
    // SAFETY: the caller's promise.
    match unsafe { model.as_ref() } {
        Some(model) => driver::arena_bytes(model, batch, threads),
        None => 0,
    }
}

/// See [`driver::strerror`].
#[unsafe(no_mangle)]
pub extern "C" fn rescc_core_strerror(code: i32) -> *const c_char {
    driver::strerror(code).as_ptr()
}
