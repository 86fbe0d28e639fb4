//! Compiled code against the interpreter, bit for bit, and the promises of the module doc. That register tiles do
//! not spill is checked on the templates, in the repository's end-to-end tests.

use super::*;
use crate::samples::*;
use ir::DType;
use ir::Layout;
use ir::epilogue::Step;
use ir::kernel::{Affine, KernelBuilder, Role, UnOp};
use ir::op::{Attr, Attrs, BodyCtx, BufType, lookup};
use ir::target::{TARGETS, X86_64_V2, X86_64_V3, X86_64_V4};

/// Checks on every CPU level that this machine has. Only where products are rounded alike do the bits agree.
fn check(kernels: &[Kernel], fused: bool) {
    assert!(crate::exec::runs_here(&X86_64_V3), "these tests compare fused results: they need a machine with FMA");
    for target in TARGETS.iter().filter(|t| crate::exec::runs_here(t) && t.has_fma >= fused) {
        agrees(&Llvm, target, kernels);
    }
}

#[test]
fn arithmetic_of_every_type_and_width() {
    check(&arithmetic(true), true);
    check(&arithmetic(false), false);
}

#[test]
fn conversions_and_constants() {
    check(&conversions(), false);
}

#[test]
fn carried_vectors_with_tails() {
    check(&[gemm(4, 5), gemm(8, 6), gemm(16, 6), gemm(5, 3)], true);
}

#[test]
fn guards_views_scratch_and_divided_indices() {
    check(&[guarded_filter(false), guarded_filter(true), floors()], true);
}

/// Loops that step by 3, run once, or run from bounds that only an outer loop knows, and prefetch ahead.
#[test]
fn loops_of_every_kind() {
    let mut k = KernelBuilder::new("loops");
    let x = k.param("x", DType::F32, &[4, 20], Role::In);
    let y = k.param("y", DType::F32, &[4, 20], Role::Out);
    let t = k.tasks(4);
    k.for_(0, 20, |k, i| {
        let zero = k.constant(DType::F32, 1, 0.0);
        k.store(y, &[t.clone(), i], zero);
    });
    k.for_(0, 20, |k, i| {
        k.prefetch(x, &[t.clone(), &i + 64]);
        k.for_(7, 8, |k, seven| {
            // At most one trip, and none for early columns.
            k.for_(seven, ir::kernel::build::min_of([&i * 1, Affine::constant(8)]), |k, j| {
                let (a, b) = (k.load(x, &[t.clone(), i.clone()]), k.load(x, &[t.clone(), j]));
                let v = k.add(a, b);
                k.store(y, &[t.clone(), i.clone()], v);
            });
        });
    });
    let mut k = k.finish();
    let Some(Stmt::For(f)) = k.body.last_mut() else { panic!("the kernel ends with its loop") };
    f.step = 3;
    check(&[k], false);
}

