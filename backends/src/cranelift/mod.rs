//! Kernel → machine code by Cranelift, with vectors of 128 bits.
//!
//! Compiles every kernel for every target, quickly and without LLVM: it runs networks in this process ([`Jit`]),
//! folds constants, and makes artefacts where LLVM is not built in. Wider vectors become several 128-bit ones.
//!
//! # Invariants
//! - No call leaves the code: what the instruction set lacks is spelt out in instructions it has.
//! - `opt_level` is none. Kernels arrive scheduled; `speed` hoists loads out of the loops and spills them.
//! - A kernel's bytes depend on the kernel and the target alone.

mod address;
mod emit;
mod exp;
mod jit;
mod lanes;
mod target;

pub(crate) use emit::signature as kernel_signature;
pub use jit::Jit;
pub use target::Machine;

use crate::{Backend, internal};
use cranelift_module::{Linkage, Module, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule};
use emit::Code;
use ir::target::Target;
use ir::{Diagnostics, Kernel};
use rayon::prelude::*;

/// The back end that needs nothing but Rust.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cranelift;

impl Backend for Cranelift {
    fn name(&self) -> &'static str {
        "cranelift"
    }

    fn compile(&self, kernels: &[Kernel], prefix: &str, target: &Target) -> Result<Vec<Vec<u8>>, Diagnostics> {
        let machine = Machine::of_target(target)?;
        let codes = compile_all(kernels, &machine)?;
        let mut module = object_module(&machine)?;
        for (kernel, code) in kernels.iter().zip(&codes) {
            let name = format!("{prefix}_{}", kernel.name);
            let signature = emit::signature(module.isa().default_call_conv());
            module
                .declare_function(&name, Linkage::Hidden, &signature)
                .and_then(|id| module.define_function_bytes(id, code.align, &code.bytes, &[]))
                .map_err(|e| internal("E0701", format!("kernel `{}`: {e}", kernel.name)))?;
        }
        let object = module.finish().emit().map_err(|e| internal("E0701", format!("cannot write the object: {e}")))?;
        Ok(vec![object])
    }
}

/// Machine code of each kernel, in order. Errors of all kernels are collected.
fn compile_all(kernels: &[Kernel], machine: &Machine) -> Result<Vec<Code>, Diagnostics> {
    let results: Vec<_> = kernels.par_iter().map(|k| emit::compile(k, machine)).collect();
    let mut errors = Diagnostics::default();
    let mut codes = Vec::with_capacity(kernels.len());
    for r in results {
        match r {
            Ok(code) => codes.push(code),
            Err(d) => errors.push(d),
        }
    }
    errors.into_result(codes)
}

/// An empty object; each function gets its own section, so that a linker can drop what nobody calls.
pub(crate) fn object_module(machine: &Machine) -> Result<ObjectModule, Diagnostics> {
    let mut builder = ObjectBuilder::new(machine.isa(), "rescc", default_libcall_names())
        .map_err(|e| internal("E0701", format!("cannot start an object: {e}")))?;
    builder.per_function_section(true);
    Ok(ObjectModule::new(builder))
}

#[cfg(test)]
mod tests;
