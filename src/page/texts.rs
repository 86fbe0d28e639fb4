//! The code of each kernel as text, compressed.
//!
//! The texts of ResNet-50 are 5 MB: they are deflated one by one, to a tenth, and the browser inflates them when it
//! opens the page.

use crate::toolchain::{self, BackendName, CodeText};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use ir::diag::Class;
use ir::target::Target;
use ir::{Diagnostic, Diagnostics, Kernel};
use rayon::prelude::*;
use std::io::Write;

/// LLVM recurses deeply on long functions.
const STACK_BYTES: usize = 64 << 20;

/// One kernel at three levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    pub kernel: String,
    /// `None` where another back end generates the code.
    pub llvm: Option<String>,
    pub asm: Option<String>,
}

/// The texts of each kernel, as compiled for `target`.
///
/// Errors: those of the back end; E0801 if no thread starts.
pub fn texts(kernels: &[Kernel], backend: BackendName, target: &Target) -> Result<Vec<Texts>, Diagnostics> {
    let one = |k: &Kernel| {
        let text = |kind| match backend {
            BackendName::Llvm => toolchain::text_of(std::slice::from_ref(k), kind, target).map(Some),
            BackendName::Cranelift => Ok(None),
        };
        let (llvm, asm) = (text(CodeText::Llvm)?, text(CodeText::Asm)?);
        Ok(Texts { kernel: ir::text::print_kernel(k), llvm, asm })
    };
    let threads = rayon::ThreadPoolBuilder::new().num_threads(rayon::current_num_threads());
    match threads.stack_size(STACK_BYTES).build() {
        Ok(pool) => pool.install(|| kernels.par_iter().map(one).collect()),
        Err(e) => Err(Diagnostic::error("E0801", format!("cannot start a thread: {e}")).class(Class::Limit).into()),
    }
}

/// `text` deflated (RFC 1951), in base64 (RFC 4648).
pub fn packed(text: &str) -> String {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(text.as_bytes());
    base64(&encoder.finish().unwrap_or_default())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, &b| w << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() { digit.into() } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 4648, section 10.
    #[test]
    fn base64_as_in_its_standard() {
        let pairs = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (text, expected) in pairs {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
