//! Bytes ↔ numbers. Every element type embeds exactly in f64, so the interpreter computes on f64 storage and
//! rounds to the element type after each operation.

use crate::types::DType;

/// The numbers that little-endian `bytes` hold. A rest that is shorter than an element is left out.
pub fn decode(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    match dtype {
        DType::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect(),
        DType::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        DType::I32 => bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b).into()).collect(),
        DType::U8 => bytes.iter().map(|&b| b.into()).collect(),
    }
}

/// Little-endian bytes of numbers, each rounded by [`to`] first.
pub fn encode(dtype: DType, values: &[f64]) -> Vec<u8> {
    match dtype {
        DType::F32 => values.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
        DType::F64 => values.iter().flat_map(|&x| x.to_le_bytes()).collect(),
        DType::I32 => values.iter().flat_map(|&x| (x as i32).to_le_bytes()).collect(),
        DType::U8 => values.iter().map(|&x| x as u8).collect(),
    }
}

/// `x` as an element: floats round to nearest, integers truncate and saturate, NaN becomes integer 0.
pub fn to(dtype: DType, x: f64) -> f64 {
    match dtype {
        DType::F32 => (x as f32).into(),
        DType::F64 => x,
        DType::I32 => (x as i32).into(),
        DType::U8 => (x as u8).into(),
    }
}

/// An exact integer as an element of that type: floats round to nearest, integers keep their low bits.
pub fn from_integer(dtype: DType, i: i64) -> f64 {
    match dtype {
        DType::F32 => (i as f32).into(),
        DType::F64 => i as f64,
        DType::I32 => (i as i32).into(),
        DType::U8 => (i as u8).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive() {
        for dtype in DType::ALL {
            let bytes: Vec<u8> = (0..64).map(|i| (i * 37 % 251) as u8).collect();
            assert_eq!(encode(dtype, &decode(dtype, &bytes)), bytes, "{dtype}");
        }
    }

    #[test]
    fn floats_become_integers_by_truncation_and_saturation() {
        assert_eq!(to(DType::U8, 3.99), 3.0);
        assert_eq!(to(DType::U8, -1.0), 0.0);
        assert_eq!(to(DType::U8, 1e9), 255.0);
        assert_eq!(to(DType::I32, -1e10), f64::from(i32::MIN));
        assert_eq!(to(DType::I32, f64::NAN), 0.0);
        assert_eq!(from_integer(DType::U8, 257), 1.0);
    }
}