fn body(op: &str, dtype: DType, operands: &[&[i64]], result: &[i64], attrs: &[(&'static str, Attr)]) -> Kernel {
    let op = lookup(op).unwrap();
    let attrs = attrs.iter().fold(Attrs::defaults(op), |a, (n, v)| a.set(n, v.clone()));
    let ty = |dims: &&[i64]| BufType { dtype, dims: dims.to_vec(), layout: Layout::Plain };
    let epilogue = [Step::Bias(2), Step::Relu];
    let ctx = BodyCtx {
        operands: operands.iter().map(ty).collect(),
        results: vec![ty(&result)],
        attrs: &attrs,
        epilogue: if op.properties.epilogue { &epilogue } else { &[] },
    };
    let mut k = op.kernel(&ctx);
    k.name = format!("{}_{dtype}", k.name);
    k
}

#[test]
fn bodies_of_operators() {
    let pad = [("pad", Attr::Quad([1, 2, 0, 1])), ("stride", Attr::Pair([2, 1]))];
    for dtype in [DType::F32, DType::F64] {
        let relu = body("relu", dtype, &[&[2, 3, 5, 7]], &[2, 3, 5, 7], &[]);
        check(&[relu], false);
        let conv = body("conv2d", dtype, &[&[2, 3, 8, 9], &[4, 3, 3, 3], &[4]], &[2, 4, 4, 10], &pad);
        check(&[conv], true);
    }
}

/// Without FMA the product is rounded before the sum, and nothing calls `fmaf`.
#[test]
fn x86_64_v2_rounds_products_and_calls_nobody() {
    let fused = map2(DType::F32, DType::F32, 7, "fma", |k, [a, b]| {
        let e = k.un(UnOp::Exp, a);
        k.fma(a, b, e)
    });
    let separate = map2(DType::F32, DType::F32, 7, "fma", |k, [a, b]| {
        let (e, p) = (k.un(UnOp::Exp, a), k.mul(a, b));
        k.add(p, e)
    });
    let run = |k: &Kernel| {
        let code = crate::exec::load(&Llvm, std::slice::from_ref(k), &X86_64_V2).unwrap();
        let inputs = inputs(k);
        code[0].run_once(&inputs.iter().map(|i| &**i).collect::<Vec<_>>()).unwrap()
    };
    same_outputs(&fused, &run(&separate), &run(&fused));
    let asm = emit_text(&[fused], "m", &X86_64_V2, Text::Asm).unwrap();
    assert_eq!(asm.lines().filter(|l| l.contains("call")).count(), 1, "only the task is called:\n{asm}");
}

/// One maximum or minimum is one instruction: the IR's rule for NaN is that of the machine.
#[test]
fn relu_and_clamp_are_single_instructions() {
    for (target, registers) in [(&X86_64_V2, "xmm"), (&X86_64_V3, "ymm"), (&X86_64_V4, "zmm")] {
        let k = map2(DType::F32, DType::F32, target.lanes, "clamp", |k, [a, b]| {
            let low = k.max(a, b);
            let high = k.constant(DType::F32, target.lanes, 6.0);
            k.min(low, high)
        });
        let asm = emit_text(&[k], "m", target, Text::Asm).unwrap();
        let count = |op: &str| asm.lines().filter(|l| l.contains(op) && l.contains(registers)).count();
        assert_eq!((count("maxps"), count("minps"), count("cmp"), count("blend")), (1, 1, 0, 0), "{asm}");
    }
}

#[test]
fn objects_are_equal_on_any_number_of_threads() {
    // Enough statements for several modules.
    let kernels: Vec<Kernel> = (1..45).map(|rows| gemm(8, rows)).collect();
    assert!(chunks(&kernels).len() > 2);
    assert_eq!(chunks(&kernels).concat(), kernels);
    let compile = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Llvm.compile(&kernels, "m", &X86_64_V3).unwrap())
    };
    let one = compile(1);
    assert_eq!(one, compile(1));
    assert_eq!(one, compile(3));
}

#[test]
fn two_kernels_of_one_name_are_refused() {
    let e = Llvm.compile(&[gemm(8, 2), gemm(8, 2)], "net", &X86_64_V3).unwrap_err();
    assert_eq!(e.0[0].code, "E0701");
    assert!(e.0[0].message.contains("@gemm_2x8"));
}

/// Out of another library's sight, and reached without a table of addresses.
#[test]
fn kernels_are_hidden_symbols_with_the_prefix() {
    use object::{Object, ObjectSymbol, SymbolFlags, elf};
    let objects = Llvm.compile(&[gemm(8, 2)], "net", &X86_64_V3).unwrap();
    let file = object::File::parse(&*objects[0]).unwrap();
    let globals: Vec<_> = file.symbols().filter(|s| s.is_global() && s.is_definition()).collect();
    assert_eq!(globals.len(), 1);
    assert_eq!(globals[0].name(), Ok("net_gemm_2x8"));
    let SymbolFlags::Elf { st_other, .. } = globals[0].flags() else { panic!("an ELF object") };
    assert_eq!(st_other.visibility(), elf::STV_HIDDEN);
    assert_eq!(file.symbols().filter(|s| s.is_undefined() && !s.name().unwrap_or("").is_empty()).count(), 0);
}

#[test]
fn ptx_has_an_entry_for_each_kernel() {
    let text = ptx(&[gemm(4, 2), guarded_filter(true), floors()], "net").unwrap();
    for entry in ["net_gemm_2x4(", "net_filter_opaque(", "net_floors("] {
        assert!(text.contains(&format!(".visible .entry {entry}")), "no {entry} in\n{text}");
    }
    assert!(text.contains(".target sm_80") && text.contains("fma.rn.f32"));
    assert!(!text.contains("call"), "tasks are part of their entries:\n{text}");
}

#[test]
fn llvm_ir_names_buffers_and_says_that_they_do_not_overlap() {
    let ir = emit_text(&[gemm(8, 6)], "net", &X86_64_V3, Text::LlvmIr).unwrap();
    assert!(ir.contains("define hidden void @net_gemm_6x8(ptr"), "{ir}");
    assert!(ir.contains("ptr noalias readonly align 4 %a"), "{ir}");
}
