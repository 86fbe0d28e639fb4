//! Tuned kernels for stated shapes. Each is an alternative to the body of an op and is checked against it.
//!
//! A template is one file with two functions: `offers` (which layouts it would like, at what cost) and `build`
//! (the kernel for given layouts, or `None`). [`TABLE`] lists them; the first that answers wins. Speed lives
//! here and in [`ir::target`], nowhere else.

mod channels;
mod conv_direct;
mod conv_grad_input;
mod conv_grad_weight;
mod dense;
mod dense_grad_weight;
mod elementwise;
mod epilogue;
mod pad_channels;
mod pool;
mod pool_grad;
mod prefetch;
pub(crate) mod tiling;
mod transpose;
mod update;
pub(crate) mod winograd;

use ir::op::{BodyCtx, OpCtx, OpDef};
use ir::target::Target;
use ir::{DType, Kernel, Layout, TensorType};

/// A combination of layouts that some template handles well.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// One layout for each operand, in order (epilogue operands included).
    pub operands: Vec<Layout>,
    pub result: Layout,
    /// Estimated nanoseconds of one execution on one core.
    pub cost_ns: f64,
}

/// One node as templates see it.
pub struct Request<'a> {
    pub op: &'static OpDef,
    pub ctx: &'a BodyCtx<'a>,
    pub target: &'a Target,
}

impl Request<'_> {
    fn block(&self) -> i64 {
        i64::from(self.target.block)
    }

    fn reads_f32(&self) -> bool {
        self.ctx.operands.iter().all(|t| t.dtype == DType::F32)
    }

    /// Layouts of the epilogue's operands if the result has layout `result`: vectors are plain, tensors alike.
    fn epilogue_layouts(&self, first: usize, result: Layout) -> impl Iterator<Item = Layout> {
        self.ctx.operands[first..].iter().map(move |t| if t.dims.len() == 1 { Layout::Plain } else { result })
    }
}

struct Template {
    ops: &'static [&'static str],
    offers: fn(&Request) -> Vec<Offer>,
    build: fn(&Request) -> Option<Kernel>,
}

static TABLE: &[Template] = &[
    Template { ops: &["conv2d"], offers: conv_direct::offers, build: conv_direct::build },
    Template { ops: &["conv2d_grad_input"], offers: conv_grad_input::offers, build: conv_grad_input::build },
    Template { ops: &["conv2d_grad_weight"], offers: conv_grad_weight::offers, build: conv_grad_weight::build },
    Template { ops: &["dense"], offers: dense::offers, build: dense::build },
    Template { ops: &["dense_grad_weight"], offers: dense_grad_weight::offers, build: dense_grad_weight::build },
    Template { ops: &["max_pool", "avg_pool"], offers: pool::offers, build: pool::build },
    Template { ops: &["max_pool_grad"], offers: pool_grad::offers, build: pool_grad::build },
    Template { ops: &["global_avg_pool"], offers: pool::global_offers, build: pool::build_global },
    Template {
        ops: &[
            "relu",
            "relu_grad",
            "clamp",
            "add",
            "scale",
            "scale_shift",
            "batch_norm",
            "batch_norm_grad_input",
            "subsample",
            "subsample_grad",
        ],
        offers: elementwise::offers,
        build: elementwise::build,
    },
    Template { ops: &["pad_channels", "slice_channels"], offers: pad_channels::offers, build: pad_channels::build },
    Template {
        ops: &["channel_moments", "channel_sum", "channel_dot", "batch_norm_grad_params"],
        offers: channels::offers,
        build: channels::build,
    },
    Template { ops: &["transpose", "flip_filter"], offers: transpose::offers, build: transpose::build },
    Template { ops: &["sum_splits", "sgd_step"], offers: update::offers, build: update::build },
    Template { ops: &["winograd_input"], offers: winograd::input_offers, build: winograd::build_input },
    Template { ops: &["winograd_weight"], offers: winograd::weight_offers, build: winograd::build_weight },
    Template {
        ops: &["winograd_grad_weight"],
        offers: winograd::grad_weight_offers,
        build: winograd::build_grad_weight,
    },
    Template { ops: &["winograd_conv2d"], offers: winograd::conv_offers, build: winograd::build_conv },
    Template { ops: &["winograd_output"], offers: winograd::output_offers, build: winograd::build_output },
];

/// What templates offer for this node, and last what its generic body costs with all layouts plain.
/// `ctx` has the logical dimensions; its layouts are ignored.
pub fn offers(op: &'static OpDef, ctx: &BodyCtx, target: &Target) -> Vec<Offer> {
    let request = Request { op, ctx, target };
    let mut out: Vec<Offer> = Vec::new();
    if request.reads_f32() {
        let able = TABLE.iter().filter(|t| t.ops.contains(&op.name));
        out.extend(able.flat_map(|t| (t.offers)(&request)));
    }
    let plain = vec![Layout::Plain; ctx.operands.len()];
    out.push(Offer { operands: plain, result: Layout::Plain, cost_ns: body_cost_ns(op, ctx) });
    out
}

/// The template for this node with the layouts that `ctx` has, or `None`: use the op's body.
pub fn build(op: &'static OpDef, ctx: &BodyCtx, target: &Target) -> Option<Kernel> {
    let request = Request { op, ctx, target };
    if !request.reads_f32() {
        return None;
    }
    TABLE.iter().filter(|t| t.ops.contains(&op.name)).find_map(|t| (t.build)(&request))
}

/// A scalar multiply-add of a body takes about a latency of four cycles; memory moves at some 4 GB/s.
const BODY_NS_PER_MAC: f64 = 1.3;
const BODY_NS_PER_BYTE: f64 = 0.25;
/// Streaming vector code moves about 20 GB/s beyond the caches.
pub(crate) const STREAM_NS_PER_BYTE: f64 = 0.05;

fn body_cost_ns(op: &'static OpDef, ctx: &BodyCtx) -> f64 {
    let cost = node_cost(op, ctx);
    cost.macs as f64 * BODY_NS_PER_MAC + cost.bytes as f64 * BODY_NS_PER_BYTE
}

fn node_cost(op: &'static OpDef, ctx: &BodyCtx) -> ir::op::Cost {
    let types = |list: &[ir::op::BufType]| -> Vec<TensorType> {
        list.iter().map(|t| TensorType::new(t.dtype, t.dims.iter().map(|d| d.cast_unsigned().into()))).collect()
    };
    let (operands, results) = (types(&ctx.operands), types(&ctx.results));
    (op.cost)(&OpCtx { operands: &operands, attrs: ctx.attrs, epilogue: ctx.epilogue, results: &results, batch: 1 })
}

/// Time of vector code that does the node's multiply-adds at nine tenths of peak and streams its bytes.
fn vector_cost_ns(r: &Request) -> f64 {
    let cost = node_cost(r.op, r.ctx);
    cost.macs as f64 / (r.target.macs_per_ns() * 0.9) + cost.bytes as f64 * STREAM_NS_PER_BYTE
}

#[cfg(test)]
mod tests;
