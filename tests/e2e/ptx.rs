//! PTX of operator bodies, and NVIDIA's own assembler on it where that is installed.

use crate::{skip, test};
use backends::llvm::ptx;
use ir::epilogue::Step;
use ir::op::{Attrs, BodyCtx, BufType, lookup};
use ir::{DType, Kernel, Layout};
use libtest_mimic::Trial;
use std::path::PathBuf;
use std::process::Command;

/// Names the assembler where it is not on the path.
const PTXAS: &str = "RESCC_PTXAS";

pub fn tests() -> Vec<Trial> {
    let name = "ptx::ptxas_accepts_operator_bodies";
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|d| d.join("ptxas")).find(|p| p.is_file())
    };
    vec![match std::env::var_os(PTXAS).map(PathBuf::from).or_else(on_path) {
        Some(ptxas) => test(name, move || assemble(&ptxas)),
        None => skip(name, &format!("no ptxas on the path or in {PTXAS}")),
    }]
}

fn assemble(ptxas: &std::path::Path) {
    let kernels = [
        body("conv2d", &[&[2, 3, 8, 9], &[4, 3, 3, 3], &[4]], &[2, 4, 6, 7]),
        body("relu", &[&[2, 3, 5, 7]], &[2, 3, 5, 7]),
        body("softmax", &[&[3, 10]], &[3, 10]),
        body("dense", &[&[3, 10], &[7, 10], &[7]], &[3, 7]),
    ];
    let text = ptx(&kernels, "net").expect("bodies compile to PTX");
    let folder = tempfile::tempdir().expect("a folder for the assembler");
    let source = folder.path().join("net.ptx");
    std::fs::write(&source, &text).expect("the folder is writable");
    let out = Command::new(ptxas)
        .args(["-arch=sm_80", "-o"])
        .arg(folder.path().join("net.cubin"))
        .arg(&source)
        .output()
        .expect("the assembler starts");
    assert!(out.status.success(), "{}\n{text}", String::from_utf8_lossy(&out.stderr));
}

fn body(op: &str, operands: &[&[i64]], result: &[i64]) -> Kernel {
    let op = lookup(op).expect("the op table has the op");
    let ty = |dims: &&[i64]| BufType { dtype: DType::F32, dims: dims.to_vec(), layout: Layout::Plain };
    let epilogue = [Step::Bias(2), Step::Relu];
    op.kernel(&BodyCtx {
        operands: operands.iter().map(ty).collect(),
        results: vec![ty(&result)],
        attrs: &Attrs::defaults(op),
        epilogue: if op.properties.epilogue { &epilogue } else { &[] },
    })
}
