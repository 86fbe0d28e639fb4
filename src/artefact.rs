//! From compiled programs to what a user ships: the objects of a model, and executables and libraries of them.

mod train;

pub use train::Training;

use backends::Backend;
use backends::exec::AlignedBytes;
use backends::link::Input;
use backends::object::{self, CodeDesc, Member, ModelDesc, Piece, PreprocessDesc};
use ir::graph::ModelInfo;
use ir::program::Space;
use ir::store::TensorStore;
use ir::target::Target;
use ir::{Diagnostic, Diagnostics, Program};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::io::{self, Write};

/// The freestanding host of a standalone executable, an archive.
static HOST: &[u8] = include_bytes!(env!("RESCC_HOST_LIB"));
/// The same of a trainer.
static TRAIN_HOST: &[u8] = include_bytes!(env!("RESCC_TRAIN_HOST_LIB"));
/// The inference driver, one object.
static CORE: &[u8] = include_bytes!(env!("RESCC_CORE_OBJ"));
/// The driver and the functions of training, one object.
static TRAIN: &[u8] = include_bytes!(env!("RESCC_TRAIN_OBJ"));
/// The prefix that the host expects of its model.
const HOST_PREFIX: &str = "rescc";

/// A planned program and what goes into its descriptor.
pub struct Source<'a> {
    pub name: &'a str,
    pub program: &'a Program,
    /// Every constant of the program as it lies in memory, by the name of its slot.
    pub constants: &'a dyn TensorStore,
    /// The model's own tensors, for a mean of its preprocessing.
    pub tensors: &'a dyn TensorStore,
    pub info: &'a ModelInfo,
    /// Images of an inference; the program computes a group of them at a time.
    pub batch: u64,
    /// Multiply-adds for one image and trained parameters of the network, for `--info`.
    pub macs: u64,
    pub params: u64,
    pub target: &'a Target,
}

/// The objects of one model with all symbols prefixed. Weights stay where they are until they are written.
pub struct Objects<'a> {
    /// File names and contents: kernels and descriptor.
    code: Vec<(String, Vec<u8>)>,
    /// The runtime's object.
    runtime: (&'static str, &'static [u8]),
    /// What makes an executable of them.
    host: &'static [u8],
    constants: Constants<'a>,
    header: String,
    prefix: String,
}

impl<'a> Objects<'a> {
    /// Compiles the kernels and writes the descriptor. `prefix` is `None` for a standalone executable.
    pub fn new(source: &Source<'a>, backend: &dyn Backend, prefix: Option<&str>) -> Result<Objects<'a>, Diagnostics> {
        let prefix = prefix.map_or_else(|| HOST_PREFIX.to_string(), object::prefix_of);
        let p = source.program;
        let kernels = backend.compile(&p.kernels, &object::kernel_prefix(&prefix), source.target)?;
        let constants = Constants::of(source)?;
        let [channels, height, width, classes] = shape(p)?;
        let model = ModelDesc {
            prefix: &prefix,
            name: source.name,
            version: env!("CARGO_PKG_VERSION"),
            target: source.target.name,
            code: CodeDesc::new(p),
            weights_bytes: constants.len_bytes,
            batch: u32::try_from(source.batch).unwrap_or(u32::MAX),
            input: [channels, height, width],
            classes,
            macs: source.macs,
            params: source.params,
            labels: &source.info.labels,
            preprocess: source.info.preprocess.as_ref().map(|s| preprocess(s, constants.mean)),
            weights_sha256: constants.sha256(),
        };
        let header = object::header(&model);
        let model = object::model_object(&model)?;
        Ok(Objects::assemble(kernels, ("model.o", model), ("core.o", CORE), HOST, constants, header, prefix))
    }

    fn assemble(
        kernels: Vec<Vec<u8>>,
        descriptor: (&str, Vec<u8>),
        runtime: (&'static str, &'static [u8]),
        host: &'static [u8],
        constants: Constants<'a>,
        header: String,
        prefix: String,
    ) -> Objects<'a> {
        let mut code: Vec<(String, Vec<u8>)> =
            kernels.into_iter().enumerate().map(|(i, o)| (format!("kernels{i}.o"), o)).collect();
        code.push((descriptor.0.into(), descriptor.1));
        Objects { code, runtime, host, constants, header, prefix }
    }

    /// Bytes of machine code, descriptor and driver, without weights and host.
    pub fn code_bytes(&self) -> usize {
        self.code.iter().map(|(_, o)| o.len()).sum::<usize>() + self.runtime.1.len()
    }

    /// The C header as it is written to `file`.
    pub fn header(&self, file: &str) -> String {
        object::named_header(&self.header, file)
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn write_archive(&self, out: impl Write) -> io::Result<()> {
        let mut weights = Vec::new();
        self.write_weights(&mut weights)?;
        let code = self.code.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let members: Vec<Member> = code
            .chain([("weights.o", weights.as_slice()), self.runtime])
            .map(|(name, bytes)| Member { name: name.into(), bytes })
            .collect();
        object::write_archive(&members, out)
    }

    fn write_weights(&self, out: impl Write) -> io::Result<()> {
        let pieces = &self.constants.pieces;
        let pieces = pieces.iter().map(|p| Piece { offset: p.offset, bytes: Cow::Borrowed(&*p.bytes) }).collect();
        object::write_weights(&self.prefix, self.constants.len_bytes, pieces, out)
    }

    /// Inputs of the linker in a fixed order, with the host for an executable.
    pub fn inputs(&self, with_host: bool) -> Vec<Input<'_>> {
        let mut inputs: Vec<Input> = self.code.iter().map(|(name, bytes)| Input::bytes(name, bytes)).collect();
        inputs.push(Input::writer("weights.o", |file| self.write_weights(file)));
        inputs.push(Input::bytes(self.runtime.0, self.runtime.1));
        inputs.extend(with_host.then(|| Input::bytes("host.a", self.host)));
        inputs
    }
}

