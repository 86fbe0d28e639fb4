//! Registers of any number of lanes, as pieces of at most 128 bits.
//!
//! f32 and i32 fill vectors of four lanes, f64 of two; the lanes that are left over, and all u8, are scalars. Every
//! operation works on one piece, whatever its width.

use cranelift::codegen::ir::{ConstantData, Endianness};
use cranelift::prelude::*;
use ir::DType;
use ir::kernel::{BinOp, Test, Ty, UnOp};

pub fn scalar(dtype: DType) -> Type {
    match dtype {
        DType::F32 => types::F32,
        DType::F64 => types::F64,
        DType::I32 => types::I32,
        DType::U8 => types::I8,
    }
}

/// Types of the pieces, from lane 0 upwards.
pub fn pieces(ty: Ty) -> Vec<Type> {
    let (wide, narrow) = match ty.dtype {
        DType::F32 | DType::I32 => (ty.lanes / 4, ty.lanes % 4),
        DType::F64 => (ty.lanes / 2, ty.lanes % 2),
        DType::U8 => (0, ty.lanes),
    };
    let one = scalar(ty.dtype);
    let vector = one.by(16 / one.bytes()).expect("invariant: 128-bit vectors exist");
    let mut out = vec![vector; wide as usize];
    out.extend((0..narrow).map(|_| one));
    out
}

/// The constant `c` in every lane, rounded (floats) or truncated and saturated (integers) to the element type.
pub fn constant(b: &mut FunctionBuilder, ty: Type, c: f64) -> Value {
    let lane = ty.lane_type();
    if ty.is_vector() {
        let bytes = match lane {
            types::F32 => (c as f32).to_le_bytes().to_vec(),
            types::F64 => c.to_le_bytes().to_vec(),
            _ => (c as i32).to_le_bytes().to_vec(),
        };
        let all = bytes.repeat((ty.bytes() / lane.bytes()) as usize);
        let handle = b.func.dfg.constants.insert(ConstantData::from(&all[..]));
        return b.ins().vconst(ty, handle);
    }
    match lane {
        types::F32 => b.ins().f32const(c as f32),
        types::F64 => b.ins().f64const(c),
        types::I8 => b.ins().iconst(types::I8, i64::from(c as u8)),
        _ => b.ins().iconst(types::I32, i64::from(c as i32)),
    }
}

pub fn splat(b: &mut FunctionBuilder, ty: Type, v: Value) -> Value {
    if ty.is_vector() { b.ins().splat(ty, v) } else { v }
}

/// `None`: the element type lacks that operation.
pub fn un(b: &mut FunctionBuilder, op: UnOp, dtype: DType, a: Value) -> Option<Value> {
    match op {
        UnOp::Neg if dtype.is_float() => Some(b.ins().fneg(a)),
        UnOp::Neg => Some(b.ins().ineg(a)),
        UnOp::Sqrt if dtype.is_float() => Some(b.ins().sqrt(a)),
        UnOp::Sqrt | UnOp::Exp | UnOp::Log => None,
    }
}

/// `None`: the element type lacks that operation.
pub fn bin(b: &mut FunctionBuilder, op: BinOp, dtype: DType, x: Value, y: Value) -> Option<Value> {
    let float = dtype.is_float();
    let signed = dtype == DType::I32;
    Some(match op {
        BinOp::Add if float => b.ins().fadd(x, y),
        BinOp::Sub if float => b.ins().fsub(x, y),
        BinOp::Mul if float => b.ins().fmul(x, y),
        BinOp::Div if float => b.ins().fdiv(x, y),
        BinOp::Max if float => second_if_less(b, x, y, x, y),
        BinOp::Min if float => second_if_less(b, y, x, x, y),
        BinOp::MaxNan if float => b.ins().fmax(x, y),
        BinOp::Add => b.ins().iadd(x, y),
        BinOp::Sub => b.ins().isub(x, y),
        BinOp::Mul => b.ins().imul(x, y),
        BinOp::Div => return None,
        BinOp::Max | BinOp::MaxNan if signed => b.ins().smax(x, y),
        BinOp::Max | BinOp::MaxNan => b.ins().umax(x, y),
        BinOp::Min if signed => b.ins().smin(x, y),
        BinOp::Min => b.ins().umin(x, y),
    })
}

/// `small < large ? y : x`: Cranelift makes one `maxps` or `minps` of it.
fn second_if_less(b: &mut FunctionBuilder, small: Value, large: Value, x: Value, y: Value) -> Value {
    let less = b.ins().fcmp(FloatCC::LessThan, small, large);
    select(b, less, y, x)
}

