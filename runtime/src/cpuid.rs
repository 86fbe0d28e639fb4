//! Does this CPU run code of a given x86-64 level?
//!
//! Levels as the x86-64 psABI defines them; the operating system must have enabled the registers as well.

/// 2 to 4 for the names `x86-64-v2` to `-v4`; 0 for any other, which promises nothing.
///
/// # Safety
/// `name` is NUL-terminated.
pub unsafe fn level_of_name(name: *const u8) -> u8 {
    const PREFIX: &[u8] = b"x86-64-v";
    for (i, &expected) in PREFIX.iter().enumerate() {
        // SAFETY: the bytes before this one matched, so none of them was the NUL.
        if unsafe { *name.add(i) } != expected {
            return 0;
        }
    }
    // SAFETY: likewise; the second byte is read only if the first is not the NUL.
    match unsafe { *name.add(PREFIX.len()) } {
        level @ b'2'..=b'4' if unsafe { *name.add(PREFIX.len() + 1) } == 0 => level - b'0',
        _ => 0,
    }
}

/// The level of the CPU that runs this, asked once.
///
/// `cpuid` leaves a virtual machine (1 µs to 70 µs each), too much for every inference of a small network. The
/// answer is a constant of the machine, so the byte that keeps it is the driver's only mutable global: whoever
/// writes it writes the same value.
#[cfg(target_arch = "x86_64")]
pub fn level_of_cpu() -> u8 {
    use core::sync::atomic::{AtomicU8, Ordering};
    static LEVEL: AtomicU8 = AtomicU8::new(0);
    let known = LEVEL.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let level = detect();
    LEVEL.store(level, Ordering::Relaxed);
    level
}

/// Code for another architecture is checked by whoever loads it.
#[cfg(not(target_arch = "x86_64"))]
pub fn level_of_cpu() -> u8 {
    0
}

#[cfg(target_arch = "x86_64")]
fn detect() -> u8 {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    let most = __cpuid(0).eax;
    if most < 1 {
        return 1;
    }
    let basic = __cpuid(1);
    let extended = if __cpuid(0x8000_0000).eax >= 0x8000_0001 { __cpuid(0x8000_0001).ecx } else { 0 };
    let leaf7 = if most >= 7 { __cpuid_count(7, 0).ebx } else { 0 };

    // SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; LAHF-SAHF.
    const V2: u32 = 1 | 1 << 9 | 1 << 13 | 1 << 19 | 1 << 20 | 1 << 23;
    if basic.ecx & V2 != V2 || extended & 1 == 0 {
        return 1;
    }
    // FMA, MOVBE, OSXSAVE, AVX, F16C; LZCNT; BMI1, AVX2, BMI2.
    const V3: u32 = 1 << 12 | 1 << 22 | 1 << 27 | 1 << 28 | 1 << 29;
    const V3_LEAF7: u32 = 1 << 3 | 1 << 5 | 1 << 8;
    if basic.ecx & V3 != V3 || extended & 1 << 5 == 0 || leaf7 & V3_LEAF7 != V3_LEAF7 {
        return 2;
    }
    let enabled = enabled_registers();
    if enabled & 0b110 != 0b110 {
        return 2;
    }
    // AVX512F, DQ, CD, BW, VL; mask registers and both halves of the upper registers.
    const V4_LEAF7: u32 = 1 << 16 | 1 << 17 | 1 << 28 | 1 << 30 | 1 << 31;
    if leaf7 & V4_LEAF7 != V4_LEAF7 || enabled & 0b1110_0000 != 0b1110_0000 {
        return 3;
    }
    4
}

/// Register sets that the operating system saves (XCR0).
#[cfg(target_arch = "x86_64")]
fn enabled_registers() -> u32 {
    let low: u32;
    // SAFETY: only called when CPUID reports OSXSAVE, which is what `xgetbv` needs.
    unsafe {
        core::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _, options(nomem, nostack, preserves_flags))
    };
    low
}
