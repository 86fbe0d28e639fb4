//! Element types, dimensions and tensor types.

use crate::layout::Layout;
use std::fmt;

/// Element type of a tensor, a buffer or a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    F32,
    F64,
    I32,
    U8,
}

impl DType {
    pub const ALL: [DType; 4] = [DType::F32, DType::F64, DType::I32, DType::U8];

    /// Size of one element in bytes.
    pub fn bytes(self) -> u64 {
        match self {
            DType::F64 => 8,
            DType::F32 | DType::I32 => 4,
            DType::U8 => 1,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::I32 => "i32",
            DType::U8 => "u8",
        }
    }

    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|d| d.name() == name)
    }

    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One dimension of a tensor: a number, or the batch symbol `N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dim {
    N,
    Size(u64),
}

impl Dim {
    /// The number, with `batch` for `N`.
    pub fn at(self, batch: u64) -> u64 {
        match self {
            Dim::N => batch,
            Dim::Size(n) => n,
        }
    }

    pub fn size(self) -> Option<u64> {
        match self {
            Dim::N => None,
            Dim::Size(n) => Some(n),
        }
    }
}

impl From<u64> for Dim {
    fn from(n: u64) -> Dim {
        Dim::Size(n)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::N => f.write_str("N"),
            Dim::Size(n) => write!(f, "{n}"),
        }
    }
}

/// Type of a graph value, printed `f32[N,64,56,56]` or `f32[N,64,56,56]:nChw8c`.
///
/// `shape` is always logical (NCHW for images); `layout` says how it lies in memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    pub dtype: DType,
    pub shape: Vec<Dim>,
    pub layout: Layout,
}

impl TensorType {
    pub fn new(dtype: DType, shape: impl IntoIterator<Item = Dim>) -> TensorType {
        TensorType { dtype, shape: shape.into_iter().collect(), layout: Layout::Plain }
    }

    /// A plain f32 tensor without batch dimension.
    pub fn f32(shape: &[u64]) -> TensorType {
        TensorType::new(DType::F32, shape.iter().map(|&n| Dim::Size(n)))
    }

    pub fn with_layout(&self, layout: Layout) -> TensorType {
        TensorType { layout, ..self.clone() }
    }

    pub fn with_dtype(&self, dtype: DType) -> TensorType {
        TensorType { dtype, ..self.clone() }
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Logical dimensions with `batch` for `N`.
    pub fn dims(&self, batch: u64) -> Vec<u64> {
        self.shape.iter().map(|d| d.at(batch)).collect()
    }

    /// Dimensions as they lie in memory, with `batch` for `N`.
    pub fn physical_dims(&self, batch: u64) -> Vec<u64> {
        self.layout.physical(&self.dims(batch))
    }

    /// Elements in memory (channel blocks count in full), with `batch` for `N`.
    pub fn elements(&self, batch: u64) -> u64 {
        self.physical_dims(batch).iter().product()
    }

    pub fn len_bytes(&self, batch: u64) -> u64 {
        self.elements(batch) * self.dtype.bytes()
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, d) in self.shape.iter().enumerate() {
            write!(f, "{}{d}", if i > 0 { "," } else { "" })?;
        }
        f.write_str("]")?;
        match self.layout {
            Layout::Plain => Ok(()),
            l => write!(f, ":{l}"),
        }
    }
}
