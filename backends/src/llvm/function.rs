//! The functions that a kernel becomes.
//!
//! `name.task` runs one task; its pointers are arguments, the one place where LLVM lets us say that buffers do
//! not overlap. `name` has the calling convention of [`ir::kernel`]: it loads the pointers once and calls
//! `name.task` for each task. The call is not inlined: its loops would share registers with the task's.
//!
//! # Invariants
//! - What a call writes overlaps none of its other buffers: the memory planner's rule, said to LLVM as `noalias`.

use crate::llvm::emit::Emitter;
use crate::llvm::target::{Machine, enum_attribute};
use crate::llvm::value::{Built, Values};
use inkwell::attributes::AttributeLoc;
use inkwell::builder::Builder;
use inkwell::context::Context;
use inkwell::module::{Linkage, Module};
use inkwell::types::BasicMetadataTypeEnum;
use inkwell::values::{BasicMetadataValueEnum, BasicValueEnum, FunctionValue, PointerValue};
use inkwell::{AddressSpace, GlobalVisibility, IntPredicate};
use ir::Kernel;
use ir::entity::Buf;
use ir::kernel::Role;

/// Alignment of a buffer's first element, by the calling convention: a parameter may be memory of the caller.
pub fn alignment(kernel: &Kernel, buf: Buf) -> u64 {
    match kernel.bufs[buf].role {
        Role::Scratch => 64,
        _ => kernel.bufs[buf].dtype.bytes(),
    }
}

/// Adds `{symbol}.task`, which runs one task: `(pointer of each parameter, of each scratch buffer, task index)`.
pub fn task_function<'c>(
    cx: &'c Context,
    module: &Module<'c>,
    machine: Machine,
    kernel: &Kernel,
    symbol: &str,
) -> Built<FunctionValue<'c>> {
    let buffers = memory(kernel);
    let pointer = cx.ptr_type(machine.address_space());
    let mut types: Vec<BasicMetadataTypeEnum> = vec![pointer.into(); buffers.len()];
    types.push(cx.i64_type().into());
    let f =
        module.add_function(&format!("{symbol}.task"), cx.void_type().fn_type(&types, false), Some(Linkage::Internal));
    machine.mark(cx, f);
    enum_attribute(cx, f, AttributeLoc::Function, "noinline", 0);
    for (i, &(buf, _)) in (0..).zip(&buffers) {
        let place = AttributeLoc::Param(i);
        enum_attribute(cx, f, place, "noalias", 0);
        enum_attribute(cx, f, place, "align", alignment(kernel, buf));
        if kernel.bufs[buf].role == Role::In {
            enum_attribute(cx, f, place, "readonly", 0);
        }
    }
    let b = cx.create_builder();
    b.position_at_end(cx.append_basic_block(f, "entry"));
    let mut emitter = Emitter::new(b, Values::new(cx, module, machine), kernel, f);
    for (i, &(buf, _)) in (0..).zip(&buffers) {
        emitter.define_buffer(buf, argument(f, i).into_pointer_value(), alignment(kernel, buf));
    }
    let t = f.get_last_param().expect("invariant: the task index is the last argument");
    emitter.task(t.into_int_value())?;
    Ok(f)
}

/// Adds the function with the calling convention of compiled kernels, which calls `task` for tasks `lo..hi`.
pub fn entry_function<'c>(
    cx: &'c Context,
    module: &Module<'c>,
    machine: Machine,
    kernel: &Kernel,
    symbol: &str,
    task: FunctionValue<'c>,
) -> Built<()> {
    let (ptr, i64t) = (cx.ptr_type(AddressSpace::default()), cx.i64_type());
    let ty = cx.void_type().fn_type(&[ptr.into(), i64t.into(), i64t.into(), ptr.into()], false);
    let f = module.add_function(symbol, ty, Some(Linkage::External));
    f.as_global_value().set_visibility(GlobalVisibility::Hidden);
    machine.mark(cx, f);
    let (params, scratch) = (argument(f, 0).into_pointer_value(), argument(f, 3).into_pointer_value());
    let (lo, hi) = (argument(f, 1).into_int_value(), argument(f, 2).into_int_value());
    let b = cx.create_builder();
    b.position_at_end(cx.append_basic_block(f, "entry"));
    let mut args: Vec<BasicMetadataValueEnum> = Vec::new();
    let mut params_seen = 0;
    for (_, place) in memory(kernel) {
        let p = match place {
            Memory::Param => {
                let slot = offset(cx, &b, params, params_seen * 8)?;
                params_seen += 1;
                b.build_load(ptr, slot, "")?.into_pointer_value()
            }
            Memory::Scratch(at) => offset(cx, &b, scratch, at)?,
        };
        args.push(p.into());
    }
    let guard = b.build_int_compare(IntPredicate::SLT, lo, hi, "")?;
    let (entry, body, exit) =
        (f.get_first_basic_block(), cx.append_basic_block(f, "task"), cx.append_basic_block(f, "exit"));
    b.build_conditional_branch(guard, body, exit)?;
    b.position_at_end(body);
    let t = b.build_phi(i64t, "t")?;
    args.push(t.as_basic_value().into());
    b.build_call(task, &args, "")?;
    let next = b.build_int_nsw_add(t.as_basic_value().into_int_value(), i64t.const_int(1, false), "")?;
    let more = b.build_int_compare(IntPredicate::SLT, next, hi, "")?;
    b.build_conditional_branch(more, body, exit)?;
    t.add_incoming(&[(&lo, entry.expect("invariant: the entry block was appended")), (&next, body)]);
    b.position_at_end(exit);
    b.build_return(None)?;
    Ok(())
}

/// How a task function's pointer is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    Param,
    /// Bytes from the start of the worker's scratch.
    Scratch(u64),
}

/// The buffers that a task function takes pointers of, in order: parameters, then scratch.
pub fn memory(kernel: &Kernel) -> Vec<(Buf, Memory)> {
    let params = kernel.params.iter().map(|&p| (p, Memory::Param));
    let scratch = kernel.scratch_offsets().into_iter().map(|(s, at)| (s, Memory::Scratch(at)));
    params.chain(scratch).collect()
}

pub fn argument<'c>(f: FunctionValue<'c>, i: u32) -> BasicValueEnum<'c> {
    f.get_nth_param(i).expect("invariant: the function was declared with its arguments")
}

fn offset<'c>(cx: &'c Context, b: &Builder<'c>, p: PointerValue<'c>, bytes: u64) -> Built<PointerValue<'c>> {
    // SAFETY: marked so by inkwell for indices outside the type; this one stays inside the array that the
    // calling convention promises.
    unsafe { b.build_gep(cx.i8_type(), p, &[cx.i64_type().const_int(bytes, false)], "") }
}
