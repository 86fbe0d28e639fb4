//! `select-algorithm`: 3×3 convolutions by Winograd's method where that is faster than directly.
//!
//! It runs after the layouts are chosen, which are the same for both. The node becomes two, a transform of the input
//! and the products, or one where a batch has images enough for all workers; the transform of the weights is a constant
//! like any packing. Weights that are trained are transformed in every step, which the estimate counts. Gradients of
//! filters are computed by the transposed method.
//!
//! The estimate: multiply-adds at the speed of register tiles, plus the bytes of the transformed domain, plus the
//! bytes of the weights, which are four times those of the filter for tiles of 4 and so decide for small images.

use super::{constants, is_op, op};
use crate::pass::{Pass, PassCtx, Refusal, Verdict, keep};
use crate::templates::{tiling, winograd};
use cranelift_entity::EntitySet;
use ir::entity::{Node, Value};
use ir::graph::{GraphRef, Patch, Src};
use ir::op::{Attr, Attrs};
use ir::ops::conv2d::Conv2d;
use ir::ops::winograd::{Grid, MAX_TILE, Stride};
use ir::schedule::Schedule;
use ir::target::Target;
use ir::types::Dim;
use ir::{DType, Diagnostics, Layout, TensorType};

pub struct SelectAlgorithm;

/// Which convolutions are computed by Winograd's method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Winograd {
    /// Those that it makes faster, by the estimate.
    #[default]
    Auto,
    /// All that it can compute.
    On,
    /// None: every sum has the roundings of a direct convolution.
    Off,
}

keep! {
    /// Winograd's method is for 3x3 filters
    FilterNot3x3,
    /// Winograd's method is for strides 1 and 2, dilation 1 and one group
    StridedOrGrouped,
    /// Winograd's method is for images padded by 1 that are covered exactly
    PadNotOne,
    /// the images are not blocked by channels, or the weights not packed from a plain filter
    NotBlocked,
    /// a direct convolution is faster here
    DirectIsFaster,
    /// the schedule asks for a direct convolution
    ScheduledDirect,
}

impl Pass for SelectAlgorithm {
    fn name(&self) -> &'static str {
        "select-algorithm"
    }

    fn doc(&self) -> &'static str {
        "computes 3x3 convolutions by Winograd's method where that is faster"
    }

    fn refusals(&self) -> &'static [Refusal] {
        Keep::ALL
    }

    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        if cx.winograd == Winograd::Off {
            return Ok(());
        }
        let constant = constants(&cx.graph);
        cx.rewrite(|cx, view, n| select(cx, view, n, &constant).or_else(|| select_gradient(cx, view, n)))
    }
}

