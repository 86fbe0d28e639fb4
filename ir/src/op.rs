//! The operator table: what an op is called, takes, gives, costs and means.
//!
//! One file an op under [`ops`](crate::ops); [`ops::ALL`] lists them. Printer, parser, verifier, documentation and
//! coverage tests walk the table, so a new op is one file and one line there.

mod attr;

pub use attr::{Attr, AttrDef, AttrKind, Attrs, format_float};

use crate::epilogue::Step;
use crate::grad::Gradient;
use crate::kernel::{Affine, Kernel};
use crate::ops::{self, channels::Sums, map::Map};
use crate::types::{DType, TensorType};
use std::fmt;

pub fn lookup(name: &str) -> Option<&'static OpDef> {
    ops::ALL.iter().find(|o| o.name == name).copied()
}

/// Definition of an operator.
pub struct OpDef {
    pub name: &'static str,
    /// One line: the formula.
    pub doc: &'static str,
    /// Names of the operands; a trailing `?` marks an optional one (only at the end).
    pub operands: &'static [&'static str],
    pub properties: Properties,
    pub attrs: &'static [AttrDef],
    /// Types of the results, from operands and attributes.
    pub shape: fn(&OpCtx) -> Result<Vec<TensorType>, Problem>,
    /// Work of one execution.
    pub cost: fn(&OpCtx) -> Cost,
    pub body: Body,
    /// How gradients pass through it.
    pub grad: Gradient,
}

/// What passes and checks ask about an op besides its types and arithmetic.
#[derive(Clone, Copy)]
pub struct Properties {
    /// Any number of further operands like the last may follow.
    pub variadic: bool,
    /// It may carry epilogue steps.
    pub epilogue: bool,
    /// The result for an image depends on the number of images.
    pub counts_images: bool,
    /// Whether the result is the operand, byte for byte, if they have these types.
    pub moves_no_bytes: fn(&TensorType, &TensorType) -> bool,
    /// What is known about the result before the epilogue.
    pub sign: fn(&Attrs) -> Sign,
    /// Roundings on the longest way from an operand to the result, about as many as the longest sum has terms.
    pub roundings: fn(&BodyCtx) -> i64,
}

/// What is known about the elements of a result that are not NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Any,
    NotNegative,
    /// Not negative if no operand is.
    OfOperands,
}

impl Properties {
    pub const NONE: Properties = Properties {
        variadic: false,
        epilogue: false,
        counts_images: false,
        moves_no_bytes: |_, _| false,
        sign: |_| Sign::Any,
        roundings: |_| 1,
    };
}

/// What defines an op: the plainest loops, for any layout that its operands have.
#[derive(Clone, Copy)]
pub enum Body {
    /// Each element of the result for itself.
    Map(Map),
    /// Sums over everything but the channels.
    Sums(Sums),
    /// Any other loops.
    Loops(fn(&BodyCtx) -> Kernel),
}

impl OpDef {
    /// The op's definition as a kernel.
    pub fn kernel(&self, ctx: &BodyCtx) -> Kernel {
        match self.body {
            Body::Map(map) => map.body(self.name, ctx),
            Body::Sums(sums) => sums.body(self.name, ctx),
            Body::Loops(build) => build(ctx),
        }
    }
}

impl fmt::Debug for OpDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for OpDef {
    fn eq(&self, other: &OpDef) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for OpDef {}

/// What a shape rule and a cost rule see: operand types (epilogue operands included), attributes, epilogue.
pub struct OpCtx<'a> {
    pub operands: &'a [TensorType],
    pub attrs: &'a Attrs,
    pub epilogue: &'a [Step],
    /// Empty while shapes are inferred.
    pub results: &'a [TensorType],
    /// Number that stands for `N` in costs.
    pub batch: u64,
}

/// Why a node has no type. The verifier turns it into a diagnostic at the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: &'static str,
    pub message: String,
    /// Operand that is at fault, by position.
    pub operand: Option<usize>,
    pub help: Option<String>,
}

impl Problem {
    pub fn new(code: &'static str, message: impl Into<String>) -> Problem {
        Problem { code, message: message.into(), operand: None, help: None }
    }

    pub fn operand(mut self, i: usize) -> Problem {
        self.operand = Some(i);
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

/// Work of one execution of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-adds; padding taps count in full, additions and pooling count 0 (paper's rule).
    pub macs: u64,
    /// Bytes of operands and results, each counted once.
    pub bytes: u64,
}

/// An operand or result as a body sees it: concrete dimensions, element type, layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufType {
    pub dtype: DType,
    /// Logical dimensions.
    pub dims: Vec<i64>,
    pub layout: crate::layout::Layout,
}

impl BufType {
    pub fn of(ty: &TensorType, batch: u64) -> BufType {
        BufType { dtype: ty.dtype, dims: ty.dims(batch).into_iter().map(u64::cast_signed).collect(), layout: ty.layout }
    }

    /// Dimensions in memory.
    pub fn physical(&self) -> Vec<i64> {
        let dims: Vec<u64> = self.dims.iter().map(|d| d.cast_unsigned()).collect();
        self.layout.physical(&dims).into_iter().map(u64::cast_signed).collect()
    }

    /// Physical index of a logical one.
    pub fn at(&self, index: &[Affine]) -> Vec<Affine> {
        self.layout.index(index)
    }
}

/// What a body is built from. Kernel parameters are the operands in order, then the results.
pub struct BodyCtx<'a> {
    pub operands: Vec<BufType>,
    pub results: Vec<BufType>,
    pub attrs: &'a Attrs,
    pub epilogue: &'a [Step],
}

impl BodyCtx<'_> {
    /// Whether operand `i` has an element for each channel, where the first has many.
    pub fn is_vector(&self, i: usize) -> bool {
        self.operands[i].dims.len() == 1 && self.operands[0].dims.len() > 1
    }

    /// Which operands are tensors like the first, and which are vectors; without those of the epilogue, which come last.
    pub fn tensors_and_vectors(&self) -> [Vec<usize>; 2] {
        let own = self.epilogue.iter().flat_map(|s| s.operands()).min().unwrap_or(self.operands.len());
        let (vectors, tensors) = (0..own).partition(|&i| self.is_vector(i));
        [tensors, vectors]
    }
}
