//! Winograd convolution on blocked images: transforms of images and filters on vectors of channels, and the products in
//! register tiles ([`output`]).

mod ahead;
mod output;

use super::{Offer, Request, STREAM_NS_PER_BYTE, tiling, vector_cost_ns};
use ir::entity::Reg;
use ir::kernel::{KernelBuilder, Role};
use ir::ops::winograd::{Grid, Stride};
use ir::ops::winograd_grad_weight::{self, Tiling};
use ir::ops::winograd_input;
use ir::target::Target;
use ir::{DType, Kernel, Layout};
use output::Output;

pub fn input_offers(r: &Request) -> Vec<Offer> {
    let [_, c, ..] = r.ctx.operands[0].dims[..] else { return Vec::new() };
    if r.ctx.attrs.int("block") != r.block() || c % r.block() != 0 {
        return Vec::new();
    }
    let operands = vec![Layout::Blocked(r.target.block)];
    vec![Offer { operands, result: Layout::Spaced, cost_ns: vector_cost_ns(r) }]
}

pub fn build_input(r: &Request) -> Option<Kernel> {
    Some(winograd_input::kernel(r.ctx, r.target.block))
}

pub fn weight_offers(r: &Request) -> Vec<Offer> {
    let fits = r.ctx.attrs.int("panel") % r.block() == 0;
    let offer = || Offer { operands: vec![Layout::Plain], result: Layout::Plain, cost_ns: vector_cost_ns(r) };
    fits.then(offer).into_iter().collect()
}

/// Weights that are trained are transformed in each step: in f64 as by the body, but a vector of output channels at a
/// time, and rows before columns. A task takes the filters of a panel for one input channel.
pub fn build_weight(r: &Request) -> Option<Kernel> {
    let (w, u) = (&r.ctx.operands[0].dims, &r.ctx.results[0].dims);
    let stride = Stride::of_attrs(r.ctx.attrs).ok()?;
    let [height, width] = r.ctx.attrs.pair("tile").map(|m| stride.points(m.cast_signed()));
    let (block, lanes) = (r.block(), r.target.block);
    let mut k = KernelBuilder::new(format!("winograd_weight_{height}x{width}_{}_{}", w[1], w[0]));
    let x = k.param("x", DType::F32, w, Role::In);
    let y = k.param("y", DType::F32, u, Role::Out);
    let taps = k.scratch("taps", DType::F32, &[9, block]);
    let t = k.tasks(u[0] * w[1]);
    let (panel, channel) = (t.floordiv(w[1]), t.modulo(w[1]));
    k.for_(0, u[3] / block, |k, b| {
        let first = &b * block;
        k.for_(0, block, |k, lane| {
            for tap in 0..9 {
                let o = &panel * u[3] + (&first + &lane);
                let v = k.load(x, &[o, channel.clone(), (tap / 3).into(), (tap % 3).into()]);
                k.store(taps, &[tap.into(), lane.clone()], v);
            }
        });
        let taps: Vec<Reg> = (0..9)
            .map(|tap| {
                let v = k.load_vec(taps, lanes, &[tap.into(), 0.into()]);
                k.convert(v, DType::F64)
            })
            .collect();
        let zero = k.constant(DType::F64, lanes, 0.0);
        let dot = |k: &mut KernelBuilder, g: [f64; 3], v: [Reg; 3]| {
            let terms = g.into_iter().zip(v).filter(|(g, _)| *g != 0.0);
            terms.fold(zero, |sum, (g, v)| {
                let g = k.constant(DType::F64, lanes, g);
                k.fma(v, g, sum)
            })
        };
        for i in 0..height {
            let row = stride.filter_row(i as usize);
            let half = [0, 1, 2].map(|q| dot(k, row, [taps[q], taps[3 + q], taps[6 + q]]));
            for j in 0..width {
                let v = dot(k, stride.filter_row(j as usize), half);
                let v = k.convert(v, DType::F32);
                k.store(y, &[panel.clone(), (i * width + j).into(), channel.clone(), first.clone()], v);
            }
        }
    });
    Some(k.finish())
}

pub fn grad_weight_offers(r: &Request) -> Vec<Offer> {
    let offer = || Offer {
        operands: vec![Layout::Blocked(r.target.block); 2],
        result: Layout::Plain,
        cost_ns: vector_cost_ns(r),
    };
    grad_weight_tiling(r).map(|_| offer()).into_iter().collect()
}

pub fn build_grad_weight(r: &Request) -> Option<Kernel> {
    Some(winograd_grad_weight::kernel(r.ctx, &grad_weight_tiling(r)?))
}

