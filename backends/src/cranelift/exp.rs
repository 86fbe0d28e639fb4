//! eˣ of one piece by the shared expansion.

use super::{lanes, target::Machine};
use cranelift::prelude::*;
use ir::DType;
use ir::kernel::BinOp;
use ir::kernel::exp::{ExpEmitter, expand};

/// eˣ for a float piece.
pub fn exp(b: &mut FunctionBuilder, machine: &Machine, x: Value) -> Value {
    let ty = b.func.dfg.value_type(x);
    let double = ty.lane_type() == types::F64;
    let dtype = if double { DType::F64 } else { DType::F32 };
    expand(&mut Piece { b, machine, ty, dtype }, x, double)
}

struct Piece<'a, 'f> {
    b: &'a mut FunctionBuilder<'f>,
    machine: &'a Machine,
    ty: Type,
    dtype: DType,
}

impl Piece<'_, '_> {
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
