//! State dicts to models: read the tensors, settle the architecture, match names and shapes, keep the data.
//!
//! The graph comes from [`builders`](crate::builders), never from the file: a state dict holds tensors only. What
//! is missing, left over or misshapen is listed in full before anything is written.

pub mod arch;
pub mod labels;
pub mod names;
pub mod npy;
pub mod preprocess;
pub mod pth;
pub mod safetensors;
pub mod state_dict;

pub use state_dict::{Element, StateDict, Tensor};

use crate::render::Failure;
use ir::diag::Class;
use ir::entity::Value;
use ir::graph::Def;
use ir::text::nearest;
use ir::{Diagnostic, Diagnostics, Graph, Place};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Largest file that is read whole.
const MAX_FILE_BYTES: u64 = 16 << 30;
/// Longest name of a tensor, in any format.
pub const MAX_NAME_BYTES: usize = 4096;
/// Most dimensions of a tensor, in any format.
pub const MAX_RANK: usize = 8;

/// Reads the tensors of a .safetensors, .pth, .pt or .th file. The content decides, not the name.
pub fn read(path: &Path) -> Result<StateDict, Failure> {
    let bytes = read_file(path, MAX_FILE_BYTES)?;
    let dict = match bytes.as_slice() {
        b if pth::is_zip(b) || pth::is_legacy(b) || pth::is_tar(b) || b.starts_with(b"\x80") => pth::read(bytes),
        // A JSON object behind a length.
        b if b.get(8) == Some(&b'{') || has_suffix(path, "safetensors") => StateDict::from_safetensors(bytes),
        b if b.starts_with(b"\x89HDF") => Err(other("an HDF5 file", "convert it to .safetensors first")),
        b if has_suffix(path, "onnx") || b.starts_with(b"\x08") => {
            Err(other("an ONNX file", "export the state dict as .safetensors or .pth instead"))
        }
        _ if ["pth", "pt", "th", "pkl"].iter().any(|s| has_suffix(path, s)) => pth::read(bytes),
        _ => {
            let d = Diagnostic::error("E0323", "this is no file of tensors");
            Err(d.help("expected .safetensors, or .pth/.pt/.th written by torch.save").into())
        }
    };
    dict.map_err(|d| Failure::from(d).in_file(path))
}

fn other(what: &str, help: &str) -> Diagnostics {
    Diagnostic::error("E0323", format!("this is {what}")).class(Class::Unsupported).help(help).into()
}

fn has_suffix(path: &Path, suffix: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(suffix))
}

/// Reads a regular file of at most `limit` bytes.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let unreadable = |e: &std::io::Error| {
        let d = Diagnostic::error("E0805", format!("cannot read '{}': {}", path.display(), crate::output::reason(e)));
        let d = match e.kind() {
            std::io::ErrorKind::NotFound => match similar_file(path) {
                Some(near) => d.help(format!("did you mean '{near}'?")),
                None => d.help("check the path; relative paths start at the current directory"),
            },
            _ => d.help("check its permissions"),
        };
        Failure::from(d).in_file(path)
    };
    let mut file = File::open(path).map_err(|e| unreadable(&e))?;
    let meta = file.metadata().map_err(|e| unreadable(&e))?;
    if !meta.is_file() {
        let d = Diagnostic::error("E0805", format!("'{}' is no regular file", path.display()));
        return Err(Failure::from(d.help("name a file, not a directory, pipe or device")).in_file(path));
    }
    if meta.len() > limit {
        let d =
            Diagnostic::error("E0801", format!("'{}' has {} bytes, the limit is {limit}", path.display(), meta.len()));
        return Err(Failure::from(d.class(Class::Limit).help("is this the right file?")).in_file(path));
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    file.by_ref().take(limit).read_to_end(&mut bytes).map_err(|e| unreadable(&e))?;
    Ok(bytes)
}

/// A file beside `path` whose name is nearly the same.
fn similar_file(path: &Path) -> Option<String> {
    const MOST_LOOKED_AT: usize = 1000;
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(dir).ok()?.take(MOST_LOOKED_AT).flatten();
    let names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    let near = nearest(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
    Some(path.with_file_name(near).display().to_string())
}

/// Which tensor of `dict` fills each parameter of `g`, in the order of the parameters.
///
/// Errors: every parameter without a tensor, every tensor with another shape or a type that is no float, and
/// every tensor that nothing asked for (`num_batches_tracked` excepted).
pub fn fill(g: &Graph, dict: &StateDict, wanted_by: &str) -> Result<Vec<usize>, Diagnostics> {
    let by_name: HashMap<&str, usize> = dict.tensors.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect();
    let wanted: HashSet<&str> = g.params.iter().map(|&p| tensor_name(g, p)).collect();
    let free: Vec<&Tensor> = dict.tensors.iter().filter(|t| !wanted.contains(t.name.as_str())).collect();
    let mut problems = Diagnostics::default();
    let mut taken = vec![false; dict.tensors.len()];
    let mut found = Vec::new();
    for &p in &g.params {
        let name = tensor_name(g, p);
        let shape = g.ty(p).dims(1);
        let Some(&i) = by_name.get(name) else {
            let d = Diagnostic::error("E0304", format!("tensor '{name}' is missing: {wanted_by} needs {}", g.ty(p)));
            let candidates = free.iter().filter(|t| t.shape == shape).map(|t| t.name.as_str());
            // Those beyond are only counted, and a search among thousands for each would take minutes.
            let shown = problems.0.len() < crate::render::CAP;
            problems.push(match shown.then(|| nearest(name, candidates)).flatten() {
                Some(n) => d.help(format!("'{n}' has this shape: --rename FILE gives it this name")),
                None => d.help("choose another --arch, or give tensors their usual names by --rename FILE"),
            });
            continue;
        };
        taken[i] = true;
        let t = &dict.tensors[i];
        if t.shape != shape {
            let d = Diagnostic::error("E0306", format!("tensor '{name}' is {t}, {wanted_by} needs {}", g.ty(p)));
            let d = d.at(Place::Tensor(name.into()), "");
            problems.push(d.help("another --arch, --shortcut or --input may fit"));
        } else if !t.element.is_float() {
            let d = Diagnostic::error("E0307", format!("tensor '{name}' is {t}; weights are floating point"));
            problems.push(d.at(Place::Tensor(name.into()), "").help("export the model without quantisation"));
        }
        found.push(i);
    }
    for t in dict.tensors.iter().zip(taken).filter(|(t, taken)| !taken && !is_counter(&t.name)).map(|(t, _)| t) {
        let d = Diagnostic::error("E0305", format!("tensor '{}' {t} is left over: {wanted_by} has no such", t.name));
        problems.push(d.help("choose another --arch, or leave the tensor out with a --rename line `NAME ->`"));
    }
    problems.into_result(found)
}

/// PyTorch counts batches in an integer tensor that inference does not need.
fn is_counter(name: &str) -> bool {
    name.ends_with(".num_batches_tracked") || name == "num_batches_tracked"
}

/// Name in the weights file of a parameter.
pub fn tensor_name(g: &Graph, p: Value) -> &str {
    match &g.values[p].def {
        Def::Param { tensor, .. } => tensor,
        _ => unreachable!("invariant: Graph::params holds parameters"),
    }
}
