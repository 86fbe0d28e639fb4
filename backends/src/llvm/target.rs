//! Machines as LLVM knows them: triple, CPU, attributes, and what differs between the code for a CPU and for PTX.

use crate::internal;
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::context::Context;
use inkwell::module::Module;
use inkwell::targets::{
    CodeModel, InitializationConfig, RelocMode, Target as LlvmTarget, TargetMachine, TargetMachineOptions, TargetTriple,
};
use inkwell::values::FunctionValue;
use inkwell::{AddressSpace, OptimizationLevel};
use ir::Diagnostics;
use ir::target::Target;
use std::sync::Once;

/// What code is generated for.
#[derive(Clone, Copy, Debug)]
pub enum Machine<'t> {
    Cpu(&'t Target),
    /// NVIDIA GPUs from sm_80 on, as PTX text.
    Ptx,
}

impl Machine<'_> {
    fn triple(self) -> &'static str {
        match self {
            Machine::Cpu(_) => "x86_64-unknown-linux-gnu",
            Machine::Ptx => "nvptx64-nvidia-cuda",
        }
    }

    fn cpu(self) -> &'static str {
        match self {
            Machine::Cpu(t) => t.llvm_cpu,
            Machine::Ptx => "sm_80",
        }
    }

    fn features(self) -> &'static str {
        match self {
            // Full vectors where the template asks for them: LLVM prefers half of an AVX-512 register by itself.
            Machine::Cpu(t) if t.lanes >= 16 => "-prefer-256-bit",
            Machine::Cpu(_) => "",
            Machine::Ptx => "+ptx80",
        }
    }

    /// Where parameters and scratch live.
    pub fn address_space(self) -> AddressSpace {
        match self {
            Machine::Cpu(_) => AddressSpace::default(),
            Machine::Ptx => AddressSpace::from(1u16),
        }
    }

    /// Whether an opaque view's address goes through an empty assembly statement. Pointless on a GPU, where no
    /// register file overflows from a few shared loads and the assembler schedules anyway.
    pub fn launders_views(self) -> bool {
        matches!(self, Machine::Cpu(_))
    }

    /// The vector registers as an assembly statement's clobbers, for vectors of that many; `None` on a GPU, whose
    /// registers the assembler allocates.
    pub fn vector_clobbers(self) -> Option<String> {
        match self {
            Machine::Cpu(t) => Some((0..t.registers).map(|i| format!("~{{xmm{i}}}")).collect::<Vec<_>>().join(",")),
            Machine::Ptx => None,
        }
    }

    /// `llvm.fma` without FMA hardware becomes calls of `fmaf`; `llvm.fmuladd` becomes a product and a sum.
    pub fn fma_intrinsic(self) -> &'static str {
        match self {
            Machine::Cpu(t) if !t.has_fma => "llvm.fmuladd",
            _ => "llvm.fma",
        }
    }

    /// Code is position independent, so that one object serves static executables and shared libraries.
    pub fn create(self) -> Result<TargetMachine, Diagnostics> {
        static REGISTER: Once = Once::new();
        REGISTER.call_once(|| {
            let all = InitializationConfig::default();
            LlvmTarget::initialize_x86(&all);
            LlvmTarget::initialize_nvptx(&all);
        });
        let triple = TargetTriple::create(self.triple());
        let options = TargetMachineOptions::new()
            .set_cpu(self.cpu())
            .set_features(self.features())
            .set_level(OptimizationLevel::Aggressive)
            .set_reloc_mode(RelocMode::PIC)
            .set_code_model(CodeModel::Default);
        LlvmTarget::from_triple(&triple)
            .map_err(|e| internal("E0701", format!("LLVM has no target {}: {e}", self.triple())))?
            .create_target_machine_from_options(&triple, options)
            .ok_or_else(|| internal("E0701", format!("LLVM makes no machine for {}", self.cpu())))
    }

    /// An empty module for this machine.
    pub fn module<'c>(self, cx: &'c Context, machine: &TargetMachine) -> Module<'c> {
        let module = cx.create_module("kernels");
        module.set_triple(&machine.get_triple());
        module.set_data_layout(&machine.get_target_data().get_data_layout());
        module
    }

    /// Attributes of every function: no unwinding, no frame pointer, full vectors.
    pub fn mark(self, cx: &Context, f: FunctionValue<'_>) {
        enum_attribute(cx, f, AttributeLoc::Function, "nounwind", 0);
        let text = |k: &str, v: &str| f.add_attribute(AttributeLoc::Function, cx.create_string_attribute(k, v));
        text("target-cpu", self.cpu());
        if let Machine::Cpu(t) = self {
            text("frame-pointer", "none");
            if !t.has_fma {
                // The products' temporaries make SSE code overflow its registers when LLVM orders it by the
                // latencies of a recent CPU. This one has none in LLVM's tables: order by register pressure.
                text("tune-cpu", "amdfam10");
            }
            let bits = (t.lanes * 32).to_string();
            text("prefer-vector-width", &bits);
            text("min-legal-vector-width", &bits);
        }
    }
}

/// Adds an attribute that LLVM knows by number. A name that this LLVM does not know has number 0.
pub fn enum_attribute(cx: &Context, f: FunctionValue<'_>, place: AttributeLoc, name: &str, value: u64) {
    let kind = Attribute::get_named_enum_kind_id(name);
    assert_ne!(kind, 0, "invariant: LLVM knows the attribute {name}");
    f.add_attribute(place, cx.create_enum_attribute(kind, value));
}
