//! The arithmetic of each instruction on one lane: exactly rounded in the element type.

use crate::interp::elements::to;
use crate::kernel::exp::{self, ExpEmitter};
use crate::kernel::log::{self, LogEmitter, Split};
use crate::kernel::{BinOp, Expr, Test, UnOp};
use crate::types::DType;

/// One lane of an instruction; operands that it lacks are ignored.
pub type Fun = fn(f64, f64, f64) -> f64;

/// The function of an instruction with operands of type `from` and a result of type `ty`.
pub fn function(expr: &Expr, from: DType, ty: DType) -> Fun {
    match expr {
        Expr::Un(op, _) => unary(*op, ty),
        Expr::Bin(op, ..) => binary(*op, ty),
        Expr::Fma(..) => match ty {
            DType::F32 => |a, b, c| (a as f32).mul_add(b as f32, c as f32).into(),
            _ => f64::mul_add,
        },
        Expr::Convert(_) => convert(from, ty),
        _ => |a, _, _| a,
    }
}

fn unary(op: UnOp, ty: DType) -> Fun {
    match (op, ty) {
        (UnOp::Neg, DType::I32) => |a, _, _| f64::from((a as i32).wrapping_neg()),
        (UnOp::Neg, DType::U8) => |a, _, _| f64::from((a as u8).wrapping_neg()),
        (UnOp::Neg, _) => |a, _, _| -a,
        // A root in f64 rounded to f32 is the f32 root: 53 bits are more than 2·24 + 2.
        (UnOp::Sqrt, DType::F32) => |a, _, _| to(DType::F32, a.sqrt()),
        (UnOp::Sqrt, _) => |a, _, _| a.sqrt(),
        (UnOp::Exp, DType::F32) => |a, _, _| exp::expand(&mut Scalar32, a as f32, false).into(),
        (UnOp::Exp, _) => |a, _, _| exp::expand(&mut Scalar64, a, true),
        (UnOp::Log, DType::F32) => |a, _, _| log::expand(&mut Scalar32, a as f32, false).into(),
        (UnOp::Log, _) => |a, _, _| log::expand(&mut Scalar64, a, true),
    }
}

// Sums, products and quotients of f32 in f64, rounded to f32, are the f32 results (same argument as for roots).
// Products of i32 reach 2^62 and are not exact in f64, hence the integer path.
fn binary(op: BinOp, ty: DType) -> Fun {
    match (op, ty) {
        (BinOp::Max, _) => |a, b, _| if a < b { b } else { a },
        (BinOp::Min, _) => |a, b, _| if a > b { b } else { a },
        (BinOp::MaxNan, _) => |a, b, _| match (a.is_nan(), b.is_nan()) {
            (true, _) => a,
            (_, true) => b,
            // −0 < +0 here
            _ if a == b => {
                if a.is_sign_negative() {
                    b
                } else {
                    a
                }
            }
            _ => a.max(b),
        },
        (BinOp::Add, DType::F32) => |a, b, _| to(DType::F32, a + b),
        (BinOp::Sub, DType::F32) => |a, b, _| to(DType::F32, a - b),
        (BinOp::Mul, DType::F32) => |a, b, _| to(DType::F32, a * b),
        (BinOp::Div, DType::F32) => |a, b, _| to(DType::F32, a / b),
        (BinOp::Add, DType::F64) => |a, b, _| a + b,
        (BinOp::Sub, DType::F64) => |a, b, _| a - b,
        (BinOp::Mul, DType::F64) => |a, b, _| a * b,
        (BinOp::Div, _) => |a, b, _| a / b,
        (BinOp::Add, DType::I32) => |a, b, _| (a as i32).wrapping_add(b as i32).into(),
        (BinOp::Sub, DType::I32) => |a, b, _| (a as i32).wrapping_sub(b as i32).into(),
        (BinOp::Mul, DType::I32) => |a, b, _| (a as i32).wrapping_mul(b as i32).into(),
        (BinOp::Add, DType::U8) => |a, b, _| (a as u8).wrapping_add(b as u8).into(),
        (BinOp::Sub, DType::U8) => |a, b, _| (a as u8).wrapping_sub(b as u8).into(),
        (BinOp::Mul, DType::U8) => |a, b, _| (a as u8).wrapping_mul(b as u8).into(),
    }
}

