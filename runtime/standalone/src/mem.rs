//! The memory functions that compilers call without being asked.
//!
//! Written with `rep` string instructions and with loops that the optimiser cannot recognise as what they are (it
//! would turn them into calls of themselves).

use core::arch::asm;

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: `n` bytes are valid at both; up to 16 bytes by overlapping words, the rest by the string instruction.
    unsafe {
        if n > 16 {
            asm!("rep movsb", inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        } else if n >= 8 {
            let (a, b) = (from.cast::<u64>().read_unaligned(), from.add(n - 8).cast::<u64>().read_unaligned());
            to.cast::<u64>().write_unaligned(a);
            to.add(n - 8).cast::<u64>().write_unaligned(b);
        } else if n >= 4 {
            let (a, b) = (from.cast::<u32>().read_unaligned(), from.add(n - 4).cast::<u32>().read_unaligned());
            to.cast::<u32>().write_unaligned(a);
            to.add(n - 4).cast::<u32>().write_unaligned(b);
        } else if n > 0 {
            let (a, b, c) = (*from, *from.add(n / 2), *from.add(n - 1));
            *to = a;
            *to.add(n / 2) = b;
            *to.add(n - 1) = c;
        }
    }
    to
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: forwards is right unless the target starts inside the source; then from the end, 8 bytes at a time.
    unsafe {
        if n <= 16 || to.addr().wrapping_sub(from.addr()) >= n {
            return memcpy(to, from, n);
        }
        let mut left = n;
        while left >= 8 {
            left -= 8;
            let word = from.add(left).cast::<u64>().read_unaligned();
            asm!("", options(nomem, nostack, preserves_flags));
            to.add(left).cast::<u64>().write_unaligned(word);
        }
        // The first `left` bytes are still as they were: nothing below `to + left` was written.
        memcpy_backwards_tail(to, from, left);
    }
    to
}

/// # Safety
/// Up to 7 bytes are valid at both, `to > from`.
unsafe fn memcpy_backwards_tail(to: *mut u8, from: *const u8, mut n: usize) {
    while n > 0 {
        n -= 1;
        // SAFETY: in range.
        unsafe {
            asm!("", options(nomem, nostack, preserves_flags));
            *to.add(n) = *from.add(n);
        }
    }
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(to: *mut u8, value: i32, n: usize) -> *mut u8 {
    // SAFETY: `n` bytes are valid.
    unsafe {
        asm!("rep stosb", inout("rcx") n => _, inout("rdi") to => _, in("al") value as u8,
            options(nostack, preserves_flags));
    }
    to
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    let mut i = 0;
    // SAFETY: `n` bytes are valid at both.
    unsafe {
        while i + 8 <= n {
            let x = a.add(i).cast::<u64>().read_unaligned();
            let y = b.add(i).cast::<u64>().read_unaligned();
            if x != y {
                return if x.swap_bytes() < y.swap_bytes() { -1 } else { 1 };
            }
            i += 8;
        }
        while i < n {
            let (x, y) = (*a.add(i), *b.add(i));
            if x != y {
                return i32::from(x) - i32::from(y);
            }
            i += 1;
        }
    }
    0
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { memcmp(a, b, n) }
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strlen(s: *const u8) -> usize {
    let mut n = 0;
    // SAFETY: a NUL follows.
    unsafe {
        while *s.add(n) != 0 {
            asm!("", options(nomem, nostack, preserves_flags));
            n += 1;
        }
    }
    n
}
