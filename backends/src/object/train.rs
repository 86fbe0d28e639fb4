//! The object of a network that trains: descriptor, the tensors of its state, and the functions of the C API.
//!
//! Layouts are those of `runtime::train`; a test compares them field by field.

use super::ABI;
use super::writer::{Body, CodeDesc, Result_, Table, Writer, object};
use cranelift::prelude::types::{F32, I32, I64};
use cranelift_module::DataId;
use ir::Diagnostics;

/// The programs of a library that trains, in the descriptor's order.
pub const CODES: [&str; 5] = ["step", "grad", "apply", "statistics", "predict"];

/// Everything that a library says about a network that trains.
#[derive(Clone, Debug)]
pub struct TrainDesc<'a> {
    /// A C identifier that every symbol starts with; see [`prefix_of`](super::prefix_of).
    pub prefix: &'a str,
    pub name: &'a str,
    /// Of the compiler that made it.
    pub version: &'a str,
    /// Name of the CPU target.
    pub target: &'a str,
    /// As [`CODES`]. Inputs and outputs have the numbers that `runtime::train` gives.
    pub codes: [CodeDesc; CODES.len()],
    /// Images of a step.
    pub batch: u32,
    /// Channels, height and width of the input.
    pub input: [u32; 3],
    pub classes: u32,
    /// What the step was compiled with, for people.
    pub options: String,
    /// In the order in which a saved state holds them.
    pub tensors: Vec<StateTensorDesc>,
    pub parameter_bytes: u64,
    pub statistic_bytes: u64,
    /// Where parameters and statistics begin in the weights section.
    pub initial_at: u64,
    /// What a saved state begins with, and where the digits of its hash stand in it.
    pub saved_header: Vec<u8>,
    pub hash_at: u64,
    /// What a trainer is told of its run: `{P}_preset`, which libraries lack.
    pub preset: Option<String>,
}

/// One tensor of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateTensorDesc {
    pub name: String,
    /// Bytes from the start of a half.
    pub offset: u64,
    /// At most four dimensions.
    pub shape: Vec<u64>,
    pub kind: TensorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorKind {
    Parameter = 0,
    Momentum = 1,
    Statistic = 2,
}

impl StateTensorDesc {
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

impl TrainDesc<'_> {
    /// Bytes of a half of the state.
    pub fn state_bytes(&self) -> u64 {
        2 * self.parameter_bytes + self.statistic_bytes
    }

    /// Bytes of gradients, with the statistics behind them.
    pub fn gradient_bytes(&self) -> u64 {
        self.parameter_bytes + self.statistic_bytes
    }

    /// Bytes of a saved state.
    pub fn saved_bytes(&self) -> u64 {
        self.saved_header.len() as u64 + 4 * self.tensors.iter().map(StateTensorDesc::elements).sum::<u64>()
    }
}

/// The object that defines `{P}_train` and the functions `{P}_step` and so on.
pub fn train_object(t: &TrainDesc) -> Result<Vec<u8>, Diagnostics> {
    object(t.prefix, |o| {
        let target = o.text("target", t.target)?;
        t.preset.as_ref().map(|preset| o.text("preset", preset)).transpose()?;
        let tensors = tensors(o, t)?;
        let train = train(o, t, tensors, target)?;
        functions(o, train, tensors)
    })
}

/// `runtime::train::Tensor`, the header's `P_tensor_t`.
fn tensors(o: &mut Writer, t: &TrainDesc) -> Result_<DataId> {
    let mut names = Table::default();
    let mut places = Vec::new();
    for tensor in &t.tensors {
        places.push(names.bytes.len() as i64);
        names.bytes.extend(tensor.name.bytes().chain([0]));
    }
    let names = o.data("tensor_names", names)?;
    let mut table = Table::default();
    for (tensor, at) in t.tensors.iter().zip(places) {
        table.data(names, at).u64(tensor.offset / 4).u64(tensor.elements());
        for d in 0..4 {
            table.u32(tensor.shape.get(d).map_or(1, |&n| n as u32));
        }
        table.u32(tensor.shape.len() as u32).u32(tensor.kind as u32);
    }
    o.data("tensor_table", table)
}

fn train(o: &mut Writer, t: &TrainDesc, tensors: DataId, target: DataId) -> Result_<DataId> {
    let weights = o.weights()?;
    let mut header = Table::default();
    header.bytes.extend(&t.saved_header);
    let header = o.data("saved_header", header)?;
    let image = t.input.iter().map(|&n| u64::from(n)).product();
    let mut table = Table::default();
    table.u32(ABI).u32(t.batch).u32(t.classes).u32(t.tensors.len() as u32).u64(image);
    table.u64(t.parameter_bytes).u64(t.statistic_bytes).data(weights, t.initial_at as i64).data(tensors, 0);
    table.data(header, 0).u64(t.saved_header.len() as u64).u64(t.hash_at);
    for (name, code) in CODES.into_iter().zip(&t.codes) {
        o.code(&mut table, name, code, weights, target)?;
    }
    o.data("train", table)
}

fn functions(o: &mut Writer, train: DataId, tensors: DataId) -> Result_<()> {
    let means = [I64, I64, I64];
    let mut function = |name: &str, own: &[_], has_means: bool| {
        let params = [own, if has_means { &means } else { &[] }].concat();
        o.function(name, &params, I32, Body::Core(&format!("rescc_train_{name}"), Some(train)))
    };
    function("init", &[I64], false)?;
    function("step", &[I64, I64, I64, F32, I64], true)?;
    function("grad", &[I64, I64, I64, I64, I64], true)?;
    function("apply", &[I64, I64, F32], true)?;
    function("recalibrate", &[I64, I64, I32], true)?;
    function("predict", &[I64, I64, I64, I32], true)?;
    function("save", &[I64, I64, I64], false)?;
    function("restore", &[I64, I64, I64], false)?;
    o.function("arena_bytes", &[I32], I64, Body::Core("rescc_train_arena_bytes", Some(train)))?;
    o.function("strerror", &[I32], I64, Body::Core("rescc_train_strerror", None))?;
    o.function("tensors", &[], I64, Body::Address(tensors))?;
    o.function("abi_version", &[], I32, Body::Number(i64::from(ABI)))
}
