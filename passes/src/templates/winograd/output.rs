//! The products of a Winograd convolution and the transform back.
//!
//! A task takes one strip of tiles and one panel of output channels. For each point its products are a matrix product
//! [tiles × C]·[C × panel], in the register tiles of direct convolution; they stay in scratch memory, small enough for
//! L2, until the transform back with the epilogue reads them. So nothing of the transformed domain but the input's
//! tiles goes through memory; and where the images of a batch are tasks enough, one kernel does both, and not even
//! these do.
//!
//! The weights of a point are read once per strip: with one or two strips the next point's are fetched ahead, a part by
//! each register tile, and as many images share them as have products that stay in L2.

use super::ahead::Rows;
use super::blocks;
use crate::templates::epilogue::{self, At};
use crate::templates::prefetch::{Ahead, Share};
use crate::templates::register_tile::Scalars;
use crate::templates::{Request, tiling};
use ir::entity::{Buf, Reg};
use ir::epilogue::Step;
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::ops::winograd::{Grid, Matrix, Stride, spaced};
use ir::ops::winograd_input::{At as Strip, Transform, clear};
use ir::ops::winograd_output::{self, Tile};
use ir::{DType, Kernel};

/// Channels from which a sum of products is made of two.
const LONG_SUM: i64 = 256;

pub struct Output<'a> {
    r: &'a Request<'a>,
    grid: Grid,
    blocks: i64,
    pixels: i64,
    /// Dimensions of the tiles of all images.
    v: Vec<i64>,
}

/// Tasks from which more images for each are worth more than more tasks.
const ENOUGH_TASKS: i64 = 16;

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
    /// Image and strip of the task after this one, if their transform is a part of it.
    next: Option<[Affine; 2]>,
}

