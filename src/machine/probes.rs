//! Kernels that show a machine's peaks, built as all kernels are and compiled by our own back end.
//!
//! Each works on registers or streams so simple that nothing but the rate in question bounds it. No result is thrown
//! away and no floating-point operation may be reordered, so a compiler can leave nothing out. Beside them the memory that a kernel is
//! measured on.

use backends::exec::{AlignedBytes, Arg};
use ir::DType;
use ir::Kernel;
use ir::kernel::{KernelBuilder, Role};

/// Independent accumulators: more than latency (4) times multiply-adds a cycle (2), fewer than registers.
const SUMS: i64 = 12;
/// Streams that a read adds up side by side.
const STREAMS: i64 = 8;

/// Multiply-adds in registers alone.
pub struct Fma {
    pub kernel: Kernel,
    /// Multiply-adds of one run.
    pub macs: f64,
}

/// `rounds` × 12 multiply-adds of vectors of `lanes`. Parameters: x f32[2, lanes], y f32[12, lanes] (in and out).
pub fn fma(lanes: u32, rounds: i64) -> Fma {
    let mut k = KernelBuilder::new("probe_fma");
    let x = k.param("x", DType::F32, &[2, lanes.into()], Role::In);
    let y = k.param("y", DType::F32, &[SUMS, lanes.into()], Role::InOut);
    let [a, b] = [0, 1].map(|i: i64| k.load_vec(x, lanes, &[i.into(), 0.into()]));
    let start: Vec<_> = (0..SUMS).map(|i| k.load_vec(y, lanes, &[i.into(), 0.into()])).collect();
    let sums = k.for_carry(0, rounds, &start, |k, _, sums| sums.iter().map(|&s| k.fma(s, a, b)).collect());
    for (i, &s) in (0..SUMS).zip(&sums) {
        k.store(y, &[i.into(), 0.into()], s);
    }
    Fma { kernel: k.finish(), macs: (rounds * SUMS) as f64 * f64::from(lanes) }
}

/// Reads `bytes` (a multiple of [`unit`]) `rounds` times. Parameters: x f32[bytes/4], y f32[8, lanes] (in and out).
pub fn read(name: &str, lanes: u32, bytes: u64, rounds: i64) -> Kernel {
    let (width, elements) = (i64::from(lanes), (bytes / 4).cast_signed());
    let mut k = KernelBuilder::new(format!("probe_read_{name}"));
    let x = k.param("x", DType::F32, &[elements], Role::In);
    let y = k.param("y", DType::F32, &[STREAMS, width], Role::InOut);
    let start: Vec<_> = (0..STREAMS).map(|i| k.load_vec(y, lanes, &[i.into(), 0.into()])).collect();
    let sums = k.for_carry(0, rounds, &start, |k, _, sums| {
        k.for_carry(0, elements / (STREAMS * width), sums, |k, i, sums| {
            (0..STREAMS)
                .zip(sums)
                .map(|(j, &s)| {
                    let v = k.load_vec(x, lanes, &[&i * (STREAMS * width) + j * width]);
                    k.add(s, v)
                })
                .collect()
        })
    });
    for (i, &s) in (0..STREAMS).zip(&sums) {
        k.store(y, &[i.into(), 0.into()], s);
    }
    k.finish()
}

/// Writes `bytes` (a multiple of [`unit`]) `rounds` times. Parameter: y f32[bytes/4] (in and out).
pub fn write(name: &str, lanes: u32, bytes: u64, rounds: i64) -> Kernel {
    let (width, elements) = (i64::from(lanes), (bytes / 4).cast_signed());
    let mut k = KernelBuilder::new(format!("probe_write_{name}"));
    let y = k.param("y", DType::F32, &[elements], Role::InOut);
    let start = k.load_vec(y, lanes, &[0.into()]);
    k.for_carry(0, rounds, &[start], |k, _, v| {
        k.for_(0, elements / (STREAMS * width), |k, i| {
            for j in 0..STREAMS {
                k.store(y, &[&i * (STREAMS * width) + j * width], v[0]);
            }
        });
        // Each round writes another value, so that none is superfluous.
        vec![k.add(v[0], v[0])]
    });
    k.finish()
}