/// Tiles from which the sums of a gradient's products are long enough to be worth adding to those in memory.
pub const LONG_SUM_OF_TILES: i64 = 24;
/// Bytes of the sums of a task, which are read and written for every so many tiles.
const MOST_SUMS: i64 = 600 << 10;

/// Input and output channels of a task, whole blocks of them: the most whose sums stay near, since each task transforms
/// its channels for itself.
pub fn grad_weight_channels(grid: &Grid, [ic, oc]: [i64; 2], block: i64) -> [i64; 2] {
    let [i, j] = grid.points();
    let shares = |n: i64| (1..=n / block).map(move |blocks| blocks * block).filter(move |share| n % share == 0);
    let all = shares(ic).flat_map(|c| shares(oc).map(move |o| [c, o]));
    let fit = all.filter(|[c, o]| i * j * c * o * 4 <= MOST_SUMS);
    fit.min_by_key(|&[c, o]| (ic * (oc / o) + oc * (ic / c), o)).unwrap_or([block, block])
}

/// The register tile, and as many strips together as make the products' sums long, if they divide a part.
fn grad_weight_tiling(r: &Request) -> Option<Tiling> {
    let (&[images, ic, ..], &[splits, oc, ..]) = (&r.ctx.operands[0].dims[..], &r.ctx.results[0].dims[..]) else {
        return None;
    };
    if ic % r.block() != 0 || oc % r.block() != 0 || images % splits != 0 {
        return None;
    }
    let grid = Grid::of(r.ctx.attrs).ok()?;
    let channels = grad_weight_channels(&grid, [ic, oc], r.block());
    let tile = tiling::pick_tile(r.target, channels[1] / r.block(), 0)?;
    let strips = images / splits * grid.strips();
    let long_enough = |n: &i64| strips % n == 0 && n * grid.tiles() >= LONG_SUM_OF_TILES;
    let together = (1..=strips).find(long_enough).unwrap_or(strips);
    Some(Tiling { lanes: r.target.block, pixels: tile.pixels.into(), blocks: tile.blocks.into(), together, channels })
}

pub fn output_offers(r: &Request) -> Vec<Offer> {
    if r.ctx.operands[0].dims[5] != r.block() {
        return Vec::new();
    }
    offer(r, Layout::Spaced)
}

pub fn conv_offers(r: &Request) -> Vec<Offer> {
    let [_, c, ..] = r.ctx.operands[0].dims[..] else { return Vec::new() };
    if c % r.block() != 0 {
        return Vec::new();
    }
    offer(r, Layout::Blocked(r.target.block))
}

fn offer(r: &Request, first: Layout) -> Vec<Offer> {
    if blocks(r).is_none() {
        return Vec::new();
    }
    let blocked = Layout::Blocked(r.target.block);
    let operands = [first, Layout::Plain].into_iter().chain(r.epilogue_layouts(2, blocked)).collect();
    let weights = (r.ctx.operands[1].dims.iter().product::<i64>() * 4) as f64 * STREAM_NS_PER_BYTE;
    vec![Offer { operands, result: blocked, cost_ns: vector_cost_ns(r) + weights }]
}

/// Channel blocks of a panel and the pixels of their register tile.
fn blocks(r: &Request) -> Option<(i64, i64)> {
    let panel = r.ctx.operands[1].dims[3];
    let blocks = u32::try_from(panel / r.block()).ok()?;
    (panel % r.block() == 0).then_some(())?;
    Some((blocks.into(), r.target.tile_pixels(blocks)?.into()))
}

pub fn build_output(r: &Request) -> Option<Kernel> {
    let v = r.ctx.operands[0].dims.clone();
    Some(Output::new(r, v)?.after_input())
}

pub fn build_conv(r: &Request) -> Option<Kernel> {
    let grid = Grid::of(r.ctx.attrs).ok()?;
    let (x, [i, j]) = (&r.ctx.operands[0].dims, grid.points());
    let v = vec![x[0], grid.strips(), i * j, x[1] / r.block(), grid.tiles(), r.block()];
    Some(Output::new(r, v)?.with_input())
}

/// Whether [`build_conv`] is the better way: images and strips are tasks enough for a handful of workers, and what a task
/// reads again and again, the tiles of a strip and all weights, stays near.
pub fn is_one_kernel(grid: &Grid, images: i64, [ic, oc]: [i64; 2], target: &Target) -> bool {
    const ENOUGH_TASKS: i64 = 12;
    let [i, j] = grid.points();
    let most = 2 * target.l2_bytes.cast_signed();
    let tiles = i * j * ic * grid.tiles() * 4;
    images * grid.strips() >= ENOUGH_TASKS && i * j * ic * oc * 4 <= most && tiles <= most
}
