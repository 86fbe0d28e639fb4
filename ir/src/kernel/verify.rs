//! Rejects kernels that are malformed or whose accesses cannot be proven safe.
//!
//! Structure (`structure.rs`):
//! - **K1** (E0601) Declarations: dimensions, tasks and lanes are within their limits; the parameters are exactly
//!   the `in`, `out` and `inout` buffers, in order of declaration; a view is declared like the buffer it looks at.
//! - **K2** (E0602) A register is defined once, before its uses, and used only in the block that defines it or
//!   inside it.
//! - **K3** (E0603) Types agree; `div`, `sqrt`, `exp`, `maxnan` and `fma` are for floats.
//! - **K4** (E0604) Loops: each variable belongs to one loop and is used only inside; steps are positive; carried
//!   values, yields and results correspond.
//! - **K5** (E0605) Accesses: one index per dimension; vectors lie along the last one; views are declared before
//!   use; nothing is stored to an `in` parameter.
pub mod structure;

use super::Kernel;
use crate::diag::Diagnostics;

impl Kernel {
    /// Checks every rule of the [module doc](self).
    pub fn verify(&self) -> Diagnostics {
        structure::check(self)
    }
}