/// Bytes that sizes of [`read`] and [`write`] are multiples of.
pub fn unit(lanes: u32) -> u64 {
    STREAMS.cast_unsigned() * u64::from(lanes) * 4
}

/// Memory for every parameter, filled with small numbers: pages of zeros would all be one page.
pub fn buffers(kernel: &Kernel) -> Vec<AlignedBytes> {
    let buffer = |&p: &ir::entity::Buf| {
        let mut bytes = AlignedBytes::zeroed(kernel.bufs[p].len_bytes() as usize);
        for cell in bytes.chunks_exact_mut(4) {
            cell.copy_from_slice(&0.001f32.to_le_bytes());
        }
        bytes
    };
    kernel.params.iter().map(buffer).collect()
}

/// The memory as arguments, in the parameters' roles.
pub fn args<'a>(kernel: &Kernel, memory: &'a mut [AlignedBytes]) -> Vec<Arg<'a>> {
    let roles = kernel.params.iter().map(|&p| kernel.bufs[p].role);
    memory
        .iter_mut()
        .zip(roles)
        .map(|(m, role)| if role == ir::kernel::Role::In { Arg::In(m) } else { Arg::Out(m) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use passes::cost;

    #[test]
    fn probes_are_proven_and_do_what_they_say() {
        let fma = fma(8, 100);
        let read = read("l1", 8, 4096, 3);
        let write = write("l1", 8, 4096, 3);
        for k in [&fma.kernel, &read, &write] {
            assert_eq!(k.verify().to_string(), "", "{}", k.name);
        }
        assert_eq!((cost::count(&fma.kernel, 32).fmas * 8) as f64, fma.macs);
        assert_eq!(cost::count(&read, 32).loads, 3 * 4096 / 32 + 8);
        assert_eq!(cost::count(&write, 32).stores, 3 * 4096 / 32);
    }

    /// LLVM leaves every multiply-add, load and store in its loop, and spills nothing.
    #[cfg(feature = "llvm")]
    #[test]
    fn machine_code_does_all_of_it() {
        use crate::toolchain::{CodeText, text_of};
        let asm = |k: Kernel| text_of(&[k], CodeText::Asm, &ir::target::X86_64_V3).expect("it compiles");
        // Instructions of the innermost loop: from the last label that is jumped back to, to that jump.
        let inner = |asm: &str| -> Vec<String> {
            let lines: Vec<&str> = asm.lines().map(str::trim).collect();
            let is_jump = |l: &str| l.starts_with('j') && !l.starts_with("jmp");
            let target = |l: &str| l.split_whitespace().nth(1).map(|t| format!("{t}:"));
            let back = lines.iter().enumerate().filter(|(_, l)| is_jump(l)).filter_map(|(i, l)| {
                let label = target(l)?;
                let at = lines[..i].iter().rposition(|l| l.starts_with(&label))?;
                // The loop over tasks calls the kernel.
                (!lines[at..i].iter().any(|l| l.starts_with("call"))).then_some((i - at, at, i))
            });
            let (_, from, to) = back.min().expect("there is a loop");
            lines[from..to].iter().map(|l| l.to_string()).collect()
        };
        let count = |code: &[String], what: &str| code.iter().filter(|l| l.starts_with(what)).count();
        let fma = inner(&asm(fma(8, 100).kernel));
        assert!(count(&fma, "vfmadd") == 12 && !fma.iter().any(|l| l.contains('(')), "{fma:#?}");
        let read = inner(&asm(read("l1", 8, 4096, 3)));
        assert!(read.iter().filter(|l| l.starts_with("vaddps") && l.contains('(')).count() == 8, "{read:#?}");
        let write = inner(&asm(write("l1", 8, 4096, 3)));
        assert!(write.iter().filter(|l| l.starts_with("vmovups\t%ymm") && l.contains('(')).count() == 8, "{write:#?}");
    }
}
