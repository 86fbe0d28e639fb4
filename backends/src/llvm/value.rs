//! Arithmetic: one IR expression becomes the LLVM instructions that select to the fewest machine instructions.
//!
//! No fast-math flags anywhere: what a kernel says is what is rounded, in that order.

use crate::llvm::target::Machine;
use inkwell::builder::{Builder, BuilderError};
use inkwell::context::Context;
use inkwell::intrinsics::Intrinsic;
use inkwell::module::Module;
use inkwell::types::{BasicTypeEnum, IntType, VectorType};
use inkwell::values::{BasicMetadataValueEnum, BasicValueEnum, FunctionValue, IntValue};
use inkwell::{FloatPredicate, IntPredicate};
use ir::DType;
use ir::kernel::exp::{self, ExpEmitter};
use ir::kernel::log::{self, LogEmitter, Split};
use ir::kernel::{BinOp, Test, Ty, UnOp};
use std::cell::RefCell;
use std::collections::HashMap;

type Value<'c> = BasicValueEnum<'c>;
pub type Built<T> = Result<T, BuilderError>;

/// Calls a builder method that inkwell types separately for scalars and for vectors.
macro_rules! either {
    ($b:expr, $method:ident, $scalar:ident, $a:expr, $c:expr) => {
        match ($a, $c) {
            (Value::$scalar(a), Value::$scalar(c)) => Value::from($b.$method(a, c, "")?),
            (Value::VectorValue(a), Value::VectorValue(c)) => Value::from($b.$method(a, c, "")?),
            _ => unreachable!("invariant: the kernel verifier checks operand types"),
        }
    };
}

/// `a PREDICATE b ? x : y`, lane by lane.
macro_rules! pick {
    ($b:expr, $compare:ident, $scalar:ident, $predicate:expr, $a:expr, $c:expr, $x:expr, $y:expr) => {
        match ($a, $c) {
            (Value::$scalar(a), Value::$scalar(c)) => {
                let is = $b.$compare($predicate, a, c, "")?;
                $b.build_select(is, $x, $y, "")?
            }
            (Value::VectorValue(a), Value::VectorValue(c)) => {
                let is = $b.$compare($predicate, a, c, "")?;
                $b.build_select(is, $x, $y, "")?
            }
            _ => unreachable!("invariant: the kernel verifier checks operand types"),
        }
    };
}

/// A conversion instruction to a scalar or vector type.
macro_rules! cast {
    ($b:expr, $method:ident, $from:ident, $into:ident, $a:expr, $ty:expr) => {
        match $a {
            Value::$from(a) => Value::from($b.$method(a, $ty.$into(), "")?),
            Value::VectorValue(a) => Value::from($b.$method(a, $ty.into_vector_type(), "")?),
            _ => unreachable!("invariant: registers are numbers or vectors of them"),
        }
    };
}

/// Emits arithmetic at the builder's position.
pub struct Values<'c, 'm> {
    pub cx: &'c Context,
    pub module: &'m Module<'c>,
    pub machine: Machine<'m>,
    /// Declarations found so far: looking one up by name costs more than emitting the call.
    /// Key: name, result type, argument type.
    declared: RefCell<HashMap<(&'static str, Ty, Ty), FunctionValue<'c>>>,
}

impl<'c, 'm> Values<'c, 'm> {
    pub fn new(cx: &'c Context, module: &'m Module<'c>, machine: Machine<'m>) -> Values<'c, 'm> {
        Values { cx, module, machine, declared: RefCell::default() }
    }

    pub fn scalar_type(&self, dtype: DType) -> BasicTypeEnum<'c> {
        match dtype {
            DType::F32 => self.cx.f32_type().into(),
            DType::F64 => self.cx.f64_type().into(),
            DType::I32 => self.cx.i32_type().into(),
            DType::U8 => self.cx.i8_type().into(),
        }
    }

