//! A compiled network that takes pictures in groups: the one loop of every evaluation.

use crate::code::{Code, floats, set_floats};
use crate::render::Failure;
use backends::exec::Execution;
use rayon::prelude::*;
use std::ops::Range;

/// An execution whose input 0 is a group of pictures and whose output 0 the scores of their classes.
pub struct Batches<'a> {
    execution: Execution<'a>,
    group: usize,
    x: Vec<f32>,
}

impl<'a> Batches<'a> {
    pub fn new(code: &'a Code) -> Result<Batches<'a>, Failure> {
        let execution = code.execution()?;
        let elements = execution.input(0).map_or(0, <[u8]>::len) / size_of::<f32>();
        Ok(Batches { execution, group: code.group(), x: vec![0.0; elements] })
    }

    /// Memory of a further input, such as a parameter.
    pub fn input_mut(&mut self, i: usize) -> Option<&mut [u8]> {
        self.execution.input_mut(i)
    }

    /// Shows the network pictures 0..`pictures`. `fill(i, x)` writes picture `i`, on any thread; `see(i, scores)` gets
    /// its answer, in order.
    ///
    /// Errors: those of `fill`.
    pub fn each(
        &mut self,
        pictures: u64,
        fill: &(dyn Fn(u64, &mut [f32]) -> Result<(), Failure> + Sync),
        see: &mut dyn FnMut(u64, &[f32]),
    ) -> Result<(), Failure> {
        let group = self.group;
        self.groups(pictures, fill, &mut |here, execution| {
            let scores: Vec<f32> = floats(execution.output(0).unwrap_or_default()).collect();
            here.zip(scores.chunks_exact(scores.len() / group)).for_each(|(i, s)| see(i, s));
        })
    }

    /// The same with all outputs of a group at once. A last group that is not full has other pictures at its end.
    pub fn groups(
        &mut self,
        pictures: u64,
        fill: &(dyn Fn(u64, &mut [f32]) -> Result<(), Failure> + Sync),
        see: &mut dyn FnMut(Range<u64>, &Execution),
    ) -> Result<(), Failure> {
        let elements = self.x.len() / self.group;
        for first in (0..pictures).step_by(self.group) {
            let here = first..pictures.min(first + self.group as u64);
            let x = &mut self.x[..elements * (here.end - first) as usize];
            let pictures = x.par_chunks_exact_mut(elements).enumerate();
            pictures.try_for_each(|(i, x)| fill(first + i as u64, x))?;
            let memory = self.execution.input_mut(0).unwrap_or_default();
            set_floats(memory, &self.x);
            self.execution.run();
            see(here, &self.execution);
        }
        Ok(())
    }
}
