//! Process entry and exit.

use alloc::vec::Vec;
use core::arch::{asm, global_asm};
use core::ffi::{CStr, c_char};

// The kernel enters with the argument block at the stack pointer; the ABI wants a 16-byte aligned stack before a call.
global_asm!(
    ".globl _start",
    ".type _start, @function",
    ".weak _DYNAMIC",
    ".hidden _DYNAMIC",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "lea rsi, [rip + _DYNAMIC]",
    "and rsp, -16",
    "call {relocate}",
    "mov rdi, rax",
    "call {start}",
    "ud2",
    relocate = sym relocate,
    start = sym start,
);

/// Entries of the auxiliary vector, program headers, dynamic section that matter here.
mod elf {
    pub const AT_PHDR: usize = 3;
    pub const AT_PHNUM: usize = 5;
    pub const PT_DYNAMIC: u32 = 2;
    pub const PT_GNU_RELRO: u32 = 0x6474_e552;
    pub const DT_RELA: usize = 7;
    pub const DT_RELASZ: usize = 8;
    pub const R_X86_64_RELATIVE: usize = 8;

    #[repr(C)]
    pub struct ProgramHeader {
        pub kind: u32,
        pub flags: u32,
        pub offset: usize,
        pub address: usize,
        pub physical: usize,
        pub file_bytes: usize,
        pub memory_bytes: usize,
        pub align: usize,
    }

    #[repr(C)]
    pub struct Rela {
        pub offset: usize,
        pub info: usize,
        pub addend: usize,
    }
}

/// Relocates a position-independent executable, then write-protects what the linker asks for; returns `block`.
///
/// Nothing but this function runs before the pointers in data are right, so it uses none.
///
/// # Safety
/// Called once, first, with the kernel's argument block and the address of `_DYNAMIC` (null if there is none).
unsafe extern "C" fn relocate(block: *const usize, dynamic: *const usize) -> *const usize {
    if dynamic.is_null() {
        return block;
    }
    // SAFETY: the block is argc, argv, 0, environment, 0, auxiliary vector up to a zero entry.
    unsafe {
        let mut aux = block.add(*block + 2);
        while *aux != 0 {
            aux = aux.add(1);
        }
        aux = aux.add(1);
        let (mut headers, mut count) = (core::ptr::null::<elf::ProgramHeader>(), 0);
        while *aux != 0 {
            match *aux {
                elf::AT_PHDR => headers = *aux.add(1) as *const elf::ProgramHeader,
                elf::AT_PHNUM => count = *aux.add(1),
                _ => {}
            }
            aux = aux.add(2);
        }
        let mut base = 0usize;
        for i in 0..count {
            let header = &*headers.add(i);
            if header.kind == elf::PT_DYNAMIC {
                base = (dynamic as usize).wrapping_sub(header.address);
            }
        }
        let (mut rela, mut rela_bytes) = (0, 0);
        let mut entry = dynamic;
        while *entry != 0 {
            match *entry {
                elf::DT_RELA => rela = *entry.add(1),
                elf::DT_RELASZ => rela_bytes = *entry.add(1),
                _ => {}
            }
            entry = entry.add(2);
        }
        let relas = base.wrapping_add(rela) as *const elf::Rela;
        for i in 0..rela_bytes / size_of::<elf::Rela>() {
            let r = &*relas.add(i);
            if r.info & 0xffff_ffff == elf::R_X86_64_RELATIVE {
                *(base.wrapping_add(r.offset) as *mut usize) = base.wrapping_add(r.addend);
            }
        }
        for i in 0..count {
            let header = &*headers.add(i);
            if header.kind == elf::PT_GNU_RELRO {
                let from = base.wrapping_add(header.address) & !4095;
                let to = base.wrapping_add(header.address + header.memory_bytes) & !4095;
                syscall3(SYS_MPROTECT, from, to - from, PROT_READ);
            }
        }
    }
    block
}

/// # Safety
/// `block` is the kernel's argument block.
unsafe extern "C" fn start(block: *const usize) -> ! {
    // SAFETY: argc, then argc pointers to NUL-terminated strings that live as long as the process.
    let args: Vec<&[u8]> = unsafe {
        let argv = block.add(1).cast::<*const c_char>();
        (0..*block).map(|i| CStr::from_ptr(*argv.add(i)).to_bytes()).collect()
    };
    exit(crate::main(&args))
}

const SYS_MPROTECT: usize = 10;
const SYS_EXIT: usize = 60;
const SYS_EXIT_GROUP: usize = 231;
const PROT_READ: usize = 1;

/// Ends the process.
pub fn exit(code: i32) -> ! {
    // SAFETY: does not return.
    unsafe { syscall3(SYS_EXIT_GROUP, code as usize, 0, 0) };
    loop {
        core::hint::spin_loop();
    }
}

/// Ends this thread.
pub fn exit_thread() -> ! {
    // SAFETY: does not return; the stack stays mapped.
    unsafe { syscall3(SYS_EXIT, 0, 0, 0) };
    loop {
        core::hint::spin_loop();
    }
}

/// # Safety
/// As the system call.
#[inline(always)]
unsafe fn syscall3(number: usize, a: usize, b: usize, c: usize) -> isize {
    // SAFETY: the caller's promise; what the call does not take is ignored.
    unsafe { syscall4(number, a, b, c, 0) }
}

/// # Safety
/// As the system call.
#[inline(always)]
pub unsafe fn syscall4(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: the caller's promise; the kernel clobbers rcx and r11.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            lateout("rcx") _, lateout("r11") _, options(nostack))
    };
    result
}