    pub fn ty(&self, ty: Ty) -> BasicTypeEnum<'c> {
        lanes_of(self.scalar_type(ty.dtype), ty.lanes)
    }

    fn call(&self, b: &Builder<'c>, name: &'static str, ty: Ty, args: &[Value<'c>]) -> Built<Value<'c>> {
        self.call_converting(b, name, ty, ty, args)
    }

    /// Calls an intrinsic that is overloaded on its result type and, where that differs, on its argument type.
    fn call_converting(
        &self,
        b: &Builder<'c>,
        name: &'static str,
        to: Ty,
        from: Ty,
        args: &[Value<'c>],
    ) -> Built<Value<'c>> {
        let f = *self.declared.borrow_mut().entry((name, to, from)).or_insert_with(|| {
            let types = [self.ty(to), self.ty(from)];
            let overloads = if to == from { &types[..1] } else { &types[..] };
            Intrinsic::find(name)
                .and_then(|i| i.get_declaration(self.module, overloads))
                .expect("invariant: LLVM 22 has the intrinsic for every register type")
        });
        let args: Vec<BasicMetadataValueEnum> = args.iter().map(|&a| a.into()).collect();
        Ok(b.build_call(f, &args, "")?.try_as_basic_value().unwrap_basic())
    }

    pub fn constant(&self, ty: Ty, c: f64) -> Value<'c> {
        #[expect(clippy::cast_possible_truncation, reason = "the value is rounded to the register's type")]
        let scalar: Value = match ty.dtype {
            DType::F32 => self.cx.f32_type().const_float(f64::from(c as f32)).into(),
            DType::F64 => self.cx.f64_type().const_float(c).into(),
            DType::I32 => self.cx.i32_type().const_int(i64::from(c as i32).cast_unsigned(), true).into(),
            DType::U8 => self.cx.i8_type().const_int(u64::from(c as u8), false).into(),
        };
        splat_constant(scalar, ty.lanes)
    }

    /// A scalar in every lane, as an insertion and a shuffle, which selects to one broadcasting load.
    pub fn splat(&self, b: &Builder<'c>, a: Value<'c>, lanes: u32) -> Built<Value<'c>> {
        let poison = lanes_of(a.get_type(), lanes).into_vector_type().get_poison();
        let one = b.build_insert_element(poison, a, self.cx.i64_type().const_zero(), "")?;
        let mask = self.cx.i32_type().vec_type(lanes).const_zero();
        Ok(b.build_shuffle_vector(one, poison, mask, "")?.into())
    }

    /// A loop index as a number.
    pub fn index(&self, b: &Builder<'c>, i: IntValue<'c>, ty: Ty) -> Built<Value<'c>> {
        let to = self.ty(ty);
        Ok(if ty.dtype.is_float() {
            b.build_signed_int_to_float(i, to.into_float_type(), "")?.into()
        } else {
            b.build_int_truncate(i, to.into_int_type(), "")?.into()
        })
    }

    pub fn fma(&self, b: &Builder<'c>, ty: Ty, x: Value<'c>, y: Value<'c>, z: Value<'c>) -> Built<Value<'c>> {
        self.call(b, self.machine.fma_intrinsic(), ty, &[x, y, z])
    }

    pub fn unary(&self, b: &Builder<'c>, ty: Ty, op: UnOp, a: Value<'c>) -> Built<Value<'c>> {
        match op {
            UnOp::Neg if ty.dtype.is_float() => Ok(match a {
                Value::FloatValue(a) => b.build_float_neg(a, "")?.into(),
                a => b.build_float_neg(a.into_vector_value(), "")?.into(),
            }),
            UnOp::Neg => self.binary(b, ty, BinOp::Sub, self.constant(ty, 0.0), a),
            UnOp::Sqrt => self.call(b, "llvm.sqrt", ty, &[a]),
            UnOp::Exp => {
                let mut e = Expansion { values: self, b, ty, failed: None };
                let y = exp::expand(&mut e, a, ty.dtype == DType::F64);
                e.failed.map_or(Ok(y), Err)
            }
            UnOp::Log => {
                let mut e = Expansion { values: self, b, ty, failed: None };
                let y = log::expand(&mut e, a, ty.dtype == DType::F64);
                e.failed.map_or(Ok(y), Err)
            }
        }
    }

    pub fn binary(&self, b: &Builder<'c>, ty: Ty, op: BinOp, x: Value<'c>, y: Value<'c>) -> Built<Value<'c>> {
        if ty.dtype.is_float() { self.float_binary(b, ty, op, x, y) } else { int_binary(b, ty, op, x, y) }
    }

    fn float_binary(&self, b: &Builder<'c>, ty: Ty, op: BinOp, x: Value<'c>, y: Value<'c>) -> Built<Value<'c>> {
        Ok(match op {
            BinOp::Add => either!(b, build_float_add, FloatValue, x, y),
            BinOp::Sub => either!(b, build_float_sub, FloatValue, x, y),
            BinOp::Mul => either!(b, build_float_mul, FloatValue, x, y),
            BinOp::Div => either!(b, build_float_div, FloatValue, x, y),
            // One vmaxps or vminps each, which return their second source if either is NaN.
            BinOp::Max => pick!(b, build_float_compare, FloatValue, FloatPredicate::OLT, x, y, y, x),
            BinOp::Min => pick!(b, build_float_compare, FloatValue, FloatPredicate::OGT, x, y, y, x),
            BinOp::MaxNan => self.call(b, "llvm.maximum", ty, &[x, y])?,
        })
    }

    /// `[a, b, x, y]`: `x` where `test` holds for `a` and `b`, `y` elsewhere.
    pub fn select(&self, b: &Builder<'c>, ty: Ty, test: Test, [l, r, x, y]: [Value<'c>; 4]) -> Built<Value<'c>> {
        use IntPredicate::{EQ, SGT, UGT};
        Ok(match (test, ty.dtype) {
            (Test::Gt, DType::F32 | DType::F64) => {
                pick!(b, build_float_compare, FloatValue, FloatPredicate::OGT, l, r, x, y)
            }
            (Test::Eq, DType::F32 | DType::F64) => {
                pick!(b, build_float_compare, FloatValue, FloatPredicate::OEQ, l, r, x, y)
            }
            (Test::Gt, DType::I32) => pick!(b, build_int_compare, IntValue, SGT, l, r, x, y),
            (Test::Gt, DType::U8) => pick!(b, build_int_compare, IntValue, UGT, l, r, x, y),
            (Test::Eq, DType::I32 | DType::U8) => pick!(b, build_int_compare, IntValue, EQ, l, r, x, y),
        })
    }

    /// To `to`'s element type. Float to integer truncates and saturates; NaN becomes 0.
    pub fn convert(&self, b: &Builder<'c>, a: Value<'c>, from: Ty, to: Ty) -> Built<Value<'c>> {
        use DType::{F32, F64, I32, U8};
        let ty = self.ty(to);
        Ok(match (from.dtype, to.dtype) {
            (f, t) if f == t => a,
            (F32, F64) => cast!(b, build_float_ext, FloatValue, into_float_type, a, ty),
            (F64, F32) => cast!(b, build_float_trunc, FloatValue, into_float_type, a, ty),
            (F32 | F64, I32) => self.call_converting(b, "llvm.fptosi.sat", to, from, &[a])?,
            (F32 | F64, U8) => self.call_converting(b, "llvm.fptoui.sat", to, from, &[a])?,
            (I32, F32 | F64) => cast!(b, build_signed_int_to_float, IntValue, into_float_type, a, ty),
            (U8, F32 | F64) => cast!(b, build_unsigned_int_to_float, IntValue, into_float_type, a, ty),
            (U8, I32) => cast!(b, build_int_z_extend, IntValue, into_int_type, a, ty),
            (I32, U8) => cast!(b, build_int_truncate, IntValue, into_int_type, a, ty),
            (F32, F32) | (F64, F64) | (I32, I32) | (U8, U8) => unreachable!("invariant: equal types are handled"),
        })
    }
}

