//! PTX through the same emitter: each kernel a `.entry`, each task a thread of the grid.
//!
//! Parameters of the entry: the kernel's pointers in calling order, then one pointer to scratch memory for all
//! tasks if the kernel has scratch, `tasks` × [`Kernel::scratch_bytes`] rounded up to 64 bytes.

use crate::internal;
use crate::llvm::emit::Emitter;
use crate::llvm::function::{self, Memory, argument};
use crate::llvm::target::{Machine, enum_attribute};
use crate::llvm::value::{Built, Values};
use crate::llvm::{check, write};
use inkwell::IntPredicate;
use inkwell::attributes::AttributeLoc;
use inkwell::context::Context;
use inkwell::intrinsics::Intrinsic;
use inkwell::module::{Linkage, Module};
use inkwell::targets::FileType;
use inkwell::types::BasicMetadataTypeEnum;
use inkwell::values::IntValue;
use ir::kernel::Role;
use ir::{Diagnostics, Kernel};

/// LLVM's number of the calling convention `ptx_kernel`.
const PTX_KERNEL: u32 = 71;

/// The kernels as PTX text, entry `{prefix}_{name}`. For sm_80 and every later GPU.
pub fn ptx(kernels: &[Kernel], prefix: &str) -> Result<String, Diagnostics> {
    let cx = Context::create();
    let machine = Machine::Ptx;
    let tm = machine.create()?;
    let module = machine.module(&cx, &tm);
    for k in kernels {
        entry(&cx, &module, k, &format!("{prefix}_{}", k.name))
            .map_err(|e| internal("E0701", format!("LLVM refuses an instruction of kernel @{}: {e}", k.name)))?;
    }
    check(&module)?;
    write(&module, &tm, FileType::Assembly).map(|b| String::from_utf8_lossy(&b).into_owned())
}

fn entry<'c>(cx: &'c Context, module: &Module<'c>, kernel: &Kernel, symbol: &str) -> Built<()> {
    let machine = Machine::Ptx;
    let (global, i64t) = (cx.ptr_type(machine.address_space()), cx.i64_type());
    let has_scratch = kernel.scratch_bytes() > 0;
    let types: Vec<BasicMetadataTypeEnum> = vec![global.into(); kernel.params.len() + usize::from(has_scratch)];
    let f = module.add_function(symbol, cx.void_type().fn_type(&types, false), Some(Linkage::External));
    f.set_call_conventions(PTX_KERNEL);
    machine.mark(cx, f);
    for (i, &p) in (0..).zip(&kernel.params) {
        enum_attribute(cx, f, AttributeLoc::Param(i), "noalias", 0);
        enum_attribute(cx, f, AttributeLoc::Param(i), "align", function::alignment(kernel, p));
        if kernel.bufs[p].role == Role::In {
            enum_attribute(cx, f, AttributeLoc::Param(i), "readonly", 0);
        }
    }

    let b = cx.create_builder();
    let (start, run, exit) =
        (cx.append_basic_block(f, "entry"), cx.append_basic_block(f, "task"), cx.append_basic_block(f, "exit"));
    b.position_at_end(start);
    let special = |name: &str| -> Built<IntValue<'c>> {
        let get = Intrinsic::find(name)
            .and_then(|i| i.get_declaration(module, &[]))
            .expect("invariant: LLVM 22 reads the grid's registers");
        let v = b.build_call(get, &[], "")?.try_as_basic_value().unwrap_basic().into_int_value();
        b.build_int_z_extend(v, i64t, "")
    };
    let block = special("llvm.nvvm.read.ptx.sreg.ctaid.x")?;
    let threads = special("llvm.nvvm.read.ptx.sreg.ntid.x")?;
    let thread = special("llvm.nvvm.read.ptx.sreg.tid.x")?;
    let first = b.build_int_nuw_mul(block, threads, "")?;
    let t = b.build_int_nuw_add(first, thread, "t")?;
    let tasks = i64t.const_int(kernel.tasks.cast_unsigned(), false);
    let inside = b.build_int_compare(IntPredicate::ULT, t, tasks, "")?;
    b.build_conditional_branch(inside, run, exit)?;
    b.position_at_end(exit);
    b.build_return(None)?;
    b.position_at_end(run);
    let buffers = function::memory(kernel);
    let mut pointers = Vec::new();
    for (i, &(_, memory)) in (0..).zip(&buffers) {
        pointers.push(match memory {
            Memory::Param => argument(f, i).into_pointer_value(),
            Memory::Scratch(at) => {
                let scratch = argument(f, u32::try_from(kernel.params.len()).expect("invariant: few parameters"));
                let each = i64t.const_int(kernel.scratch_bytes().next_multiple_of(64), false);
                let mine = b.build_int_nuw_mul(t, each, "")?;
                let bytes = b.build_int_nuw_add(mine, i64t.const_int(at, false), "")?;
                // SAFETY: marked so by inkwell for indices outside the type; the caller provides this memory.
                unsafe { b.build_gep(cx.i8_type(), scratch.into_pointer_value(), &[bytes], "")? }
            }
        });
    }
    let mut emitter = Emitter::new(b, Values::new(cx, module, machine), kernel, f);
    for (&(buf, _), p) in buffers.iter().zip(pointers) {
        emitter.define_buffer(buf, p, function::alignment(kernel, buf));
    }
    emitter.task(t)
}
