//! The operator table: what an op is called, takes, gives, costs and means.
//!
//! One file an op under [`ops`](crate::ops); [`OPS`] lists them. Printer, parser, verifier, documentation and
//! coverage tests walk the table, so a new op is one file and one line here.

use crate::epilogue::Step;
use crate::grad::Gradient;
use crate::kernel::{Affine, Kernel};
use crate::ops::{self, channels::Sums, map::Map};
use crate::types::{DType, TensorType};
use std::collections::BTreeMap;
use std::fmt;

/// Every op, sorted by name.
pub static OPS: &[&OpDef] = ops::ALL;

pub fn lookup(name: &str) -> Option<&'static OpDef> {
    OPS.iter().find(|o| o.name == name).copied()
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttrKind {
    Int,
    Float,
    Bool,
    /// `2x2`: height, width
    Pair,
    /// `1,1,1,1`: top, left, bottom, right
    Quad,
    /// `[N,64,1,1]`-like list of dimensions
    Dims,
    /// `[0.485,0.456,0.406]`
    Floats,
    /// A bare word, e.g. `rgb`
    Word,
}

/// Declared attribute. The printer leaves out attributes that equal their default.
#[derive(Debug)]
pub struct AttrDef {
    pub name: &'static str,
    pub kind: AttrKind,
    /// Text of the default as it would be written, or `None` if it must be given.
    pub default: Option<&'static str>,
    pub doc: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    Int(i64),
    Float(f64),
    Bool(bool),
    Pair([u64; 2]),
    Quad([u64; 4]),
    Dims(Vec<crate::types::Dim>),
    Floats(Vec<f64>),
    Word(String),
}

impl Attr {
    /// Parses the text of an attribute value of that kind. `None` if it is not one.
    pub fn parse(kind: AttrKind, text: &str) -> Option<Attr> {
        use crate::types::Dim;
        fn list(t: &str) -> Option<Vec<&str>> {
            let inner = t.strip_prefix('[')?.strip_suffix(']')?;
            Some(if inner.trim().is_empty() { vec![] } else { inner.split(',').map(str::trim).collect() })
        }
        Some(match kind {
            AttrKind::Int => Attr::Int(text.parse().ok()?),
            AttrKind::Float => Attr::Float(parse_float(text)?),
            AttrKind::Bool => Attr::Bool(text.parse().ok()?),
            AttrKind::Pair => {
                let (h, w) = text.split_once('x')?;
                Attr::Pair([h.parse().ok()?, w.parse().ok()?])
            }
            AttrKind::Quad => {
                let v: Vec<u64> = text.split(',').map(|s| s.trim().parse().ok()).collect::<Option<_>>()?;
                Attr::Quad(v.try_into().ok()?)
            }
            AttrKind::Dims => Attr::Dims(
                list(text)?
                    .into_iter()
                    .map(|s| if s == "N" { Some(Dim::N) } else { s.parse().ok().map(Dim::Size) })
                    .collect::<Option<_>>()?,
            ),
            AttrKind::Floats => Attr::Floats(list(text)?.into_iter().map(parse_float).collect::<Option<_>>()?),
            AttrKind::Word => {
                let ok = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
                Attr::Word(ok.then(|| text.to_string())?)
            }
        })
    }
}

fn parse_float(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|_| !text.starts_with('+'))
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn join<T: fmt::Display>(v: &[T]) -> String {
            v.iter().map(T::to_string).collect::<Vec<_>>().join(",")
        }
        match self {
            Attr::Int(i) => write!(f, "{i}"),
            Attr::Float(x) => f.write_str(&format_float(*x)),
            Attr::Bool(b) => write!(f, "{b}"),
            Attr::Pair([h, w]) => write!(f, "{h}x{w}"),
            Attr::Quad(q) => f.write_str(&join(q)),
            Attr::Dims(d) => write!(f, "[{}]", join(d)),
            Attr::Floats(v) => write!(f, "[{}]", v.iter().map(|x| format_float(*x)).collect::<Vec<_>>().join(",")),
            Attr::Word(w) => f.write_str(w),
        }
    }
}

/// Shortest text that parses back to the same f64; exponents for the very small and very large.
pub fn format_float(x: f64) -> String {
    if x != 0.0 && x.is_finite() && !(1e-4..1e16).contains(&x.abs()) { format!("{x:e}") } else { format!("{x}") }
}

/// Attribute values of one node, complete: defaults are filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attrs(pub BTreeMap<&'static str, Attr>);

impl Attrs {
    /// All defaults of `op`; attributes without default are absent.
    pub fn defaults(op: &OpDef) -> Attrs {
        let value = |a: &AttrDef| {
            let text = a.default?;
            Some((a.name, Attr::parse(a.kind, text).expect("invariant: defaults in the op table parse")))
        };
        Attrs(op.attrs.iter().filter_map(value).collect())
    }

    pub fn set(mut self, name: &'static str, value: Attr) -> Attrs {
        self.0.insert(name, value);
        self
    }

    fn get(&self, name: &str) -> &Attr {
        self.0.get(name).expect("invariant: the verifier has checked that declared attributes are present")
    }

    pub fn int(&self, name: &str) -> i64 {
        match self.get(name) {
            Attr::Int(i) => *i,
            a => panic!("invariant: {name} is an integer, not {a}"),
        }
    }

    pub fn float(&self, name: &str) -> f64 {
        match self.get(name) {
            Attr::Float(x) => *x,
            a => panic!("invariant: {name} is a float, not {a}"),
        }
    }

    pub fn bool(&self, name: &str) -> bool {
        match self.get(name) {
            Attr::Bool(b) => *b,
            a => panic!("invariant: {name} is a bool, not {a}"),
        }
    }

    pub fn pair(&self, name: &str) -> [u64; 2] {
        match self.get(name) {
            Attr::Pair(p) => *p,
            a => panic!("invariant: {name} is a pair, not {a}"),
        }
    }

    pub fn quad(&self, name: &str) -> [u64; 4] {
        match self.get(name) {
            Attr::Quad(q) => *q,
            a => panic!("invariant: {name} is four numbers, not {a}"),
        }
    }

    pub fn dims(&self, name: &str) -> &[crate::types::Dim] {
        match self.get(name) {
            Attr::Dims(d) => d,
            a => panic!("invariant: {name} is a shape, not {a}"),
        }
    }

    pub fn floats(&self, name: &str) -> &[f64] {
        match self.get(name) {
            Attr::Floats(v) => v,
            a => panic!("invariant: {name} is a list of floats, not {a}"),
        }
    }

    pub fn word(&self, name: &str) -> &str {
        match self.get(name) {
            Attr::Word(w) => w,
            a => panic!("invariant: {name} is a word, not {a}"),
        }
    }
}

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
