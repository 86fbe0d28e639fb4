//! The program around a network that trains, and what that needs of the system besides: folders and signals.

use crate::start;
use crate::system::{Linux, reason};
use alloc::format;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::mem::MaybeUninit;
use core::ptr::from_ref;
use runtime::host::args::Path;
use runtime::host::train::app::{self, System};
use runtime::host::{Error, Kind};
use runtime::train::Train;
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;

unsafe extern "C" {
    /// The descriptor that the compiler wrote.
    static rescc_train: Train;
    /// What it was told of the run, NUL-terminated.
    static rescc_preset: c_char;
}

/// The program. Returns its exit code.
pub fn main(args: &[&[u8]]) -> i32 {
    hold_signals(BLOCK, &HELD);
    // SAFETY: read-only data, which the compiler made for this program: text, and a descriptor whose step gives logits.
    unsafe {
        let preset = CStr::from_ptr(&raw const rescc_preset).to_str().unwrap_or_default();
        app::main(&Linux, &rescc_train, preset, args)
    }
}

impl System for Linux {
    fn make_folder(&self, path: Path) -> Result<(), Error> {
        let mode = Mode::RWXU | Mode::RWXG | Mode::RWXO;
        match rustix::fs::mkdir(path, mode) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(Errno::NOENT) => Err(Error::new(Kind::Write, "cannot be made: there is no such folder")),
            Err(e) => Err(Error::new(Kind::Write, format!("cannot be made: {}", reason(e)))),
        }
    }

    fn list(&self, path: Path) -> Result<Vec<Vec<u8>>, Error> {
        let list = || -> Result<Vec<Vec<u8>>, Errno> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = rustix::fs::open(path, flags, Mode::empty())?;
            let mut memory = [MaybeUninit::uninit(); 4096];
            let mut entries = RawDir::new(folder, &mut memory);
            let mut names = Vec::new();
            while let Some(entry) = entries.next() {
                names.push(entry?.file_name().to_bytes().to_vec());
            }
            Ok(names)
        };
        list().map_err(|e| Error::new(Kind::Read, format!("cannot be read: {}", reason(e))))
    }

    fn remove(&self, path: Path) {
        let _ = rustix::fs::unlink(path);
    }

    fn signal(&self) -> Option<i32> {
        let no_time = [0u64; 2];
        // SAFETY: set and time live as long as the call, which writes nothing.
        let signal = unsafe { start::syscall4(SYS_RT_SIGTIMEDWAIT, exposed(&FINISH), 0, exposed(&no_time), SET_BYTES) };
        if signal <= 0 {
            return None;
        }
        hold_signals(UNBLOCK, &FINISH);
        Some(signal as i32)
    }
}

const SYS_RT_SIGPROCMASK: usize = 14;
const SYS_RT_SIGTIMEDWAIT: usize = 128;
const BLOCK: usize = 0;
const UNBLOCK: usize = 1;
const SET_BYTES: usize = 8;
/// SIGINT and SIGTERM, a bit each.
static FINISH: u64 = 1 << (2 - 1) | 1 << (15 - 1);
/// And SIGPIPE, which would end a run whose progress nobody reads any more: instead, writing fails.
static HELD: u64 = FINISH | 1 << (13 - 1);

/// The address of what the kernel reads: exposed, or a compiler might drop what was written there.
fn exposed<T>(data: &T) -> usize {
    from_ref(data).expose_provenance()
}

/// Lets signals wait, those that ask to finish until [`System::signal`] takes one, or end the process at once: no handler
/// runs. Threads that are started later do as this one.
fn hold_signals(how: usize, set: &u64) {
    // SAFETY: the set lives as long as the call, which writes nothing.
    unsafe { start::syscall4(SYS_RT_SIGPROCMASK, how, exposed(set), 0, SET_BYTES) };
}
