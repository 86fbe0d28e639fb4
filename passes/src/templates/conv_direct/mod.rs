//! Direct convolution on blocked images: register tiles of pixels × channel blocks, no copies, no halo.
//!
//! The accumulators of a tile (P neighbouring outputs × B channel blocks) stay in registers over the whole
//! reduction: input channel blocks, filter rows, and, unrolled, filter columns and the channels of a block. One
//! step of the unrolled part loads B weight vectors, broadcasts P inputs and does P·B multiply-adds.
//!
//! - Filter taps in the padding are skipped, not multiplied by zero: rows by loop bounds, columns by tile
//!   variants ([`Run::skip`](super::tiling::Run)). So no border has to exist in memory.
//! - Each filter column reads through its own opaque view, as neighbouring taps read the same pixels
//!   ([`Scalars`]).
//! - A 1×1 filter at stride 1 treats rows and columns as one dimension.
//! - Where a panel's weights are large and its outputs few, the reduction goes by blocks of input channels whose
//!   weights stay in L1 while all tiles of the task use them; the sums wait in scratch memory.
//! - Weights that do not stay in L2 are fetched ahead.
//! - An image with fewer channels than a block (the stem) is read in plain layout, one channel at a time.
//!
//! Source: Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD Architectures",
//! SC 2018, for blocking and loop order.

mod blocking;

use super::epilogue::{self, At};
use super::prefetch::{Ahead, Share};
use super::register_tile::Scalars;
use super::tiling::Run;
use super::{Offer, Request, vector_cost_ns};
use blocking::{Band, Blocking};
use ir::entity::{Buf, Reg};
use ir::kernel::build::{Bound, max_of, min_of};
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::ops::conv2d::Tap;
use ir::{DType, Kernel, Layout};

pub fn offers(r: &Request) -> Vec<Offer> {
    let Some(blocking) = Blocking::new(r) else { return Vec::new() };
    let blocked = Layout::Blocked(r.target.block);
    let x = if blocking.ic_block == 1 { Layout::Plain } else { blocked };
    let operands = [x, blocking.filter_layout(r)].into_iter().chain(r.epilogue_layouts(2, blocked)).collect();
    vec![Offer { operands, result: blocked, cost_ns: vector_cost_ns(r) }]
}

pub fn build(r: &Request) -> Option<Kernel> {
    Some(Emitter::new(r, Blocking::new(r)?).emit())
}

struct Emitter<'a> {
    r: &'a Request<'a>,
    blocking: Blocking,
    k: KernelBuilder,
    operands: Vec<Buf>,
    y: Buf,
}

/// What a task works on: some rows of a group of panels.
struct Task {
    image: Affine,
    first_panel: Affine,
    panels: Bound,
    first_row: Affine,
    rows: Bound,
}

/// A register tile at its place.
struct Position<'a> {
    run: &'a Run,
    image: Affine,
    panel: Affine,
    /// First row and column of the tile.
    row: Affine,
    column: Affine,
    /// Rows of the tile.
    height: i64,
    /// Panel and row counted in the task.
    local: [Affine; 2],
    /// First block of input channels of the sum.
    k_start: Affine,
    /// The tile among those of the task that use the same weights.
    share: Share,
}

impl Position<'_> {
    /// Outputs of the tile, with the row and column of each in the tile.
    fn pixels(&self) -> impl Iterator<Item = (i64, [i64; 2])> {
        let width = self.run.pixels;
        (0..self.height * width).map(move |p| (p, [p / width, p % width]))
    }
}

