//! Kernels that every back end must run as the interpreter does, bit for bit. Used by the tests alone.

use crate::Backend;
use crate::exec;
use ir::interp;
use ir::kernel::build::{max_of, min_of};
use ir::kernel::{Affine, BinOp, KernelBuilder, Role, Test, UnOp};
use ir::target::Target;
use ir::{DType, Kernel};

/// Bytes of a buffer of `n` elements: small numbers, some NaN, infinite and zero of both signs.
pub fn data(dtype: DType, n: usize, seed: u32) -> Vec<u8> {
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e30, -3e9, 254.5, 300.0, 1e-40];
    let values: Vec<f64> = (0..n as u32)
        .map(|i| {
            let r = (i.wrapping_add(seed)).wrapping_mul(2_654_435_761).rotate_left(13);
            if r % 7 == 0 { special[(r >> 8) as usize % special.len()] } else { f64::from(r as i32 >> 20) / 37.0 }
        })
        .collect();
    interp::encode(dtype, &values)
}

/// NaNs compare by being NaN; everything else by its bits.
pub fn same(dtype: DType, a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (interp::decode(dtype, a), interp::decode(dtype, b));
    a.len() == b.len() && a.iter().zip(&b).all(|(x, y)| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan())
}

pub fn inputs(k: &Kernel) -> Vec<Vec<u8>> {
    let decls = k.params.iter().map(|&p| &k.bufs[p]).filter(|d| d.role != Role::Out);
    decls.enumerate().map(|(i, d)| data(d.dtype, d.elements() as usize, 977 * i as u32)).collect()
}

/// Checks that code of `backend` gives the interpreter's bits for each of the kernels.
pub fn agrees(backend: &dyn Backend, target: &Target, kernels: &[Kernel]) {
    let loaded = exec::load(backend, kernels, target).unwrap();
    for (k, code) in kernels.iter().zip(loaded) {
        let inputs = inputs(k);
        let inputs: Vec<&[u8]> = inputs.iter().map(|i| &**i).collect();
        let expected = interp::kernel::run(k, &inputs).unwrap();
        same_outputs(k, &expected, &code.run_once(&inputs).unwrap());
    }
}

/// Checks the bytes of `k`'s outputs.
pub fn same_outputs(k: &Kernel, expected: &[Vec<u8>], got: &[Vec<u8>]) {
    let out = k.params.iter().map(|&p| &k.bufs[p]).filter(|d| d.role != Role::In);
    assert_eq!(expected.len(), got.len());
    for ((d, e), g) in out.zip(expected).zip(got) {
        let (e64, g64) = (interp::decode(d.dtype, e), interp::decode(d.dtype, g));
        assert!(same(d.dtype, e, g), "%{} of {}:\n{g64:?}\nis not\n{e64:?}", d.name, k.name);
    }
}

/// y = f(x0, x1) on `lanes` lanes at once.
pub fn map2(
    dtype: DType,
    to: DType,
    lanes: u32,
    name: &str,
    f: impl Fn(&mut KernelBuilder, [ir::entity::Reg; 2]) -> ir::entity::Reg,
) -> Kernel {
    let mut k = KernelBuilder::new(format!("{name}_{dtype}_{lanes}"));
    let n = i64::from(lanes);
    let x = [k.param("x0", dtype, &[6, n], Role::In), k.param("x1", dtype, &[6, n], Role::In)];
    let y = k.param("y", to, &[6, n], Role::Out);
    let t = k.tasks(6);
    let at = [t, Affine::constant(0)];
    let r = x.map(|x| k.load_vec(x, lanes, &at));
    let v = f(&mut k, r);
    k.store(y, &at, v);
    k.finish()
}

const WIDTHS: [u32; 7] = [1, 2, 3, 4, 7, 8, 16];

/// Every operation on every type and width, but fused multiply-adds and what is made of them if not `fused`.
pub fn arithmetic(fused: bool) -> Vec<Kernel> {
    let mut out = Vec::new();
    for dtype in DType::ALL {
        for lanes in WIDTHS {
            for op in BinOp::ALL {
                if dtype.is_float() || !matches!(op, BinOp::Div | BinOp::MaxNan) {
                    out.push(map2(dtype, dtype, lanes, op.name(), |k, [a, b]| k.bin(op, a, b)));
                }
            }
            for op in UnOp::ALL {
                if op == UnOp::Neg || dtype.is_float() && (fused || !matches!(op, UnOp::Exp | UnOp::Log)) {
                    out.push(map2(dtype, dtype, lanes, op.name(), |k, [a, _]| k.un(op, a)));
                }
            }
            for test in Test::ALL {
                let select = move |k: &mut KernelBuilder, [a, b]: [_; 2]| {
                    let equal = k.max(a, b);
                    let x = k.select(test, [a, b], b, a);
                    k.select(test, [equal, a], x, b)
                };
                out.push(map2(dtype, dtype, lanes, test.name(), select));
            }
            if fused && dtype.is_float() {
                out.push(map2(dtype, dtype, lanes, "fma", |k, [a, b]| k.fma(a, b, a)));
            }
        }
    }
    out
}

