//! What sums over everything but the channels share: the attribute `splits`, the shape rule, the loops.
//!
//! An operand [N,C,…] gives [splits,C]. Within a part, each row is summed in the element type and the rows in f64, so that
//! a batch of any size loses no more than a row does.

use super::common;
use super::splits::{self, SPLITS, images_per_split};
use crate::DType;
use crate::entity::{Buf, Reg};
use crate::kernel::build::min_of;
use crate::kernel::{Affine, Kernel, KernelBuilder};
use crate::op::{Attr, BodyCtx, OpCtx, Problem};
use crate::types::{Dim, TensorType};

/// Channels that one task of fast code sums, and parts that keep a machine of many cores busy.
const CHANNELS_PER_TASK: u64 = 16;
const PARTS: u64 = 16;

/// The parts for sums over an operand like `x`: by the number of channels alone, so that the order of additions
/// depends on nothing else.
pub fn splits_attr(x: &TensorType) -> (&'static str, Attr) {
    let channels = x.shape.get(1).and_then(|d| d.size()).unwrap_or(1);
    let splits = (PARTS / channels.div_ceil(CHANNELS_PER_TASK).next_power_of_two()).max(1);
    (SPLITS.name, Attr::Int(splits.cast_signed()))
}

/// Number of channels of operand `i`, [N,C,…] of floats.
pub fn count(ctx: &OpCtx, i: usize) -> Result<u64, Problem> {
    let t = common::floats(ctx, i)?;
    match t.shape.get(1) {
        Some(&Dim::Size(c)) => Ok(c),
        _ => Err(Problem::new("E0201", format!("expected [N,C,…], found {t}")).operand(i)),
    }
}

/// Refuses operand `i` unless it is a vector with an element for each channel of operand 0.
pub fn vector(ctx: &OpCtx, i: usize) -> Result<(), Problem> {
    common::vector(ctx, i, count(ctx, 0)?.into())
}

/// Type of the partial sums over operand 0.
pub fn sums(ctx: &OpCtx) -> Result<TensorType, Problem> {
    let (channels, splits) = (count(ctx, 0)?, splits::count(ctx.attrs)?);
    Ok(TensorType::new(ctx.operands[0].dtype, [splits.into(), channels.into()]))
}

/// Elements of each channel of an operand.
pub fn elements(dims: &[i64]) -> i64 {
    dims.iter().product::<i64>() / dims[1].max(1)
}

/// What is summed, for each result: `term(k, operands, logical index)`.
pub type Term<'a> = &'a mut dyn FnMut(&mut KernelBuilder, &[Buf], &[Affine]) -> Vec<Reg>;

/// What is made of the sums of a channel in f64: `finish(k, operands, [channel], sums)`.
pub type Finish<'a> = &'a mut dyn FnMut(&mut KernelBuilder, &[Buf], &[Affine], &[Reg]) -> Vec<Reg>;

/// Body of an op whose results are sums over operand 0: one task a channel of a part.
pub fn body(name: &str, ctx: &BodyCtx, term: Term, finish: Finish) -> Kernel {
    let (x, results) = (&ctx.operands[0], &ctx.results);
    let mut k = KernelBuilder::new(name);
    let (ins, outs) = common::all_params(&mut k, ctx);
    let (splits, images) = (results[0].dims[0], x.dims[0]);
    let at = common::tasks_over(&mut k, &[splits, x.dims[1]]);
    let part = images_per_split(images, splits);
    let first = &at[0] * part;
    let here = min_of([Affine::constant(part), &first * -1 + images]);
    let zero = k.constant(DType::F64, 1, 0.0);
    let sums = k.for_carry(0, here, &vec![zero; results.len()], |k, n, acc| {
        rows(k, &x.dims[2..], vec![&first + n, at[1].clone()], acc, &mut |k, at| term(k, &ins, at))
    });
    let values = finish(&mut k, &ins, &at[1..2], &sums);
    for ((&out, y), v) in outs.iter().zip(results).zip(values) {
        let v = k.convert(v, y.dtype);
        k.store(out, &y.at(&at), v);
    }
    k.finish()
}

/// Adds the terms of all positions below `at` to `acc`.
fn rows(
    k: &mut KernelBuilder,
    dims: &[i64],
    at: Vec<Affine>,
    acc: &[Reg],
    term: &mut dyn FnMut(&mut KernelBuilder, &[Affine]) -> Vec<Reg>,
) -> Vec<Reg> {
    let add = |k: &mut KernelBuilder, sums: Vec<Reg>| {
        let wide = |(&a, s): (&Reg, Reg)| {
            let s = k.convert(s, DType::F64);
            k.add(a, s)
        };
        acc.iter().zip(sums).map(wide).collect()
    };
    match *dims {
        [] => {
            let terms = term(k, &at);
            add(k, terms)
        }
        [n] => {
            // The first element starts the row, which tells the element type.
            let start = term(k, &[&at[..], &[0.into()]].concat());
            let sums = k.for_carry(1, n, &start, |k, j, acc| {
                let terms = term(k, &[&at[..], &[j]].concat());
                acc.iter().zip(terms).map(|(&a, t)| k.add(a, t)).collect()
            });
            add(k, sums)
        }
        [n, ref rest @ ..] => k.for_carry(0, n, acc, |k, i, acc| rows(k, rest, [&at[..], &[i]].concat(), acc, term)),
    }
}
