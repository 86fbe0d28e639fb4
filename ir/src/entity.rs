//! Ids of the things in the IR: `u32` newtypes that index only their own maps.

use cranelift_entity::entity_impl;

/// An operator of a [`Graph`](crate::Graph).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(u32);
entity_impl!(Node, "n");

/// A tensor of a [`Graph`](crate::Graph): an input, a parameter or a result of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(u32);
entity_impl!(Value, "v");

/// A buffer: a parameter, scratch or view of a [`Kernel`](crate::Kernel).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Buf(u32);
entity_impl!(Buf, "b");

/// A loop variable (an index) of a [`Kernel`](crate::Kernel).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Var(u32);
entity_impl!(Var, "i");

/// An SSA value (scalar or vector) of a [`Kernel`](crate::Kernel).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(u32);
entity_impl!(Reg, "r");

/// A buffer of a [`Program`](crate::Program).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);
entity_impl!(Slot, "s");
