//! Training as one freestanding object: what the functions of a library of `rescc compile --train` call.
//!
//! Same source as the crate `runtime`; `build.rs` compiles this file with `--emit obj`. It does not use the object of
//! inference, so that each kind of library carries what it needs. Undefined symbols are at most `memcpy` and `memset`.
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

#[path = "../src/abi.rs"]
#[allow(dead_code, reason = "the whole contract is in one file; training needs part of it")]
mod abi;
#[path = "../src/arena.rs"]
mod arena;
#[path = "../src/cpuid.rs"]
mod cpuid;
#[path = "../src/driver.rs"]
#[allow(dead_code, reason = "inference is the other object's")]
mod driver;
#[path = "../src/futex.rs"]
mod futex;
#[path = "../src/params.rs"]
mod params;
#[path = "../src/trace.rs"]
#[allow(dead_code, reason = "nothing is measured here")]
mod trace;
#[path = "../src/train.rs"]
mod train;
#[path = "../src/workers.rs"]
mod workers;

use abi::{NULL_ARGUMENT, Par};
use core::ffi::c_char;
use train::{Means, State, Train};

/// Defines `rescc_train_NAME`, which calls the function of that name on a descriptor that is not null.
macro_rules! exports {
    ($($name:ident($($arg:ident: $ty:ty),*) $(with $means:ident)?;)*) => {$(exports! {
        @one $name, concat!("rescc_train_", stringify!($name)), ($($arg: $ty),*), $($means)?
    })*};
    (@one $name:ident, $symbol:expr, ($($arg:ident: $ty:ty),*), means) => {
        #[doc = concat!("See [`train::", stringify!($name), "`].")]
        ///
        /// # Safety
        /// As there.
        #[unsafe(export_name = $symbol)]
        #[allow(clippy::too_many_arguments, reason = "the C API's, and the descriptor")]
        pub unsafe extern "C" fn $name(
            t: *const Train, $($arg: $ty,)* arena: *mut u8, arena_bytes: usize, par: *const Par,
        ) -> i32 {
            // SAFETY: the caller's promise.
            match unsafe { t.as_ref() } {
                // SAFETY: likewise.
                Some(t) => unsafe { train::$name(t, $($arg,)* Means { arena, len_bytes: arena_bytes, par }) },
                None => NULL_ARGUMENT,
            }
        }
    };
    (@one $name:ident, $symbol:expr, ($($arg:ident: $ty:ty),*),) => {
        #[doc = concat!("See [`train::", stringify!($name), "`].")]
        ///
        /// # Safety
        /// As there.
        #[unsafe(export_name = $symbol)]
        pub unsafe extern "C" fn $name(t: *const Train, $($arg: $ty),*) -> i32 {
            // SAFETY: the caller's promise.
            match unsafe { t.as_ref() } {
                // SAFETY: likewise.
                Some(t) => unsafe { train::$name(t, $($arg),*) },
                None => NULL_ARGUMENT,
            }
        }
    };
}

exports! {
    init(state: *mut State);
    step(state: *mut State, x: *const f32, labels: *const i32, rate: f32, loss: *mut f32) with means;
    grad(state: *const State, x: *const f32, labels: *const i32, gradients: *mut f32, loss: *mut f32) with means;
    apply(state: *mut State, gradients: *const f32, rate: f32) with means;
    recalibrate(state: *mut State, x: *const f32, before: u32) with means;
    predict(state: *const State, x: *const f32, y: *mut f32, images: u32) with means;
    save(state: *const State, bytes: *mut u8, len: usize);
    restore(state: *mut State, bytes: *const u8, len: usize);
}

/// See [`train::arena_bytes`].
///
/// # Safety
/// `t` is null or valid.
#[unsafe(export_name = "rescc_train_arena_bytes")]
pub unsafe extern "C" fn arena_bytes(t: *const Train, threads: u32) -> usize {
    // SAFETY: the caller's promise.
    unsafe { t.as_ref() }.map_or(0, |t| train::arena_bytes(t, threads))
}

/// See [`driver::strerror`].
#[unsafe(export_name = "rescc_train_strerror")]
pub extern "C" fn strerror(code: i32) -> *const c_char {
    driver::strerror(code).as_ptr()
}
