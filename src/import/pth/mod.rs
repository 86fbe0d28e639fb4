//! `.pth`, `.pt` and `.th` files of `torch.save`, read as data: nothing in them is executed.
//!
//! Such a file is a pickle (a program for a stack machine) and raw element data, in one of two containers: a zip
//! archive (PyTorch 1.6 and later) or pickles one after the other (before). [`pickle`] interprets the few opcodes and
//! names that plain state dicts use and refuses all others by name, so that there is nothing a file could run.
//! The tensors stay where they are in the file; [`tensors`] checks that every view lies inside its storage.

mod legacy;
mod pickle;
mod tensors;
mod zip;

use super::StateDict;
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics};

pub fn is_zip(file: &[u8]) -> bool {
    file.starts_with(b"PK\x03\x04") || file.starts_with(b"PK\x05\x06")
}

/// Protocol 2 and the first bytes of the magic number.
pub fn is_legacy(file: &[u8]) -> bool {
    file.starts_with(b"\x80\x02\x8a\x0a")
}

/// The container of PyTorch 0.1.1 and before.
pub fn is_tar(file: &[u8]) -> bool {
    file.get(257..262) == Some(b"ustar")
}

/// Reads the tensors of a file that one of the above recognises, or of a bare pickle.
pub fn read(file: Vec<u8>) -> Result<StateDict, Diagnostics> {
    let found = if is_zip(&file) {
        zip::tensors(&file)?
    } else if is_legacy(&file) {
        legacy::tensors(&file)?
    } else if is_tar(&file) {
        let d = Diagnostic::error("E0319", "this file is in the tar form of PyTorch 0.1.1").class(Class::Unsupported);
        return Err(d.help("load it with an old PyTorch and save it again with torch.save").into());
    } else {
        // What it holds is said first: a name that is refused matters more than the missing container.
        pickle::run(&file, 0)?;
        let d = Diagnostic::error("E0320", "this is a bare pickle, not a file of torch.save");
        return Err(d.help("save the state dict with torch.save or as .safetensors").into());
    };
    Ok(StateDict { tensors: found.tensors, bytes: file, notes: found.notes })
}

/// Tensors with their places in the file, before the bytes are attached.
pub(super) struct Found {
    pub tensors: Vec<super::Tensor>,
    pub notes: Vec<String>,
}

/// A pickle that ends or contradicts itself at byte `at`.
fn malformed(at: usize, text: impl Into<String>) -> Diagnostics {
    let d = Diagnostic::error("E0314", format!("the pickle is damaged: {}", text.into()));
    d.at(ir::Place::Byte(at as u64), "").help("the file is truncated or damaged: fetch it again").into()
}
