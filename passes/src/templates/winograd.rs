//! Winograd convolution on blocked images: the transform of the input on vectors of channels, and the products in
//! register tiles with the transform back.
//!
//! A task of the second kernel takes one strip of tiles and one panel of output channels. For each point its
//! products are a matrix product [tiles × C]·[C × panel], in the register tiles of direct convolution; they stay in
//! scratch memory, small enough for L2, until the transform back with the epilogue reads them. So nothing of the
//! transformed domain but the input's tiles goes through memory; and where the images of a batch are tasks enough, one
//! kernel does both, and not even these do.
//!
//! The weights of a point are read once per strip: with a single strip the next point's are fetched ahead, a part by
//! each register tile, and as many images share them as have products that stay in L2.

use super::epilogue::{self, At};
use super::prefetch::Share;
use super::{Offer, Request, STREAM_NS_PER_BYTE, tiling, vector_cost_ns};
use crate::group::CACHE_BYTES;
use ir::entity::{Buf, Reg};
use ir::epilogue::Step;
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::ops::winograd::{Grid, Matrix, Stride};
use ir::ops::winograd_grad_weight::{self, Tiling};
use ir::ops::winograd_input::{self, At as Strip, Transform};
use ir::ops::winograd_output::{self, Tile};
use ir::target::Target;
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

pub fn weight_offers(r: &Request) -> Vec<Offer> {
    let fits = r.ctx.attrs.int("panel") % r.block() == 0;
    let offer = || Offer { operands: vec![Layout::Plain], result: Layout::Plain, cost_ns: vector_cost_ns(r) };
    fits.then(offer).into_iter().collect()
}

/// Weights that are trained are transformed in each step: in f64 as by the body, but a vector of output channels at a
/// time, and rows before columns. A task takes the filters of a panel for one input channel.
pub fn build_weight(r: &Request) -> Option<Kernel> {
    weight_offers(r).pop()?;
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
    let offer = grad_weight_offers(r).pop()?;
    let given = r.ctx.operands.iter().map(|t| t.layout);
    let tiling = grad_weight_tiling(r)?;
    given.eq(offer.operands).then(|| winograd_grad_weight::kernel(r.ctx, &tiling))
}

/// The register tile, and as many images together as make the products' sums long, if they divide a part.
fn grad_weight_tiling(r: &Request) -> Option<Tiling> {
    const LONG: i64 = 64;
    let (&[images, channels, ..], &[splits, outputs, ..]) = (&r.ctx.operands[0].dims[..], &r.ctx.results[0].dims[..])
    else {
        return None;
    };
    if channels % r.block() != 0 || outputs % r.block() != 0 || images % splits != 0 {
        return None;
    }
    let tile = tiling::pick_tile(r.target, outputs / r.block(), 0)?;
    let (grid, part) = (Grid::of(r.ctx.attrs).ok()?, images / splits);
    let long_enough = |n: &i64| part % n == 0 && n * grid.tiles() >= LONG;
    let together = (1..=part).find(long_enough).unwrap_or(part);
    Some(Tiling { lanes: r.target.block, pixels: tile.pixels.into(), blocks: tile.blocks.into(), together })
}

pub fn output_offers(r: &Request) -> Vec<Offer> {
    if r.ctx.operands[0].dims[5] != r.block() {
        return Vec::new();
    }
    offer(r, Layout::Plain)
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
    Some(Output::new(r, output_offers(r).pop()?, v)?.after_input())
}

pub fn build_conv(r: &Request) -> Option<Kernel> {
    let offer = conv_offers(r).pop()?;
    let grid = Grid::of(r.ctx.attrs).ok()?;
    let (x, [i, j]) = (&r.ctx.operands[0].dims, grid.points());
    let v = vec![x[0], grid.strips(), i * j, x[1] / r.block(), grid.tiles(), r.block()];
    Some(Output::new(r, offer, v)?.with_input())
}

