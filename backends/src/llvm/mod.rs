//! LLVM back end: optimised native code, and PTX for the generic bodies.
//!
//! A kernel is already in the shape that it should run in, so LLVM gets only its code generator's work: choose
//! instructions, allocate registers, strength-reduce addresses. No pass of its optimiser runs: they cost two
//! thirds of the time, and undo what templates arranged.
//!
//! # Invariants
//! - Chunks of kernels are formed from the kernels alone, each in its own LLVM context: the same bytes on any
//!   number of threads.
//! - LLVM global options are never set.

mod address;
mod emit;
mod function;
mod nvptx;
mod range;
mod target;
#[cfg(test)]
mod tests;
mod value;

use crate::{Backend, internal};
use inkwell::context::Context;
use inkwell::module::Module;
use inkwell::targets::{FileType, TargetMachine};
use ir::kernel::Stmt;
use ir::target::Target;
use ir::{Diagnostics, Kernel};
use rayon::prelude::*;
use std::collections::HashSet;
use target::Machine;

pub use nvptx::ptx;

/// LLVM 22 as a code generator for kernels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Llvm;

/// What [`emit_text`] prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    LlvmIr,
    Asm,
}

/// LLVM recurses over long blocks of unrolled code; a thread's default 2 MiB does not suffice in every build.
const STACK_BYTES: usize = 64 << 20;

/// Statements of one module. Each module costs some milliseconds before its first instruction, but modules are
/// what compiles side by side.
const CHUNK_STMTS: usize = 3000;

impl Backend for Llvm {
    fn name(&self) -> &'static str {
        "llvm"
    }

    fn compile(&self, kernels: &[Kernel], prefix: &str, target: &Target) -> Result<Vec<Vec<u8>>, Diagnostics> {
        one_symbol_each(kernels)?;
        let work = || chunks(kernels).into_par_iter().map(|chunk| object(chunk, prefix, target)).collect();
        let threads = rayon::ThreadPoolBuilder::new().num_threads(rayon::current_num_threads());
        match threads.stack_size(STACK_BYTES).build() {
            Ok(pool) => pool.install(work),
            // A system that does not grant such threads: most kernels need far less.
            Err(_) => work(),
        }
    }
}

/// LLVM would rename the second of two functions in silence.
fn one_symbol_each(kernels: &[Kernel]) -> Result<(), Diagnostics> {
    let mut seen = HashSet::new();
    match kernels.iter().find(|k| !seen.insert(&k.name)) {
        Some(k) => Err(internal("E0701", format!("two kernels are named @{}", k.name))),
        None => Ok(()),
    }
}

/// All kernels as one text.
pub fn emit_text(kernels: &[Kernel], prefix: &str, target: &Target, text: Text) -> Result<String, Diagnostics> {
    one_symbol_each(kernels)?;
    let cx = Context::create();
    let (module, machine) = native_module(&cx, kernels, prefix, target)?;
    match text {
        Text::LlvmIr => Ok(module.print_to_string().to_string()),
        Text::Asm => write(&module, &machine, FileType::Assembly).map(|b| String::from_utf8_lossy(&b).into_owned()),
    }
}

/// Runs of kernels with about [`CHUNK_STMTS`] statements.
fn chunks(kernels: &[Kernel]) -> Vec<&[Kernel]> {
    let (mut out, mut start, mut size) = (Vec::new(), 0, 0);
    for (i, k) in kernels.iter().enumerate() {
        size += statements(&k.body);
        if size >= CHUNK_STMTS || i + 1 == kernels.len() {
            out.push(&kernels[start..=i]);
            (start, size) = (i + 1, 0);
        }
    }
    out
}

fn statements(body: &[Stmt]) -> usize {
    body.iter().map(|s| if let Stmt::For(f) = s { statements(&f.body) } else { 1 }).sum()
}

fn object(kernels: &[Kernel], prefix: &str, target: &Target) -> Result<Vec<u8>, Diagnostics> {
    let cx = Context::create();
    let (module, machine) = native_module(&cx, kernels, prefix, target)?;
    write(&module, &machine, FileType::Object)
}

fn native_module<'c>(
    cx: &'c Context,
    kernels: &[Kernel],
    prefix: &str,
    target: &Target,
) -> Result<(Module<'c>, TargetMachine), Diagnostics> {
    let machine = Machine::Cpu(target);
    let tm = machine.create()?;
    let module = machine.module(cx, &tm);
    for k in kernels {
        let symbol = format!("{prefix}_{}", k.name);
        function::task_function(cx, &module, machine, k, &symbol)
            .and_then(|task| function::entry_function(cx, &module, machine, k, &symbol, task))
            .map_err(|e| internal("E0701", format!("LLVM refuses an instruction of kernel @{}: {e}", k.name)))?;
    }
    check(&module)?;
    Ok((module, tm))
}

/// LLVM reports a malformed module only here; its code generator would crash. Costs under a hundredth of it.
fn check(module: &Module) -> Result<(), Diagnostics> {
    module.verify().map_err(|e| internal("E0701", format!("LLVM's verifier refuses the module: {e}")))
}

fn write(module: &Module, machine: &TargetMachine, kind: FileType) -> Result<Vec<u8>, Diagnostics> {
    machine
        .write_to_memory_buffer(module, kind)
        .map(|b| b.as_slice().to_vec())
        .map_err(|e| internal("E0701", format!("LLVM generates no code: {e}")))
}
