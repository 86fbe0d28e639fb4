//! Models on disk: a `.rir` text, and beside it the weights that it names.
//!
//! [`load`] gives a verified graph and its tensors, mapped, not read. The weights file must be a regular file at or
//! below the model's directory after symbolic links are resolved, whatever the text says.

use crate::import::safetensors::{self, Entry, read_header};
use crate::output::{self, Mode, Output};
use crate::render::{Failure, Sources};
use ::safetensors::Dtype;
use ir::diag::Class;
use ir::graph::{Def, WeightsRef};
use ir::store::{TensorData, TensorStore};
use ir::text::{Module, nearest};
use ir::{DType, Diagnostic, Diagnostics, Graph, Place};
use memmap2::Mmap;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest `.rir` that is read.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// A model as it was loaded.
pub struct Model {
    pub graph: Graph,
    pub store: Arc<dyn TensorStore>,
    /// The text and its path, for diagnostics about the graph.
    pub sources: Sources,
    /// Warnings of the parser and verifier.
    pub warnings: Diagnostics,
    weights: Option<Arc<MappedTensors>>,
}

/// Loads a model: parses and verifies the text, and checks that every parameter is in the weights file with its
/// type and shape.
///
/// Errors: everything that is wrong, at once.
pub fn load(path: &Path) -> Result<Model, Failure> {
    let (graph, sources, warnings) = load_graph(path)?;
    let at = |d: Diagnostics| Failure { diagnostics: d, sources: sources.clone() };
    let Some(weights) = &graph.info.weights else {
        if graph.params.is_empty() {
            let store = Arc::new(ir::store::MemoryStore::default());
            return Ok(Model { graph, store, sources, warnings, weights: None });
        }
        let d = Diagnostic::error("E0806", "the model has parameters but names no weights file");
        return Err(at(d.help("add a line `weights \"FILE.safetensors\"` after `rir 1`").into()));
    };
    let file = weights_path(path, &weights.file).map_err(|d| at(d.into()))?;
    let mapped = Arc::new(MappedTensors::open(&file)?);
    let mut sources = sources;
    sources.data = Some(file);
    if let Err(diagnostics) = check_params(&graph, &mapped) {
        return Err(Failure { diagnostics, sources });
    }
    let store: Arc<dyn TensorStore> = mapped.clone();
    Ok(Model { graph, store, sources, warnings, weights: Some(mapped) })
}

/// Loads the text alone.
pub fn load_graph(path: &Path) -> Result<(Graph, Sources, Diagnostics), Failure> {
    let bytes = crate::import::read_file(path, MAX_TEXT_BYTES)?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => {
            let at = e.utf8_error().valid_up_to() as u64;
            let d = Diagnostic::error("E0807", "this is no text").at(Place::Byte(at), "not UTF-8 here");
            let help = "a model is a .rir text; `rescc import` makes one from .safetensors and .pth";
            return Err(Failure::from(d.help(help)).in_file(path));
        }
    };
    let parsed = parse(&text);
    let sources = Sources { main: Some((path.to_path_buf(), Some(text))), data: None };
    match parsed {
        Ok((graph, warnings)) => Ok((graph, sources, warnings)),
        Err(diagnostics) => Err(Failure { diagnostics, sources }),
    }
}

impl Model {
    /// Lets go of the weights.
    pub fn close(self) -> (Sources, Diagnostics) {
        (self.sources, self.warnings)
    }

    /// Refuses to write over its weights.
    ///
    /// Errors: E0819.
    pub fn spare(&self, output: &Path) -> Result<(), Failure> {
        match &self.sources.data {
            Some(weights) if output::is_same(output, weights) => {
                Err(output::replaces(output, "the weights of the model"))
            }
            _ => Ok(()),
        }
    }

    /// The mean picture that its preprocessing subtracts, if it names one.
    pub fn mean_picture(&self) -> Option<Vec<f32>> {
        let name = self.graph.info.preprocess.as_ref()?.mean_tensor.as_deref()?;
        let data = self.store.get(name)?;
        Some(ir::interp::elements::decode(data.dtype, &data.bytes).into_iter().map(|v| v as f32).collect())
    }

