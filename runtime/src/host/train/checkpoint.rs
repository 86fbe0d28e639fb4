//! A run as the bytes of one file: a `.safetensors` with the state, and in its metadata what the run is and how far it
//! has come.
//!
//! The metadata begin with the SHA-256 of the whole file, computed with zeros in its own place; it is the mark of
//! completeness too.

use super::progress::Progress;
use super::safetensors;
use super::settings::Settings;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::ops::Range;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const FORMAT: u32 = 1;
/// Names of checkpoints begin and end so; between are ten digits, the steps that are done.
const PREFIX: &str = "checkpoint-";
const ENDING: &str = ".safetensors";
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

impl Run {
    pub fn new(network: String, data: String, settings: Settings, progress: Progress) -> Run {
        Run { format: FORMAT, network, data, settings, progress }
    }
}

/// The file's name of a run that has done `iteration` steps.
pub fn name(iteration: u64) -> String {
    format!("{PREFIX}{iteration:010}{ENDING}")
}

/// Whether a file of that name is a checkpoint. Of two, the newer has the greater name.
pub fn is_name(name: &str) -> bool {
    let number = name.strip_prefix(PREFIX).and_then(|n| n.strip_suffix(ENDING));
    number.is_some_and(|n| n.len() == 10 && n.bytes().all(|b| b.is_ascii_digit()))
}

/// What identifies a training set: enough to notice that a run goes on with other data.
pub fn fingerprint(labels: impl Iterator<Item = u32>) -> String {
    let mut hash = Sha256::new();
    labels.for_each(|label| hash.update(label.to_le_bytes()));
    hex(&hash.finalize())
}

/// The first part of the checkpoint of `run`, with zeros for its hash, and the order in which the elements of its
/// tensors follow.
pub fn blank_header(run: &Run, tensors: &[(String, Vec<u64>)]) -> (Vec<u8>, Vec<usize>) {
    let text = serde_json::to_string(run).unwrap_or_default();
    let zeros = "0".repeat(HASH_DIGITS);
    safetensors::header(tensors, &[("sha256", &zeros), ("run", &text)])
}

/// The same with the hash over it and the elements.
pub fn header<'a>(
    run: &Run,
    tensors: &[(String, Vec<u64>)],
    elements: &dyn Fn(usize) -> &'a [u8],
) -> (Vec<u8>, Vec<usize>) {
    let (mut header, order) = blank_header(run, tensors);
    let mut hash = Sha256::new();
    hash.update(&header);
    order.iter().for_each(|&t| hash.update(elements(t)));
    header[hash_place()].copy_from_slice(hex(&hash.finalize()).as_bytes());
    (header, order)
}

/// The run of a whole checkpoint; the digits of its hash become zeros.
///
/// Errors: what is wrong with it.
pub fn run(bytes: &mut [u8]) -> Result<Run, &'static str> {
    let place = hash_place();
    let is_ours = bytes.get(8..place.start) == Some(BEFORE_HASH.as_bytes()) && bytes.len() >= place.end;
    if !is_ours {
        return Err("it does not begin as a checkpoint does");
    }
    let found = bytes[place.clone()].to_vec();
    bytes[place].fill(b'0');
    if hex(&Sha256::digest(&*bytes)).as_bytes() != found {
        return Err("its sha256 is not the one that it was written with");
    }
    run_of(bytes).ok_or("what it says of its run is not valid")
}

fn run_of(bytes: &[u8]) -> Option<Run> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__")]
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        run: String,
    }
    let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk::<8>()?)).ok()?;
    let header: Header = serde_json::from_slice(bytes.get(8..)?.get(..length)?).ok()?;
    let run: Run = serde_json::from_str(&header.metadata.run).ok()?;
    let is_possible = run.settings.batch > 0 && run.progress.iteration <= run.settings.iterations;
    (run.format == FORMAT && is_possible).then_some(run)
}

fn hash_place() -> Range<usize> {
    let start = 8 + BEFORE_HASH.len();
    start..start + HASH_DIGITS
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