/// `[a, b, x, y]`: `x` where `test` holds for `a` and `b`, `y` elsewhere.
pub fn choose(b: &mut FunctionBuilder, test: Test, dtype: DType, [l, r, x, y]: [Value; 4]) -> Value {
    let which = match (test, dtype) {
        (Test::Gt, DType::F32 | DType::F64) => b.ins().fcmp(FloatCC::GreaterThan, l, r),
        (Test::Eq, DType::F32 | DType::F64) => b.ins().fcmp(FloatCC::Equal, l, r),
        (Test::Gt, DType::I32) => b.ins().icmp(IntCC::SignedGreaterThan, l, r),
        (Test::Gt, DType::U8) => b.ins().icmp(IntCC::UnsignedGreaterThan, l, r),
        (Test::Eq, DType::I32 | DType::U8) => b.ins().icmp(IntCC::Equal, l, r),
    };
    select(b, which, x, y)
}

/// `y` where the comparison `which` held, `x` elsewhere.
pub fn select(b: &mut FunctionBuilder, which: Value, y: Value, x: Value) -> Value {
    let ty = b.func.dfg.value_type(x);
    if !ty.is_vector() {
        return b.ins().select(which, y, x);
    }
    let mask = reinterpret(b, ty, which);
    b.ins().bitselect(mask, y, x)
}

/// The same bits as another type.
pub fn reinterpret(b: &mut FunctionBuilder, ty: Type, v: Value) -> Value {
    b.ins().bitcast(ty, MemFlagsData::new().with_endianness(Endianness::Little), v)
}

/// `x·y + z`, rounded once if `fused`.
pub fn fma(b: &mut FunctionBuilder, fused: bool, x: Value, y: Value, z: Value) -> Value {
    if fused {
        return b.ins().fma(x, y, z);
    }
    let product = b.ins().fmul(x, y);
    b.ins().fadd(product, z)
}

/// Converts all pieces of a register of type `from` to element type `to`.
pub fn convert(b: &mut FunctionBuilder, from: Ty, to: DType, values: &[Value]) -> Vec<Value> {
    let result = pieces(Ty { dtype: to, lanes: from.lanes });
    let same_shape = matches!((from.dtype, to), (DType::F32, DType::I32) | (DType::I32, DType::F32));
    if from.dtype == to {
        return values.to_vec();
    }
    if same_shape {
        return values.iter().zip(result).map(|(&v, ty)| convert_piece(b, from.dtype, to, ty, v)).collect();
    }
    // The pieces differ in width: lane by lane.
    let mut lanes = Vec::with_capacity(from.lanes as usize);
    for &v in values {
        let ty = b.func.dfg.value_type(v);
        for i in 0..ty.lane_count() {
            let lane = if ty.is_vector() { b.ins().extractlane(v, i as u8) } else { v };
            lanes.push(convert_piece(b, from.dtype, to, scalar(to), lane));
        }
    }
    let mut lanes = lanes.into_iter();
    result
        .into_iter()
        .map(|ty| {
            let mut next = || lanes.next().expect("invariant: as many lanes as before");
            let first = next();
            if !ty.is_vector() {
                return first;
            }
            let start = b.ins().scalar_to_vector(ty, first);
            (1..ty.lane_count()).fold(start, |v, i| b.ins().insertlane(v, next(), i as u8))
        })
        .collect()
}

/// One piece to type `ty` of element type `to`. Floats out of range saturate, NaN becomes 0; integers keep their low
/// bits.
fn convert_piece(b: &mut FunctionBuilder, from: DType, to: DType, ty: Type, v: Value) -> Value {
    match (from, to) {
        (DType::F32, DType::F64) => b.ins().fpromote(ty, v),
        (DType::F64, DType::F32) => b.ins().fdemote(ty, v),
        (DType::F32 | DType::F64, DType::I32) => b.ins().fcvt_to_sint_sat(ty, v),
        (DType::F32 | DType::F64, DType::U8) => {
            let wide = b.ins().fcvt_to_sint_sat(types::I32, v);
            let (least, greatest) = (b.ins().iconst(types::I32, 0), b.ins().iconst(types::I32, 255));
            let wide = b.ins().smax(wide, least);
            let wide = b.ins().smin(wide, greatest);
            b.ins().ireduce(ty, wide)
        }
        (DType::I32, DType::U8) => b.ins().ireduce(ty, v),
        (DType::U8, DType::I32) => b.ins().uextend(ty, v),
        (DType::U8, DType::F32 | DType::F64) => {
            let wide = b.ins().uextend(types::I32, v);
            b.ins().fcvt_from_sint(ty, wide)
        }
        (DType::I32, DType::F32 | DType::F64) => b.ins().fcvt_from_sint(ty, v),
        (DType::F32, DType::F32) | (DType::F64, DType::F64) | (DType::I32, DType::I32) | (DType::U8, DType::U8) => v,
    }
}
