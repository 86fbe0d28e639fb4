//! Direct convolution on blocked images: register tiles of pixels × channel blocks, no copies, no halo.
//!
//! The accumulators of a tile (P neighbouring outputs × B channel blocks) stay in registers over the whole
//! reduction: input channel blocks, filter rows, and, unrolled, filter columns and the channels of a block. One
//! step of the unrolled part loads B weight vectors, broadcasts P inputs and does P·B multiply-adds.
//!
//! - Filter taps in the padding are skipped, not multiplied by zero: rows by loop bounds, columns by tile
//!   variants ([`Run::skip`](super::tiling::Run)). So no border has to exist in memory.
//! - Each filter column reads through its own opaque view: neighbouring taps read the same pixels, and a back end
//!   that merges these loads runs out of registers.
//! - A 1×1 filter at stride 1 treats rows and columns as one dimension.
//! - Where a panel's weights are large and its outputs few, the reduction goes by blocks of input channels whose
//!   weights stay in L1 while all tiles of the task use them; the sums wait in scratch memory.
//! - Weights that do not stay in L2 are fetched ahead.
//! - An image with fewer channels than a block (the stem) is read in plain layout, one channel at a time.
//!
//! Source: Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD Architectures",
//! SC 2018, for blocking and loop order.

mod plan;

use super::epilogue::{self, At};
use super::prefetch::Share;
use super::tiling::Run;
use super::{Offer, Request, vector_cost_ns};
use ir::entity::{Buf, Reg};
use ir::kernel::build::{Bound, max_of, min_of};
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::ops::conv2d::Tap;
use ir::{DType, Kernel, Layout};
use plan::Plan;

pub fn offers(r: &Request) -> Vec<Offer> {
    let Some(plan) = Plan::new(r) else { return Vec::new() };
    let blocked = Layout::Blocked(r.target.block);
    let x = if plan.ic_block == 1 { Layout::Plain } else { blocked };
    let operands = [x, plan.filter_layout(r)].into_iter().chain(r.epilogue_layouts(2, blocked)).collect();
    vec![Offer { operands, result: blocked, cost_ns: vector_cost_ns(r) }]
}

pub fn build(r: &Request) -> Option<Kernel> {
    let plan = Plan::new(r)?;
    let offer = offers(r).pop()?;
    let given = r.ctx.operands.iter().map(|t| t.layout);
    if !given.eq(offer.operands.iter().copied()) || r.ctx.results[0].layout != offer.result {
        return None;
    }
    Some(Emitter::new(r, plan).emit())
}

struct Emitter<'a> {
    r: &'a Request<'a>,
    plan: Plan,
    k: KernelBuilder,
    operands: Vec<Buf>,
    y: Buf,
}

/// What a task does at a time: some rows of one panel of output channels.
struct Panel {
    image: Affine,
    number: Affine,
    first_row: Affine,
    rows: Bound,
}

/// Where the tile at hand is.
struct Position {
    image: Affine,
    panel: Affine,
    row: Affine,
    column: Affine,
    /// Row in the task.
    local_row: Affine,
    /// First block of input channels of the sum.
    k_start: Affine,
    /// The tile among those of the task that use the same weights.
    share: Share,
}

