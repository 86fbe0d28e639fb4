//! Program IR: an ordered list of kernel calls on buffers; arena offsets, constants, task counts.

pub mod verify;

use crate::entity::Slot;
use crate::kernel::Kernel;
use crate::types::DType;
use cranelift_entity::PrimaryMap;

/// Where a buffer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Input of the graph, by position: the caller's memory, never written.
    Input(u32),
    /// Output of the graph, by position: the caller's memory.
    Output(u32),
    /// At that byte offset of the arena, alive from the first to the last of these calls (inclusive).
    Arena { offset: u64, first: u32, last: u32 },
    /// At that byte offset of the weights section; the tensor's name is the buffer's.
    Const { offset: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotData {
    /// The graph value (or tensor, for constants) that lies here.
    pub name: String,
    pub dtype: DType,
    /// Dimensions in memory.
    pub dims: Vec<u64>,
    pub space: Space,
}

impl SlotData {
    pub fn len_bytes(&self) -> u64 {
        self.dims.iter().fold(self.dtype.bytes(), |n, &d| n.saturating_mul(d))
    }
}

/// One kernel call. `args` match the kernel's parameters in element type and number of bytes; their dimensions
/// may differ (a kernel may see rows and columns as one dimension).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Index into [`Program::kernels`].
    pub kernel: usize,
    pub args: Vec<Slot>,
    /// The graph value that the call computes.
    pub node: String,
    /// The op of the graph node, for reports.
    pub op: String,
    pub macs: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub name: String,
    /// Name of the [`Target`](crate::target::Target) that the templates were chosen for.
    pub target: String,
    /// The number that `N` stands for.
    pub batch: u64,
    pub slots: PrimaryMap<Slot, SlotData>,
    pub kernels: Vec<Kernel>,
    pub calls: Vec<Call>,
    /// Size of the arena without the workers' scratch.
    pub arena_bytes: u64,
    /// Size of the weights section.
    pub const_bytes: u64,
}

impl Program {
    /// Scratch that one worker needs.
    pub fn scratch_bytes(&self) -> u64 {
        self.kernels.iter().map(Kernel::scratch_bytes).max().unwrap_or(0)
    }

    pub fn macs(&self) -> u64 {
        self.calls.iter().map(|c| c.macs).sum()
    }
}