/// Bytes of arena that `program` needs with one thread: activations and scratch, as `runtime::arena` lays them out.
pub fn arena_bytes(program: &Program) -> u64 {
    (aligned(program.arena_bytes) + aligned(program.scratch_bytes())).max(aligned(1))
}

/// The constants of `program` as one section, for running it in this process.
pub fn constants(program: &Program, store: &dyn TensorStore) -> Result<AlignedBytes, Diagnostics> {
    let mut out = AlignedBytes::zeroed(program.const_bytes as usize);
    for s in program.slots.values() {
        if let Space::Const { offset } = s.space {
            let bytes = bytes_of(store, &s.name)?;
            out[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
    }
    Ok(out)
}

/// Every tensor in the weights section, and every part of an arena, begins at a cache line.
fn aligned(bytes: u64) -> u64 {
    bytes.next_multiple_of(64)
}

/// The weights section.
#[derive(Default)]
struct Constants<'a> {
    pieces: Vec<Piece<'a>>,
    len_bytes: u64,
    /// Offset of the preprocessing's mean per pixel.
    mean: Option<u64>,
}

impl<'a> Constants<'a> {
    fn of(source: &Source<'a>) -> Result<Constants<'a>, Diagnostics> {
        let mut constants = Constants::default();
        constants.append(source.program, source.constants)?;
        if let Some(tensor) = source.info.preprocess.as_ref().and_then(|p| p.mean_tensor.as_deref()) {
            let bytes = bytes_of(source.tensors, tensor)?;
            let offset = aligned(constants.len_bytes);
            constants.len_bytes = offset + bytes.len() as u64;
            constants.pieces.push(Piece { offset, bytes });
            constants.mean = Some(offset);
        }
        Ok(constants)
    }

    /// Appends the constants of a program, which is all that is read of it.
    fn append(&mut self, program: &Program, store: &'a dyn TensorStore) -> Result<(), Diagnostics> {
        let mut slots: Vec<(u64, &str)> = program
            .slots
            .values()
            .filter_map(|s| match s.space {
                Space::Const { offset } => Some((offset, s.name.as_str())),
                _ => None,
            })
            .collect();
        slots.sort_unstable();
        slots.dedup_by_key(|s| s.0);
        let start = aligned(self.len_bytes);
        for (offset, name) in slots {
            self.pieces.push(Piece { offset: start + offset, bytes: bytes_of(store, name)? });
        }
        self.len_bytes = start + program.const_bytes;
        Ok(())
    }

    fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for p in &self.pieces {
            hash.update(&p.bytes);
        }
        hash.finalize().into()
    }
}

fn bytes_of<'a>(store: &'a dyn TensorStore, name: &str) -> Result<Cow<'a, [u8]>, Diagnostics> {
    let missing = || Diagnostic::error("E0809", format!("the model has no tensor '{name}'"));
    Ok(store.get(name).ok_or_else(missing)?.bytes)
}

/// Channels, height, width of the input and elements of the output, for one image.
fn shape(p: &Program) -> Result<[u32; 4], Diagnostics> {
    let unsupported = |what: &str| -> Diagnostics {
        Diagnostic::error("E0710", format!("an artefact has one f32 image as input and one f32 output; {what}"))
            .class(ir::diag::Class::Unsupported)
            .help("`rescc opt` takes any graph")
            .into()
    };
    let ends = |input: bool| {
        p.slots
            .values()
            .filter(move |s| matches!((s.space, input), (Space::Input(_), true) | (Space::Output(_), false)))
    };
    let (Some(x), Some(y)) = (ends(true).next(), ends(false).next()) else {
        return Err(unsupported("this graph lacks one"));
    };
    let more = |s: &&ir::program::SlotData| matches!(s.space, Space::Input(1..) | Space::Output(1..));
    if ends(true).chain(ends(false)).any(|s| more(&s)) {
        return Err(unsupported("this graph has several"));
    }
    let (&[images, channels, height, width], ir::DType::F32, ir::DType::F32) = (&x.dims[..], x.dtype, y.dtype) else {
        return Err(unsupported("this graph has others"));
    };
    if images != p.batch {
        return Err(unsupported("this graph has another number of images than the batch: write N for them"));
    }
    if y.dims.first() != Some(&images) {
        return Err(unsupported("this graph's output is not one row for each image"));
    }
    let classes = y.dims[1..].iter().product();
    let narrow = |n: u64| u32::try_from(n).map_err(|_| unsupported("this one is too large"));
    Ok([narrow(channels)?, narrow(height)?, narrow(width)?, narrow(classes)?])
}

fn preprocess(p: &ir::graph::Preprocess, mean_tensor: Option<u64>) -> PreprocessDesc {
    let four = |v: &[f32], rest: f32| std::array::from_fn(|i| v.get(i).copied().unwrap_or(rest));
    PreprocessDesc {
        resize: p.resize,
        bgr: p.bgr,
        scale: p.scale,
        mean: four(&p.mean, 0.0),
        std: four(&p.std, 1.0),
        mean_tensor,
    }
}
