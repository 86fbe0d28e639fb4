//! Winograd convolution on blocked images: the transform of the input on vectors of channels, and the products in
//! register tiles with the transform back.
//!
//! A task of the second kernel takes one strip of tiles and one panel of output channels. For each point its
//! products are a matrix product [tiles × C]·[C × panel], in the register tiles of direct convolution; they stay in
//! scratch memory, small enough for L2, until the transform back with the epilogue reads them. So nothing of the
//! transformed domain but the input's tiles goes through memory.
//!
//! The weights of a point are read once per strip: with a single strip the next point's are fetched ahead, a part by
//! each register tile, and as many images share them as have products that stay in L2.

use super::epilogue::{self, At};
use super::prefetch::Share;
use super::{Offer, Request, STREAM_NS_PER_BYTE, tiling, vector_cost_ns};
use ir::entity::{Buf, Reg};
use ir::epilogue::Step;
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::ops::winograd::{Grid, Stride};
use ir::ops::winograd_input;
use ir::ops::winograd_output::{self, Tile};
use ir::{DType, Kernel, Layout};

/// Channels from which a sum of products is made of two.
const LONG_SUM: i64 = 256;

pub fn input_offers(r: &Request) -> Vec<Offer> {
    let [_, c, ..] = r.ctx.operands[0].dims[..] else { return Vec::new() };
    if r.ctx.attrs.int("block") != r.block() || c % r.block() != 0 {
        return Vec::new();
    }
    let operands = vec![Layout::Blocked(r.target.block)];
    vec![Offer { operands, result: Layout::Plain, cost_ns: vector_cost_ns(r) }]
}

pub fn build_input(r: &Request) -> Option<Kernel> {
    let offer = input_offers(r).pop()?;
    (r.ctx.operands[0].layout == offer.operands[0]).then(|| winograd_input::kernel(r.ctx, r.target.block))
}

pub fn output_offers(r: &Request) -> Vec<Offer> {
    let (v, u) = (&r.ctx.operands[0].dims, &r.ctx.operands[1].dims);
    if v[5] != r.block() || blocks(r).is_none() {
        return Vec::new();
    }
    let blocked = Layout::Blocked(r.target.block);
    let operands = [Layout::Plain; 2].into_iter().chain(r.epilogue_layouts(2, blocked)).collect();
    let weights = (u.iter().product::<i64>() * 4) as f64 * STREAM_NS_PER_BYTE;
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
    let offer = output_offers(r).pop()?;
    let given = r.ctx.operands.iter().map(|t| t.layout);
    if !given.eq(offer.operands.iter().copied()) || r.ctx.results[0].layout != offer.result {
        return None;
    }
    let grid = Grid::of(r.ctx.attrs).ok()?;
    let (blocks, pixels) = blocks(r)?;
    Some(Output { r, grid, blocks, pixels }.emit())
}

struct Output<'a> {
    r: &'a Request<'a>,
    grid: Grid,
    blocks: i64,
    pixels: i64,
}

/// What a task works on.
#[derive(Clone)]
struct Work {
    operands: Vec<Buf>,
    y: Buf,
    products: Buf,
    image: Affine,
    /// Number of the image in the task.
    local: Affine,
    strip: Affine,
    panel: Affine,
}