fn convert(from: DType, ty: DType) -> Fun {
    match (from, ty) {
        // Between integers the low bits stay.
        (DType::I32, DType::U8) => |a, _, _| f64::from(a as i32 as u8),
        (_, DType::F32) => |a, _, _| to(DType::F32, a),
        (_, DType::F64) => |a, _, _| a,
        (_, DType::I32) => |a, _, _| to(DType::I32, a),
        (_, DType::U8) => |a, _, _| to(DType::U8, a),
    }
}

pub fn select<T: PartialOrd>(test: Test, a: T, b: T, x: T, y: T) -> T {
    let holds = match test {
        Test::Gt => a > b,
        Test::Eq => a == b,
    };
    if holds { x } else { y }
}

struct Scalar32;

impl ExpEmitter for Scalar32 {
    type V = f32;
    fn constant(&mut self, c: f64) -> f32 {
        c as f32
    }
    fn max(&mut self, a: f32, b: f32) -> f32 {
        if a < b { b } else { a }
    }
    fn min(&mut self, a: f32, b: f32) -> f32 {
        if a > b { b } else { a }
    }
    fn mul(&mut self, a: f32, b: f32) -> f32 {
        a * b
    }
    fn fma(&mut self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    fn floor(&mut self, a: f32) -> f32 {
        a.floor()
    }
    fn pow2(&mut self, n: f32) -> f32 {
        f32::from_bits(((n as i32).wrapping_add(127) as u32) << 23)
    }
}

impl LogEmitter for Scalar32 {
    fn add(&mut self, a: f32, b: f32) -> f32 {
        a + b
    }
    fn div(&mut self, a: f32, b: f32) -> f32 {
        a / b
    }
    fn select(&mut self, test: Test, a: f32, b: f32, x: f32, y: f32) -> f32 {
        select(test, a, b, x, y)
    }
    fn split(&mut self, a: f32) -> [f32; 2] {
        let s = Split::of(false);
        let t = a.to_bits().wrapping_add(s.up as u32);
        let k = f32::from_bits(t >> s.fraction | s.magic as u32) - s.offset as f32;
        [k, f32::from_bits((t & s.mask as u32).wrapping_add(s.half_root as u32))]
    }
}

struct Scalar64;

impl ExpEmitter for Scalar64 {
    type V = f64;
    fn constant(&mut self, c: f64) -> f64 {
        c
    }
    fn max(&mut self, a: f64, b: f64) -> f64 {
        if a < b { b } else { a }
    }
    fn min(&mut self, a: f64, b: f64) -> f64 {
        if a > b { b } else { a }
    }
    fn mul(&mut self, a: f64, b: f64) -> f64 {
        a * b
    }
    fn fma(&mut self, a: f64, b: f64, c: f64) -> f64 {
        a.mul_add(b, c)
    }
    fn floor(&mut self, a: f64) -> f64 {
        a.floor()
    }
    fn pow2(&mut self, n: f64) -> f64 {
        f64::from_bits(((n as i64).wrapping_add(1023) as u64) << 52)
    }
}

impl LogEmitter for Scalar64 {
    fn add(&mut self, a: f64, b: f64) -> f64 {
        a + b
    }
    fn div(&mut self, a: f64, b: f64) -> f64 {
        a / b
    }
    fn select(&mut self, test: Test, a: f64, b: f64, x: f64, y: f64) -> f64 {
        select(test, a, b, x, y)
    }
    fn split(&mut self, a: f64) -> [f64; 2] {
        let s = Split::of(true);
        let t = a.to_bits().wrapping_add(s.up);
        let k = f64::from_bits(t >> s.fraction | s.magic) - s.offset;
        [k, f64::from_bits((t & s.mask).wrapping_add(s.half_root))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bin(op: BinOp, ty: DType, a: f64, b: f64) -> f64 {
        binary(op, ty)(a, b, 0.0)
    }

    #[test]
    fn exp_is_close_and_saturates() {
        for i in -800..=800 {
            let x = f64::from(i) * 0.1;
            let f = f64::from(exp::expand(&mut Scalar32, x as f32, false));
            let exact = f64::from(x as f32).exp();
            assert!((f - exact).abs() <= 3e-7 * exact, "exp({x}) = {f}, not {exact}");
            let d = exp::expand(&mut Scalar64, x, true);
            assert!((d - x.exp()).abs() <= 1e-14 * x.exp(), "exp({x}) = {d}");
        }
        assert!(exp::expand(&mut Scalar32, f32::NAN, false).is_nan());
        assert!(exp::expand(&mut Scalar32, 1e9, false).is_finite());
    }

    #[test]
    fn log_is_close_everywhere() {
        // Every exponent, and the neighbourhoods of 1 and of the borders of the fraction.
        let near = [1.0, 2f64.sqrt(), 0.5f64.sqrt(), 2.0, 0.75, 1.3];
        let steps = [0.0, 1e-7, -1e-7, 1e-3, -1e-3, 0.11, -0.11];
        let points = near.iter().flat_map(|n| steps.map(|s| n * (1.0 + s)));
        for (x, exponent) in points.flat_map(|x| (-1060..1020).step_by(7).map(move |e| (x, e))) {
            let x = x * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2);
            let (got, want) = (log::expand(&mut Scalar64, x, true), x.ln());
            assert!((got - want).abs() <= 3.0 * f64::EPSILON * want.abs(), "ln {x:e} = {got:e}, not {want:e}");
            let x = x as f32;
            if x > 0.0 && x.is_finite() {
                let (got, want) = (f64::from(log::expand(&mut Scalar32, x, false)), f64::from(x).ln());
                let u = f64::from(f32::EPSILON);
                assert!((got - want).abs() <= 3.0 * u * want.abs(), "ln {x:e} = {got:e}, not {want:e}");
            }
        }
    }

    #[test]
    fn log_of_what_has_none() {
        let single = |x: f32| log::expand(&mut Scalar32, x, false);
        let double = |x: f64| log::expand(&mut Scalar64, x, true);
        assert!([single(0.0), single(-0.0)].iter().all(|&y| y == f32::NEG_INFINITY));
        assert!([double(0.0), double(-0.0)].iter().all(|&y| y == f64::NEG_INFINITY));
        assert!([single(-1.0), single(f32::NAN), single(f32::NEG_INFINITY)].iter().all(|y| y.is_nan()));
        assert!([double(-1e-310), double(f64::NAN), double(f64::NEG_INFINITY)].iter().all(|y| y.is_nan()));
        assert_eq!((single(f32::INFINITY), double(f64::INFINITY)), (f32::INFINITY, f64::INFINITY));
        assert_eq!((single(1.0), double(1.0)), (0.0, 0.0));
    }

    #[test]
    fn a_selection_takes_the_second_on_nan() {
        assert_eq!(select(Test::Gt, 2.0, 1.0, 3.0, 4.0), 3.0);
        assert_eq!(select(Test::Gt, 1.0, 1.0, 3.0, 4.0), 4.0);
        assert_eq!(select(Test::Eq, 0.0, -0.0, 3.0, 4.0), 3.0);
        for test in Test::ALL {
            assert_eq!(select(test, f64::NAN, f64::NAN, 3.0, 4.0), 4.0);
        }
    }

    #[test]
    fn nan_goes_where_the_kernel_ir_says() {
        let nan = f64::NAN;
        assert!(bin(BinOp::Max, DType::F32, nan, 1.0).is_nan());
        assert_eq!(bin(BinOp::Max, DType::F32, 1.0, nan), 1.0);
        assert_eq!(bin(BinOp::Min, DType::F32, 1.0, nan), 1.0);
        assert!(bin(BinOp::MaxNan, DType::F32, 1.0, nan).is_nan());
        assert!(bin(BinOp::MaxNan, DType::F32, -0.0, 0.0).is_sign_positive());
        assert!(bin(BinOp::MaxNan, DType::F32, 0.0, -0.0).is_sign_positive());
    }

    #[test]
    fn f32_results_are_rounded_once() {
        let (a, b) = (0.1f32, 0.7f32);
        let f = |op| bin(op, DType::F32, a.into(), b.into());
        assert_eq!(f(BinOp::Add), f64::from(a + b));
        assert_eq!(f(BinOp::Mul), f64::from(a * b));
        assert_eq!(f(BinOp::Div), f64::from(a / b));
        assert_eq!(bin(BinOp::Mul, DType::I32, 65537.0, 65537.0), f64::from(65537i32.wrapping_mul(65537)));
    }
}
