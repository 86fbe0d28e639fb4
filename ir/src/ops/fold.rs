//! What the ops share that fold the vectors of a batch normalisation.

use super::common;
use crate::kernel::Kernel;
use crate::op::{BodyCtx, OpCtx, Problem};
use crate::types::TensorType;

/// All operands and the result are vectors of one length.
pub fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let [channels] = ctx.operands[0].shape[..] else {
        return Err(
            Problem::new("E0207", format!("expected one number a channel, found {}", ctx.operands[0])).operand(0)
        );
    };
    for i in 0..ctx.operands.len() {
        common::vector(ctx, i, channels)?;
    }
    common::check_eps(ctx)?;
    Ok(vec![ctx.operands[0].clone()])
}

/// β + (b − μ)·γ/√(σ² + ε) of operands β, γ, μ, σ² and, if there is a fifth, b.
pub fn shift_body(name: &str, ctx: &BodyCtx) -> Kernel {
    let eps = ctx.attrs.float("eps");
    common::elementwise(name, ctx, &mut |k, ins, at| {
        let [beta, gamma, mean, var] = [0, 1, 2, 3].map(|i| common::load_f64(k, ctx, ins, i, at));
        let bias = if ins.len() > 4 {
            common::load_f64(k, ctx, ins, 4, at)
        } else {
            k.constant(crate::types::DType::F64, 1, 0.0)
        };
        let deviation = common::deviation(k, var, eps);
        let centred = k.sub(bias, mean);
        let scaled = k.mul(centred, gamma);
        let shift = k.div(scaled, deviation);
        let folded = k.add(beta, shift);
        k.convert(folded, ctx.results[0].dtype)
    })
}
