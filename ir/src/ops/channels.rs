//! What sums over everything but the channels share: the attribute `splits`, the shape rule, the loops.
//!
//! An operand [N,C,…] gives [splits,C]. Within a part, each row is summed in the element type and the rows in f64, so that
//! a batch of any size loses no more than a row does.

use super::common;
use super::splits::{self, SPLITS, images_per_split};
use crate::DType;
use crate::entity::Reg;
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

/// What is added to a sum.
#[derive(Clone, Copy)]
pub enum Term {
    Value(Reg),
    Product(Reg, Reg),
}

impl Term {
    /// The sum of this term alone.
    pub fn value(self, k: &mut KernelBuilder) -> Reg {
        match self {
            Term::Value(a) => a,
            Term::Product(a, b) => k.mul(a, b),
        }
    }

    pub fn plus(self, k: &mut KernelBuilder, sum: Reg) -> Reg {
        match self {
            Term::Value(a) => k.add(sum, a),
            Term::Product(a, b) => k.fma(a, b, sum),
        }
    }
}

/// An op whose results are sums over operand 0: the arithmetic, lane by lane, of its body's scalars as of a template's
/// vectors. Operands are tensors like operand 0, or vectors with an element for each channel.
#[derive(Clone, Copy)]
pub struct Sums {
    /// What an element adds to each sum: of the tensors' elements at one place and the vectors' of its channel.
    pub terms: fn(&mut KernelBuilder, &[Reg], &[Reg]) -> Vec<Term>,
    /// The results, of the vectors' elements and the sums of a channel in f64.
    pub finish: fn(&mut KernelBuilder, &BodyCtx, &[Reg], &[Reg]) -> Vec<Reg>,
}

impl Sums {
    /// Sums that are the results.
    pub const fn new(terms: fn(&mut KernelBuilder, &[Reg], &[Reg]) -> Vec<Term>) -> Sums {
        Sums { terms, finish: |_, _, _, sums| sums.to_vec() }
    }

    /// One task a channel of a part.
    pub fn body(self, name: &str, ctx: &BodyCtx) -> Kernel {
        let (x, results) = (&ctx.operands[0], &ctx.results);
        let mut k = KernelBuilder::new(name);
        let (ins, outs) = common::all_params(&mut k, ctx);
        let (splits, images) = (results[0].dims[0], x.dims[0]);
        let at = common::tasks_over(&mut k, &[splits, x.dims[1]]);
        let [tensors, vectors] = ctx.tensors_and_vectors();
        let vectors: Vec<Reg> = vectors.iter().map(|&i| common::load(&mut k, ctx, &ins, i, &at[1..2])).collect();
        let part = images_per_split(images, splits);
        let first = &at[0] * part;
        let here = min_of([Affine::constant(part), &first * -1 + images]);
        let zero = k.constant(DType::F64, 1, 0.0);
        let sums = k.for_carry(0, here, &vec![zero; results.len()], |k, n, acc| {
            rows(k, &x.dims[2..], vec![&first + n, at[1].clone()], acc, &mut |k, at| {
                let x: Vec<Reg> = tensors.iter().map(|&i| common::load(k, ctx, &ins, i, at)).collect();
                (self.terms)(k, &x, &vectors)
            })
        });
        let values = (self.finish)(&mut k, ctx, &vectors, &sums);
        for ((&out, y), v) in outs.iter().zip(results).zip(values) {
            let v = k.convert(v, y.dtype);
            k.store(out, &y.at(&at), v);
        }
        k.finish()
    }
}

/// Adds the terms of all positions below `at` to `acc`.
fn rows(
    k: &mut KernelBuilder,
    dims: &[i64],
    at: Vec<Affine>,
    acc: &[Reg],
    terms: &mut dyn FnMut(&mut KernelBuilder, &[Affine]) -> Vec<Term>,
) -> Vec<Reg> {
    let (&n, rest) = match dims {
        [] => {
            let row = terms(k, &at).into_iter().map(|t| t.value(k)).collect();
            return add_row(k, acc, row);
        }
        [n, rest @ ..] => (n, rest),
    };
    if !rest.is_empty() {
        return k.for_carry(0, n, acc, |k, i, acc| rows(k, rest, [&at[..], &[i]].concat(), acc, terms));
    }
    // The first element starts the row, which tells the element type.
    let mut at_column = |k: &mut KernelBuilder, j: Affine| terms(k, &[&at[..], &[j]].concat());
    let start: Vec<Reg> = at_column(k, 0.into()).into_iter().map(|t| t.value(k)).collect();
    let row = k.for_carry(1, n, &start, |k, j, acc| {
        at_column(k, j).into_iter().zip(acc).map(|(t, &sum)| t.plus(k, sum)).collect()
    });
    add_row(k, acc, row)
}

/// Adds the sums of a row to those of the rows before, in f64.
pub fn add_row(k: &mut KernelBuilder, acc: &[Reg], row: Vec<Reg>) -> Vec<Reg> {
    let wide = |(&sum, row): (&Reg, Reg)| {
        let row = k.convert(row, DType::F64);
        k.add(sum, row)
    };
    acc.iter().zip(row).map(wide).collect()
}