impl<'a> Emitter<'a> {
    fn new(r: &'a Request<'a>, blocking: Blocking) -> Emitter<'a> {
        let c = r.ctx;
        let (x, w) = (&c.operands[0], &c.operands[1]);
        let name = format!(
            "conv{}x{}s{}_{}x{}_{}_{}",
            w.dims[2], w.dims[3], blocking.conv.stride[0], x.dims[2], x.dims[3], x.dims[1], w.dims[0]
        );
        let mut k = KernelBuilder::new(name);
        // Flattened images are declared with the rows and columns that the loops use.
        let (rows, columns) = (blocking.rows, blocking.row.outputs);
        let image = |physical: Vec<i64>| match physical[..] {
            [n, c, _, _, b] if blocking.flat => vec![n, c, rows, columns, b],
            _ => physical,
        };
        let operands = (0..c.operands.len())
            .map(|i| k.param(&format!("x{i}"), c.operands[i].dtype, &image(c.operands[i].physical()), Role::In))
            .collect();
        let y = k.param("y", c.results[0].dtype, &image(c.results[0].physical()), Role::Out);
        Emitter { r, blocking, k, operands, y }
    }

    fn emit(mut self) -> Kernel {
        let (rows, row_block) = (self.blocking.rows, self.blocking.row_block);
        let row_blocks = (rows + row_block - 1) / row_block;
        let panels = self.r.ctx.operands[1].physical()[0];
        let groups = (panels + self.blocking.panel_group - 1) / self.blocking.panel_group;
        let images = self.r.ctx.results[0].dims[0];
        let t = self.k.tasks(images * groups * row_blocks);
        // Neighbouring tasks share a panel group: its weights stay in the worker's cache.
        let block = t.modulo(row_blocks);
        let group = t.floordiv(row_blocks).modulo(groups);
        let image = t.floordiv(row_blocks).floordiv(groups);
        let (first_panel, first_row) = (group * self.blocking.panel_group, block * row_block);
        let count = |first: &Affine, most: i64, all: i64| min_of([Affine::constant(most), first * -1 + all]);
        let panels = count(&first_panel, self.blocking.panel_group, panels);
        let rows = count(&first_row, row_block, rows);
        let task = Task { image, first_panel, panels, first_row, rows };
        let mut k = std::mem::replace(&mut self.k, KernelBuilder::new(""));
        match self.blocking.k_block < self.blocking.channel_blocks {
            true => self.by_blocks(&mut k, &task),
            false => self.for_tiles(&mut k, &task, &Affine::constant(0), &|k, at| {
                let start = self.start(k, at);
                let end = self.reduce(k, at, start);
                self.finish(k, at, &end);
            }),
        }
        k.finish()
    }

    /// All tiles, for one block of input channels after the other. Each block is summed from zero: short sums round
    /// less.
    fn by_blocks(&self, k: &mut KernelBuilder, task: &Task) {
        let (p, all) = (&self.blocking, self.blocking.channel_blocks);
        let shape = [p.panel_group, p.row_block, p.row.outputs, p.tile.blocks.into(), self.r.block()];
        let sums = k.scratch("sums", DType::F32, &shape);
        let zero = Affine::constant(0);
        self.for_tiles(k, task, &zero, &|k, at| {
            let start = self.start(k, at);
            self.store_sums(k, sums, at, &start);
        });
        k.for_(0, (all + p.k_block - 1) / p.k_block, |k, block| {
            self.for_tiles(k, task, &(block * p.k_block), &|k, at| {
                let zero = k.constant(DType::F32, self.r.target.block, 0.0);
                let start = vec![zero; self.places(at).len()];
                let of_block = self.reduce(k, at, start);
                let before = self.load_sums(k, sums, at);
                let end: Vec<Reg> = before.into_iter().zip(of_block).map(|(a, b)| k.add(a, b)).collect();
                self.store_sums(k, sums, at, &end);
            });
        });
        self.for_tiles(k, task, &zero, &|k, at| {
            let end = self.load_sums(k, sums, at);
            self.finish(k, at, &end);
        });
    }

    fn for_tiles(
        &self,
        k: &mut KernelBuilder,
        task: &Task,
        k_start: &Affine,
        body: &dyn Fn(&mut KernelBuilder, &Position),
    ) {
        let of_panel = self.blocking.bands.iter().map(Band::tiles).sum::<i64>();
        k.for_(0, task.panels.clone(), |k, panel| {
            let mut before = 0;
            for band in &self.blocking.bands {
                let of_row = band.tiles() / band.count;
                // A task of part of the rows has one band, which ends where the image does.
                let is_part = self.blocking.row_block < self.blocking.rows;
                let count = if is_part { task.rows.clone() } else { band.count.into() };
                k.for_(0, count, |k, r| {
                    let (row, first) = (&r * band.height + band.start, &r * of_row + before);
                    let mut in_row = 0;
                    for run in &band.runs {
                        run.for_each(k, |k, q, column| {
                            let at = Position {
                                run,
                                image: task.image.clone(),
                                panel: &task.first_panel + &panel,
                                row: &task.first_row + &row,
                                column: column.clone(),
                                height: band.height,
                                local: [panel.clone(), row.clone()],
                                k_start: k_start.clone(),
                                share: Share { number: &first + q + in_row, of: of_panel },
                            };
                            body(k, &at);
                        });
                        in_row += run.count;
                    }
                });
                before += band.tiles();
            }
        });
    }

    /// Where the sums of the tile's outputs wait, output by output and block by block.
    fn places(&self, at: &Position) -> Vec<[Affine; 5]> {
        let [panel, row] = &at.local;
        let blocks = i64::from(self.blocking.tile.blocks);
        let of = |(_, [r, c]): (i64, [i64; 2])| {
            (0..blocks).map(move |b| [panel.clone(), row + r, &at.column + c, b.into(), 0.into()])
        };
        at.pixels().flat_map(of).collect()
    }

    fn load_sums(&self, k: &mut KernelBuilder, sums: Buf, at: &Position) -> Vec<Reg> {
        self.places(at).iter().map(|place| k.load_vec(sums, self.r.target.block, place)).collect()
    }

    fn store_sums(&self, k: &mut KernelBuilder, sums: Buf, at: &Position, values: &[Reg]) {
        for (place, &value) in self.places(at).iter().zip(values) {
            k.store(sums, place, value);
        }
    }

    fn channel(&self, at: &Position, b: i64) -> Affine {
        (&at.panel * i64::from(self.blocking.tile.blocks) + b) * self.r.block()
    }

    fn start(&self, k: &mut KernelBuilder, at: &Position) -> Vec<Reg> {
        let (blocks, lanes) = (i64::from(self.blocking.tile.blocks), self.r.target.block);
        let biases: Vec<Reg> =
            (0..blocks).map(|b| epilogue::start(k, self.r.ctx, &self.operands, &self.channel(at, b), lanes)).collect();
        at.pixels().flat_map(|_| biases.iter().copied()).collect()
    }

    fn finish(&self, k: &mut KernelBuilder, at: &Position, sums: &[Reg]) {
        let (blocks, lanes) = (i64::from(self.blocking.tile.blocks), self.r.target.block);
        for b in 0..blocks {
            for (p, [r, c]) in at.pixels() {
                let sum = sums[(p * blocks + b) as usize];
                let index = [at.image.clone(), &at.panel * blocks + b, &at.row + r, &at.column + c, 0.into()];
                let target = At { channel: self.channel(at, b), index: &index, lanes };
                let v = epilogue::finish(k, self.r.ctx, &self.operands, &target, sum);
                k.store(self.y, &index, v);
            }
        }
    }

    fn reduce(&self, k: &mut KernelBuilder, at: &Position, start: Vec<Reg>) -> Vec<Reg> {
        let (x, w, conv) = (&self.r.ctx.operands[0], &self.r.ctx.operands[1], &self.blocking.conv);
        let (channel_blocks, k_block) = (self.blocking.channel_blocks, self.blocking.k_block);
        let (lo, hi) = (at.k_start.clone(), min_of([Affine::constant(channel_blocks), &at.k_start + k_block]));
        if w.dims[2] == 1 && conv.pad == [0; 4] {
            return k.for_carry(lo, hi, &start, |k, c, sums| {
                let row = &at.row * conv.stride[0].cast_signed();
                self.taps(k, at, &c, &Affine::constant(0), &row, sums)
            });
        }
        let tap = Tap::new(&at.row, conv.stride[0], conv.pad[0], conv.dilation[0], x.dims[2], w.dims[2]);
        k.for_carry(lo, hi, &start, |k, c, sums| {
            k.for_carry(max_of(tap.lo.clone()), min_of(tap.hi.clone()), sums, |k, r, sums| {
                self.taps(k, at, &c, &r, &tap.at(&r), sums)
            })
        })
    }

    /// A part of the weights that come after those at hand.
    fn ahead(&self, at: &Position, c: &Affine, r: &Affine) -> Ahead {
        let &[_, _, rows, columns, ic, oc] = &self.r.ctx.operands[1].physical()[..] else {
            unreachable!("invariant: packed filters have rank 6");
        };
        let (steps, elements) = (self.blocking.k_block * rows, columns * ic * oc);
        let zero = || Affine::constant(0);
        let next = [at.panel.clone(), at.k_start.clone(), zero(), zero(), zero(), (steps * elements).into()];
        let step = (c - &at.k_start) * rows + r;
        at.share.ahead(self.operands[1], &next, &step, [steps, elements])
    }

    /// The unrolled part: all columns of filter row `r`, all channels of block `c`, on input row `row`.
    fn taps(
        &self,
        k: &mut KernelBuilder,
        at: &Position,
        c: &Affine,
        r: &Affine,
        row: &Affine,
        sums: &[Reg],
    ) -> Vec<Reg> {
        let (geometry, blocks) = (self.blocking.row, i64::from(self.blocking.tile.blocks));
        let (block, lanes) = (self.r.block(), self.r.target.block);
        let zero = || Affine::constant(0);
        let mut sums = sums.to_vec();
        // Opaque for the compile time alone: LLVM's loop strength reduction weighs every address against every other.
        let weights = k.view(self.operands[1], &[at.panel.clone(), c.clone(), r.clone(), zero(), zero(), zero()], true);
        // At once: between the multiply-adds of several taps LLVM runs out of registers.
        if self.blocking.fetches_ahead {
            self.ahead(at, c, r).fetch(k, 0, 1);
        }
        for s in 0..geometry.taps {
            let live: Vec<_> = at.pixels().filter(|&(_, [_, c])| !at.run.skip.contains(&(c, s))).collect();
            if live.is_empty() {
                continue;
            }
            let column = &at.column * geometry.stride + geometry.column(0, s);
            let plain = self.blocking.ic_block == 1;
            let mut corner = vec![at.image.clone(), c.clone(), row.clone(), column];
            corner.extend((!plain).then(zero));
            let pixels = Scalars::new(k, self.r.target, self.operands[0], &corner, blocks, geometry.taps > 1);
            for i in 0..self.blocking.ic_block {
                let w: Vec<Reg> = (0..blocks)
                    .map(|b| {
                        let index = [zero(), zero(), zero(), s.into(), i.into(), (b * block).into()];
                        k.load_vec(weights, lanes, &index)
                    })
                    .collect();
                for &(p, [r, c]) in &live {
                    let row = r * self.blocking.conv.stride[0].cast_signed();
                    let mut index = vec![zero(), zero(), row.into(), (c * geometry.stride).into()];
                    index.extend((!plain).then(|| Affine::constant(i)));
                    pixels.multiply_add(k, &index, &w, &mut sums[(p * blocks) as usize..]);
                }
            }
        }
        sums
    }
}