/// Whether [`build_conv`] is the better way: the tiles of all images do not fit the caches, images and strips are tasks
/// enough for all workers, and what a task reads again and again, the tiles of a strip and all weights, stays near.
pub fn is_one_kernel(grid: &Grid, images: i64, [ic, oc]: [i64; 2], target: &Target) -> bool {
    const ENOUGH_TASKS: i64 = 16;
    let [i, j] = grid.points();
    let most = 2 * target.l2_bytes.cast_signed();
    let tiles = i * j * ic * grid.tiles() * 4;
    images * grid.strips() * tiles > CACHE_BYTES.cast_signed()
        && images * grid.strips() >= ENOUGH_TASKS
        && i * j * ic * oc * 4 <= most
        && tiles <= most
}

struct Output<'a> {
    r: &'a Request<'a>,
    grid: Grid,
    blocks: i64,
    pixels: i64,
    /// Dimensions of the tiles of all images.
    v: Vec<i64>,
}

/// What a task works on.
#[derive(Clone)]
struct Work {
    operands: Vec<Buf>,
    y: Buf,
    products: Buf,
    tiles: Buf,
    /// Image and strip among the tiles.
    place: [Affine; 2],
    image: Affine,
    /// Number of the image in the task.
    local: Affine,
    strip: Affine,
    panel: Affine,
}

