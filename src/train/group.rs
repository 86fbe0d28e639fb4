//! The processes that train together, and how they stay of one mind.
//!
//! Each process is a rank: it computes its part of every batch, and all of them take the same new state from the sum.
//! What can fail on one of them only is agreed upon before the next sum, so that no rank waits for one that has left.

use crate::render::Failure;
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
}