/// Every pair of types, and constants.
pub fn conversions() -> Vec<Kernel> {
    let mut out = Vec::new();
    for from in DType::ALL {
        for to in DType::ALL {
            for lanes in WIDTHS {
                out.push(map2(from, to, lanes, &format!("to_{to}"), |k, [a, _]| k.convert(a, to)));
                let name = format!("const_{to}");
                out.push(map2(from, to, lanes, &name, |k, _| k.constant(to, lanes, -3.75)));
            }
        }
    }
    out
}

/// C += A·B with vectors of `lanes`, `rows` of them carried, and a tail of scalars.
pub fn gemm(lanes: u32, rows: i64) -> Kernel {
    let (m, n, depth) = (2 * rows, i64::from(lanes) * 2 + 3, 5);
    let mut k = KernelBuilder::new(format!("gemm_{rows}x{lanes}"));
    let a = k.param("a", DType::F32, &[m, depth], Role::In);
    let b = k.param("b", DType::F32, &[depth, n], Role::In);
    let c = k.param("c", DType::F32, &[m, n], Role::InOut);
    let t = k.tasks(2);
    let row = |r: i64| &t * rows + r;
    k.for_(0, 2, |k, j| {
        let col = &j * i64::from(lanes);
        let inits: Vec<_> = (0..rows).map(|r| k.load_vec(c, lanes, &[row(r), col.clone()])).collect();
        let sums = k.for_carry(0, depth, &inits, |k, d, acc| {
            let w = k.load_vec(b, lanes, &[d.clone(), col.clone()]);
            (0..rows)
                .map(|r| {
                    let s = k.load(a, &[row(r), d.clone()]);
                    let s = k.splat(s, lanes);
                    k.fma(s, w, acc[r as usize])
                })
                .collect()
        });
        for (r, v) in sums.into_iter().enumerate() {
            k.store(c, &[row(r as i64), col.clone()], v);
        }
    });
    k.for_(2 * i64::from(lanes), n, |k, j| {
        for r in 0..rows {
            let init = k.load(c, &[row(r), j.clone()]);
            let sum = k.for_carry(0, depth, &[init], |k, d, acc| {
                let (x, y) = (k.load(a, &[row(r), d.clone()]), k.load(b, &[d, j.clone()]));
                vec![k.fma(x, y, acc[0])]
            });
            k.store(c, &[row(r), j.clone()], sum[0]);
        }
    });
    k.finish()
}

/// A 3-wide filter with guards at both ends, through views, on tasks that split and rejoin their index.
pub fn guarded_filter(opaque: bool) -> Kernel {
    let mut k = KernelBuilder::new(if opaque { "filter_opaque" } else { "filter" });
    let x = k.param("x", DType::F32, &[3, 5, 11], Role::In);
    let y = k.param("y", DType::F32, &[3, 5, 11], Role::Out);
    let line = k.scratch("line", DType::F32, &[11]);
    let t = k.tasks(15);
    let (p, q) = (t.floordiv(5), t.modulo(5));
    k.for_(0, 11, |k, i| {
        let zero = k.constant(DType::F32, 1, 0.0);
        let lo = max_of([Affine::constant(0), Affine::constant(1) - &i]);
        let hi = min_of([Affine::constant(3), Affine::constant(12) - &i]);
        let sum = k.for_carry(lo, hi, &[zero], |k, s, acc| {
            let v = k.view(x, &[p.clone(), q.clone(), &i + &s - 1], opaque);
            let v = k.load(v, &[0.into(), 0.into(), 0.into()]);
            let third = k.index(DType::F32, &s * 3 - 1);
            vec![k.fma(v, third, acc[0])]
        });
        k.store(line, &[i], sum[0]);
    });
    k.for_(0, 11, |k, i| {
        let v = k.load(line, &[Affine::constant(10) - &i]);
        k.store(y, &[p.clone(), q.clone(), i], v);
    });
    // An empty loop gives its initial values.
    let one = k.constant(DType::F32, 1, 1.0);
    let kept = k.for_carry(4, 4, &[one], |k, _, a| vec![k.add(a[0], a[0])]);
    let v = k.load(line, &[0.into()]);
    let v = k.mul(v, kept[0]);
    k.store(y, &[p, q, 10.into()], v);
    k.finish()
}

/// Quotients and remainders of an index that is negative at first.
pub fn floors() -> Kernel {
    let mut k = KernelBuilder::new("floors");
    let y = k.param("y", DType::I32, &[40, 4], Role::Out);
    let t = k.tasks(40);
    let e = &t * 3 - 50;
    for (i, a) in [e.floordiv(7), e.modulo(7), e.floordiv(8), e.modulo(8)].into_iter().enumerate() {
        let v = k.index(DType::I32, a);
        k.store(y, &[t.clone(), (i as i64).into()], v);
    }
    k.finish()
}
