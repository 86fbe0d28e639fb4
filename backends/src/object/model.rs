//! The model object: descriptor, tables and C API of one model.
//!
//! Layouts are those of `runtime::abi` and of the header; a test compares them field by field. The API functions
//! only pass the descriptor on to the runtime's core.

use super::ABI;
use super::writer::{Body, CodeDesc, Result_, Table, Writer, object};
use cranelift::prelude::types::{I32, I64};
use cranelift_module::DataId;
use ir::Diagnostics;

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
    pub code: CodeDesc,
    pub weights_bytes: u64,
    /// Images that one run computes; a multiple of the code's group.
    pub batch: u32,
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

/// The object that defines `{P}_model`, `{P}_infer`, `{P}_arena_bytes`, `{P}_arena_align`, `{P}_info`,
/// `{P}_abi_version` and `{P}_strerror`.
pub fn model_object(m: &ModelDesc) -> Result<Vec<u8>, Diagnostics> {
    object(m.prefix, |o| {
        let texts = Texts {
            name: o.text("name", m.name)?,
            version: o.text("version", m.version)?,
            target: o.text("target", m.target)?,
        };
        let model = model(o, m, &texts)?;
        let info = info(o, m, &texts)?;
        functions(o, model, info)
    })
}

/// NUL-terminated strings that descriptor and info share.
struct Texts {
    name: DataId,
    version: DataId,
    target: DataId,
}

fn model(o: &mut Writer, m: &ModelDesc, texts: &Texts) -> Result_<DataId> {
    let weights = o.weights()?;
    let mut labels = Table::default();
    labels.bytes.extend(m.labels.join("\n").into_bytes());
    let labels_bytes = labels.bytes.len() as u64;
    labels.bytes.push(0);
    let labels = o.data("labels", labels)?;

    let mut t = Table::default();
    t.u32(ABI).u32(m.batch);
    o.code(&mut t, "infer", &m.code, weights, texts.target)?;
    t.u64(m.weights_bytes);
    t.u32(m.input[0]).u32(m.input[1]).u32(m.input[2]).u32(m.classes);
    t.u64(m.macs).u64(m.params);
    t.data(texts.name, 0).data(texts.version, 0);
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
    o.data("model", t)
}

/// The header's `P_info_t`.
fn info(o: &mut Writer, m: &ModelDesc, texts: &Texts) -> Result_<DataId> {
    let mut t = Table::default();
    t.data(texts.name, 0).data(texts.version, 0).data(texts.target, 0).u64(m.macs).u64(m.params);
    let most = u32::MAX.checked_div(m.batch).unwrap_or(0) * m.batch;
    t.u32(m.batch).u32(most).u32(m.classes).u32(1).u32(1).u32(0);
    t.bytes.extend(m.weights_sha256);
    o.data("info_data", t)
}

fn functions(o: &mut Writer, model: DataId, info: DataId) -> Result_<()> {
    let infer = &[I64, I64, I32, I64, I64, I64];
    o.function("infer", infer, I32, Body::Core("rescc_core_infer", Some(model)))?;
    o.function("arena_bytes", &[I32, I32], I64, Body::Core("rescc_core_arena_bytes", Some(model)))?;
    o.function("strerror", &[I32], I64, Body::Core("rescc_core_strerror", None))?;
    o.function("arena_align", &[], I64, Body::Number(64))?;
    o.function("abi_version", &[], I32, Body::Number(i64::from(ABI)))?;
    o.function("info", &[], I64, Body::Address(info))
}