    /// Compares the weights file with the hash in the text, if that has one.
    pub fn check_hash(&self) -> Result<(), Failure> {
        let (Some(mapped), Some(WeightsRef { sha256: Some(expected), file })) =
            (&self.weights, &self.graph.info.weights)
        else {
            return Ok(());
        };
        let found = hex(&Sha256::digest(&mapped.map));
        if found == expected.to_lowercase() {
            return Ok(());
        }
        let d = Diagnostic::error("E0808", format!("'{file}' is not the weights file that the model was made with"))
            .note(format!("sha256 expected {expected}"))
            .note(format!("sha256 found    {found}"));
        let d = d.help("restore the file, or remove `sha256:…` from the `weights` line if the change is meant");
        Err(Failure { diagnostics: d.into(), sources: self.sources.clone() })
    }
}

/// The path of a weights file that the text at `model` names.
fn weights_path(model: &Path, file: &str) -> Result<PathBuf, Diagnostic> {
    let refuse = |text: String, help: &str| Diagnostic::error("E0806", text).help(help.to_string());
    let missing = |p: &Path, e: &io::Error| {
        refuse(
            format!("cannot read the weights '{}': {}", p.display(), output::reason(e)),
            "put the file beside the .rir",
        )
    };
    if Path::new(file).is_absolute() {
        return Err(refuse(format!("the weights path '{file}' is absolute"), "name a file beside the .rir"));
    }
    let dir = model.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let joined = dir.join(file);
    let root = dir.canonicalize().map_err(|e| missing(dir, &e))?;
    let resolved = joined.canonicalize().map_err(|e| missing(&joined, &e))?;
    if !resolved.starts_with(&root) {
        return Err(refuse(
            format!("the weights path '{file}' leaves the model's directory"),
            "put the file beside the .rir",
        ));
    }
    Ok(joined)
}

fn check_params(g: &Graph, mapped: &MappedTensors) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::default();
    for &p in &g.params {
        let value = &g.values[p];
        let Def::Param { tensor, .. } = &value.def else { continue };
        let place = Place::Node(value.name.clone());
        let Some(e) = mapped.entries.get(tensor) else {
            let d = Diagnostic::error("E0809", format!("the weights file has no tensor '{tensor}'")).at(place, "");
            // Those beyond are only counted, and a search among thousands for each would take minutes.
            let shown = problems.0.len() < crate::render::CAP;
            let near = || nearest(tensor, mapped.entries.keys().map(String::as_str));
            problems.push(match shown.then(near).flatten() {
                Some(near) => d.help(format!("did you mean '{near}'?")),
                None => d.help("the .rir and the weights file do not belong together"),
            });
            continue;
        };
        // A packed tensor is stored as it lies in memory.
        let fits = e.shape == value.ty.physical_dims(1);
        if dtype(e.dtype) != Some(value.ty.dtype) || !fits {
            let found = format!("{:?}{:?}", e.dtype, e.shape).to_lowercase();
            let text = format!("tensor '{tensor}' is {found}, the model says {}", value.ty);
            let d = Diagnostic::error("E0809", text).at(place, "");
            problems.push(d.help("the .rir and the weights file do not belong together"));
        }
    }
    problems.into_result(())
}

/// A safetensors file in memory as the system maps it.
pub struct MappedTensors {
    map: Mmap,
    entries: BTreeMap<String, Entry>,
}

impl MappedTensors {
    pub fn open(path: &Path) -> Result<MappedTensors, Failure> {
        let unreadable = |e: &io::Error| {
            let text = format!("cannot read the weights '{}': {}", path.display(), output::reason(e));
            Failure::from(Diagnostic::error("E0805", text).help("check its permissions")).in_file(path)
        };
        let file = File::open(path).map_err(|e| unreadable(&e))?;
        if !file.metadata().map_err(|e| unreadable(&e))?.is_file() {
            let d = Diagnostic::error("E0806", format!("the weights '{}' are no regular file", path.display()));
            return Err(Failure::from(d.help("put a .safetensors file there")).in_file(path));
        }
        // SAFETY: the map is read-only and private to this process. The user must not change a weights file
        // while it is being compiled; as for every linker, doing so may give wrong bytes or end the process.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(|e| unreadable(&e))?;
        let entries = read_header(&map).map_err(|d| Failure::from(d).in_file(path))?;
        Ok(MappedTensors { map, entries: entries.into_iter().map(|e| (e.name.clone(), e)).collect() })
    }
}