impl<'a> Output<'a> {
    pub fn new(r: &'a Request<'a>, v: Vec<i64>) -> Option<Output<'a>> {
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
        let dims = spaced([images, rows, columns, self.blocks, self.v[4], self.r.block()]);
        k.scratch("products", DType::F32, &dims)
    }

    /// Dimensions of the weights: [panels, points, channels, panel].
    fn weights(&self) -> &[i64] {
        &self.r.ctx.operands[1].dims
    }

    /// The tiles are operand 0.
    pub fn after_input(&self) -> Kernel {
        let (mut k, operands, y) = self.begin();
        let together = self.images();
        let products = self.products_of(&mut k, together);
        let (groups, strips) = (self.v[0] / together, self.v[1]);
        let &[panels, _, _, width] = self.weights() else { unreachable!("invariant: weights have four dimensions") };
        let t = k.tasks(groups * strips * panels);
        // Neighbouring tasks share what is larger: the tiles of their images, or the weights of a panel.
        let is_panel_first = strips == 1 && together * self.v[4] < width;
        let (group, strip, panel) = match is_panel_first {
            true => (t.modulo(groups), Affine::constant(0), t.floordiv(groups)),
            false => (t.floordiv(panels).floordiv(strips), t.floordiv(panels).modulo(strips), t.modulo(panels)),
        };
        let first = group * together;
        let place = [first.clone(), strip.clone()];
        let tiles = operands[0];
        let (image, local) = (first.clone(), Affine::constant(0));
        let work = Work { operands, y, products, tiles, place, image, local, strip, panel, next: None };
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
    pub fn with_input(&self) -> Kernel {
        let (mut k, operands, y) = self.begin();
        let products = self.products_of(&mut k, 1);
        let dims = spaced([1, 1, self.v[2], self.v[3], self.v[4], self.r.block()]);
        let tiles = k.scratch("tiles", DType::F32, &dims);
        let matrix: &dyn Fn(Stride, i64) -> Matrix = &Stride::input_matrix;
        let lanes = self.r.target.block;
        let transform = Transform::new(&mut k, self.r.ctx, matrix, &self.grid, [operands[0], tiles], lanes);
        let t = k.tasks(self.v[0] * self.v[1]);
        let place = |t: &Affine| [t.floordiv(self.v[1]), t.modulo(self.v[1])];
        let ([image, strip], next, zero) = (place(&t), place(&(&t + 1)), Affine::constant(0));
        clear(&mut k, &self.grid, tiles, DType::F32, lanes);
        k.for_(0, self.v[3], |k, block| {
            let (image, strip) = (&image, &strip);
            let place = [&zero, &zero, &block];
            transform.strip(k, &Strip { image, strip, channel_block: &block, lane: &zero, place });
        });
        k.for_(0, self.weights()[0], |k, panel| {
            let place = [zero.clone(), zero.clone()];
            let (image, strip) = (image.clone(), strip.clone());
            let (local, next) = (zero.clone(), Some(next.clone()));
            let work = Work { operands, y, products, tiles, place, image, local, strip, panel, next };
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
        let mut before = 0;
        for (i, j, tiles) in self.grid.classes() {
            let (columns, count) = (j[1] - j[0], self.widths(tiles).len() as i64);
            k.for_(i[0], i[1], |k, row| {
                k.for_(j[0], j[1], |k, column| {
                    let first = ((&row - i[0]) * columns + (&column - j[0])) * count + before;
                    each(k, &|k, work| self.products(k, work, [&row, &column], tiles, &first));
                });
            });
            before += (i[1] - i[0]) * columns * count;
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
    /// part of L2 and which leaves enough tasks.
    fn images(&self) -> i64 {
        if self.r.op.name == "winograd_conv2d" {
            return 1;
        }
        let v = &self.v;
        let [rows, columns] = self.grid.points();
        let bytes = rows * columns * self.blocks * v[4] * self.r.block() * 4;
        let most = if v[1] == 1 { self.r.target.l2_bytes.cast_signed() / 4 / bytes } else { 1 };
        let most = most.min(v[0] * self.weights()[0] / ENOUGH_TASKS);
        (1..=v[0]).rev().find(|n| v[0] % n == 0 && *n <= most).unwrap_or(1)
    }

    /// Tiles of the register tiles that a range of tiles is cut into.
    fn widths(&self, [first, end]: [i64; 2]) -> Vec<i64> {
        tiling::split(end - first, self.pixels)
    }

    /// Register tiles of one panel and one image.
    fn register_tiles(&self) -> i64 {
        let of =
            |(i, j, t): ([i64; 2], [i64; 2], [i64; 2])| (i[1] - i[0]) * (j[1] - j[0]) * self.widths(t).len() as i64;
        self.grid.classes().into_iter().map(of).sum()
    }

    /// Register tile `number` of a panel fetches its part of what comes after all products.
    fn fetch_ahead(&self, k: &mut KernelBuilder, w: &Work, number: &Affine) {
        let strips = self.v[1];
        let rows = if strips > 1 { self.grid.strip * self.grid.rows[0] } else { self.grid.height() };
        let elements = rows * self.grid.width() * self.r.block();
        let of = self.register_tiles();
        let tensors = self.r.ctx.epilogue.iter().filter_map(|s| s.tensor()).map(|i| w.operands[i]);
        for buf in [w.y].into_iter().chain(tensors) {
            let (image, block, row) = (w.image.clone(), &w.panel * self.blocks, &w.strip * rows);
            Rows { buf, image, block, row, blocks: self.blocks, elements }.fetch(k, number, of);
        }
        if let Some([image, strip]) = w.next.clone() {
            let (x, step) = (&self.r.ctx.operands[0], self.grid.stride.step());
            let elements = (rows * step + 1) * x.dims[3] * self.r.block();
            let (row, blocks) = (strip * (rows * step), self.v[3]);
            let number = &w.panel * of + number;
            let of = of * self.weights()[0];
            Rows { buf: w.operands[0], image, block: 0.into(), row, blocks, elements }.fetch(k, &number, of);
        }
    }

    /// The products of one point for a range of tiles, of whose register tiles `number` come before.
    fn products(&self, k: &mut KernelBuilder, w: &Work, point: [&Affine; 2], tiles: [i64; 2], number: &Affine) {
        let (mut start, mut before) = (tiles[0], 0);
        let widths = self.widths(tiles);
        let of_image = widths.len() as i64;
        let of = self.images() * of_image;
        for run in widths.chunk_by(|a, b| a == b) {
            let (pixels, count) = (run[0], run.len() as i64);
            let body = |k: &mut KernelBuilder, tile: &Affine, in_point: Affine| {
                self.fetch_ahead(k, w, &(number + &in_point));
                let number = &w.local * of_image + &in_point;
                let shares = [Share { number, of }, Share { number: in_point, of: of_image }];
                self.register_tile(k, w, point, tile, pixels, shares);
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

    /// What a register tile fetches for the next point with block `c` of channels: its shares of weights and tiles. Strips
    /// after the second one find the weights near.
    fn ahead(&self, k: &KernelBuilder, w: &Work, point: &Affine, c: &Affine, shares: &[Share; 2]) -> Vec<Ahead> {
        // Addresses of a second strip need a register that is not there without fused multiply-adds.
        let most = if self.r.target.has_fma { 2 } else { 1 };
        if self.grid.strips() > most {
            return Vec::new();
        }
        let (block, channel_blocks, zero) = (self.r.block(), self.v[3], || Affine::constant(0));
        let [image, strip] = w.place.clone();
        let weights = [w.panel.clone(), point + 1, zero(), zero()];
        let tiles = [image, strip, point + 1, zero(), zero(), zero()];
        let of_step = [block * self.blocks * block, k.shape(w.tiles)[4] * block];
        vec![
            shares[0].ahead(w.operands[1], &weights, c, [channel_blocks, of_step[0]]),
            shares[1].ahead(w.tiles, &tiles, c, [channel_blocks, of_step[1]]),
        ]
    }

    fn register_tile(
        &self,
        k: &mut KernelBuilder,
        w: &Work,
        [i, j]: [&Affine; 2],
        tile: &Affine,
        pixels: i64,
        shares: [Share; 2],
    ) {
        let point = i * self.grid.points()[1] + j;
        let (block, lanes) = (self.r.block(), self.r.target.block);
        let channel_blocks = self.v[3];
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
                let tiles = Scalars::new(k, self.r.target, w.tiles, &corner, self.blocks, false);
                // Opaque for the compile time alone, as in direct convolution.
                let weights = k.view(w.operands[1], &[w.panel.clone(), point.clone(), &c * block, zero()], true);
                let ahead = self.ahead(k, w, &point, &c, &shares);
                // At once where products need registers too.
                let parts = if self.r.target.has_fma { block } else { 1 };
                for lane in 0..block {
                    ahead.iter().for_each(|a| a.fetch(k, lane, parts));
                    let u: Vec<Reg> = (0..self.blocks)
                        .map(|b| k.load_vec(weights, lanes, &[zero(), zero(), lane.into(), (b * block).into()]))
                        .collect();
                    for (p, sums) in (0..).zip(sums.chunks_mut(u.len())) {
                        tiles.multiply_add(k, &[zero(), zero(), zero(), zero(), p.into(), lane.into()], &u, sums);
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