impl<'a> Output<'a> {
    fn new(r: &'a Request<'a>, offer: Offer, v: Vec<i64>) -> Option<Output<'a>> {
        let given = r.ctx.operands.iter().map(|t| t.layout);
        if !given.eq(offer.operands.iter().copied()) || r.ctx.results[0].layout != offer.result {
            return None;
        }
        let (blocks, pixels) = blocks(r)?;
        Some(Output { r, grid: Grid::of(r.ctx.attrs).ok()?, blocks, pixels, v })
    }

    fn begin(&self) -> (KernelBuilder, Vec<Buf>, Buf) {
        let (c, u) = (self.r.ctx, &self.r.ctx.operands[1].dims);
        let (height, width) = (self.grid.height(), self.grid.width());
        let stride = if self.grid.stride == Stride::Two { "s2" } else { "" };
        let kind = if self.r.op.name == "winograd_conv2d" { "winograd_conv" } else { "winograd" };
        let name = format!("{kind}{}{stride}_{height}x{width}_{}_{}", self.grid.rows[0], u[2], u[0] * u[3]);
        let mut k = KernelBuilder::new(name);
        let operands = (0..c.operands.len())
            .map(|i| k.param(&format!("x{i}"), c.operands[i].dtype, &c.operands[i].physical(), Role::In))
            .collect();
        let y = k.param("y", c.results[0].dtype, &c.results[0].physical(), Role::Out);
        (k, operands, y)
    }

    /// Scratch memory for the products of one panel and so many images.
    fn products_of(&self, k: &mut KernelBuilder, images: i64) -> Buf {
        let [rows, columns] = self.grid.points();
        k.scratch("products", DType::F32, &[images, rows, columns, self.blocks, self.v[4], self.r.block()])
    }

    /// The tiles are operand 0.
    fn after_input(&self) -> Kernel {
        let (mut k, operands, y) = self.begin();
        let together = self.images();
        let products = self.products_of(&mut k, together);
        let (groups, strips, panels) = (self.v[0] / together, self.v[1], self.r.ctx.operands[1].dims[0]);
        let t = k.tasks(groups * strips * panels);
        // Neighbouring tasks share what is larger: a strip, whose tiles stay in the worker's cache for all panels, or
        // with a single strip the weights of a panel, for all images.
        let (group, strip, panel) = match strips {
            1 => (t.modulo(groups), Affine::constant(0), t.floordiv(groups)),
            _ => (t.floordiv(panels).floordiv(strips), t.floordiv(panels).modulo(strips), t.modulo(panels)),
        };
        let first = group * together;
        let place = [first.clone(), strip.clone()];
        let tiles = operands[0];
        let work = Work { operands, y, products, tiles, place, image: first.clone(), local: 0.into(), strip, panel };
        let of_image = |i: &Affine| Work {
            image: &first + i,
            place: [&first + i, work.strip.clone()],
            local: i.clone(),
            ..work.clone()
        };
        self.panel(&mut k, together, &of_image);
        k.finish()
    }

    /// The image is operand 0: a task transforms its strip and then computes all panels.
    fn with_input(&self) -> Kernel {
        let (mut k, operands, y) = self.begin();
        let products = self.products_of(&mut k, 1);
        let tiles = k.scratch("tiles", DType::F32, &[&[1, 1], &self.v[2..]].concat());
        let matrix: &dyn Fn(Stride, i64) -> Matrix = &Stride::input_matrix;
        let lanes = self.r.target.block;
        let transform = Transform::new(&mut k, self.r.ctx, matrix, &self.grid, [operands[0], tiles], lanes);
        let t = k.tasks(self.v[0] * self.v[1]);
        let (image, strip, zero) = (t.floordiv(self.v[1]), t.modulo(self.v[1]), Affine::constant(0));
        transform.clear(&mut k);
        k.for_(0, self.v[3], |k, block| {
            let (image, strip) = (&image, &strip);
            transform.strip(k, &Strip { image, strip, channel_block: &block, lane: &zero, place: [&zero; 2] });
        });
        k.for_(0, self.r.ctx.operands[1].dims[0], |k, panel| {
            let place = [zero.clone(), zero.clone()];
            let (image, strip) = (image.clone(), strip.clone());
            let work = Work { operands, y, products, tiles, place, image, local: zero.clone(), strip, panel };
            self.panel(k, 1, &|_| work.clone());
        });
        k.finish()
    }

    /// One panel of so many images, each as `of_image` says.
    fn panel(&self, k: &mut KernelBuilder, images: i64, of_image: &dyn Fn(&Affine) -> Work) {
        let each = |k: &mut KernelBuilder, body: &dyn Fn(&mut KernelBuilder, &Work)| match images {
            1 => body(k, &of_image(&0.into())),
            _ => k.for_(0, images, |k, image| body(k, &of_image(&image))),
        };
        for (i, j, tiles) in self.grid.classes() {
            k.for_(i[0], i[1], |k, i| {
                k.for_(j[0], j[1], |k, j| each(k, &|k, work| self.products(k, work, [&i, &j], tiles)));
            });
        }
        each(k, &|k, work| {
            winograd_output::for_tiles(k, &self.grid, &work.strip, &mut |k, tile| {
                for b in 0..self.blocks {
                    self.transform(k, work, tile, b);
                }
            });
        });
    }

    /// Images of a task: one, or with a single strip the largest divisor of their number whose products stay in a
    /// part of L2.
    fn images(&self) -> i64 {
        if self.r.op.name == "winograd_conv2d" {
            return 1;
        }
        let v = &self.v;
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
        let channel_blocks = self.v[3];
        let is_single_strip = self.grid.strips() == 1;
        let zero = || Affine::constant(0);
        let nothing = k.constant(DType::F32, lanes, 0.0);
        let start = vec![nothing; (pixels * self.blocks) as usize];
        // Long sums are made of two, which round less.
        let half = if channel_blocks * block < LONG_SUM { channel_blocks } else { (channel_blocks + 1) / 2 };
        for first in (0..channel_blocks).step_by(half as usize) {
            let sums = k.for_carry(first, (first + half).min(channel_blocks), &start, |k, c, sums| {
                let mut sums = sums.to_vec();
                let [image, strip] = w.place.clone();
                let corner = [image, strip, point.clone(), c.clone(), tile.clone(), zero()];
                let tiles = k.view(w.tiles, &corner, false);
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
