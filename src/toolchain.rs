//! What the verbs that generate code share: the target, the back end, the evaluator of constants.

use backends::Backend;
use backends::cranelift::{Cranelift, Jit};
use backends::exec::runs_here;
use ir::diag::Class;
use ir::target::{TARGETS, Target, X86_64_V2};
use ir::{Diagnostic, Diagnostics, Kernel};

/// Evaluates constants by Cranelift in this process.
pub struct JitEvaluator(pub Jit);

impl passes::Evaluator for JitEvaluator {
    fn eval(&self, kernel: &Kernel, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, Diagnostics> {
        self.0.run_once(kernel, inputs)
    }
}

/// The target that a user calls `name`; `native` is the best that this machine runs.
pub fn target(name: &str) -> Result<Target, Diagnostics> {
    if name == "native" {
        return Ok(TARGETS.into_iter().rev().find(runs_here).unwrap_or(X86_64_V2));
    }
    Target::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
        Diagnostic::error("E0711", format!("there is no target '{name}'"))
            .class(Class::Unsupported)
            .help(format!("targets are native, {}", known.join(", ")))
            .into()
    })
}

/// Fails at once if code for `target` is to be run and cannot be.
///
/// Errors: E0706.
pub fn must_run(target: &Target) -> Result<(), Diagnostics> {
    if runs_here(target) {
        return Ok(());
    }
    Err(Diagnostic::error("E0706", format!("this machine does not run {} code", target.name))
        .class(Class::Unsupported)
        .help("--target native is the best that it runs; `compile` and `report --no-run` take any")
        .into())
}

/// Generated code as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeText {
    Llvm,
    Asm,
    Ptx,
}

/// The kernels as LLVM IR, assembly or PTX.
///
/// Errors: E0712 without LLVM; those of the back end.
#[cfg(feature = "llvm")]
pub fn text_of(kernels: &[Kernel], text: CodeText, target: &Target) -> Result<String, Diagnostics> {
    use backends::llvm::{self, Text};
    match text {
        CodeText::Llvm => llvm::emit_text(kernels, "k", target, Text::LlvmIr),
        CodeText::Asm => llvm::emit_text(kernels, "k", target, Text::Asm),
        CodeText::Ptx => llvm::ptx(kernels, "k"),
    }
}

#[cfg(not(feature = "llvm"))]
pub fn text_of(_: &[Kernel], _: CodeText, _: &Target) -> Result<String, Diagnostics> {
    Err(without_llvm())
}

#[cfg(not(feature = "llvm"))]
fn without_llvm() -> Diagnostics {
    Diagnostic::error("E0712", "this rescc is built without LLVM")
        .class(Class::Toolchain)
        .help("use --backend cranelift, or build rescc with its default features")
        .into()
}

/// A code generator by the name that users type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendName {
    Llvm,
    Cranelift,
}

impl BackendName {
    /// LLVM where it is built in.
    pub fn best() -> BackendName {
        if cfg!(feature = "llvm") { BackendName::Llvm } else { BackendName::Cranelift }
    }

    /// The target whose templates this back end compiles well, for a requested one: Cranelift has vectors of 128 bits.
    pub fn legal(self, target: Target) -> Target {
        match self {
            BackendName::Llvm => target,
            BackendName::Cranelift => X86_64_V2,
        }
    }

    pub fn get(self) -> Result<Box<dyn Backend>, Diagnostics> {
        match self {
            BackendName::Cranelift => Ok(Box::new(Cranelift)),
            #[cfg(feature = "llvm")]
            BackendName::Llvm => Ok(Box::new(backends::llvm::Llvm)),
            #[cfg(not(feature = "llvm"))]
            BackendName::Llvm => Err(without_llvm()),
        }
    }
}
