//! A run as one file: a `.safetensors` with the state, and in its metadata what the run is and how far it has come.
//!
//! The metadata begin with the SHA-256 of the whole file, computed with zeros in its own place; it is the mark of
//! completeness too. A file appears whole or not at all (see [`output`]), and the newest few are kept.

use super::settings::Settings;
use crate::import::{self, safetensors};
use crate::output::{self, Mode, Output};
use crate::render::Failure;
use crate::store;
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

const FORMAT: u32 = 1;
const PREFIX: &str = "checkpoint-";
const ENDING: &str = ".safetensors";
/// Largest checkpoint that is read.
const MAX_BYTES: u64 = 64 << 30;
/// What every checkpoint's header begins with, up to the hash.
const BEFORE_HASH: &str = r#"{"__metadata__":{"sha256":""#;
const HASH_DIGITS: usize = 64;

/// What a run is, and how far it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub format: u32,
    /// SHA-256 of the network's text.
    pub network: String,
    /// SHA-256 of the labels of the training set.
    pub data: String,
    pub settings: Settings,
    pub progress: Progress,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Steps that are done.
    pub iteration: u64,
    /// Whether a warm-up is over.
    pub is_warm: bool,
    /// Pictures, and those wrongly classified, of the current window (see [`super::schedule::WINDOW`]).
    pub seen: u64,
    pub wrong: u64,
    /// Sum of the losses of the window, as the bits of an f64.
    pub loss_bits: u64,
}

impl Run {
    pub fn new(network: String, data: String, settings: Settings, progress: Progress) -> Run {
        Run { format: FORMAT, network, data, settings, progress }
    }
}

/// The file of a run that has done `iteration` steps.
pub fn place(dir: &Path, iteration: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{iteration:010}{ENDING}"))
}

/// One tensor of the state: name, shape, f32 elements.
pub type Tensor<'a> = (String, Vec<u64>, &'a [u8]);

/// Writes the checkpoint of `run` into `dir` and removes all but the newest `keep`.
///
/// Errors: E0803 if it cannot be written; older ones are as they were.
pub fn write(dir: &Path, run: &Run, state: &[Tensor], keep: usize) -> Result<PathBuf, Failure> {
    let path = place(dir, run.progress.iteration);
    let text = serde_json::to_string(run).unwrap_or_default();
    let tensors: Vec<(String, Vec<u64>)> = state.iter().map(|(n, s, _)| (n.clone(), s.clone())).collect();
    let zeros = "0".repeat(HASH_DIGITS);
    let mut out = Output::create(&path, Mode::Data)?;
    let made = safetensors::header(&tensors, &[("sha256", &zeros), ("run", &text)]);
    let (mut header, order) = made.map_err(|e| out.failure(&e))?;
    let mut hash = Sha256::new();
    hash.update(&header);
    order.iter().for_each(|&t| hash.update(state[t].2));
    header[hash_place()].copy_from_slice(store::hex(&hash.finalize()).as_bytes());
    let mut put = || -> std::io::Result<()> {
        out.write_all(&header)?;
        order.iter().try_for_each(|&t| out.write_all(state[t].2))
    };
    put().map_err(|e| out.failure(&e))?;
    out.commit()?;
    for old in all(dir).into_iter().skip(keep.max(1)) {
        // One that stays is no harm.
        let _ = std::fs::remove_file(old);
    }
    Ok(path)
}

/// A checkpoint that was read and is whole.
pub struct Checkpoint {
    pub path: PathBuf,
    pub run: Run,
    bytes: Vec<u8>,
    entries: HashMap<String, (Vec<u64>, Range<usize>)>,
}

impl Checkpoint {
    /// Elements of a tensor, or `None` if there is none of that name and shape.
    pub fn tensor(&self, name: &str, shape: &[u64]) -> Option<&[u8]> {
        let (found, range) = self.entries.get(name)?;
        (found == shape).then(|| &self.bytes[range.clone()])
    }

    pub fn tensors(&self) -> usize {
        self.entries.len()
    }
}

/// Reads a checkpoint.
///
/// Errors: E0805 if it cannot be read, E0907 if a byte is not what it was.
pub fn read(path: &Path) -> Result<Checkpoint, Failure> {
    let mut bytes = import::read_file(path, MAX_BYTES)?;
    let place = hash_place();
    let is_ours = bytes.get(8..place.start) == Some(BEFORE_HASH.as_bytes()) && bytes.len() >= place.end;
    if !is_ours {
        return Err(damaged(path, "it does not begin as a checkpoint does", &Diagnostics::default()));
    }
    let found = bytes[place.clone()].to_vec();
    bytes[place].fill(b'0');
    if store::hex(&Sha256::digest(&bytes)).as_bytes() != found {
        return Err(damaged(path, "its sha256 is not the one that it was written with", &Diagnostics::default()));
    }
    let parsed = safetensors::read_header(&bytes).map_err(|d| damaged(path, "its header is not valid", &d))?;
    let run =
        run_of(&bytes).ok_or_else(|| damaged(path, "what it says of its run is not valid", &Diagnostics::default()))?;
    let entries = parsed.into_iter().map(|e| (e.name, (e.shape, e.range))).collect();
    Ok(Checkpoint { path: path.to_path_buf(), run, bytes, entries })
}

