//! Runs a program: its calls in order on one arena, with a check that every call reads what it should.
//!
//! Each arena byte remembers the buffer that was written there last. Reading a byte that belongs to another
//! buffer, or touching a buffer outside its lifetime, is a fault: the memory plan is wrong (E0696).

use super::kernel;
use crate::diag::{Diagnostic, Diagnostics};
use crate::entity::Slot;
use crate::kernel::Role;
use crate::program::{Call, Program, Space};
use crate::store::TensorStore;
use cranelift_entity::packed_option::PackedOption;
use std::borrow::Cow;
use std::ops::Range;

/// The bytes of the outputs, in order, for `inputs` in order.
///
/// Constants are read from `store` by the names of their slots. Errors: E0696 for inputs that do not fit and for
/// faults of the memory plan, and what the kernel interpreter finds.
pub fn run(p: &Program, inputs: &[&[u8]], store: &dyn TensorStore) -> Result<Vec<Vec<u8>>, Diagnostics> {
    let mut m = Machine {
        p,
        inputs,
        store,
        arena: vec![0; p.arena_bytes as usize],
        owner: vec![None.into(); p.arena_bytes as usize],
        outputs: Vec::new(),
    };
    for (i, call) in p.calls.iter().enumerate() {
        m.call(i as u32, call).map_err(|mut d| {
            for d in &mut d.0 {
                d.notes.push(format!("in call {i}, which computes %{}", call.node));
            }
            d
        })?;
    }
    m.finish()
}

struct Machine<'a> {
    p: &'a Program,
    inputs: &'a [&'a [u8]],
    store: &'a dyn TensorStore,
    arena: Vec<u8>,
    /// Per arena byte the buffer that lies there.
    owner: Vec<PackedOption<Slot>>,
    /// Outputs by position; `None` until written.
    outputs: Vec<Option<Vec<u8>>>,
}

fn fault(message: String) -> Diagnostics {
    Diagnostic::error("E0696", message).into()
}

impl<'a> Machine<'a> {
    fn call(&mut self, i: u32, call: &Call) -> Result<(), Diagnostics> {
        let kernel =
            self.p.kernels.get(call.kernel).ok_or_else(|| fault(format!("there is no kernel {}", call.kernel)))?;
        if kernel.params.len() != call.args.len() {
            let (n, m) = (kernel.params.len(), call.args.len());
            return Err(fault(format!("kernel @{} has {n} parameters, {m} are given", kernel.name)));
        }
        let params = || kernel.params.iter().map(|&b| kernel.bufs[b].role).zip(call.args.iter().copied());
        for &slot in &call.args {
            self.alive(i, slot)?;
        }
        self.apart(params())?;
        let mut inputs = Vec::new();
        for (_, slot) in params().filter(|&(role, _)| role != Role::Out) {
            inputs.push(self.read(slot)?);
        }
        let inputs: Vec<&[u8]> = inputs.iter().map(|b| &b[..]).collect();
        let results = kernel::run(kernel, &inputs)?;
        for ((_, slot), bytes) in params().filter(|&(role, _)| role != Role::In).zip(results) {
            self.write(slot, bytes)?;
        }
        Ok(())
    }

    fn alive(&self, call: u32, slot: Slot) -> Result<(), Diagnostics> {
        match self.p.slots[slot].space {
            Space::Arena { first, last, .. } if !(first..=last).contains(&call) => {
                Err(fault(format!("%{} lives in calls {first}..={last} only", self.p.slots[slot].name)))
            }
            _ => Ok(()),
        }
    }

    fn range(&self, slot: Slot) -> Option<Result<Range<usize>, Diagnostics>> {
        let data = &self.p.slots[slot];
        let Space::Arena { offset, .. } = data.space else { return None };
        Some(match offset.checked_add(data.len_bytes()).filter(|&end| end <= self.p.arena_bytes) {
            Some(end) => Ok(offset as usize..end as usize),
            None => Err(fault(format!("%{} leaves the arena of {} bytes", data.name, self.p.arena_bytes))),
        })
    }