impl<'a> Emitter<'a> {
    fn new(r: &'a Request<'a>, plan: Plan) -> Emitter<'a> {
        let c = r.ctx;
        let (x, w) = (&c.operands[0], &c.operands[1]);
        let name = format!(
            "conv{}x{}s{}_{}x{}_{}_{}",
            w.dims[2], w.dims[3], plan.conv.stride[0], x.dims[2], x.dims[3], x.dims[1], w.dims[0]
        );
        let mut k = KernelBuilder::new(name);
        // Flattened images are declared with the rows and columns that the loops use.
        let (rows, columns) = (plan.rows, plan.row.outputs);
        let image = |physical: Vec<i64>| match physical[..] {
            [n, c, _, _, b] if plan.flat => vec![n, c, rows, columns, b],
            _ => physical,
        };
        let operands = (0..c.operands.len())
            .map(|i| k.param(&format!("x{i}"), c.operands[i].dtype, &image(c.operands[i].physical()), Role::In))
            .collect();
        let y = k.param("y", c.results[0].dtype, &image(c.results[0].physical()), Role::Out);
        Emitter { r, plan, k, operands, y }
    }

    fn emit(mut self) -> Kernel {
        let (rows, row_block) = (self.plan.rows, self.plan.row_block);
        let row_blocks = (rows + row_block - 1) / row_block;
        let panels = self.r.ctx.operands[1].physical()[0];
        let groups = (panels + self.plan.panel_group - 1) / self.plan.panel_group;
        let images = self.r.ctx.results[0].dims[0];
        let t = self.k.tasks(images * groups * row_blocks);
        // Neighbouring tasks share a panel group: its weights stay in the worker's cache.
        let block = t.modulo(row_blocks);
        let group = t.floordiv(row_blocks).modulo(groups);
        let image = t.floordiv(row_blocks).floordiv(groups);
        let (first_panel, first_row) = (group * self.plan.panel_group, block * row_block);
        let count = |first: &Affine, most: i64, all: i64| min_of([Affine::constant(most), first * -1 + all]);
        let mut k = std::mem::replace(&mut self.k, KernelBuilder::new(""));
        k.for_(0, count(&first_panel, self.plan.panel_group, panels), |k, panel| {
            let rows = count(&first_row, row_block, rows);
            let panel = Panel { image, number: first_panel + panel, first_row, rows };
            match self.plan.k_block < self.plan.channel_blocks {
                true => self.by_blocks(k, &panel),
                false => self.for_tiles(k, &panel, &Affine::constant(0), &|k, run, at| {
                    let start = self.start(k, at, run);
                    let end = self.reduce(k, at, run, start);
                    self.finish(k, at, run, &end);
                }),
            }
        });
        k.finish()
    }

    /// All tiles of a panel, for one block of input channels after the other.
    fn by_blocks(&self, k: &mut KernelBuilder, panel: &Panel) {
        let (all, k_block) = (self.plan.channel_blocks, self.plan.k_block);
        let shape = [self.plan.row_block, self.plan.row.outputs, self.plan.tile.blocks.into(), self.r.block()];
        let sums = k.scratch("sums", DType::F32, &shape);
        let zero = Affine::constant(0);
        self.for_tiles(k, panel, &zero, &|k, run, at| {
            let start = self.start(k, at, run);
            self.store_sums(k, sums, at, run, &start);
        });
        k.for_(0, (all + k_block - 1) / k_block, |k, block| {
            self.for_tiles(k, panel, &(block * k_block), &|k, run, at| {
                let start = self.load_sums(k, sums, at, run);
                let end = self.reduce(k, at, run, start);
                self.store_sums(k, sums, at, run, &end);
            });
        });
        self.for_tiles(k, panel, &zero, &|k, run, at| {
            let end = self.load_sums(k, sums, at, run);
            self.finish(k, at, run, &end);
        });
    }

    fn for_tiles(
        &self,
        k: &mut KernelBuilder,
        panel: &Panel,
        k_start: &Affine,
        body: &dyn Fn(&mut KernelBuilder, &Run, &Position),
    ) {
        let runs = self.plan.row.runs(i64::from(self.plan.tile.pixels));
        let of_row = runs.iter().map(|r| r.count).sum::<i64>();
        k.for_(0, panel.rows.clone(), |k, local_row| {
            let mut before = 0;
            for run in &runs {
                run.for_each(k, |k, q, column| {
                    let number = &local_row * of_row + q + before;
                    let at = Position {
                        image: panel.image.clone(),
                        panel: panel.number.clone(),
                        row: &panel.first_row + &local_row,
                        column: column.clone(),
                        local_row: local_row.clone(),
                        k_start: k_start.clone(),
                        share: Share { number, of: self.plan.row_block * of_row },
                    };
                    body(k, run, &at);
                });
                before += run.count;
            }
        });
    }

    fn load_sums(&self, k: &mut KernelBuilder, sums: Buf, at: &Position, run: &Run) -> Vec<Reg> {
        let blocks = i64::from(self.plan.tile.blocks);
        let places = (0..run.pixels).flat_map(|p| (0..blocks).map(move |b| (p, b)));
        places
            .map(|(p, b)| {
                let index = [at.local_row.clone(), &at.column + p, b.into(), 0.into()];
                k.load_vec(sums, self.r.target.block, &index)
            })
            .collect()
    }

    fn store_sums(&self, k: &mut KernelBuilder, sums: Buf, at: &Position, run: &Run, values: &[Reg]) {
        let blocks = i64::from(self.plan.tile.blocks);
        for p in 0..run.pixels {
            for b in 0..blocks {
                let index = [at.local_row.clone(), &at.column + p, b.into(), 0.into()];
                k.store(sums, &index, values[(p * blocks + b) as usize]);
            }
        }
    }

    fn channel(&self, at: &Position, b: i64) -> Affine {
        (&at.panel * i64::from(self.plan.tile.blocks) + b) * self.r.block()
    }

    fn start(&self, k: &mut KernelBuilder, at: &Position, run: &Run) -> Vec<Reg> {
        let (blocks, lanes) = (i64::from(self.plan.tile.blocks), self.r.target.block);
        let biases: Vec<Reg> =
            (0..blocks).map(|b| epilogue::start(k, self.r.ctx, &self.operands, &self.channel(at, b), lanes)).collect();
        (0..run.pixels).flat_map(|_| biases.iter().copied()).collect()
    }

    fn finish(&self, k: &mut KernelBuilder, at: &Position, run: &Run, sums: &[Reg]) {
        let (blocks, lanes) = (i64::from(self.plan.tile.blocks), self.r.target.block);
        for b in 0..blocks {
            for p in 0..run.pixels {
                let sum = sums[(p * blocks + b) as usize];
                let index =
                    [at.image.clone(), &at.panel * blocks + b, at.row.clone(), &at.column + p, Affine::constant(0)];
                let target = At { channel: self.channel(at, b), index: &index, lanes };
                let v = epilogue::finish(k, self.r.ctx, &self.operands, &target, sum);
                k.store(self.y, &index, v);
            }
        }
    }

    fn reduce(&self, k: &mut KernelBuilder, at: &Position, run: &Run, start: Vec<Reg>) -> Vec<Reg> {
        let (x, w, conv) = (&self.r.ctx.operands[0], &self.r.ctx.operands[1], &self.plan.conv);
        let (channel_blocks, k_block) = (self.plan.channel_blocks, self.plan.k_block);
        let (lo, hi) = (at.k_start.clone(), min_of([Affine::constant(channel_blocks), &at.k_start + k_block]));
        if w.dims[2] == 1 && conv.pad == [0; 4] {
            return k.for_carry(lo, hi, &start, |k, c, sums| {
                let row = &at.row * conv.stride[0].cast_signed();
                self.taps(k, at, run, &c, &Affine::constant(0), &row, sums)
            });
        }
        let tap = Tap::new(&at.row, conv.stride[0], conv.pad[0], conv.dilation[0], x.dims[2], w.dims[2]);
        k.for_carry(lo, hi, &start, |k, c, sums| {
            k.for_carry(max_of(tap.lo.clone()), min_of(tap.hi.clone()), sums, |k, r, sums| {
                self.taps(k, at, run, &c, &r, &tap.at(&r), sums)
            })
        })
    }

    /// Fetches a part of the weights that come after those at hand.
    fn fetch_ahead(&self, k: &mut KernelBuilder, at: &Position, c: &Affine, r: &Affine) {
        let &[_, _, rows, columns, ic, oc] = &self.r.ctx.operands[1].physical()[..] else {
            unreachable!("invariant: packed filters have rank 6");
        };
        let (steps, elements) = (self.plan.k_block * rows, columns * ic * oc);
        let zero = || Affine::constant(0);
        let next = [at.panel.clone(), at.k_start.clone(), zero(), zero(), zero(), (steps * elements).into()];
        let step = (c - &at.k_start) * rows + r;
        at.share.fetch(k, self.operands[1], next, &step, [steps, elements]);
    }

    /// The unrolled part: all columns of filter row `r`, all channels of block `c`, on input row `row`.
    fn taps(
        &self,
        k: &mut KernelBuilder,
        at: &Position,
        run: &Run,
        c: &Affine,
        r: &Affine,
        row: &Affine,
        sums: &[Reg],
    ) -> Vec<Reg> {
        let (geometry, blocks) = (self.plan.row, i64::from(self.plan.tile.blocks));
        let (block, lanes) = (self.r.block(), self.r.target.block);
        let zero = || Affine::constant(0);
        let mut sums = sums.to_vec();
        // Opaque for the compile time alone: LLVM's loop strength reduction weighs every address against every other.
        let weights = k.view(self.operands[1], &[at.panel.clone(), c.clone(), r.clone(), zero(), zero(), zero()], true);
        if self.plan.fetches_ahead {
            self.fetch_ahead(k, at, c, r);
        }
        for s in 0..geometry.taps {
            let live: Vec<i64> = (0..run.pixels).filter(|&p| !run.skip.contains(&(p, s))).collect();
            if live.is_empty() {
                continue;
            }
            let column = &at.column * geometry.stride + geometry.column(0, s);
            let plain = self.plan.ic_block == 1;
            let mut corner = vec![at.image.clone(), c.clone(), row.clone(), column];
            corner.extend((!plain).then(zero));
            let pixels = k.view(self.operands[0], &corner, geometry.taps > 1);
            for i in 0..self.plan.ic_block {
                let w: Vec<Reg> = (0..blocks)
                    .map(|b| {
                        let index = [zero(), zero(), zero(), s.into(), i.into(), (b * block).into()];
                        k.load_vec(weights, lanes, &index)
                    })
                    .collect();
                for &p in &live {
                    let mut index = vec![zero(), zero(), zero(), (p * geometry.stride).into()];
                    index.extend((!plain).then(|| Affine::constant(i)));
                    let v = k.load(pixels, &index);
                    let v = k.splat(v, lanes);
                    for b in 0..blocks {
                        let sum = &mut sums[(p * blocks + b) as usize];
                        *sum = k.fma(v, w[b as usize], *sum);
                    }
                }
            }
        }
        sums
    }
}