impl Output<'_> {
    fn emit(&self) -> Kernel {
        let c = self.r.ctx;
        let (v, u) = (&c.operands[0].dims, &c.operands[1].dims);
        let (height, width) = (self.grid.height(), self.grid.width());
        let stride = if self.grid.stride == Stride::Two { "s2" } else { "" };
        let name = format!("winograd{}{stride}_{height}x{width}_{}_{}", self.grid.rows[0], u[2], u[0] * u[3]);
        let mut k = KernelBuilder::new(name);
        let operands = (0..c.operands.len())
            .map(|i| k.param(&format!("x{i}"), c.operands[i].dtype, &c.operands[i].physical(), Role::In))
            .collect();
        let y = k.param("y", c.results[0].dtype, &c.results[0].physical(), Role::Out);
        let [rows, columns] = self.grid.points();
        let together = self.images();
        let shape = [together, rows, columns, self.blocks, v[4], self.r.block()];
        let products = k.scratch("products", DType::F32, &shape);
        let (groups, strips, panels) = (v[0] / together, v[1], u[0]);
        let t = k.tasks(groups * strips * panels);
        // Neighbouring tasks share what is larger: a strip, whose tiles stay in the worker's cache for all panels, or
        // with a single strip the weights of a panel, for all images.
        let (group, strip, panel) = match strips {
            1 => (t.modulo(groups), Affine::constant(0), t.floordiv(groups)),
            _ => (t.floordiv(panels).floordiv(strips), t.floordiv(panels).modulo(strips), t.modulo(panels)),
        };
        let first = group * together;
        let work = Work { operands, y, products, image: first.clone(), local: 0.into(), strip, panel };
        let of_image = |i: Affine| Work { image: &first + &i, local: i, ..work.clone() };
        for (i, j, tiles) in self.grid.classes() {
            k.for_(i[0], i[1], |k, i| {
                k.for_(j[0], j[1], |k, j| {
                    k.for_(0, together, |k, image| self.products(k, &of_image(image), [&i, &j], tiles));
                });
            });
        }
        k.for_(0, together, |k, image| {
            let work = of_image(image);
            winograd_output::for_tiles(k, &self.grid, &work.strip, &mut |k, tile| {
                for b in 0..self.blocks {
                    self.transform(k, &work, tile, b);
                }
            });
        });
        k.finish()
    }

    /// Images of a task: one, or with a single strip the largest divisor of their number whose products stay in a
    /// part of L2.
    fn images(&self) -> i64 {
        let v = &self.r.ctx.operands[0].dims;
        let [rows, columns] = self.grid.points();
        let bytes = rows * columns * self.blocks * v[4] * self.r.block() * 4;
        let most = if v[1] == 1 { self.r.target.l2_bytes.cast_signed() / 4 / bytes } else { 1 };
        (1..=v[0]).rev().find(|n| v[0] % n == 0 && *n <= most).unwrap_or(1)
    }

    /// The products of one point for a range of tiles.
    fn products(&self, k: &mut KernelBuilder, w: &Work, point: [&Affine; 2], [first, end]: [i64; 2]) {
        let (mut start, mut before) = (first, 0);
        let widths = tiling::split(end - first, self.pixels);
        let of_image = widths.len() as i64;
        let of = self.images() * of_image;
        for run in widths.chunk_by(|a, b| a == b) {
            let (pixels, count) = (run[0], run.len() as i64);
            let body = |k: &mut KernelBuilder, tile: &Affine, number: Affine| {
                let number = &w.local * of_image + number;
                self.register_tile(k, w, point, tile, pixels, Share { number, of });
            };
            if count == 1 {
                body(k, &start.into(), before.into());
            } else {
                k.for_(0, count, |k, q| body(k, &(&q * pixels + start), q + before));
            }
            start += pixels * count;
            before += count;
        }
    }

    fn register_tile(
        &self,
        k: &mut KernelBuilder,
        w: &Work,
        [i, j]: [&Affine; 2],
        tile: &Affine,
        pixels: i64,
        share: Share,
    ) {
        let point = i * self.grid.points()[1] + j;
        let (block, lanes) = (self.r.block(), self.r.target.block);
        let channel_blocks = self.r.ctx.operands[0].dims[3];
        let is_single_strip = self.grid.strips() == 1;
        let zero = || Affine::constant(0);
        let nothing = k.constant(DType::F32, lanes, 0.0);
        let start = vec![nothing; (pixels * self.blocks) as usize];
        // Long sums are made of two, which round less.
        let half = if channel_blocks * block < LONG_SUM { channel_blocks } else { (channel_blocks + 1) / 2 };
        for first in (0..channel_blocks).step_by(half as usize) {
            let sums = k.for_carry(first, (first + half).min(channel_blocks), &start, |k, c, sums| {
                let mut sums = sums.to_vec();
                let corner = [w.image.clone(), w.strip.clone(), point.clone(), c.clone(), tile.clone(), zero()];
                let tiles = k.view(w.operands[0], &corner, false);
                // Opaque for the compile time alone, as in direct convolution.
                let weights = k.view(w.operands[1], &[w.panel.clone(), point.clone(), &c * block, zero()], true);
                if is_single_strip {
                    let next = [w.panel.clone(), &point + 1, zero(), zero()];
                    share.fetch(k, w.operands[1], next, &c, [channel_blocks, block * self.blocks * block]);
                }
                for lane in 0..block {
                    let u: Vec<Reg> = (0..self.blocks)
                        .map(|b| k.load_vec(weights, lanes, &[zero(), zero(), lane.into(), (b * block).into()]))
                        .collect();
                    for p in 0..pixels {
                        let v = k.load(tiles, &[zero(), zero(), zero(), zero(), p.into(), lane.into()]);
                        let v = k.splat(v, lanes);
                        for (b, &u) in u.iter().enumerate() {
                            let sum = &mut sums[(p * self.blocks) as usize + b];
                            *sum = k.fma(v, u, *sum);
                        }
                    }
                }
                sums
            });
            for p in 0..pixels {
                for b in 0..self.blocks {
                    let at = [w.local.clone(), i.clone(), j.clone(), b.into(), tile + p, zero()];
                    let mut sum = sums[(p * self.blocks + b) as usize];
                    if first > 0 {
                        let before = k.load_vec(w.products, lanes, &at);
                        sum = k.add(before, sum);
                    }
                    k.store(w.products, &at, sum);
                }
            }
        }
    }

    /// Block `b` of one tile: back to an image, epilogue, stores.
    fn transform(&self, k: &mut KernelBuilder, w: &Work, tile: &Tile, b: i64) {
        let (block, lanes) = (self.r.block(), self.r.target.block);
        let channel_block = &w.panel * self.blocks + b;
        let channel = &channel_block * block;
        let load = |k: &mut KernelBuilder, i: i64, j: i64| {
            let at = [w.local.clone(), i.into(), j.into(), b.into(), tile.position.clone(), 0.into()];
            k.load_vec(w.products, lanes, &at)
        };
        let bias = matches!(self.r.ctx.epilogue.first(), Some(Step::Bias(_)))
            .then(|| epilogue::start(k, self.r.ctx, &w.operands, &channel, lanes));
        let matrices = [tile.rows.size, tile.columns.size].map(|m| self.grid.stride.output_matrix(m));
        for (r, row) in (0..).zip(winograd_output::inverse(k, matrices, load)) {
            for (c, v) in (0..).zip(row) {
                let v = bias.map_or(v, |bias| k.add(v, bias));
                let index = [w.image.clone(), channel_block.clone(), &tile.row + r, &tile.column + c, 0.into()];
                let at = At { channel: channel.clone(), index: &index, lanes };
                let v = epilogue::finish(k, self.r.ctx, &w.operands, &at, v);
                k.store(w.y, &index, v);
            }
        }
    }
}