    /// What a call writes overlaps none of its other arguments.
    fn apart(&self, params: impl Iterator<Item = (Role, Slot)> + Clone) -> Result<(), Diagnostics> {
        for (i, (role, a)) in params.clone().enumerate().filter(|(_, (role, _))| *role != Role::In) {
            for (_, (_, b)) in params.clone().enumerate().filter(|&(j, _)| j != i) {
                let shared = match (self.range(a).transpose()?, self.range(b).transpose()?) {
                    (Some(a), Some(b)) => a.start < b.end && b.start < a.end,
                    _ => a == b,
                };
                if shared {
                    let (a, b) = (&self.p.slots[a].name, &self.p.slots[b].name);
                    return Err(fault(format!("%{a} ({role:?}) overlaps the argument %{b} of the same call")));
                }
            }
        }
        Ok(())
    }

    fn read(&self, slot: Slot) -> Result<Cow<'a, [u8]>, Diagnostics> {
        let data = &self.p.slots[slot];
        let bytes: Cow<'a, [u8]> = match data.space {
            Space::Input(i) => {
                let bytes = self.inputs.get(i as usize);
                Cow::Borrowed(*bytes.ok_or_else(|| fault(format!("input {i} (%{}) is not given", data.name)))?)
            }
            Space::Output(i) => {
                let written = self.outputs.get(i as usize).and_then(|o| o.clone());
                Cow::Owned(written.ok_or_else(|| fault(format!("output %{} is read before it is written", data.name)))?)
            }
            Space::Const { .. } => match self.store.get(&data.name) {
                Some(t) => t.bytes,
                None => return Err(fault(format!("there is no tensor '{}'", data.name))),
            },
            Space::Arena { .. } => {
                let range = self.range(slot).expect("invariant: the slot is in the arena")?;
                if let Some(at) = range.clone().find(|&i| self.owner[i].expand() != Some(slot)) {
                    let found = match self.owner[at].expand() {
                        Some(other) => format!("%{} lies there", self.p.slots[other].name),
                        None => "nothing was written there".into(),
                    };
                    return Err(fault(format!("byte {} of %{} is read, but {found}", at - range.start, data.name)));
                }
                Cow::Owned(self.arena[range].to_vec())
            }
        };
        if bytes.len() as u64 != data.len_bytes() {
            return Err(fault(format!("%{} holds {} bytes, {} are given", data.name, data.len_bytes(), bytes.len())));
        }
        Ok(bytes)
    }

    fn write(&mut self, slot: Slot, bytes: Vec<u8>) -> Result<(), Diagnostics> {
        let data = &self.p.slots[slot];
        if bytes.len() as u64 != data.len_bytes() {
            return Err(fault(format!("%{} holds {} bytes, {} are written", data.name, data.len_bytes(), bytes.len())));
        }
        match data.space {
            Space::Input(_) | Space::Const { .. } => Err(fault(format!("%{} may not be written", data.name))),
            Space::Output(i) => {
                let i = i as usize;
                self.outputs.resize(self.outputs.len().max(i + 1), None);
                self.outputs[i] = Some(bytes);
                Ok(())
            }
            Space::Arena { .. } => {
                let range = self.range(slot).expect("invariant: the slot is in the arena")?;
                self.owner[range.clone()].fill(slot.into());
                self.arena[range].copy_from_slice(&bytes);
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<Vec<Vec<u8>>, Diagnostics> {
        let spaces = self.p.slots.values().map(|s| s.space);
        let count = spaces.filter_map(|s| if let Space::Output(i) = s { Some(i as usize + 1) } else { None }).max();
        let written = self.outputs.into_iter().chain(std::iter::repeat(None)).take(count.unwrap_or(0)).enumerate();
        written.map(|(i, o)| o.ok_or_else(|| fault(format!("output {i} is never written")))).collect()
    }
}
