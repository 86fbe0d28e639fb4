//! NumPy's .npy files: arrays of numbers in and out.

use super::read_file;
use crate::output::{Mode, Output};
use crate::render::Failure;
use ir::Diagnostic;
use npyz::{DType, NpyFile, Order, TypeChar, WriterBuilder};
use std::io::Write;
use std::path::Path;

const MAX_FILE_BYTES: u64 = 4 << 30;

/// An array in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<u64>,
    pub data: Vec<f64>,
}

/// Reads a .npy of f32, f64, u8, i32 or i64.
pub fn read(path: &Path) -> Result<Array, Failure> {
    let bytes = read_file(path, MAX_FILE_BYTES)?;
    let fault =
        |text: String, help: &str| Failure::from(Diagnostic::error("E0901", text).help(help.to_string())).in_file(path);
    let broken = |e: &std::io::Error| fault(format!("not a .npy file: {e}"), "write it with numpy.save");
    let npy = NpyFile::new(bytes.as_slice()).map_err(|e| broken(&e))?;
    if npy.order() != Order::C {
        return Err(fault("the array is in Fortran order".into(), "save numpy.ascontiguousarray(x)"));
    }
    let shape = npy.shape().to_vec();
    let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d)).filter(|&n| n <= bytes.len() as u64);
    let Some(count) = count else {
        return Err(fault(format!("the shape {shape:?} has more elements than the file"), "the file is truncated"));
    };
    let kind = match npy.dtype() {
        DType::Plain(t) => (t.type_char(), t.size_field()),
        _ => return Err(fault("the array has named fields".into(), "save plain numbers")),
    };
    macro_rules! elements {
        ($t:ty) => {
            npy.into_vec::<$t>().map(|v| v.into_iter().map(|x| x as f64).collect::<Vec<f64>>())
        };
    }
    let data = match kind {
        (TypeChar::Float, 4) => elements!(f32),
        (TypeChar::Float, 8) => elements!(f64),
        (TypeChar::Uint, 1) => elements!(u8),
        (TypeChar::Int, 4) => elements!(i32),
        (TypeChar::Int, 8) => elements!(i64),
        (t, n) => return Err(fault(format!("elements of type {t}{n} are not read"), "save x.astype('float32')")),
    }
    .map_err(|e| broken(&e))?;
    if data.len() as u64 != count {
        return Err(fault(format!("the file holds {} of {count} elements", data.len()), "the file is truncated"));
    }
    Ok(Array { shape, data })
}

/// Writes an f32 array.
pub fn write(path: &Path, shape: &[u64], data: &[f32]) -> Result<(), Failure> {
    let mut out = Output::create(path, Mode::Data)?;
    let mut write = || -> std::io::Result<()> {
        let mut w = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut out).begin_nd()?;
        w.extend(data.iter().copied())?;
        w.finish()
    };
    let written = write().and_then(|()| out.flush());
    written.map_err(|e| out.failure(&e))?;
    out.commit()
}
