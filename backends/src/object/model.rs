//! The model object: descriptor, tables and C API of one model.
//!
//! Layouts are those of `runtime::abi` and of the header; a test compares them field by field. The API functions
//! only pass the descriptor on to the runtime's core, so Cranelift writes them whatever compiles the kernels.

use super::calls::CallDesc;
use super::{ABI, kernel_prefix};
use crate::cranelift::{Machine, object_module};
use crate::internal;
use cranelift::prelude::*;
use cranelift_module::{DataDescription, DataId, FuncId, Linkage, Module, ModuleError};
use cranelift_object::ObjectModule;
use ir::Diagnostics;
use ir::target::X86_64_V2;

/// Everything that the descriptor says about a model.
#[derive(Clone, Debug)]
pub struct ModelDesc<'a> {
    /// A C identifier that every symbol starts with; see [`prefix_of`](super::prefix_of).
    pub prefix: &'a str,
    pub name: &'a str,
    /// Of the compiler that made it.
    pub version: &'a str,
    /// Name of the CPU target.
    pub target: &'a str,
    /// Names of the program's kernels; `calls` index them.
    pub kernels: Vec<&'a str>,
    pub calls: Vec<CallDesc>,
    pub weights_bytes: u64,
    pub arena_bytes: u64,
    pub scratch_bytes: u64,
    /// Images that one run computes.
    pub batch: u32,
    /// Images that one run of the calls computes; divides `batch`.
    pub group: u32,
    /// Channels, height and width of the input.
    pub input: [u32; 3],
    /// f32 elements of the output for one image.
    pub classes: u32,
    pub macs: u64,
    pub params: u64,
    /// Class names; empty if unknown.
    pub labels: &'a [String],
    pub preprocess: Option<PreprocessDesc>,
    pub weights_sha256: [u8; 32],
}

/// See `ir::graph::Preprocess`.
#[derive(Clone, Copy, Debug)]
pub struct PreprocessDesc {
    pub resize: Option<u32>,
    pub bgr: bool,
    pub scale: f32,
    /// One for each channel, at most four.
    pub mean: [f32; 4],
    pub std: [f32; 4],
    /// Offset in the weights of f32[channels, height, width] to subtract instead of `mean`.
    pub mean_tensor: Option<u64>,
}

/// Bytes of [`Model`](runtime::abi::Model) and of its parts.
pub(super) const CALL_BYTES: usize = 32;
pub(super) const ARG_BYTES: usize = 16;

/// The object that defines `{P}_model`, `{P}_infer`, `{P}_arena_bytes`, `{P}_arena_align`, `{P}_info`,
/// `{P}_abi_version` and `{P}_strerror`.
pub fn model_object(m: &ModelDesc) -> Result<Vec<u8>, Diagnostics> {
    emit(m).map_err(|e| internal("E0701", format!("cannot write the model object: {e}")))
}

/// Both kinds of error that can happen on the way, as text.
type Result_<T> = Result<T, String>;

fn emit(m: &ModelDesc) -> Result_<Vec<u8>> {
    let machine = Machine::of_target(&X86_64_V2).map_err(|e| e.to_string())?;
    let mut o = Writer { module: object_module(&machine).map_err(|e| e.to_string())?, prefix: m.prefix };
    let texts = Texts {
        name: o.text("name", m.name)?,
        version: o.text("version", m.version)?,
        target: o.text("target", m.target)?,
    };
    let model = o.model(m, &texts)?;
    let info = o.info(m, &texts)?;
    o.functions(model, info)?;
    o.module.finish().emit().map_err(|e| e.to_string())
}

/// NUL-terminated strings that descriptor and info share.
struct Texts {
    name: DataId,
    version: DataId,
    target: DataId,
}

struct Writer<'a> {
    module: ObjectModule,
    prefix: &'a str,
}

fn text_of(e: ModuleError) -> String {
    e.to_string()
}