fn select(cx: &PassCtx, view: &GraphRef, n: Node, constant: &EntitySet<Value>) -> Verdict<Keep> {
    let g = view.graph;
    let d = &g.nodes[n];
    (is_op(g, n, "conv2d") && g.ty(d.results[0]).dtype == DType::F32).then(|| {
        let (x, w, y) = (g.ty(d.operands[0]), d.operands[1], d.results[0]);
        let conv = Conv2d::of(&d.attrs);
        let (
            &[_, Dim::Size(channels), Dim::Size(rows), Dim::Size(columns)],
            &[.., Dim::Size(height), Dim::Size(width)],
        ) = (&x.shape[..], &g.ty(y).shape[..])
        else {
            return Err(Keep::NotBlocked);
        };
        if g.ty(w).dims(1)[2..] != [3, 3] {
            return Err(Keep::FilterNot3x3);
        }
        let stride = Stride::of(conv.stride).filter(|_| conv.dilation == [1, 1] && conv.groups == 1);
        let stride = stride.ok_or(Keep::StridedOrGrouped)?;
        let step = stride.step().cast_unsigned();
        if conv.pad[..2] != [1, 1] || [height, width] != [rows, columns].map(|n| n.div_ceil(step)) {
            return Err(Keep::PadNotOne);
        }
        let block = cx.target.block;
        let filter = g.def(w).filter(|&r| is_op(g, r, "reorder")).map(|r| g.operand(r, 0));
        let filter = filter.filter(|&f| g.ty(f).layout == Layout::Plain);
        let blocked = |v: Value| g.ty(v).layout == Layout::Blocked(block);
        let (Some(filter), true) = (filter, blocked(d.operands[0]) && blocked(y)) else {
            return Err(Keep::NotBlocked);
        };
        let schedule = Schedule::of(&d.attrs);
        if schedule.winograd == 1 {
            return Err(Keep::ScheduledDirect);
        }
        let sizes = [height, width, channels, g.ty(w).dims(1)[0]].map(u64::cast_signed);
        let tile =
            tiling::pick_tile(&cx.target, sizes[3] / i64::from(block), schedule.panel).ok_or(Keep::NotBlocked)?;
        let of_network = g.params.iter().map(|&p| g.ty(p).len_bytes(1)).sum::<u64>();
        let is_cached = of_network <= cx.target.l3_bytes;
        let (images, is_packed) = (cx.batch.cast_signed(), constant.contains(filter));
        let is_halved = images == 1 && of_network <= 2 * cx.target.l2_bytes;
        let problem = Problem { stride, sizes, images, is_cached, is_halved, is_packed, target: &cx.target };
        let is_free = schedule.winograd == 0;
        let best = [MAX_TILE, 2]
            .into_iter()
            .filter(|&m| is_free || m == schedule.winograd.cast_signed())
            .map(|m| problem.grid(m))
            .min_by(|a, b| problem.winograd_ns(a).total_cmp(&problem.winograd_ns(b)));
        let grid = best.expect("invariant: a schedule names one of the two");
        if cx.winograd == Winograd::Auto && is_free && problem.winograd_ns(&grid) >= problem.direct_ns() * CLEARLY {
            return Err(Keep::DirectIsFaster);
        }
        let is_one_kernel = winograd::is_one_kernel(&grid, images, [sizes[2], sizes[3]], &cx.target);
        let block_if_two = (!is_one_kernel).then_some(i64::from(block));
        Ok(patch(view, n, filter, &grid, block_if_two, i64::from(tile.blocks * block)))
    })
}

/// What a byte of the transformed domain costs in the gradient of a filter beyond what it costs in a convolution: both
/// operands are transformed for a single product.
const GRADIENT_NS_PER_BYTE: f64 = 0.06;

