//! The program's calls as the descriptor lists them, with a barrier wherever a call must wait.

use ir::Program;
use ir::kernel::Role;
use ir::program::Space;
use std::ops::Range;

/// Base of an argument's offset; the numbers are those of `runtime::abi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    Arena = 0,
    Const = 1,
    Input = 2,
    Output = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    pub base: Base,
    /// Input or output number, otherwise 0.
    pub index: u32,
    /// Bytes from the base.
    pub offset: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallDesc {
    /// Index into the program's kernels.
    pub kernel: usize,
    pub args: Vec<Argument>,
    pub tasks: u64,
    /// Workers wait for each other before this call: it reads what an earlier one since the last barrier writes, or
    /// writes what one reads or writes.
    pub barrier: bool,
}

/// The calls of `program`, in order.
pub fn calls(program: &Program) -> Vec<CallDesc> {
    let mut since = Touched::default();
    program
        .calls
        .iter()
        .map(|call| {
            let kernel = &program.kernels[call.kernel];
            let mut touched = Touched::default();
            let mut args = Vec::with_capacity(call.args.len());
            for (&slot, &param) in call.args.iter().zip(&kernel.params) {
                let s = &program.slots[slot];
                let arg = argument(s.space);
                let memory = (arg.base, arg.index, arg.offset..arg.offset + s.len_bytes());
                if kernel.bufs[param].role != Role::In {
                    touched.written.push(memory);
                } else if arg.base != Base::Const {
                    touched.read.push(memory);
                }
                args.push(arg);
            }
            let barrier = since.conflicts(&touched);
            if barrier {
                since = Touched::default();
            }
            since.read.extend(touched.read);
            since.written.extend(touched.written);
            CallDesc { kernel: call.kernel, args, tasks: kernel.tasks.unsigned_abs(), barrier }
        })
        .collect()
}

fn argument(space: Space) -> Argument {
    match space {
        Space::Arena { offset, .. } => Argument { base: Base::Arena, index: 0, offset },
        Space::Const { offset } => Argument { base: Base::Const, index: 0, offset },
        Space::Input(index) => Argument { base: Base::Input, index, offset: 0 },
        Space::Output(index) => Argument { base: Base::Output, index, offset: 0 },
    }
}

type Memory = (Base, u32, Range<u64>);

/// Memory that calls have read and written.
#[derive(Default)]
struct Touched {
    read: Vec<Memory>,
    written: Vec<Memory>,
}

impl Touched {
    /// Whether calls that touch `self` and `later` may not overlap in time.
    fn conflicts(&self, later: &Touched) -> bool {
        let overlap = |a: &Memory, b: &Memory| (a.0, a.1) == (b.0, b.1) && a.2.start < b.2.end && b.2.start < a.2.end;
        let any = |a: &[Memory], b: &[Memory]| a.iter().any(|x| b.iter().any(|y| overlap(x, y)));
        any(&self.written, &later.read) || any(&self.written, &later.written) || any(&self.read, &later.written)
    }
}
