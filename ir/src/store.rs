//! Where tensor data comes from: the one way to weights, without file formats.

use crate::interp::{decode, encode};
use crate::types::DType;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Data of one tensor: little-endian elements in row-major order.
#[derive(Clone, Debug)]
pub struct TensorData<'a> {
    pub dtype: DType,
    pub shape: Vec<u64>,
    pub bytes: Cow<'a, [u8]>,
}

/// Named tensors. Implemented by mapped files in `src/` and by [`MemoryStore`].
pub trait TensorStore: Send + Sync {
    fn get(&self, name: &str) -> Option<TensorData<'_>>;
    /// All names, sorted.
    fn names(&self) -> Vec<String>;
}

/// Tensors in memory; names that it lacks are looked up in `base`.
#[derive(Clone, Default)]
pub struct MemoryStore {
    tensors: HashMap<String, TensorData<'static>>,
    base: Option<Arc<dyn TensorStore>>,
}

impl MemoryStore {
    pub fn over(base: Arc<dyn TensorStore>) -> MemoryStore {
        MemoryStore { tensors: HashMap::new(), base: Some(base) }
    }

    pub fn insert(&mut self, name: impl Into<String>, data: TensorData<'static>) {
        self.tensors.insert(name.into(), data);
    }

    pub fn insert_f32(&mut self, name: impl Into<String>, shape: &[u64], data: &[f32]) {
        let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.insert(name, TensorData { dtype: DType::F32, shape: shape.to_vec(), bytes: Cow::Owned(bytes) });
    }
}

impl TensorStore for MemoryStore {
    fn get(&self, name: &str) -> Option<TensorData<'_>> {
        match self.tensors.get(name) {
            Some(t) => Some(TensorData { dtype: t.dtype, shape: t.shape.clone(), bytes: Cow::Borrowed(&t.bytes) }),
            None => self.base.as_ref()?.get(name),
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.tensors.keys().cloned().collect();
        names.extend(self.base.iter().flat_map(|b| b.names()));
        names.sort();
        names.dedup();
        names
    }
}

/// The tensors of another store with every f32 as f64.
pub struct Widened(pub Arc<dyn TensorStore>);

impl TensorStore for Widened {
    fn get(&self, name: &str) -> Option<TensorData<'_>> {
        let t = self.0.get(name)?;
        if t.dtype != DType::F32 {
            return Some(t);
        }
        let bytes = encode(DType::F64, &decode(DType::F32, &t.bytes));
        Some(TensorData { dtype: DType::F64, shape: t.shape, bytes: Cow::Owned(bytes) })
    }

    fn names(&self) -> Vec<String> {
        self.0.names()
    }
}
