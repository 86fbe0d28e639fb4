//! Tuned kernels for stated shapes. Each is an alternative to the body of an op and is checked against it.
//!
//! A template is one file with two functions: `offers` (which layouts it would like, at what cost) and `build` (the
//! kernel, where the layouts are one of its offers). [`TABLE`] lists them; the first that answers wins. Speed lives here
//! and in [`ir::target`], nowhere else.

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
mod register_tile;
mod subsample;
pub(crate) mod tiling;
mod transpose;
mod update;
pub(crate) mod winograd;

use ir::op::{Body, BodyCtx, OpCtx, OpDef};
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

/// What a template is for.
enum Ops {
    Named(&'static [&'static str]),
    /// Those whose body is a map, or sums over all but the channels.
    Maps,
    Sums,
}

impl Ops {
    fn contains(&self, op: &OpDef) -> bool {
        match self {
            Ops::Named(names) => names.contains(&op.name),
            Ops::Maps => matches!(op.body, Body::Map(_)),
            Ops::Sums => matches!(op.body, Body::Sums(_)),
        }
    }
}

struct Template {
    ops: Ops,
    offers: fn(&Request) -> Vec<Offer>,
    build: fn(&Request) -> Option<Kernel>,
}

static TABLE: &[Template] = &[
    Template { ops: Ops::Maps, offers: elementwise::offers, build: elementwise::build },
    Template { ops: Ops::Sums, offers: channels::offers, build: channels::build },
    Template { ops: Ops::Named(&["conv2d"]), offers: conv_direct::offers, build: conv_direct::build },
    Template {
        ops: Ops::Named(&["conv2d_grad_input"]),
        offers: conv_grad_input::offers,
        build: conv_grad_input::build,
    },
    Template {
        ops: Ops::Named(&["conv2d_grad_weight"]),
        offers: conv_grad_weight::offers,
        build: conv_grad_weight::build,
    },
    Template { ops: Ops::Named(&["dense"]), offers: dense::offers, build: dense::build },
    Template {
        ops: Ops::Named(&["dense_grad_weight"]),
        offers: dense_grad_weight::offers,
        build: dense_grad_weight::build,
    },
    Template { ops: Ops::Named(&["max_pool", "avg_pool"]), offers: pool::offers, build: pool::build },
    Template { ops: Ops::Named(&["max_pool_grad"]), offers: pool_grad::offers, build: pool_grad::build },
    Template { ops: Ops::Named(&["global_avg_pool"]), offers: pool::global_offers, build: pool::build_global },
    Template { ops: Ops::Named(&["subsample", "subsample_grad"]), offers: subsample::offers, build: subsample::build },
    Template {
        ops: Ops::Named(&["pad_channels", "slice_channels"]),
        offers: pad_channels::offers,
        build: pad_channels::build,
    },
    Template { ops: Ops::Named(&["transpose", "flip_filter"]), offers: transpose::offers, build: transpose::build },
    Template { ops: Ops::Named(&["sum_splits", "sgd_step"]), offers: update::offers, build: update::build },
    Template { ops: Ops::Named(&["winograd_input"]), offers: winograd::input_offers, build: winograd::build_input },
    Template { ops: Ops::Named(&["winograd_weight"]), offers: winograd::weight_offers, build: winograd::build_weight },
    Template {
        ops: Ops::Named(&["winograd_grad_weight"]),
        offers: winograd::grad_weight_offers,
        build: winograd::build_grad_weight,
    },
    Template { ops: Ops::Named(&["winograd_conv2d"]), offers: winograd::conv_offers, build: winograd::build_conv },
    Template { ops: Ops::Named(&["winograd_output"]), offers: winograd::output_offers, build: winograd::build_output },
];

/// What templates offer for this node, and last what its generic body costs with all layouts plain.
/// `ctx` has the logical dimensions; its layouts are ignored.
pub fn offers(op: &'static OpDef, ctx: &BodyCtx, target: &Target) -> Vec<Offer> {
    let request = Request { op, ctx, target };
    let mut out: Vec<Offer> = Vec::new();
    if request.reads_f32() {
        let able = TABLE.iter().filter(|t| t.ops.contains(op));
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
    let has_layouts = |o: &Offer| {
        let operands = ctx.operands.iter().map(|t| t.layout);
        operands.eq(o.operands.iter().copied()) && ctx.results.iter().all(|t| t.layout == o.result)
    };
    let mut able = TABLE.iter().filter(|t| t.ops.contains(op));
    able.find(|t| (t.offers)(&request).iter().any(has_layouts)).and_then(|t| (t.build)(&request))
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
