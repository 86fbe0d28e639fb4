//! eˣ and ln x of one piece by the shared expansions.

use super::{lanes, target::Machine};
use cranelift::prelude::*;
use ir::DType;
use ir::kernel::exp::{self, ExpEmitter};
use ir::kernel::log::{self, LogEmitter, Split};
use ir::kernel::{BinOp, Test};

/// eˣ for a float piece.
pub fn exp(b: &mut FunctionBuilder, machine: &Machine, x: Value) -> Value {
    let mut piece = Piece::of(b, machine, x);
    let double = piece.is_double();
    exp::expand(&mut piece, x, double)
}

/// ln x for a float piece.
pub fn log(b: &mut FunctionBuilder, machine: &Machine, x: Value) -> Value {
    let mut piece = Piece::of(b, machine, x);
    let double = piece.is_double();
    log::expand(&mut piece, x, double)
}

struct Piece<'a, 'f> {
    b: &'a mut FunctionBuilder<'f>,
    machine: &'a Machine,
    ty: Type,
    dtype: DType,
}

impl<'a, 'f> Piece<'a, 'f> {
    fn of(b: &'a mut FunctionBuilder<'f>, machine: &'a Machine, x: Value) -> Piece<'a, 'f> {
        let ty = b.func.dfg.value_type(x);
        let dtype = if ty.lane_type() == types::F64 { DType::F64 } else { DType::F32 };
        Piece { b, machine, ty, dtype }
    }

    fn is_double(&self) -> bool {
        self.dtype == DType::F64
    }

    /// These bits in every lane, as integers.
    fn bits(&mut self, bits: u64) -> Value {
        let number = if self.is_double() { f64::from_bits(bits) } else { f32::from_bits(bits as u32).into() };
        let number = self.constant(number);
        lanes::reinterpret(self.b, self.ty.as_int(), number)
    }

    fn bin(&mut self, op: BinOp, x: Value, y: Value) -> Value {
        lanes::bin(self.b, op, self.dtype, x, y).expect("invariant: floats have every operation")
    }

    /// Adding this number rounds to an integer and leaves that integer in the low bits of the mantissa.
    fn round_bias(&self) -> f64 {
        if self.dtype == DType::F64 { 1.5 * 2f64.powi(52) } else { 1.5 * 2f64.powi(23) }
    }
}

impl ExpEmitter for Piece<'_, '_> {
    type V = Value;

    fn constant(&mut self, c: f64) -> Value {
        lanes::constant(self.b, self.ty, c)
    }

    fn max(&mut self, x: Value, y: Value) -> Value {
        self.bin(BinOp::Max, x, y)
    }

    fn min(&mut self, x: Value, y: Value) -> Value {
        self.bin(BinOp::Min, x, y)
    }

    fn mul(&mut self, x: Value, y: Value) -> Value {
        self.bin(BinOp::Mul, x, y)
    }

    fn fma(&mut self, x: Value, y: Value, z: Value) -> Value {
        lanes::fma(self.b, self.machine.has_fma, x, y, z)
    }

    fn floor(&mut self, a: Value) -> Value {
        if self.machine.has_floor {
            return self.b.ins().floor(a);
        }
        // Arguments are small here: round to nearest, then step down where that went up.
        let bias = self.constant(self.round_bias());
        let one = self.constant(1.0);
        let shifted = self.bin(BinOp::Add, a, bias);
        let nearest = self.bin(BinOp::Sub, shifted, bias);
        let below = self.bin(BinOp::Sub, nearest, one);
        let above = self.b.ins().fcmp(FloatCC::GreaterThan, nearest, a);
        lanes::select(self.b, above, below, nearest)
    }

    fn pow2(&mut self, n: Value) -> Value {
        let (exponent_bias, mantissa) = if self.dtype == DType::F64 { (1023.0, 52) } else { (127.0, 23) };
        let bias = self.constant(self.round_bias() + exponent_bias);
        let shifted = self.bin(BinOp::Add, n, bias);
        let bits = lanes::reinterpret(self.b, self.ty.as_int(), shifted);
        let bits = self.b.ins().ishl_imm_u(bits, mantissa);
        lanes::reinterpret(self.b, self.ty, bits)
    }
}

impl LogEmitter for Piece<'_, '_> {
    fn add(&mut self, x: Value, y: Value) -> Value {
        self.bin(BinOp::Add, x, y)
    }

    fn div(&mut self, x: Value, y: Value) -> Value {
        self.bin(BinOp::Div, x, y)
    }

    fn select(&mut self, test: Test, a: Value, b: Value, x: Value, y: Value) -> Value {
        lanes::choose(self.b, test, self.dtype, [a, b, x, y])
    }

    fn split(&mut self, a: Value) -> [Value; 2] {
        let s = Split::of(self.is_double());
        let (up, mask, half_root, magic) =
            (self.bits(s.up), self.bits(s.mask), self.bits(s.half_root), self.bits(s.magic));
        let bits = lanes::reinterpret(self.b, self.ty.as_int(), a);
        let t = self.b.ins().iadd(bits, up);
        let exponent = self.b.ins().ushr_imm_u(t, i64::from(s.fraction));
        let exponent = self.b.ins().bor(exponent, magic);
        let exponent = lanes::reinterpret(self.b, self.ty, exponent);
        let offset = self.constant(s.offset);
        let k = self.bin(BinOp::Sub, exponent, offset);
        let fraction = self.b.ins().band(t, mask);
        let fraction = self.b.ins().iadd(fraction, half_root);
        [k, lanes::reinterpret(self.b, self.ty, fraction)]
    }
}
