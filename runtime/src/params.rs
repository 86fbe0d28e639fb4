//! What a kernel call gets: addresses in the arena, in the weights and in the caller's memory.

use crate::abi::*;

/// The caller's memory that is one input or output.
#[derive(Clone, Copy)]
pub(crate) struct End {
    at: *mut u8,
    /// Bytes from one group of images to the next.
    stride: usize,
}

impl End {
    pub const NONE: End = End { at: core::ptr::null_mut(), stride: 0 };

    /// Memory that every group reads, or the only group writes.
    pub fn fixed(at: *const u8) -> End {
        End { at: at.cast_mut(), stride: 0 }
    }

    /// `elements` of four bytes an image.
    pub fn images(at: *const u8, elements: u64, code: &Code) -> End {
        End { at: at.cast_mut(), stride: (elements * u64::from(code.group) * 4) as usize }
    }
}

/// Inputs and outputs by number; those that no call names may be missing.
#[derive(Clone, Copy)]
pub(crate) struct Io {
    pub inputs: [End; MAX_INPUTS],
    pub outputs: [End; MAX_OUTPUTS],
}

/// The addresses that one kernel call gets.
pub(crate) struct Params([*mut u8; MAX_PARAMS]);

impl Params {
    /// # Safety
    /// `call` belongs to `code`; `arena` and `io` are as in [`run`].
    #[inline]
    pub unsafe fn resolve(code: &Code, call: &Call, io: &Io, group: usize, arena: *mut u8) -> Params {
        let end = |ends: &[End], index: u32| {
            // SAFETY: no call names an input or output beyond the most that there are.
            let e = unsafe { ends.get_unchecked(index as usize) };
            e.at.wrapping_add(group * e.stride)
        };
        let mut params = [core::ptr::null_mut(); MAX_PARAMS];
        for (i, param) in params.iter_mut().enumerate().take(call.n_args as usize) {
            // SAFETY: `args` has `n_args` entries, and each offset is inside the space that it counts from.
            *param = unsafe {
                let arg = &*call.args.add(i);
                let base = match arg.space {
                    SPACE_ARENA => arena,
                    SPACE_CONST => code.weights.cast_mut(),
                    SPACE_INPUT => end(&io.inputs, arg.index),
                    _ => end(&io.outputs, arg.index),
                };
                base.add(arg.offset as usize)
            };
        }
        Params(params)
    }

    pub fn as_ptr(&self) -> *const *mut u8 {
        self.0.as_ptr()
    }
}
