//! A whole program run in this process, call by call.

use super::CompiledKernel;
use super::buffer::{ALIGN, AlignedBytes, Memory};
use crate::cranelift::Jit;
use ir::entity::Slot;
use ir::kernel::Role;
use ir::program::Space;
use ir::{Diagnostic, Diagnostics, Program};
use std::sync::Arc;

/// A program with its code and its memory.
///
/// Every call is checked when this is made: buffers lie inside their spaces, are aligned, have the sizes that the
/// kernels declare, and none is written that belongs to the caller or to the weights. So running cannot fail.
pub struct Execution<'a> {
    program: &'a Program,
    kernels: Vec<Arc<CompiledKernel>>,
    constants: Memory<'a>,
    arena: AlignedBytes,
    inputs: Vec<AlignedBytes>,
    outputs: Vec<AlignedBytes>,
}

impl<'a> Execution<'a> {
    /// Compiles the program's kernels by `jit`. `constants` is the weights section.
    ///
    /// Errors: E0704 if a call does not fit its kernel or its memory; those of the back end.
    pub fn new(jit: &Jit, program: &'a Program, constants: &'a [u8]) -> Result<Execution<'a>, Diagnostics> {
        Execution::with_kernels(jit.kernels(&program.kernels)?, program, constants)
    }

    /// As [`new`](Self::new), with the program's kernels compiled by any back end (see [`load`](super::load)).
    pub fn with_kernels(
        kernels: Vec<Arc<CompiledKernel>>,
        program: &'a Program,
        constants: &'a [u8],
    ) -> Result<Execution<'a>, Diagnostics> {
        check(&kernels, program, constants)?;
        let ends = |of: fn(Space) -> Option<u32>| {
            let mut ends = Vec::new();
            for (i, len) in program.slots.values().filter_map(|s| Some((of(s.space)? as usize, s.len_bytes()))) {
                if ends.len() <= i {
                    ends.resize_with(i + 1, || AlignedBytes::zeroed(0));
                }
                if ends[i].len() < len as usize {
                    ends[i] = AlignedBytes::zeroed(len as usize);
                }
            }
            ends
        };
        Ok(Execution {
            inputs: ends(|s| if let Space::Input(i) = s { Some(i) } else { None }),
            outputs: ends(|s| if let Space::Output(i) = s { Some(i) } else { None }),
            arena: AlignedBytes::zeroed(program.arena_bytes as usize),
            constants: Memory::aligned(constants, ALIGN as u64),
            kernels,
            program,
        })
    }

    /// Memory of the graph's input `i`, to be filled before a run.
    pub fn input_mut(&mut self, i: usize) -> Option<&mut [u8]> {
        self.inputs.get_mut(i).map(|b| &mut **b)
    }

    /// What the next run reads as input `i`.
    pub fn input(&self, i: usize) -> Option<&[u8]> {
        self.inputs.get(i).map(|b| &**b)
    }

    /// The graph's output `i`, after a run.
    pub fn output(&self, i: usize) -> Option<&[u8]> {
        self.outputs.get(i).map(|b| &**b)
    }

    /// Exchanges the memory of input `i` with that of output `o`: what a run computed is what the next one reads.
    ///
    /// Errors: E0704 if there are no such two of the same size.
    pub fn swap(&mut self, i: usize, o: usize) -> Result<(), Diagnostics> {
        match (self.inputs.get_mut(i), self.outputs.get_mut(o)) {
            (Some(input), Some(output)) if input.len() == output.len() => {
                std::mem::swap(input, output);
                Ok(())
            }
            _ => Err(Diagnostic::error("E0704", format!("input {i} and output {o} are not of one size")).into()),
        }
    }

    /// The arena, for tests that fill it with garbage first.
    pub fn arena_mut(&mut self) -> &mut [u8] {
        &mut self.arena
    }

    /// Bytes of a slot; of the arena's only while it is alive.
    pub fn bytes(&self, slot: Slot) -> &[u8] {
        let s = &self.program.slots[slot];
        let len = s.len_bytes() as usize;
        match s.space {
            Space::Input(i) => &self.inputs[i as usize][..len],
            Space::Output(i) => &self.outputs[i as usize][..len],
            Space::Arena { offset, .. } => &self.arena[offset as usize..][..len],
            Space::Const { offset } => &self.constants[offset as usize..][..len],
        }
    }

    /// As [`bytes`](Self::bytes), to overwrite an input or a value in the arena; empty for outputs and weights.
    pub fn bytes_mut(&mut self, slot: Slot) -> &mut [u8] {
        let s = &self.program.slots[slot];
        let len = s.len_bytes() as usize;
        match s.space {
            Space::Input(i) => &mut self.inputs[i as usize][..len],
            Space::Arena { offset, .. } => &mut self.arena[offset as usize..][..len],
            Space::Output(_) | Space::Const { .. } => &mut [],
        }
    }

    /// Runs every call in order, from a thread of the pool: from any other, each call would put it to sleep.
    pub fn run(&mut self) {
        rayon::scope(|_| (0..self.program.calls.len()).for_each(|i| self.step(i)));
    }

    /// Runs call `i` alone.
    pub fn step(&mut self, i: usize) {
        let call = &self.program.calls[i];
        let mut pointers = Vec::with_capacity(call.args.len());
        for &slot in &call.args {
            pointers.push(match self.program.slots[slot].space {
                Space::Input(i) => self.inputs[i as usize].as_mut_ptr(),
                Space::Output(i) => self.outputs[i as usize].as_mut_ptr(),
                Space::Arena { offset, .. } => self.arena.as_mut_ptr().wrapping_add(offset as usize),
                Space::Const { offset } => self.constants[offset as usize..].as_ptr().cast_mut(),
            });
        }
        let kernel = &self.kernels[call.kernel];
        // SAFETY: `check` has compared every slot's place, size and direction with the parameter; all the memory is
        // borrowed by `self`, which is borrowed mutably.
        unsafe { kernel.call(0..kernel.kernel().tasks, &pointers) };
    }
}