fn int_binary<'c>(b: &Builder<'c>, ty: Ty, op: BinOp, x: Value<'c>, y: Value<'c>) -> Built<Value<'c>> {
    let unsigned = ty.dtype == DType::U8;
    let (less, more) =
        if unsigned { (IntPredicate::ULT, IntPredicate::UGT) } else { (IntPredicate::SLT, IntPredicate::SGT) };
    Ok(match op {
        BinOp::Add => either!(b, build_int_add, IntValue, x, y),
        BinOp::Sub => either!(b, build_int_sub, IntValue, x, y),
        BinOp::Mul => either!(b, build_int_mul, IntValue, x, y),
        BinOp::Div | BinOp::MaxNan => unreachable!("invariant: the kernel verifier keeps these to floats"),
        BinOp::Max => pick!(b, build_int_compare, IntValue, less, x, y, y, x),
        BinOp::Min => pick!(b, build_int_compare, IntValue, more, x, y, y, x),
    })
}

fn lanes_of(scalar: BasicTypeEnum<'_>, lanes: u32) -> BasicTypeEnum<'_> {
    match scalar {
        t if lanes == 1 => t,
        BasicTypeEnum::FloatType(t) => t.vec_type(lanes).into(),
        BasicTypeEnum::IntType(t) => t.vec_type(lanes).into(),
        _ => unreachable!("invariant: elements are numbers"),
    }
}

fn splat_constant(scalar: Value<'_>, lanes: u32) -> Value<'_> {
    if lanes == 1 { scalar } else { VectorType::const_vector(&vec![scalar; lanes as usize]).into() }
}

/// The instructions that eˣ and ln x are made of. The shared expansions cannot fail, so the first error waits in
/// `failed`.
struct Expansion<'a, 'c, 'm> {
    values: &'a Values<'c, 'm>,
    b: &'a Builder<'c>,
    ty: Ty,
    failed: Option<BuilderError>,
}

impl<'c> Expansion<'_, 'c, '_> {
    fn done(&mut self, v: Built<Value<'c>>) -> Value<'c> {
        v.unwrap_or_else(|e| {
            self.failed.get_or_insert(e);
            self.values.constant(self.ty, 0.0)
        })
    }

    /// `n` is within the exponents, or NaN; then the factor beside this one is NaN too, whatever the bits.
    fn exponent_bits(&self, n: Value<'c>) -> Built<Value<'c>> {
        let b = self.b;
        // Exponent bias, bits of the fraction.
        let (bias, fraction) = if self.ty.dtype == DType::F64 { (1023, 52) } else { (127, 23) };
        let n = cast!(b, build_float_to_signed_int, FloatValue, into_int_type, n, self.ints());
        let biased = either!(b, build_int_add, IntValue, n, self.bits(bias));
        let bits = either!(b, build_left_shift, IntValue, biased, self.bits(fraction));
        b.build_bit_cast(bits, self.values.ty(self.ty), "")
    }

    /// Integers as wide as the floats.
    fn int(&self) -> IntType<'c> {
        if self.ty.dtype == DType::F64 { self.values.cx.i64_type() } else { self.values.cx.i32_type() }
    }

    fn ints(&self) -> BasicTypeEnum<'c> {
        lanes_of(self.int().into(), self.ty.lanes)
    }

    /// An integer in every lane.
    fn bits(&self, k: u64) -> Value<'c> {
        splat_constant(self.int().const_int(k, false).into(), self.ty.lanes)
    }

    fn exponent_and_fraction(&self, a: Value<'c>) -> Built<[Value<'c>; 2]> {
        let (b, s, float) = (self.b, Split::of(self.ty.dtype == DType::F64), self.values.ty(self.ty));
        let bits = b.build_bit_cast(a, self.ints(), "")?;
        let t = either!(b, build_int_add, IntValue, bits, self.bits(s.up));
        let exponent = match (t, self.bits(s.fraction.into())) {
            (Value::IntValue(t), Value::IntValue(by)) => Value::from(b.build_right_shift(t, by, false, "")?),
            (Value::VectorValue(t), Value::VectorValue(by)) => Value::from(b.build_right_shift(t, by, false, "")?),
            _ => unreachable!("invariant: both are integers of one shape"),
        };
        let exponent = either!(b, build_or, IntValue, exponent, self.bits(s.magic));
        let exponent = b.build_bit_cast(exponent, float, "")?;
        let offset = self.values.constant(self.ty, s.offset);
        let k = self.values.binary(b, self.ty, BinOp::Sub, exponent, offset)?;
        let fraction = either!(b, build_and, IntValue, t, self.bits(s.mask));
        let fraction = either!(b, build_int_add, IntValue, fraction, self.bits(s.half_root));
        Ok([k, b.build_bit_cast(fraction, float, "")?])
    }
}