impl Writer<'_> {
    /// Defines hidden data `{P}_{name}`.
    fn data(&mut self, name: &str, table: Table) -> Result_<DataId> {
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

    fn text(&mut self, name: &str, text: &str) -> Result_<DataId> {
        let mut t = Table::default();
        t.bytes.extend(text.bytes().filter(|&b| b != 0).chain([0]));
        self.data(name, t)
    }

    /// The call table, with arguments of all calls in one array.
    fn calls(&mut self, m: &ModelDesc) -> Result_<DataId> {
        let mut args = Table::default();
        for a in m.calls.iter().flat_map(|c| &c.args) {
            args.u32(a.base as u32).u32(a.index).u64(a.offset);
        }
        let args = self.data("args", args)?;
        let prefix = kernel_prefix(m.prefix);
        let signature = crate::cranelift::kernel_signature(self.module.isa().default_call_conv());
        let mut functions = Vec::new();
        for k in &m.kernels {
            let name = format!("{prefix}_{k}");
            functions.push(self.module.declare_function(&name, Linkage::Import, &signature).map_err(text_of)?);
        }
        let mut table = Table::default();
        let mut first = 0;
        for c in &m.calls {
            table.function(functions[c.kernel]);
            table.data(args, first * ARG_BYTES as i64);
            table.u32(c.args.len() as u32).u32(u32::from(c.barrier)).u64(c.tasks);
            first += c.args.len() as i64;
        }
        debug_assert_eq!(table.bytes.len(), m.calls.len() * CALL_BYTES);
        self.data("calls", table)
    }

    fn model(&mut self, m: &ModelDesc, texts: &Texts) -> Result_<DataId> {
        let calls = self.calls(m)?;
        let weights = format!("{}_weights", m.prefix);
        let weights = self.module.declare_data(&weights, Linkage::Import, false, false).map_err(text_of)?;
        let mut labels = Table::default();
        labels.bytes.extend(m.labels.join("\n").into_bytes());
        let labels_bytes = labels.bytes.len() as u64;
        labels.bytes.push(0);
        let labels = self.data("labels", labels)?;

        let mut t = Table::default();
        t.u32(ABI).u32(m.calls.len() as u32).data(calls, 0);
        t.data(weights, 0).u64(m.weights_bytes).u64(m.arena_bytes).u64(m.scratch_bytes);
        t.u32(m.batch).u32(m.input[0]).u32(m.input[1]).u32(m.input[2]).u32(m.classes).u32(m.group);
        t.u64(m.macs).u64(m.params);
        t.data(texts.name, 0).data(texts.version, 0).data(texts.target, 0);
        t.data(labels, 0).u64(labels_bytes);
        let p = m.preprocess;
        t.u32(p.is_some().into()).u32(p.and_then(|p| p.resize).unwrap_or(0)).u32(p.is_some_and(|p| p.bgr).into());
        t.f32(p.map_or(1.0, |p| p.scale));
        for v in p.map_or([0.0; 4], |p| p.mean).into_iter().chain(p.map_or([1.0; 4], |p| p.std)) {
            t.f32(v);
        }
        match p.and_then(|p| p.mean_tensor) {
            Some(offset) => t.data(weights, offset as i64),
            None => t.u64(0),
        };
        t.bytes.extend(m.weights_sha256);
        self.data("model", t)
    }

    /// The header's `P_info_t`.
    fn info(&mut self, m: &ModelDesc, texts: &Texts) -> Result_<DataId> {
        let mut t = Table::default();
        t.data(texts.name, 0).data(texts.version, 0).data(texts.target, 0).u64(m.macs).u64(m.params);
        let most = u32::MAX.checked_div(m.batch).unwrap_or(0) * m.batch;
        t.u32(m.batch).u32(most).u32(m.classes).u32(1).u32(1).u32(0);
        t.bytes.extend(m.weights_sha256);
        self.data("info_data", t)
    }

    fn functions(&mut self, model: DataId, info: DataId) -> Result_<()> {
        use types::{I32, I64};
        let infer = &[I64, I64, I32, I64, I64, I64];
        self.function("infer", infer, I32, Body::Core("rescc_core_infer", Some(model)))?;
        self.function("arena_bytes", &[I32, I32], I64, Body::Core("rescc_core_arena_bytes", Some(model)))?;
        self.function("strerror", &[I32], I64, Body::Core("rescc_core_strerror", None))?;
        self.function("arena_align", &[], I64, Body::Number(64))?;
        self.function("abi_version", &[], I32, Body::Number(i64::from(ABI)))?;
        self.function("info", &[], I64, Body::Address(info))
    }

    /// Defines the exported function `{P}_{name}`.
    fn function(&mut self, name: &str, params: &[Type], result: Type, body: Body) -> Result_<()> {
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

enum Body {
    Number(i64),
    Address(DataId),
    /// Calls a function of the runtime's core with that data's address, if any, before the own arguments.
    Core(&'static str, Option<DataId>),
}

/// Data under construction, little-endian.
#[derive(Default)]
struct Table {
    bytes: Vec<u8>,
    pointers: Vec<(u32, Target)>,
}

enum Target {
    Data(DataId, i64),
    Function(FuncId),
}

impl Table {
    fn u32(&mut self, n: u32) -> &mut Table {
        self.bytes.extend(n.to_le_bytes());
        self
    }

    fn u64(&mut self, n: u64) -> &mut Table {
        self.bytes.extend(n.to_le_bytes());
        self
    }

    fn f32(&mut self, x: f32) -> &mut Table {
        self.bytes.extend(x.to_le_bytes());
        self
    }

    fn data(&mut self, data: DataId, addend: i64) -> &mut Table {
        self.pointers.push((self.bytes.len() as u32, Target::Data(data, addend)));
        self.u64(0)
    }

    fn function(&mut self, function: FuncId) -> &mut Table {
        self.pointers.push((self.bytes.len() as u32, Target::Function(function)));
        self.u64(0)
    }
}