/// What makes [`Execution::step`] sound.
fn check(kernels: &[Arc<CompiledKernel>], program: &Program, constants: &[u8]) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut wrong = |message: String| problems.push(Diagnostic::error("E0704", message));
    if (constants.len() as u64) < program.const_bytes {
        wrong(format!("the weights have {} bytes, not {}", constants.len(), program.const_bytes));
    }
    if kernels.len() != program.kernels.len()
        || kernels.iter().zip(&program.kernels).any(|(compiled, k)| compiled.kernel() != k)
    {
        wrong("the compiled kernels are those of another program".to_string());
        return problems.into_result(());
    }
    for call in &program.calls {
        let Some(kernel) = program.kernels.get(call.kernel) else {
            wrong(format!("call `{}` names kernel {} of {}", call.node, call.kernel, kernels.len()));
            continue;
        };
        if call.args.len() != kernel.params.len() {
            wrong(format!("call `{}`: {} of {} arguments", call.node, call.args.len(), kernel.params.len()));
            continue;
        }
        for (&slot, &param) in call.args.iter().zip(&kernel.params) {
            let decl = &kernel.bufs[param];
            let Some(s) = program.slots.get(slot) else {
                wrong(format!("call `{}`: argument `{}` is no slot", call.node, decl.name));
                continue;
            };
            let (offset, space_len, writable) = match s.space {
                Space::Input(_) => (0, s.len_bytes(), false),
                Space::Output(_) => (0, s.len_bytes(), true),
                Space::Arena { offset, .. } => (offset, program.arena_bytes, true),
                Space::Const { offset } => (offset, program.const_bytes, false),
            };
            let fits = offset.checked_add(s.len_bytes()).is_some_and(|end| end <= space_len);
            if !fits || !offset.is_multiple_of(ALIGN as u64) || s.len_bytes() != decl.len_bytes() {
                wrong(format!("call `{}`: `{}` does not fit parameter `{}`", call.node, s.name, decl.name));
            } else if decl.role != Role::In && !writable {
                wrong(format!("call `{}` writes `{}`, which is read-only", call.node, s.name));
            }
        }
    }
    problems.into_result(())
}
