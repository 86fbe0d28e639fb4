//! Models made by hand, with kernels in plain Rust.

use crate::abi::*;
use std::ptr::null;

/// Tasks, and elements, of each buffer of [`mixer`].
pub const WIDTH: usize = 37;

/// Two buffers of `WIDTH` u64 values.
const BUFFER_BYTES: u64 = (WIDTH as u64 * 8).next_multiple_of(64);

pub fn arg(space: u32, offset: u64) -> Arg {
    Arg { space, index: 0, offset }
}

/// A model whose strings and tables live for ever.
pub fn model(calls: Vec<Call>, arena_bytes: u64, scratch_bytes: u64) -> Model {
    let calls = calls.leak();
    Model {
        abi: ABI,
        batch: 1,
        code: Code {
            n_calls: calls.len() as u32,
            group: 1,
            calls: calls.as_ptr(),
            weights: null(),
            arena_bytes,
            scratch_bytes,
            target: c"x86-64-v2".as_ptr().cast(),
        },
        weights_bytes: 0,
        channels: 3,
        height: 1,
        width: 1,
        classes: 1,
        macs: 0,
        params: 0,
        name: c"hand-made".as_ptr().cast(),
        version: c"0".as_ptr().cast(),
        labels: null(),
        labels_bytes: 0,
        preprocess: Preprocess {
            known: 0,
            resize: 0,
            bgr: 0,
            scale: 255.0,
            mean: [0.0; 4],
            std: [1.0; 4],
            mean_tensor: null(),
        },
        weights_sha256: [0; 32],
    }
}

pub fn call(kernel: KernelFn, args: Vec<Arg>, tasks: usize, barrier: bool) -> Call {
    let args = args.leak();
    Call { kernel, args: args.as_ptr(), n_args: args.len() as u32, barrier: barrier.into(), tasks: tasks as u64 }
}

/// `layers` calls in which every task reads what several tasks of the call before wrote: one that runs too early, twice
/// or never changes the answer. Ends with 24 bits of the last buffer as a float.
pub fn mixer(layers: usize) -> Model {
    let mut calls = vec![call(start, vec![arg(SPACE_INPUT, 0), arg(SPACE_ARENA, 0)], WIDTH, false)];
    for i in 0..layers as u64 {
        let (from, to) = (i % 2 * BUFFER_BYTES, (i + 1) % 2 * BUFFER_BYTES);
        calls.push(call(mix, vec![arg(SPACE_ARENA, from), arg(SPACE_ARENA, to)], WIDTH, true));
    }
    let last = layers as u64 % 2 * BUFFER_BYTES;
    calls.push(call(finish, vec![arg(SPACE_ARENA, last), arg(SPACE_OUTPUT, 0)], 1, true));
    model(calls, 2 * BUFFER_BYTES, 64)
}

unsafe extern "C" fn start(params: *const *mut u8, lo: i64, hi: i64, _: *mut u8) {
    // SAFETY: as `mixer` lays the parameters out.
    unsafe {
        let (x, y) = ((*params).cast::<f32>(), (*params.add(1)).cast::<u64>());
        for t in lo..hi {
            *y.add(t as usize) = u64::from((*x.add(t as usize % 3)).to_bits()) + t as u64;
        }
    }
}

unsafe extern "C" fn mix(params: *const *mut u8, lo: i64, hi: i64, scratch: *mut u8) {
    // SAFETY: as `mixer` lays the parameters out.
    unsafe {
        let (x, y) = ((*params).cast::<u64>(), (*params.add(1)).cast::<u64>());
        for t in lo..hi {
            let t = t as usize;
            // Through scratch, as a kernel would: written, then read.
            let kept = scratch.cast::<u64>();
            *kept = *x.add(t);
            for neighbour in 1..5 {
                let other = *x.add((t + 7 * neighbour) % WIDTH);
                *kept = (*kept ^ other).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
            }
            // Now and then a task takes much longer, so that shares run out at different times.
            for _ in 0..(if *kept % 64 == 0 { 20_000 } else { 0 }) {
                std::hint::spin_loop();
            }
            *y.add(t) = *kept;
        }
    }
}

unsafe extern "C" fn finish(params: *const *mut u8, _: i64, _: i64, _: *mut u8) {
    // SAFETY: as `mixer` lays the parameters out.
    unsafe {
        let (x, y) = ((*params).cast::<u64>(), (*params.add(1)).cast::<f32>());
        let sum = (0..WIDTH).fold(0u64, |s, t| s.rotate_left(5) ^ *x.add(t));
        *y = (sum & 0xff_ffff) as f32;
    }
}

/// A classifier of the mean colour: four classes, named, with preprocessing to `side` pixels.
pub fn colours(side: u32) -> Model {
    static PIXELS: [u64; 2] = [64, 1024];
    assert!(PIXELS.contains(&u64::from(side * side)));
    let mean: KernelFn = if side == 8 { mean::<64> } else { mean::<1024> };
    let calls = vec![
        call(mean, vec![arg(SPACE_INPUT, 0), arg(SPACE_ARENA, 0)], 3, false),
        call(classify, vec![arg(SPACE_ARENA, 0), arg(SPACE_CONST, 0), arg(SPACE_OUTPUT, 0)], 4, true),
    ];
    #[repr(align(64))]
    struct Weights([f32; 12]);
    static WEIGHTS: Weights = Weights([1.0, -0.5, -0.5, -0.5, 1.0, -0.5, -0.5, -0.5, 1.0, 0.0, 0.0, 0.0]);
    static LABELS: &str = "red\ngreen\nblue\ngrey";
    let mut m = model(calls, 64, 0);
    m.code.weights = WEIGHTS.0.as_ptr().cast();
    m.weights_bytes = 48;
    (m.height, m.width, m.classes) = (side, side, 4);
    (m.labels, m.labels_bytes) = (LABELS.as_ptr(), LABELS.len() as u64);
    m.preprocess.known = 1;
    m.preprocess.resize = if side == 32 { 0 } else { side };
    m
}

unsafe extern "C" fn mean<const PIXELS: usize>(params: *const *mut u8, lo: i64, hi: i64, _: *mut u8) {
    // SAFETY: as `colours` lays the parameters out.
    unsafe {
        let (x, y) = ((*params).cast::<f32>(), (*params.add(1)).cast::<f32>());
        for c in lo as usize..hi as usize {
            let sum: f32 = (0..PIXELS).map(|i| *x.add(c * PIXELS + i)).sum();
            *y.add(c) = sum / PIXELS as f32;
        }
    }
}

unsafe extern "C" fn classify(params: *const *mut u8, lo: i64, hi: i64, _: *mut u8) {
    // SAFETY: as `colours` lays the parameters out.
    unsafe {
        let (x, w, y) = ((*params).cast::<f32>(), (*params.add(1)).cast::<f32>(), (*params.add(2)).cast::<f32>());
        for o in lo as usize..hi as usize {
            *y.add(o) = (0..3).map(|i| *x.add(i) * *w.add(3 * o + i)).sum();
        }
    }
}
