//! An object under construction: tables with pointers between them, and functions that pass a table on.
//!
//! Layouts are those of `runtime::abi`; a test compares them field by field. Cranelift writes the objects of API
//! functions whatever compiles the kernels.

use super::calls::CallDesc;
use super::kernel_prefix;
use crate::cranelift::{Machine, kernel_signature, object_module};
use crate::internal;
use cranelift::prelude::*;
use cranelift_module::{DataDescription, DataId, FuncId, Linkage, Module, ModuleError};
use cranelift_object::ObjectModule;
use ir::target::X86_64_V2;
use ir::{Diagnostics, Program};

/// Bytes of `runtime::abi::Call` and of one of its arguments.
const CALL_BYTES: usize = 32;
const ARG_BYTES: usize = 16;

/// One program of a descriptor, `runtime::abi::Code`.
#[derive(Clone, Debug)]
pub struct CodeDesc {
    /// Names of the kernels that `calls` index.
    pub kernels: Vec<String>,
    pub calls: Vec<CallDesc>,
    /// Images that one run of the calls computes.
    pub group: u32,
    /// Where its constants begin in the weights section.
    pub weights_at: u64,
    pub arena_bytes: u64,
    pub scratch_bytes: u64,
}

impl CodeDesc {
    /// `p` with its constants at the start of the weights section.
    pub fn new(p: &Program) -> CodeDesc {
        CodeDesc {
            kernels: p.kernels.iter().map(|k| k.name.clone()).collect(),
            calls: super::calls(p),
            group: u32::try_from(p.batch).unwrap_or(u32::MAX),
            weights_at: 0,
            arena_bytes: p.arena_bytes,
            scratch_bytes: p.scratch_bytes(),
        }
    }

    /// A program without calls, for any number of groups.
    pub fn nothing(group: u32) -> CodeDesc {
        CodeDesc { kernels: Vec::new(), calls: Vec::new(), group, weights_at: 0, arena_bytes: 0, scratch_bytes: 0 }
    }
}

/// Both kinds of error that can happen on the way, as text.
pub type Result_<T> = Result<T, String>;

/// The object that `write` fills, with symbols that begin with `prefix`.
pub fn object(prefix: &str, write: impl FnOnce(&mut Writer) -> Result_<()>) -> Result<Vec<u8>, Diagnostics> {
    let emit = || -> Result_<Vec<u8>> {
        let machine = Machine::of_target(&X86_64_V2).map_err(|e| e.to_string())?;
        let mut o = Writer { module: object_module(&machine).map_err(|e| e.to_string())?, prefix };
        write(&mut o)?;
        o.module.finish().emit().map_err(|e| e.to_string())
    };
    emit().map_err(|e| internal("E0701", format!("cannot write the model object: {e}")))
}

pub struct Writer<'a> {
    module: ObjectModule,
    prefix: &'a str,
}

fn text_of(e: ModuleError) -> String {
    e.to_string()
}