/// The gradient of a filter, by the transposed method.
fn select_gradient(cx: &PassCtx, view: &GraphRef, n: Node) -> Verdict<Keep> {
    let g = view.graph;
    let d = &g.nodes[n];
    (is_op(g, n, "conv2d_grad_weight") && g.ty(d.results[0]).dtype == DType::F32).then(|| {
        let (x, gradient, dw) = (g.ty(d.operands[0]), g.ty(d.operands[1]), g.ty(d.results[0]));
        let conv = Conv2d::of(&d.attrs);
        let dims = |ty: &TensorType| ty.dims(cx.batch).into_iter().map(u64::cast_signed).collect::<Vec<_>>();
        let (&[images, ic, height, width], &[_, oc, p, q], &[splits, .., r, s]) =
            (&dims(x)[..], &dims(gradient)[..], &dims(dw)[..])
        else {
            return Err(Keep::NotBlocked);
        };
        if [r, s] != [3, 3] {
            return Err(Keep::FilterNot3x3);
        }
        if conv.stride != [1, 1] || conv.dilation != [1, 1] || conv.groups != 1 {
            return Err(Keep::StridedOrGrouped);
        }
        if conv.pad != [1; 4] || [p, q] != [height, width] {
            return Err(Keep::PadNotOne);
        }
        let blocked = Layout::Blocked(cx.target.block);
        if x.layout != blocked || gradient.layout != blocked || images % splits != 0 {
            return Err(Keep::NotBlocked);
        }
        let sizes = [height, width, ic, oc];
        let (is_cached, is_halved, is_packed, target) = (true, false, true, &cx.target);
        let problem = Problem { stride: Stride::One, sizes, images, is_cached, is_halved, is_packed, target };
        let mut grid = problem.grid(MAX_TILE);
        grid.cut_into_strips(winograd::LONG_SUM_OF_TILES);
        let ([i, j], [channels, outputs]) =
            (grid.points(), winograd::grad_weight_channels(&grid, [ic, oc], cx.target.block.into()));
        // Every task transforms its own channels.
        let transformed = i * j * (ic * (oc / outputs) + oc * (ic / channels)) * 4;
        let tiles = images * grid.strips() * grid.tiles();
        let ns = problem.winograd_ns(&grid) + (tiles * transformed) as f64 * GRADIENT_NS_PER_BYTE;
        let is_faster = ns < problem.direct_ns();
        if cx.winograd == Winograd::Auto && !is_faster {
            return Err(Keep::DirectIsFaster);
        }
        let tiles = |list: &[i64]| Attr::Dims(list.iter().map(|m| Dim::Size(m.cast_unsigned())).collect());
        let op = op("winograd_grad_weight");
        let attrs = Attrs::defaults(op)
            .set("rows", tiles(&grid.rows))
            .set("columns", tiles(&grid.columns))
            .set("strip", Attr::Int(grid.strip))
            .set("splits", Attr::Int(splits));
        let mut p = Patch::new("select-algorithm");
        let y = d.results[0];
        let operands = d.operands.iter().map(|&o| Src::Old(o)).collect();
        let replacement = p.add(g.name(y), op, attrs, operands, vec![], Some(g.ty(y).layout));
        p.replace(y, replacement);
        Ok(p)
    })
}

/// With `block_if_two` the transform of the input, in blocks of so many channels, is a kernel of its own.
fn patch(view: &GraphRef, n: Node, filter: Value, grid: &Grid, block_if_two: Option<i64>, panel: i64) -> Patch {
    let g = view.graph;
    let d = &g.nodes[n];
    let y = d.results[0];
    let tiles = |list: &[i64]| Attr::Dims(list.iter().map(|m| Dim::Size(m.cast_unsigned())).collect());
    let stride = Attr::Pair([grid.stride.step().cast_unsigned(); 2]);
    let with_grid = |attrs: Attrs| {
        attrs
            .set("stride", stride.clone())
            .set("rows", tiles(&grid.rows))
            .set("columns", tiles(&grid.columns))
            .set("strip", Attr::Int(grid.strip))
    };
    let weight = op("winograd_weight");
    let mut p = Patch::new("select-algorithm");
    let (output, x) = match block_if_two {
        Some(block) => {
            let input = op("winograd_input");
            let attrs = with_grid(Attrs::defaults(input)).set("block", Attr::Int(block));
            let name = format!("{}.tiles", g.name(y));
            let layout = Some(Layout::Spaced);
            (op("winograd_output"), p.add(name, input, attrs, vec![d.operands[0].into()], vec![], layout))
        }
        None => (op("winograd_conv2d"), d.operands[0].into()),
    };
    let largest = [grid.rows[0], grid.columns[0]].map(i64::cast_unsigned);
    let attrs = Attrs::defaults(weight)
        .set("tile", Attr::Pair(largest))
        .set("panel", Attr::Int(panel))
        .set("stride", stride.clone());
    let u = p.add(format!("{}.winograd", g.name(filter)), weight, attrs, vec![filter.into()], vec![], None);
    let operands = [x, u].into_iter().chain(d.operands[2..].iter().map(|&o| Src::Old(o))).collect();
    let attrs = with_grid(Attrs::defaults(output));
    let replacement = p.add(g.name(y), output, attrs, operands, d.epilogue.clone(), Some(g.ty(y).layout));
    p.replace(y, replacement);
    p
}

