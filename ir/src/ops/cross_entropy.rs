//! `cross_entropy`: y = mean over n of log Σ eˣ[n,k] − Σ t[n,k]·x[n,k]: the loss of logits against labels, with the
//! targets t[n,k] = (1 − ε)·[k = labels[n]] + ε/K.
//!
//! x: [N,K] plain; labels: i32 [N]; y: [1]. ε is the attribute `label_smoothing` (Szegedy et al., CVPR 2016, section 7).
//! The maximum of a row is subtracted first, which changes nothing mathematically and keeps eˣ in range. A label that
//! is not in 0..K makes the loss NaN. Losses of rows are added in f64.

use super::common::{self, attr, memory_cost};
use crate::DType;
use crate::entity::{Buf, Reg};
use crate::grad::Gradient;
use crate::kernel::{Affine, BinOp, Kernel, KernelBuilder, Test, UnOp};
use crate::op::{AttrDef, AttrKind, Body, BodyCtx, OpCtx, OpDef, Problem, Properties};
use crate::types::{Dim, TensorType};

pub const LABEL_SMOOTHING: AttrDef =
    attr("label_smoothing", AttrKind::Float, Some("0"), "share of a target that all classes get alike");

pub const CROSS_ENTROPY: OpDef = OpDef {
    name: "cross_entropy",
    doc: "y = mean over n of log(sum of exp x[n,k]) - x[n,labels[n]], with smoothed labels",
    operands: &["x", "labels"],
    properties: Properties::NONE,
    attrs: &[LABEL_SMOOTHING],
    shape: |ctx| {
        check(ctx)?;
        Ok(vec![TensorType::new(ctx.operands[0].dtype, [Dim::Size(1)])])
    },
    cost: memory_cost,
    body: Body::Loops(body),
    grad: Gradient::Rule(|cx| {
        let operands = [cx.operands[0], cx.operands[1], cx.grad()];
        let dx = cx.emit("dx", "cross_entropy_grad", &operands, &[cx.copied(LABEL_SMOOTHING.name)])?;
        cx.send(0, dx);
        Ok(())
    }),
};

/// Most classes: their numbers are compared as f32.
const MAX_CLASSES: u64 = 1 << 24;

/// Checks logits, labels and smoothing: operands 0 and 1.
pub fn check(ctx: &OpCtx) -> Result<(), Problem> {
    let x = common::floats(ctx, 0)?;
    let [n, Dim::Size(classes)] = x.shape[..] else {
        return Err(Problem::new("E0201", format!("expected logits [N,K], found {x}")).operand(0));
    };
    common::plain(ctx, 0)?;
    if classes == 0 || classes > MAX_CLASSES {
        return Err(Problem::new("E0201", format!("expected 1 to {MAX_CLASSES} classes, found {classes}")).operand(0));
    }
    let labels = TensorType::new(DType::I32, [n]);
    if ctx.operands[1] != labels {
        return Err(Problem::new("E0208", format!("expected {labels}, found {}", ctx.operands[1])).operand(1));
    }
    let smoothing = ctx.attrs.float(LABEL_SMOOTHING.name);
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(common::bad_attr(format!("label_smoothing={smoothing} is not in 0..1")));
    }
    Ok(())
}

/// One row of logits, shifted by its maximum.
pub struct Row<'a> {
    ctx: &'a BodyCtx<'a>,
    logits: Buf,
    n: Affine,
    max: Reg,
    label: Reg,
}

impl<'a> Row<'a> {
    pub fn new(k: &mut KernelBuilder, ctx: &'a BodyCtx, ins: &[Buf], n: &Affine) -> Row<'a> {
        let dtype = ctx.operands[0].dtype;
        let label = k.load(ins[1], std::slice::from_ref(n));
        let label = k.convert(label, dtype);
        let least = k.constant(dtype, 1, f64::NEG_INFINITY);
        let mut row = Row { ctx, logits: ins[0], n: n.clone(), max: least, label };
        row.max = k.for_carry(0, row.classes(), &[least], |k, i, acc| {
            let x = row.load(k, i);
            vec![k.bin(BinOp::MaxNan, acc[0], x)]
        })[0];
        row
    }

    pub fn classes(&self) -> i64 {
        self.ctx.operands[0].dims[1]
    }

    fn load(&self, k: &mut KernelBuilder, class: Affine) -> Reg {
        k.load(self.logits, &[self.n.clone(), class])
    }

    /// x − max x
    pub fn shifted(&self, k: &mut KernelBuilder, class: &Affine) -> Reg {
        let x = self.load(k, class.clone());
        k.sub(x, self.max)
    }

    /// `x` if the row is labelled `class`, else `y`.
    pub fn if_label(&self, k: &mut KernelBuilder, class: &Affine, x: Reg, y: Reg) -> Reg {
        let class = k.index(self.ctx.operands[0].dtype, class.clone());
        k.select(Test::Eq, [class, self.label], x, y)
    }

    /// Σ e^(x − max x)
    pub fn sum(&self, k: &mut KernelBuilder) -> Reg {
        let zero = k.constant(self.ctx.operands[0].dtype, 1, 0.0);
        k.for_carry(0, self.classes(), &[zero], |k, i, acc| {
            let d = self.shifted(k, &i);
            let e = k.un(UnOp::Exp, d);
            vec![k.add(acc[0], e)]
        })[0]
    }
}

/// Rows one after the other: the sum over them has one order, and it is short.
fn body(ctx: &BodyCtx) -> Kernel {
    let x = &ctx.operands[0];
    let smoothing = ctx.attrs.float(LABEL_SMOOTHING.name);
    let mut k = KernelBuilder::new("cross_entropy");
    let (ins, out) = common::params(&mut k, ctx);
    let zero64 = k.constant(DType::F64, 1, 0.0);
    let total = k.for_carry(0, x.dims[0], &[zero64], |k, n, acc| {
        let row = Row::new(k, ctx, &ins, &n);
        let sum = row.sum(k);
        let log = k.un(UnOp::Log, sum);
        let (zero, nan) = (k.constant(x.dtype, 1, 0.0), k.constant(x.dtype, 1, f64::NAN));
        // What the label picks, and the sum over all classes.
        let picks = k.for_carry(0, row.classes(), &[nan, zero], |k, i, acc| {
            let d = row.shifted(k, &i);
            vec![row.if_label(k, &i, d, acc[0]), k.add(acc[1], d)]
        });
        let (one_hot, alike) =
            (k.constant(x.dtype, 1, 1.0 - smoothing), k.constant(x.dtype, 1, smoothing / row.classes() as f64));
        let target = k.mul(picks[0], one_hot);
        let target = if smoothing > 0.0 { k.fma(picks[1], alike, target) } else { target };
        let loss = k.sub(log, target);
        let loss = k.convert(loss, DType::F64);
        vec![k.add(acc[0], loss)]
    })[0];
    let count = k.constant(DType::F64, 1, x.dims[0] as f64);
    let mean = k.div(total, count);
    let mean = k.convert(mean, ctx.results[0].dtype);
    k.store(out, &[0.into()], mean);
    k.finish()
}
