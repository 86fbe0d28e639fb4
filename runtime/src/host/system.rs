//! The system as programs here see it.

use super::Error;
use super::args::Path;
use super::pool::Pool;
use alloc::vec::Vec;

/// What the program needs of the system that it runs on.
pub trait System {
    /// A whole file of at most `most` bytes; `-` is standard input.
    fn read(&self, path: Path, most: u64) -> Result<Vec<u8>, Error>;
    /// Replaces or makes a file; `-` is standard output.
    fn write(&self, path: Path, bytes: &[u8]) -> Result<(), Error>;
    /// Standard output. Ends the program if that is gone.
    fn print(&self, text: &str);
    /// Standard error.
    fn complain(&self, text: &str);
    /// A clock that never goes back.
    fn now_ns(&self) -> u64;
    /// CPUs that this process may use.
    fn cpus(&self) -> u32;
    /// The process' pool, with at least that many threads serving it.
    fn pool(&self, helpers: u32) -> &Pool;
}