/// A convolution whose time is estimated.
struct Problem<'a> {
    stride: Stride,
    /// Height and width of the output, input and output channels.
    sizes: [i64; 4],
    images: i64,
    /// All weights of the network stay in L3 from one inference to the next.
    is_cached: bool,
    /// There is one image, and the weights stay in L2.
    is_halved: bool,
    /// The weights are constant, hence transformed when the network is compiled.
    is_packed: bool,
    target: &'a Target,
}

/// Time of a byte of the transformed domain, written and read.
const TRANSFORM_NS_PER_BYTE: f64 = 0.033;
/// Of computing and reading weights, the shorter is hidden behind the longer but for this share.
const EXPOSED: f64 = 0.5;
/// Winograd's method rounds more and has larger weights: it has to be that much faster.
const CLEARLY: f64 = 0.95;
/// Time of a transformed weight that is not constant: nine products in f64, many of them with 0.
const WEIGHT_TRANSFORM_NS: f64 = 2.0;
/// Strips shorter than this leave register tiles unfilled. Halves of a small image may be shorter where both read weights
/// from L2: two cores then need not hand each other the tiles.
const FEWEST_TILES: i64 = 12;
const FEWEST_TILES_OF_HALF: i64 = 8;

impl Problem<'_> {
    /// Tiles of `m` outputs, with smaller ones where they do not divide the image. One strip if the weights are too
    /// large to be read again for each.
    fn grid(&self, m: i64) -> Grid {
        let [height, width, ic, oc] = self.sizes;
        let tiles = |len: i64| -> Vec<i64> {
            let rest = (len % m > 0).then_some(len % m);
            std::iter::repeat_n(m, (len / m) as usize).chain(rest).collect()
        };
        let (rows, columns) = (tiles(height), tiles(width));
        let count = rows.len() as i64;
        let mut grid = Grid { stride: self.stride, rows, columns, strip: count };
        let [i, j] = grid.points();
        if i * j * ic * oc * 4 <= 2 * self.target.l2_bytes.cast_signed() {
            let of_half = if self.is_halved { (grid.tiles() / 2).max(FEWEST_TILES_OF_HALF) } else { FEWEST_TILES };
            grid.cut_into_strips(of_half.min(FEWEST_TILES));
        }
        grid
    }

    fn macs_per_ns(&self) -> f64 {
        self.target.macs_per_ns() * 0.95
    }

    /// Both together.
    fn ns(&self, computing: f64, weights: i64) -> f64 {
        let rate = if self.is_cached { self.target.l3_gb_per_s } else { self.target.memory_gb_per_s };
        let reading = (weights * 4) as f64 / f64::from(rate);
        computing.max(reading) + EXPOSED * computing.min(reading)
    }

    fn direct_ns(&self) -> f64 {
        let [height, width, ic, oc] = self.sizes;
        // Taps in the padding are skipped: at stride 2 an even image has them on one side.
        let skipped = if self.stride == Stride::One { 2 } else { 1 };
        let taps = (3 * height - skipped) * (3 * width - skipped);
        self.ns((self.images * taps * ic * oc) as f64 / self.macs_per_ns(), 9 * ic * oc)
    }

    fn winograd_ns(&self, grid: &Grid) -> f64 {
        let [_, _, ic, oc] = self.sizes;
        let [i, j] = grid.points();
        let products = self.images * grid.products();
        let transformed = self.images * grid.strips() * grid.tiles() * i * j * (ic + oc) * 4;
        let computing = (products * ic * oc) as f64 / self.macs_per_ns() + transformed as f64 * TRANSFORM_NS_PER_BYTE;
        let weights = i * j * ic * oc;
        self.ns(computing, weights) + if self.is_packed { 0.0 } else { weights as f64 * WEIGHT_TRANSFORM_NS }
    }
}
