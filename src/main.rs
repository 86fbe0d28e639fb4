//! The `rescc` command. Everything is in the library; see `rescc::cli`.

fn main() -> std::process::ExitCode {
    return_large_blocks();
    rescc::cli::main()
}

/// Has tensors given back to the system when they are dropped. Left alone, glibc raises its threshold to the largest
/// block that was freed, up to 32 MiB, and keeps everything below: half a gigabyte, when weights are linked.
fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator's; no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}