/// The newest whole checkpoint of a folder, and the errors of newer ones.
///
/// Errors: E0907 if there is none.
pub fn newest(dir: &Path) -> Result<(Checkpoint, Diagnostics), Failure> {
    let mut problems = Diagnostics::default();
    for path in all(dir) {
        match read(&path) {
            Ok(c) => return Ok((c, problems)),
            Err(f) => problems.0.extend(f.diagnostics.0),
        }
    }
    if problems.0.is_empty() {
        let text = format!("'{}' has no checkpoint", dir.display());
        let d = Diagnostic::error("E0907", text).help("give the folder of --out, or a file checkpoint-….safetensors");
        problems.push(d);
    }
    Err(Failure::from(problems).in_file(dir))
}

/// The checkpoints of a folder, the newest first.
pub fn all(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let is_one = |p: &PathBuf| {
        let name = p.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let number = name.strip_prefix(PREFIX).and_then(|n| n.strip_suffix(ENDING));
        number.is_some_and(|n| n.len() == 10 && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut found: Vec<PathBuf> = entries.filter(is_one).collect();
    found.sort_by(|a, b| b.cmp(a));
    found
}

fn hash_place() -> Range<usize> {
    let start = 8 + BEFORE_HASH.len();
    start..start + HASH_DIGITS
}

fn run_of(bytes: &[u8]) -> Option<Run> {
    let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk::<8>()?)).ok()?;
    let header: serde_json::Value = serde_json::from_slice(bytes.get(8..)?.get(..length)?).ok()?;
    let run: Run = serde_json::from_str(header["__metadata__"]["run"].as_str()?).ok()?;
    (run.format == FORMAT).then_some(run)
}

fn damaged(path: &Path, what: &str, more: &Diagnostics) -> Failure {
    let mut d = Diagnostic::error("E0907", format!("the checkpoint '{}' is damaged: {what}", path.display()));
    for m in more.0.iter().take(3) {
        d = d.note(m.message.clone());
    }
    let older = path.parent().map(all).unwrap_or_default().into_iter().find(|p| p.as_path() < path);
    let d = d.class(Class::Invalid).help(match older {
        Some(p) => format!("go on from the one before it: --resume {}", p.display()),
        None => "there is none before it: begin again, or restore the file".into(),
    });
    Failure::from(d).in_file(path)
}

/// Makes the folder of a run.
///
/// Errors: E0803.
pub fn folder(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir).map_err(|e| {
        let text = format!("cannot make the folder '{}': {}", dir.display(), output::reason(&e));
        Failure::from(Diagnostic::error("E0803", text).class(Class::Output).help("choose another --out")).in_file(dir)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::settings::{Kind, Recipe};

    fn run(iteration: u64) -> Run {
        let settings = Recipe::find("fast", Kind::Cifar).unwrap().settings(100, 8, Some(10), None);
        let progress = Progress { iteration, loss_bits: 0.1f64.to_bits(), ..Progress::default() };
        Run::new("net".into(), "data".into(), settings, progress)
    }

    fn put(dir: &Path, iteration: u64) -> PathBuf {
        let (a, b) = ([1u8, 2, 3, 4, 5, 6, 7, 8], [9u8; 4]);
        let state: [Tensor; 2] = [("w".into(), vec![2], &a), ("b".into(), vec![1], &b)];
        write(dir, &run(iteration), &state, 2).unwrap()
    }

    #[test]
    fn what_is_written_comes_back_and_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for i in [5, 10, 15] {
            put(dir.path(), i);
        }
        assert_eq!(all(dir.path()).len(), 2);
        let (c, problems) = newest(dir.path()).unwrap();
        assert_eq!((c.run.clone(), problems.0.len()), (run(15), 0));
        assert_eq!(c.tensor("w", &[2]), Some(&[1u8, 2, 3, 4, 5, 6, 7, 8][..]));
        assert_eq!((c.tensor("w", &[1, 2]), c.tensor("x", &[1])), (None, None));
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), 5);
        let path = put(dir.path(), 10);
        let whole = std::fs::read(&path).unwrap();
        for i in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[i] ^= 1 << (i % 8);
            std::fs::write(&path, &bytes).unwrap();
            let e = read(&path).err().unwrap_or_else(|| panic!("byte {i}"));
            assert_eq!(e.diagnostics.0[0].code, "E0907");
            assert!(e.diagnostics.0[0].help.as_ref().unwrap().contains("checkpoint-0000000005"));
        }
        for n in (0..whole.len()).step_by(7) {
            std::fs::write(&path, &whole[..n]).unwrap();
            assert!(read(&path).is_err(), "{n} bytes");
        }
        let (c, problems) = newest(dir.path()).unwrap();
        assert_eq!((c.run.progress.iteration, problems.0.len()), (5, 1));
    }
}
