//! System calls: memory, output.

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

/// The running system.
pub struct System;

impl System {
    /// Writes to standard output. A closed pipe ends the program quietly.
    pub fn print(&self, bytes: &[u8]) {
        // SAFETY: nobody closes the descriptor.
        write_all(unsafe { rustix::stdio::stdout() }, bytes);
    }
}

/// Writes to standard error.
pub fn complain(bytes: &[u8]) {
    // SAFETY: nobody closes the descriptor.
    write_all(unsafe { rustix::stdio::stderr() }, bytes);
}

fn write_all(to: rustix::fd::BorrowedFd<'static>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Fresh zero memory that is never given back, in huge pages where the system grants them.
pub fn map(bytes: usize) -> *mut u8 {
    // SAFETY: a new anonymous mapping; the advice cannot make it invalid.
    unsafe {
        match mmap_anonymous(core::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) {
            Ok(p) => {
                let _ = madvise(p, bytes, Advice::LinuxHugepage);
                p.cast()
            }
            Err(_) => core::ptr::null_mut(),
        }
    }
}
