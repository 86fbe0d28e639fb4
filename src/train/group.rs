//! The processes that train together, and how they stay of one mind.
//!
//! Each process is a rank: it computes its part of every batch, and all of them take the same new state from the sum.
//! What can fail on one of them only is agreed upon before the next sum, so that no rank waits for one that has left.

use crate::render::Failure;
use ir::Diagnostic;
#[cfg(not(feature = "mpi"))]
use ir::diag::Class;
use std::ops::Range;

pub trait Group {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;

    /// The number of processes, a power of two where there are sums.
    fn size(&self) -> usize;

    /// `values` become their sums over the ranks, added as a binary tree: neighbours first.
    fn sum(&self, values: &mut [f32]);

    /// Each word becomes the largest of those of all ranks.
    fn most(&self, words: &mut [u64]);
}

/// One process.
pub struct Alone;

impl Group for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn sum(&self, _: &mut [f32]) {}

    fn most(&self, _: &mut [u64]) {}
}

/// The processes that MPI's launcher has started, or this one alone.
///
/// Errors: E0916 without MPI.
pub fn join(mpi: bool) -> Result<Box<dyn Group>, Failure> {
    if !mpi {
        return Ok(Box::new(Alone));
    }
    #[cfg(feature = "mpi")]
    return Ok(Box::new(super::mpi::Mpi::join()?));
    #[cfg(not(feature = "mpi"))]
    Err(Diagnostic::error("E0916", "this rescc is built without MPI")
        .class(Class::Toolchain)
        .help(
            "`tools/install-mpi.sh` installs OpenMPI, and `cargo build --release --features mpi` builds rescc with it",
        )
        .into())
}

/// Whether this rank writes and says what concerns all.
pub fn leads(group: &dyn Group) -> bool {
    group.rank() == 0
}

/// This rank's part of `n` things in a row.
pub fn part(group: &dyn Group, n: u64) -> Range<u64> {
    let (rank, size) = (group.rank() as u64, group.size() as u64);
    n * rank / size..n * (rank + 1) / size
}

/// `result`, if it is `Ok` on every rank. Else the first rank that failed keeps its failure, and the others have an
/// empty one: it is said once.
pub fn agree<T>(group: &dyn Group, result: Result<T, Failure>) -> Result<T, Failure> {
    let mine = if result.is_err() { (group.size() - group.rank()) as u64 } else { 0 };
    let mut worst = [mine];
    group.most(&mut worst);
    if worst[0] == mine { result } else { Err(Failure::default()) }
}

/// The signal that asks some rank to finish, if one does.
pub fn signal(group: &dyn Group, mine: Option<i32>) -> Option<i32> {
    let mut signal = [mine.unwrap_or(0).unsigned_abs().into()];
    group.most(&mut signal);
    i32::try_from(signal[0]).ok().filter(|s| *s != 0)
}

/// The sum of what the ranks counted.
pub fn total(group: &dyn Group, mine: u64) -> u64 {
    let mut counts = vec![0; group.size()];
    counts[group.rank()] = mine;
    group.most(&mut counts);
    counts.iter().sum()
}

/// Refuses a group whose ranks begin with different `bytes`.
///
/// Errors: E0917.
pub fn same(group: &dyn Group, bytes: &[u8]) -> Result<(), Failure> {
    let words = bytes.chunks(8).map(|c| c.iter().fold(0, |word, &b| word << 8 | u64::from(b)));
    // The largest and, by complements, the smallest: if they are not one, no rank has both.
    let mine: Vec<u64> = words.flat_map(|w| [w, !w]).collect();
    let mut most = mine.clone();
    group.most(&mut most);
    if most == mine {
        return Ok(());
    }
    let d = Diagnostic::error("E0917", "the ranks of the run do not begin with the same state");
    let d = d.note("model, data, settings, checkpoint, target and version of rescc must be the same on all machines");
    let d = d.help("copy them, or let all machines see one folder; --target x86-64-v3 is the same everywhere");
    agree(group, Err(d.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_and_are_everything() {
        struct Rank(usize, usize);
        impl Group for Rank {
            fn rank(&self) -> usize {
                self.0
            }
            fn size(&self) -> usize {
                self.1
            }
            fn sum(&self, _: &mut [f32]) {}
            fn most(&self, _: &mut [u64]) {}
        }
        for (n, size) in [(16, 4), (10, 4), (3, 8)] {
            let parts: Vec<u64> = (0..size).flat_map(|r| part(&Rank(r, size), n)).collect();
            assert_eq!(parts, (0..n).collect::<Vec<u64>>());
        }
    }

    #[cfg(not(feature = "mpi"))]
    #[test]
    fn without_mpi_there_is_a_remedy() {
        let failure = join(true).err().expect("no MPI");
        let d = &failure.diagnostics.0[0];
        assert_eq!((d.code, failure.exit_code()), ("E0916", 7));
        assert!(d.help.as_ref().is_some_and(|h| h.contains("--features mpi")));
        assert!(join(false).is_ok_and(|g| g.size() == 1));
    }
}
