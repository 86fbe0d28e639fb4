//! Files, output, clock and threads by system calls.

use crate::start;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};
use runtime::host::args::Path;
use runtime::host::pool::Pool;
use runtime::host::system::System;
use runtime::host::{Error, Kind};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};

/// Linux without libc.
pub struct Linux;

static POOL: Pool = Pool::new();
/// Helpers that were started.
static HELPERS: AtomicU32 = AtomicU32::new(0);

impl System for Linux {
    fn read(&self, path: Path, most: u64) -> Result<Vec<u8>, Error> {
        let failed = |e| Error::new(Kind::Read, format!("cannot be read: {}", reason(e)));
        if path == b"-" {
            // SAFETY: nobody closes the descriptor.
            return read_to_end(unsafe { rustix::stdio::stdin() }, 0, most, failed);
        }
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(failed(Errno::ISDIR));
        }
        read_to_end(file.as_fd(), stat.st_size as u64, most, failed)
    }

    fn write(&self, path: Path, bytes: &[u8]) -> Result<(), Error> {
        let failed = |e| {
            let reason = if e == Errno::NOENT { "there is no such folder".to_string() } else { reason(e) };
            Error::new(Kind::Write, format!("cannot be written: {reason}"))
        };
        write_file(path, bytes).map_err(failed)
    }

    fn print(&self, text: &str) {
        if let Err(e) = write_stdout(text.as_bytes()) {
            complain(&format!("error: standard output: cannot be written: {}\n", reason(e)));
            start::exit(5)
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

/// Reads to the end, at most `most` bytes; `expected` are likely.
fn read_to_end(file: BorrowedFd, expected: u64, most: u64, failed: impl Fn(Errno) -> Error) -> Result<Vec<u8>, Error> {
    let limit = || Error::new(Kind::Limit, format!("larger than the limit of {} MiB", most >> 20));
    if expected > most {
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
        if len as u64 > most {
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

/// Writes to standard output. A reader that has gone away ends the process, though the signal is ignored or blocked.
fn write_stdout(bytes: &[u8]) -> Result<(), Errno> {
    // SAFETY: nobody closes the descriptor.
    match write_all(unsafe { rustix::stdio::stdout() }, bytes) {
        Err(Errno::PIPE) => start::exit(141),
        result => result,
    }
}

const STDOUT: &[u8] = b"/dev/stdout";

/// Writes beside the target, then renames: the old file stays whole until the new one is. Standard output, devices and
/// pipes are written where they are; a link stays one, and what it leads to is replaced.
fn write_file(path: Path, bytes: &[u8]) -> Result<(), Errno> {
    let path = if path == b"-" { STDOUT.to_vec() } else { follow(path) };
    if [STDOUT, b"/dev/fd/1", b"/proc/self/fd/1"].contains(&&path[..]) {
        return write_stdout(bytes);
    }
    let kind = match rustix::fs::stat(&path[..]) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(Errno::NOENT) => FileType::RegularFile,
        Err(e) => return Err(e),
    };
    if kind == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    if kind != FileType::RegularFile || names_open_file(&path) {
        let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC;
        return write_all(rustix::fs::open(&path[..], flags, Mode::empty())?.as_fd(), bytes);
    }
    let folder = &path[..folder_len(&path)];
    let (beside, file) = create_in(folder)?;
    let written = write_all(file.as_fd(), bytes)
        .and_then(|()| rustix::fs::fsync(&file))
        .and_then(|()| rustix::fs::renameat(CWD, &beside[..], CWD, &path[..]));
    if written.is_err() {
        let _ = rustix::fs::unlink(&beside[..]);
        return written;
    }
    // A rename is durable once its folder is; not every file system can do that.
    let folder: Path = if folder.is_empty() { b"." } else { folder };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let _ = rustix::fs::open(folder, flags, Mode::empty()).and_then(rustix::fs::fsync);
    Ok(())
}

/// Whether `path` is another name of a file that is open: replacing what it leads to would not reach that.
fn names_open_file(path: Path) -> bool {
    let folder = &path[..folder_len(path)];
    path == STDOUT || folder == b"/dev/fd/" || (folder.starts_with(b"/proc/") && folder.ends_with(b"/fd/"))
}

/// Where `path` leads to if it is a link. One of a circle stays what it is.
fn follow(path: Path) -> Vec<u8> {
    /// As many as the kernel follows.
    const MOST: usize = 40;
    let mut path = path.to_vec();
    for _ in 0..MOST {
        if names_open_file(&path) {
            break;
        }
        let Ok(to) = rustix::fs::readlink(&path[..], Vec::<u8>::new()) else { break };
        let to = to.as_bytes();
        path.truncate(if to.starts_with(b"/") { 0 } else { folder_len(&path) });
        path.extend_from_slice(to);
    }
    path
}

/// Bytes up to the last slash.
fn folder_len(path: Path) -> usize {
    path.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1)
}

/// A new file in a folder, and its path.
fn create_in(folder: Path) -> Result<(Vec<u8>, OwnedFd), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        // Numbers of threads repeat in containers, and a run that was killed leaves its file.
        let name = format!(".rescc-{}-{:x}.tmp", rustix::thread::gettid().as_raw_nonzero(), Linux.now_ns());
        let path = [folder, name.as_bytes()].concat();
        match rustix::fs::open(&path[..], flags, Mode::from_raw_mode(0o666)) {
            Err(Errno::EXIST) => {}
            file => return Ok((path, file?)),
        }
    }
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
