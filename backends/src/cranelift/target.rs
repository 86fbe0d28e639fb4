//! Instruction sets as Cranelift knows them.

use crate::internal;
use cranelift::codegen::isa::{self, OwnedTargetIsa};
use cranelift::codegen::settings::{self, Configurable};
use ir::diag::Class;
use ir::target::Target;
use ir::{Diagnostic, Diagnostics};

/// An instruction set and what the emitter must know about it.
#[derive(Clone)]
pub struct Machine {
    isa: OwnedTargetIsa,
    /// `fma` is one instruction. Without it Cranelift would call libm.
    pub has_fma: bool,
    /// `floor` is one instruction. Without it Cranelift would call libm.
    pub has_floor: bool,
}

/// Cranelift's names for the features of the levels, weakest first. AVX-512 is not used at 128 bits.
const V2: [&str; 5] = ["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt"];
const V3: [&str; 6] = ["has_avx", "has_avx2", "has_fma", "has_bmi1", "has_bmi2", "has_lzcnt"];

impl Machine {
    /// For objects: code of that level, whatever this machine is.
    pub fn of_target(target: &Target) -> Result<Machine, Diagnostics> {
        let triple = "x86_64-unknown-linux-gnu";
        let mut builder =
            isa::lookup_by_name(triple).map_err(|e| internal("E0701", format!("Cranelift lacks {triple}: {e}")))?;
        let wanted: &[&[&str]] = match target.name {
            "x86-64-v2" => &[&V2],
            "x86-64-v3" | "x86-64-v4" => &[&V2, &V3],
            other => {
                return Err(Diagnostic::error("E0702", format!("Cranelift does not compile for `{other}`"))
                    .class(Class::Unsupported)
                    .help("the targets are x86-64-v2, x86-64-v3 and x86-64-v4")
                    .into());
            }
        };
        for feature in wanted.iter().copied().flatten() {
            builder.enable(feature).map_err(|e| internal("E0701", format!("{feature}: {e}")))?;
        }
        Machine::finish(builder)
    }

    /// For code that runs in this process: what this machine has.
    pub fn host() -> Result<Machine, Diagnostics> {
        let builder = cranelift_native::builder().map_err(|e| {
            Diagnostics::from(
                Diagnostic::error("E0702", format!("Cranelift does not compile for this machine: {e}"))
                    .class(Class::Unsupported),
            )
        })?;
        Machine::finish(builder)
    }

    fn finish(builder: isa::Builder) -> Result<Machine, Diagnostics> {
        let mut flags = settings::builder();
        for (name, value) in [
            ("opt_level", "none"),
            ("is_pic", "true"),
            ("enable_probestack", "false"), // would be a call
            ("unwind_info", "false"),
            ("enable_verifier", if cfg!(test) { "true" } else { "false" }),
        ] {
            flags.set(name, value).map_err(|e| internal("E0701", format!("{name}: {e}")))?;
        }
        let isa = builder
            .finish(settings::Flags::new(flags))
            .map_err(|e| internal("E0701", format!("cannot configure Cranelift: {e}")))?;
        let on = |name: &str| isa.isa_flags().iter().any(|f| f.name == name && f.as_bool() == Some(true));
        let x86 = isa.triple().architecture.to_string() == "x86_64";
        let (has_fma, has_floor) = (!x86 || on("has_fma") && on("has_avx"), !x86 || on("has_sse41"));
        Ok(Machine { has_fma, has_floor, isa })
    }

    pub(crate) fn isa(&self) -> OwnedTargetIsa {
        self.isa.clone()
    }
}