impl<'c> ExpEmitter for Expansion<'_, 'c, '_> {
    type V = Value<'c>;

    fn constant(&mut self, c: f64) -> Value<'c> {
        self.values.constant(self.ty, c)
    }

    fn max(&mut self, a: Value<'c>, b: Value<'c>) -> Value<'c> {
        let v = self.values.binary(self.b, self.ty, BinOp::Max, a, b);
        self.done(v)
    }

    fn min(&mut self, a: Value<'c>, b: Value<'c>) -> Value<'c> {
        let v = self.values.binary(self.b, self.ty, BinOp::Min, a, b);
        self.done(v)
    }

    fn mul(&mut self, a: Value<'c>, b: Value<'c>) -> Value<'c> {
        let v = self.values.binary(self.b, self.ty, BinOp::Mul, a, b);
        self.done(v)
    }

    fn fma(&mut self, a: Value<'c>, b: Value<'c>, c: Value<'c>) -> Value<'c> {
        let v = self.values.fma(self.b, self.ty, a, b, c);
        self.done(v)
    }

    fn floor(&mut self, a: Value<'c>) -> Value<'c> {
        let v = self.values.call(self.b, "llvm.floor", self.ty, &[a]);
        self.done(v)
    }

    fn pow2(&mut self, n: Value<'c>) -> Value<'c> {
        let v = self.exponent_bits(n);
        self.done(v)
    }
}

impl<'c> LogEmitter for Expansion<'_, 'c, '_> {
    fn add(&mut self, a: Value<'c>, b: Value<'c>) -> Value<'c> {
        let v = self.values.binary(self.b, self.ty, BinOp::Add, a, b);
        self.done(v)
    }

    fn div(&mut self, a: Value<'c>, b: Value<'c>) -> Value<'c> {
        let v = self.values.binary(self.b, self.ty, BinOp::Div, a, b);
        self.done(v)
    }

    fn select(&mut self, test: Test, a: Value<'c>, b: Value<'c>, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        let v = self.values.select(self.b, self.ty, test, [a, b, x, y]);
        self.done(v)
    }

    fn split(&mut self, a: Value<'c>) -> [Value<'c>; 2] {
        let parts = self.exponent_and_fraction(a);
        parts.unwrap_or_else(|e| {
            self.failed.get_or_insert(e);
            [self.values.constant(self.ty, 0.0); 2]
        })
    }
}