impl Writer<'_> {
    /// Defines hidden data `{P}_{name}`.
    pub fn data(&mut self, name: &str, table: Table) -> Result_<DataId> {
        let name = format!("{}_{name}", self.prefix);
        let id = self.module.declare_data(&name, Linkage::Hidden, false, false).map_err(text_of)?;
        let mut d = DataDescription::new();
        d.define(table.bytes.into_boxed_slice());
        d.set_align(8);
        for (at, target) in table.pointers {
            match target {
                Target::Data(data, addend) => {
                    let global = self.module.declare_data_in_data(data, &mut d);
                    d.write_data_addr(at, global, addend);
                }
                Target::Function(function) => {
                    let function = self.module.declare_func_in_data(function, &mut d);
                    d.write_function_addr(at, function);
                }
            }
        }
        self.module.define_data(id, &d).map_err(text_of)?;
        Ok(id)
    }

    pub fn text(&mut self, name: &str, text: &str) -> Result_<DataId> {
        let mut t = Table::default();
        t.bytes.extend(text.bytes().filter(|&b| b != 0).chain([0]));
        self.data(name, t)
    }

    /// The weights section, which another object defines.
    pub fn weights(&mut self) -> Result_<DataId> {
        let weights = format!("{}_weights", self.prefix);
        self.module.declare_data(&weights, Linkage::Import, false, false).map_err(text_of)
    }

    /// Appends a program: its call table becomes `{P}_{name}_calls`, with the arguments of all calls in one array.
    pub fn code(&mut self, t: &mut Table, name: &str, code: &CodeDesc, weights: DataId, target: DataId) -> Result_<()> {
        let mut args = Table::default();
        for a in code.calls.iter().flat_map(|c| &c.args) {
            args.u32(a.base as u32).u32(a.index).u64(a.offset);
        }
        let args = self.data(&format!("{name}_args"), args)?;
        let prefix = kernel_prefix(self.prefix);
        let signature = kernel_signature(self.module.isa().default_call_conv());
        let mut functions = Vec::new();
        for k in &code.kernels {
            let name = format!("{prefix}_{k}");
            functions.push(self.module.declare_function(&name, Linkage::Import, &signature).map_err(text_of)?);
        }
        let mut calls = Table::default();
        let mut first = 0;
        for c in &code.calls {
            calls.function(functions[c.kernel]);
            calls.data(args, first * ARG_BYTES as i64);
            calls.u32(c.args.len() as u32).u32(u32::from(c.barrier)).u64(c.tasks);
            first += c.args.len() as i64;
        }
        debug_assert_eq!(calls.bytes.len(), code.calls.len() * CALL_BYTES);
        let calls = self.data(&format!("{name}_calls"), calls)?;
        t.u32(code.calls.len() as u32).u32(code.group).data(calls, 0).data(weights, code.weights_at as i64);
        t.u64(code.arena_bytes).u64(code.scratch_bytes).data(target, 0);
        Ok(())
    }

    /// Defines the exported function `{P}_{name}`.
    pub fn function(&mut self, name: &str, params: &[Type], result: Type, body: Body<'_>) -> Result_<()> {
        let mut signature = self.module.make_signature();
        signature.params.extend(params.iter().map(|&t| AbiParam::new(t)));
        signature.returns.push(AbiParam::new(result));
        let name = format!("{}_{name}", self.prefix);
        let id = self.module.declare_function(&name, Linkage::Export, &signature).map_err(text_of)?;

        let mut context = self.module.make_context();
        context.func.signature = signature.clone();
        let mut builder_context = FunctionBuilderContext::new();
        let mut b = FunctionBuilder::new(&mut context.func, &mut builder_context);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let value = match body {
            Body::Number(n) => b.ins().iconst(result, n),
            Body::Address(data) => {
                let global = self.module.declare_data_in_func(data, b.func);
                b.ins().symbol_value(types::I64, global)
            }
            Body::Core(core, first) => {
                let mut args = Vec::new();
                if let Some(data) = first {
                    let global = self.module.declare_data_in_func(data, b.func);
                    args.push(b.ins().symbol_value(types::I64, global));
                    signature.params.insert(0, AbiParam::new(types::I64));
                }
                args.extend_from_slice(b.block_params(entry));
                let core = self.module.declare_function(core, Linkage::Import, &signature).map_err(text_of)?;
                let core = self.module.declare_func_in_func(core, b.func);
                b.func.dfg.ext_funcs[core].colocated = true; // it is linked into the same file: a direct call
                let call = b.ins().call(core, &args);
                b.inst_results(call)[0]
            }
        };
        b.ins().return_(&[value]);
        b.seal_all_blocks();
        b.finalize(self.module.target_config());
        self.module.define_function(id, &mut context).map_err(text_of)
    }
}

pub enum Body<'a> {
    Number(i64),
    Address(DataId),
    /// Calls a function of the runtime with that data's address, if any, before the own arguments.
    Core(&'a str, Option<DataId>),
}

/// Data under construction, little-endian.
#[derive(Default)]
pub struct Table {
    pub bytes: Vec<u8>,
    pointers: Vec<(u32, Target)>,
}

enum Target {
    Data(DataId, i64),
    Function(FuncId),
}

impl Table {
    pub fn u32(&mut self, n: u32) -> &mut Table {
        self.bytes.extend(n.to_le_bytes());
        self
    }

    pub fn u64(&mut self, n: u64) -> &mut Table {
        self.bytes.extend(n.to_le_bytes());
        self
    }

    pub fn f32(&mut self, x: f32) -> &mut Table {
        self.bytes.extend(x.to_le_bytes());
        self
    }

    pub fn data(&mut self, data: DataId, addend: i64) -> &mut Table {
        self.pointers.push((self.bytes.len() as u32, Target::Data(data, addend)));
        self.u64(0)
    }

    pub fn function(&mut self, function: FuncId) -> &mut Table {
        self.pointers.push((self.bytes.len() as u32, Target::Function(function)));
        self.u64(0)
    }
}
