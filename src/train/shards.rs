//! A step in shards: each is a part of the batch with statistics of its own, and their gradients are added as a tree.
//!
//! The tree is that over all shards of the batch, whichever rank computes them: a rank adds its own, which follow each
//! other, and [`Group::sum`] goes on where that ends. Numbers of shards are powers of two, so that the mean is exact.

use super::group::Group;
use crate::code::{Code, floats, set_floats};
use crate::render::Failure;
use backends::exec::Execution;
use ir::Diagnostic;
use ir::diag::Class;

/// Refuses numbers that do not divide each other.
///
/// Errors: E0915.
pub fn check(shards: u64, batch: u64, ranks: usize) -> Result<(), Failure> {
    let refuse = |text: String, help: &str| {
        Err(Diagnostic::error("E0915", text).class(Class::Usage).help(help.to_string()).into())
    };
    if !shards.is_power_of_two() || !batch.is_multiple_of(shards) {
        let text = format!("a batch of {batch} pictures cannot be cut into {shards} shards");
        return refuse(text, "choose a power of two for --shards that divides --batch");
    }
    if !shards.is_multiple_of(ranks as u64) {
        let text = format!("{shards} shards cannot be dealt out to {ranks} ranks evenly");
        return refuse(text, "start a number of processes that divides --shards, which is 8 unless you say otherwise");
    }
    Ok(())
}

/// Adds `more` to `values`, element by element.
pub fn add(values: &mut [f32], more: &[f32]) {
    values.iter_mut().zip(more).for_each(|(v, m)| *v += m);
}

/// The sum of what comes one after the other, as a binary tree whose shape depends on the number alone.
#[derive(Default)]
struct Tree {
    /// Sums of the complete subtrees, the largest first.
    sums: Vec<Vec<f32>>,
    /// Memory that was used before.
    spare: Vec<Vec<f32>>,
    count: u32,
}

impl Tree {
    fn push(&mut self, fill: impl FnOnce(&mut Vec<f32>)) {
        let mut leaf = self.spare.pop().unwrap_or_default();
        leaf.clear();
        fill(&mut leaf);
        self.sums.push(leaf);
        self.count += 1;
        // As many subtrees become complete as a counter has carries.
        for _ in 0..self.count.trailing_zeros() {
            let right = self.sums.pop().unwrap_or_default();
            self.sums.last_mut().into_iter().for_each(|left| add(left, &right));
            self.spare.push(right);
        }
    }

    /// The sum of a power of two of things; the next ones begin anew.
    fn take(&mut self) -> Vec<f32> {
        self.count = 0;
        self.sums.pop().unwrap_or_default()
    }
}

/// The update of a step in shards, with what it adds up.
pub struct Update<'a> {
    execution: Execution<'a>,
    tree: Tree,
    /// Means over the shards: of gradients, running statistics, loss and share of wrong answers.
    mean: Vec<f32>,
    /// How many of them are gradients.
    gradients: usize,
}

impl<'a> Update<'a> {
    pub fn new(code: &'a Code) -> Result<Update<'a>, Failure> {
        Ok(Update { execution: code.execution()?, tree: Tree::default(), mean: Vec::new(), gradients: 0 })
    }

    /// Adds a shard: its outputs, and numbers of its own.
    pub fn push<'b>(&mut self, outputs: impl Iterator<Item = &'b [u8]>, more: [f32; 2]) {
        self.tree.push(|leaf| {
            outputs.for_each(|bytes| leaf.extend(floats(bytes)));
            leaf.extend(more);
        });
    }

    /// The means over all `shards` of the group, as [`push`](Self::push) got them; gives those of the last two numbers.
    pub fn mean(&mut self, group: &dyn Group, shards: u64) -> [f32; 2] {
        self.tree.spare.push(std::mem::take(&mut self.mean));
        self.mean = self.tree.take();
        group.sum(&mut self.mean);
        self.mean.iter_mut().for_each(|v| *v /= shards as f32);
        self.mean.last_chunk().copied().unwrap_or([f32::NAN; 2])
    }

    /// Computes the new parameters and momenta from the old ones and the mean gradients.
    pub fn run<'b>(&mut self, lr: f32, old: impl Iterator<Item = &'b [u8]>) {
        set_floats(self.execution.input_mut(0).unwrap_or_default(), &[lr]);
        let mut i = 1;
        for bytes in old {
            self.execution.input_mut(i).unwrap_or_default().copy_from_slice(bytes);
            i += 1;
        }
        self.gradients = deal(&self.mean, &mut self.execution, i);
        self.execution.run();
    }

    /// The new parameter or momentum `i`.
    pub fn next(&self, i: usize) -> &[u8] {
        self.execution.output(i).unwrap_or_default()
    }

    /// Writes the new state over the old one, which is in the inputs of `step` from `first` on.
    pub fn accept(&self, step: &mut Execution, first: usize) {
        let mut i = 0;
        while let Some(new) = self.execution.output(i) {
            step.input_mut(first + i).unwrap_or_default().copy_from_slice(new);
            i += 1;
        }
        deal(&self.mean[self.gradients..], step, first + i);
    }
}

/// Fills the inputs of `execution` from `first` on, and gives the number of `values` that this took.
fn deal(values: &[f32], execution: &mut Execution, first: usize) -> usize {
    let (mut i, mut at) = (first, 0);
    while let Some(memory) = execution.input_mut(i) {
        let end = at + memory.len() / size_of::<f32>();
        set_floats(memory, &values[at..end]);
        (i, at) = (i + 1, end);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of consecutive parts of `leaves`, added by trees themselves: as ranks do it.
    fn sum(leaves: &[f32], parts: usize) -> f32 {
        let mut all = Tree::default();
        for part in leaves.chunks(leaves.len() / parts) {
            let mut own = Tree::default();
            part.iter().for_each(|&v| own.push(|leaf| leaf.push(v)));
            all.push(|leaf| leaf.extend(own.take()));
        }
        all.take()[0]
    }

    #[test]
    fn a_sum_does_not_depend_on_who_adds_it() {
        let leaves: Vec<f32> = (0..16).map(|i| (i as f32 * 0.37).sin() * 10f32.powi(i % 5)).collect();
        let pairs = |v: &[f32]| v.chunks(2).map(|p| p[0] + p[1]).collect::<Vec<f32>>();
        let tree = pairs(&pairs(&pairs(&pairs(&leaves))))[0];
        assert_ne!(tree, leaves.iter().sum::<f32>(), "the order matters");
        for parts in [1, 2, 4, 8, 16] {
            assert_eq!(sum(&leaves, parts).to_bits(), tree.to_bits(), "{parts}");
        }
    }

    #[test]
    fn numbers_divide_each_other() {
        let code = |shards, batch, ranks| check(shards, batch, ranks).err().map(|f| f.diagnostics.0[0].code);
        for (shards, batch, ranks) in [(1, 7, 1), (8, 128, 1), (8, 128, 8), (2, 6, 2)] {
            assert_eq!(code(shards, batch, ranks), None);
        }
        for (shards, batch, ranks) in [(3, 9, 1), (8, 20, 1), (8, 128, 3), (1, 128, 2), (4, 16, 8)] {
            assert_eq!(code(shards, batch, ranks), Some("E0915"));
        }
        assert_eq!(check(8, 20, 1).expect_err("4 pictures are left").exit_code(), 2);
    }
}
