//! CIFAR-10, binary version: `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`.

use crate::import;
use crate::render::Failure;
use ir::{Diagnostic, Place};
use runtime::host::train::pictures::Pictures;
use runtime::host::{MAX_FILE_BYTES, cifar};
use std::path::Path;

pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The 50,000 pictures of the five files in `dir`, for a network with `dims` as input.
///
/// Errors: E0805, E0904, E0906.
pub fn training(dir: &Path, dims: [u64; 3]) -> Result<Pictures, Failure> {
    let names: Vec<String> = (1..=5).map(|i| format!("data_batch_{i}.bin")).collect();
    load(dir, &names, dims)
}

/// The 10,000 pictures of `test_batch.bin` in `dir`.
///
/// Errors: as [`training`].
pub fn evaluation(dir: &Path, dims: [u64; 3]) -> Result<Pictures, Failure> {
    load(dir, &["test_batch.bin".to_string()], dims)
}

fn load(dir: &Path, names: &[String], dims: [u64; 3]) -> Result<Pictures, Failure> {
    let mut pictures = Pictures::for_input(dims).ok_or_else(|| unfit(dims))?;
    for name in names {
        let path = dir.join(name);
        let bytes = import::read_file(&path, MAX_FILE_BYTES)?;
        let file = cifar::Cifar::parse(&bytes).map_err(|e| {
            let mut d = super::damaged(e.what);
            if let Some(at) = e.at {
                d = d.at(Place::Byte(at), "");
            }
            Failure::from(d.help("fetch the binary version of CIFAR-10 again")).in_file(&path)
        })?;
        pictures.extend(&file);
    }
    Ok(pictures)
}

/// What to say of a network that cannot see CIFAR-10.
pub fn unfit([c, h, w]: [u64; 3]) -> Diagnostic {
    let d = Diagnostic::error("E0906", format!("CIFAR-10 pictures are 3x32x32, the network takes {c}x{h}x{w}"));
    d.help("make a network for them: `rescc new cifar-resnet20 -o r20.rir`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_do_not_divide_are_refused() {
        let e = training(Path::new("nowhere"), [3, 33, 33]).err().expect("a refusal");
        assert_eq!(e.diagnostics.0[0].code, "E0906");
    }
}
