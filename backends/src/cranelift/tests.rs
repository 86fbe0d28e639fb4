//! Compiled code against the interpreter, bit for bit, and the promises of the module doc.

use super::*;
use crate::exec;
use crate::samples::*;
use ir::DType;
use ir::interp;
use ir::kernel::UnOp;
use ir::target::{X86_64_V2, X86_64_V3};

/// The kernel gives the interpreter's bits through the JIT and through an object.
fn check(k: &Kernel) {
    let jit = Jit::new().unwrap();
    assert!(jit.has_fma(), "these tests compare fused results: they need a machine with FMA");
    let inputs = inputs(k);
    let inputs: Vec<&[u8]> = inputs.iter().map(|i| &**i).collect();
    let expected = interp::kernel::run(k, &inputs).unwrap();
    let object = exec::load(&Cranelift, std::slice::from_ref(k), &X86_64_V3).unwrap();
    same_outputs(k, &expected, &jit.run_once(k, &inputs).unwrap());
    same_outputs(k, &expected, &object[0].run_once(&inputs).unwrap());
}

#[test]
fn arithmetic_of_every_type_and_width() {
    arithmetic(true).iter().for_each(check);
}

#[test]
fn conversions_and_constants() {
    conversions().iter().for_each(check);
}

#[test]
fn carried_vectors_with_tails() {
    for (lanes, rows) in [(4, 5), (8, 6), (16, 6), (5, 3)] {
        check(&gemm(lanes, rows));
    }
}

#[test]
fn guards_views_scratch_and_divided_indices() {
    check(&guarded_filter(false));
    check(&guarded_filter(true));
}

#[test]
fn floors_of_negative_indices() {
    check(&floors());
}

#[test]
fn x86_64_v2_rounds_products_and_calls_nobody() {
    let k = map2(DType::F32, DType::F32, 7, "fma", |k, [a, b]| {
        let e = k.un(UnOp::Exp, a);
        k.fma(a, b, e)
    });
    let loaded = exec::load(&Cranelift, std::slice::from_ref(&k), &X86_64_V2).unwrap();
    let separate = map2(DType::F32, DType::F32, 7, "fma", |k, [a, b]| {
        let e = k.un(UnOp::Exp, a);
        let p = k.mul(a, b);
        k.add(p, e)
    });
    let expected = exec::load(&Cranelift, std::slice::from_ref(&separate), &X86_64_V2).unwrap();
    let inputs = inputs(&k);
    let inputs: Vec<&[u8]> = inputs.iter().map(|i| &**i).collect();
    let (a, b) = (loaded[0].run_once(&inputs).unwrap(), expected[0].run_once(&inputs).unwrap());
    assert!(same(DType::F32, &a[0], &b[0]));
}

#[test]
fn objects_are_equal_on_any_number_of_threads() {
    let kernels: Vec<Kernel> = (1..9).map(|rows| gemm(8, rows)).collect();
    let compile = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Cranelift.compile(&kernels, "m", &X86_64_V3).unwrap())
    };
    let one = compile(1);
    assert_eq!(one, compile(1));
    assert_eq!(one, compile(3));
}

#[test]
fn wrong_buffers_are_refused() {
    let k = gemm(4, 2);
    let jit = Jit::new().unwrap();
    let (a, b, c) = ([0u8; 4 * 20], [0u8; 4 * 55], [0u8; 4 * 44]);
    assert!(jit.run_once(&k, &[&a, &b, &c]).is_ok());
    for wrong in [vec![&a[..], &b[..]], vec![&a[..], &b[..], &c[..40]], vec![&b[..], &a[..], &c[..]]] {
        let e = jit.run_once(&k, &wrong).unwrap_err();
        assert_eq!(e.0[0].code, "E0704");
    }
}

#[test]
fn what_cannot_be_compiled_or_run_here_is_said() {
    let code = |e: Diagnostics| e.0[0].code;
    let elsewhere = Target { name: "riscv", ..X86_64_V2 };
    assert_eq!(code(Cranelift.compile(&[], "m", &elsewhere).unwrap_err()), "E0702");
    assert_eq!(code(exec::load(&Cranelift, &[], &elsewhere).err().unwrap()), "E0706");
    assert_eq!(code(jit::executable_memory(usize::MAX / 2, |_| ()).unwrap_err()), "E0705");
    // Kernels that the verifier would not let through.
    let root_of_integer = map2(DType::I32, DType::I32, 1, "root", |k, [a, _]| k.un(UnOp::Sqrt, a));
    let mut endless = gemm(4, 1);
    for s in &mut endless.body {
        if let ir::kernel::Stmt::For(f) = s {
            f.hi.clear();
        }
    }
    let e = Cranelift.compile(&[root_of_integer, endless], "m", &X86_64_V3).unwrap_err();
    assert_eq!(e.0.iter().map(|d| d.code).collect::<Vec<_>>(), ["E0703", "E0701"]);
}