impl TensorStore for MappedTensors {
    fn get(&self, name: &str) -> Option<TensorData<'_>> {
        let e = self.entries.get(name)?;
        let bytes = Cow::Borrowed(&self.map[e.range.clone()]);
        Some(TensorData { dtype: dtype(e.dtype)?, shape: e.shape.clone(), bytes })
    }

    fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }
}

fn dtype(d: Dtype) -> Option<DType> {
    match d {
        Dtype::F32 => Some(DType::F32),
        Dtype::F64 => Some(DType::F64),
        Dtype::I32 => Some(DType::I32),
        Dtype::U8 => Some(DType::U8),
        _ => None,
    }
}

/// What [`save`] wrote.
#[derive(Clone, Debug)]
pub struct Saved {
    pub rir: PathBuf,
    pub weights: PathBuf,
    pub weights_bytes: u64,
}

/// Where [`save`] puts the weights of the model at `path`: beside it, and under its name.
pub fn weights_beside(path: &Path) -> PathBuf {
    match path.extension().and_then(|e| e.to_str()) {
        None | Some("rir" | "safetensors") => path.with_extension("safetensors"),
        Some(_) => output::with_suffix(path, "safetensors"),
    }
}

/// Writes a model: `path` and, beside it, a weights file of the same name with `tensors` (f32).
///
/// `data(i, out)` writes the elements of `tensors[i]`. Both files appear together or not at all.
pub fn save(
    path: &Path,
    mut graph: Graph,
    tensors: &[(String, Vec<u64>)],
    data: &mut dyn FnMut(usize, &mut dyn Write) -> io::Result<()>,
) -> Result<Saved, Failure> {
    let path = &output::resolved(path);
    let weights = weights_beside(path);
    let Some(file) = weights.file_name().and_then(|s| s.to_str()) else {
        let d = Diagnostic::error("E0803", format!("'{}' is no name for a model", path.display()));
        return Err(d.class(Class::Output).help("name a file: -o model.rir").into());
    };
    if output::is_stream(path) {
        let d = Diagnostic::error("E0803", "a model is two files: it cannot go to a pipe or device");
        return Err(d.class(Class::Output).help("name a file: -o model.rir").into());
    }
    if weights == *path {
        return Err(output::replaces(&weights, "the model's text, which would have the same name"));
    }
    let mut out = Hashing { out: Output::create(&weights, Mode::Data)?, hash: Sha256::new(), bytes: 0 };
    let written = safetensors::write(&mut out, tensors, data);
    written.map_err(|e| out.out.failure(&e))?;
    let sha256 = Some(hex(&out.hash.finalize()));
    graph.info.weights = Some(WeightsRef { file: file.into(), sha256 });
    let mut text = Output::create(path, Mode::Data)?;
    text.write_all(print(&graph).as_bytes()).map_err(|e| text.failure(&e))?;
    let weights_bytes = out.bytes;
    Output::commit_both(out.out, text)?;
    Ok(Saved { rir: path.to_path_buf(), weights, weights_bytes })
}

/// A writer that hashes what passes.
struct Hashing {
    out: Output,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The one graph of a model's text, parsed and verified, with warnings.
fn parse(text: &str) -> Result<(Graph, Diagnostics), Diagnostics> {
    let (mut module, problems) = ir::text::parse(text);
    let mut problems = problems.into_result(Diagnostics::default())?;
    if module.graphs.len() != 1 {
        let d = Diagnostic::error("E0813", format!("a model has one graph, this file has {}", module.graphs.len()));
        return Err(d.help("`rescc new` and `rescc import` write models").into());
    }
    let graph = module.graphs.remove(0);
    problems.0.extend(graph.verify().0);
    problems.0.extend(module.programs.iter().flat_map(|p| p.verify().0));
    let kernels = module.programs.iter().flat_map(|p| &p.kernels).chain(&module.kernels);
    problems.0.extend(kernels.flat_map(|k| k.verify().0));
    problems.into_result(()).map(|()| (graph, Diagnostics::default()))
}

/// The text of a model.
fn print(graph: &Graph) -> String {
    let module = Module { info: graph.info.clone(), graphs: vec![graph.clone()], ..Module::default() };
    ir::text::print(&module)
}
