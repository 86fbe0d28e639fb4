//! Files, output, clock and threads by system calls.

use crate::start;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};
use runtime::host::app::System;
use runtime::host::args::Path;
use runtime::host::pool::Pool;
use runtime::host::{Error, Kind, MAX_FILE_BYTES};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};

/// Linux without libc.
pub struct Linux;

static POOL: Pool = Pool::new();
/// Helpers that were started.
static HELPERS: AtomicU32 = AtomicU32::new(0);

impl System for Linux {
    fn read(&self, path: Path) -> Result<Vec<u8>, Error> {
        let failed = |e| Error::new(Kind::Read, format!("cannot be read: {}", reason(e)));
        if path == b"-" {
            // SAFETY: nobody closes the descriptor.
            return read_to_end(unsafe { rustix::stdio::stdin() }, 0, failed);
        }
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(failed(Errno::ISDIR));
        }
        read_to_end(file.as_fd(), stat.st_size as u64, failed)
    }

    fn write(&self, path: Path, bytes: &[u8]) -> Result<(), Error> {
        let failed = |e| {
            let reason = if e == Errno::NOENT { "there is no such folder".to_string() } else { reason(e) };
            Error::new(Kind::Write, format!("cannot be written: {reason}"))
        };
        write_file(path, bytes).map_err(failed)
    }

    fn print(&self, text: &str) {
        // SAFETY: nobody closes the descriptor.
        match write_all(unsafe { rustix::stdio::stdout() }, text.as_bytes()) {
            Ok(()) => {}
            // As if the signal had not been ignored.
            Err(Errno::PIPE) => start::exit(141),
            Err(e) => {
                complain(&format!("error: standard output: cannot be written: {}\n", reason(e)));
                start::exit(5)
            }
        }
    }

    fn complain(&self, text: &str) {
        complain(text);
    }

    fn now_ns(&self) -> u64 {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
    }

    fn cpus(&self) -> u32 {
        rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count())
    }

    /// A helper that cannot be started is left out: the caller does its work.
    fn pool(&self, helpers: u32) -> &Pool {
        while HELPERS.load(Ordering::Relaxed) < helpers && start_helper().is_ok() {
            HELPERS.fetch_add(1, Ordering::Relaxed);
        }
        &POOL
    }
}

/// Writes to standard error, as far as that is possible.
pub fn complain(text: &str) {
    // SAFETY: nobody closes the descriptor.
    let _ = write_all(unsafe { rustix::stdio::stderr() }, text.as_bytes());
}

/// What an error number means, for the usual ones.
pub fn reason(e: Errno) -> String {
    let text = match e {
        Errno::NOENT => "there is no such file",
        Errno::ACCESS | Errno::PERM => "permission denied",
        Errno::ISDIR => "it is a directory",
        Errno::NOTDIR => "a part of the path is no directory",
        Errno::NOSPC => "no space is left",
        Errno::DQUOT => "the quota is exceeded",
        Errno::ROFS => "the file system is read-only",
        Errno::NAMETOOLONG => "the name is too long",
        Errno::LOOP => "too many symbolic links",
        Errno::MFILE | Errno::NFILE => "too many files are open",
        Errno::IO => "the device reports an error",
        _ => return format!("system error {}", e.raw_os_error()),
    };
    text.to_string()
}

/// Reads to the end; `expected` bytes are likely.
fn read_to_end(file: BorrowedFd, expected: u64, failed: impl Fn(Errno) -> Error) -> Result<Vec<u8>, Error> {
    let limit = || Error::new(Kind::Limit, format!("larger than the limit of {} MiB", MAX_FILE_BYTES >> 20));
    if expected > MAX_FILE_BYTES {
        return Err(limit());
    }
    // One byte more than expected, so that the end is seen without growing.
    let mut bytes = alloc::vec![0; (expected as usize + 1).max(1 << 16)];
    let mut len = 0;
    loop {
        if len == bytes.len() {
            bytes.resize(2 * len, 0);
        }
        match rustix::io::read(file, &mut bytes[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(failed(e)),
        }
        if len as u64 > MAX_FILE_BYTES {
            return Err(limit());
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

fn write_all(to: BorrowedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Writes beside the target, then renames: the old file stays whole until the new one is.
fn write_file(path: Path, bytes: &[u8]) -> Result<(), Errno> {
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
    if let Ok(stat) = rustix::fs::stat(path) {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Errno::ISDIR),
            // Devices and pipes are written where they are.
            _ => return write_all(rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, mode)?.as_fd(), bytes),
        }
    }
    let mut beside = path.to_vec();
    beside.extend_from_slice(format!(".{}.tmp", rustix::thread::gettid().as_raw_nonzero()).as_bytes());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(&beside[..], flags, mode)?;
    let written = write_all(file.as_fd(), bytes)
        .and_then(|()| rustix::fs::fsync(&file))
        .and_then(|()| rustix::fs::renameat(CWD, &beside[..], CWD, path));
    if written.is_err() {
        let _ = rustix::fs::unlink(&beside[..]);
    }
    written
}

/// Kernels keep little on the stack, and pages cost nothing until touched.
const STACK_BYTES: usize = 256 << 10;
const GUARD_BYTES: usize = 4096;

/// Starts a thread that serves the pool for the rest of the process.
fn start_helper() -> Result<(), Errno> {
    // SAFETY: a new mapping; its lowest page becomes a guard.
    let top = unsafe {
        let stack = mmap_anonymous(
            core::ptr::null_mut(),
            STACK_BYTES + GUARD_BYTES,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::STACK,
        )?;
        mprotect(stack, GUARD_BYTES, MprotectFlags::empty())?;
        stack.byte_add(STACK_BYTES + GUARD_BYTES)
    };
    const SYS_CLONE: usize = 56;
    /// VM, FS, FILES, SIGHAND, THREAD, SYSVSEM.
    const FLAGS: usize = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;
    let result: isize;
    // SAFETY: the child runs on its own stack, 16-byte aligned, and never returns from `helper`; the parent goes on
    // behind the block. No thread-local storage is used, so sharing the parent's is harmless.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "call {helper}",
            "ud2",
            "2:",
            helper = sym helper,
            inlateout("rax") SYS_CLONE as isize => result,
            in("rdi") FLAGS,
            in("rsi") top,
            in("rdx") 0,
            in("r10") 0,
            in("r8") 0,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    if result < 0 { Err(Errno::from_raw_os_error(-result as i32)) } else { Ok(()) }
}

extern "C" fn helper() -> ! {
    POOL.serve();
    start::exit_thread()
}
