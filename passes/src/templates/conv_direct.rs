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
//! - An image with fewer channels than a block (the stem) is read in plain layout, one channel at a time.
//!
//! Source: Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD Architectures",
//! SC 2018, for blocking and loop order.

use super::epilogue::{self, At};
use super::tiling::{self, Row, Run};
use super::{Offer, Request, vector_cost_ns};
use ir::entity::{Buf, Reg};
use ir::kernel::build::{max_of, min_of};
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::ops::conv2d::{Conv2d, Tap};
use ir::target::Tile;
use ir::{Kernel, Layout};

pub fn offers(r: &Request) -> Vec<Offer> {
    let Some(plan) = plan(r) else { return Vec::new() };
    let blocked = Layout::Blocked(r.target.block);
    let x = if plan.ic_block == 1 { Layout::Plain } else { blocked };
    let operands = [x, plan.filter_layout(r)].into_iter().chain(r.epilogue_layouts(2, blocked)).collect();
    vec![Offer { operands, result: blocked, cost_ns: vector_cost_ns(r) }]
}

pub fn build(r: &Request) -> Option<Kernel> {
    let plan = plan(r)?;
    let offer = offers(r).pop()?;
    let given = r.ctx.operands.iter().map(|t| t.layout);
    if !given.eq(offer.operands.iter().copied()) || r.ctx.results[0].layout != offer.result {
        return None;
    }
    Some(Emitter::new(r, plan).emit())
}

/// What is decided before code is built.
struct Plan {
    conv: Conv2d,
    tile: Tile,
    /// Input channels of one filter block: the layout's block, or 1 for a plain image.
    ic_block: i64,
    /// Rows and columns of outputs as the loops see them.
    rows: i64,
    columns: i64,
    /// Rows and columns are one dimension (1×1 at stride 1).
    flat: bool,
    /// Output rows that one task covers.
    row_block: i64,
    /// Channel panels that one task covers.
    panel_group: i64,
}

impl Plan {
    fn filter_layout(&self, r: &Request) -> Layout {
        let ic = u32::try_from(self.ic_block).expect("invariant: a block is small");
        Layout::Filter { ic, oc: self.tile.blocks * r.target.block }
    }
}

/// Tasks that are enough to share work evenly among a handful of workers.
const ENOUGH_TASKS: i64 = 16;

fn plan(r: &Request) -> Option<Plan> {
    let conv = Conv2d::of(r.ctx.attrs);
    let (&[_, ic, h, w], &[oc, _, kh, kw]) = (&r.ctx.operands[0].dims[..], &r.ctx.operands[1].dims[..]) else {
        return None;
    };
    let &[_, _, p, q] = &r.ctx.results[0].dims[..] else { return None };
    let block = r.block();
    if conv.groups != 1 || oc % block != 0 || (ic % block != 0 && ic >= block) {
        return None;
    }
    let ic_block = if ic % block == 0 { block } else { 1 };
    // Without fused multiply-adds products need registers too, and the stem's long rows of taps need all there are.
    let narrow = r.target.tiles.iter().copied().find(|t| t.blocks == 1 && ic_block == 1 && !r.target.has_fma);
    let tile = narrow.or_else(|| tiling::pick_tile(r.target, oc / block))?;
    let flat = ic_block != 1 && kh * kw == 1 && conv.stride == [1, 1] && conv.pad == [0; 4];
    let (rows, columns) = if flat { tiling::flatten(h, w, i64::from(tile.pixels)) } else { (p, q) };

    let panels = oc / block / i64::from(tile.blocks);
    let filter_bytes = oc * ic * kh * kw * 4;
    let row_bytes = if flat { columns * ic * 4 } else { conv.stride[0].cast_signed() * w * ic * 4 };
    let l2 = r.target.l2_bytes.cast_signed();
    // If the whole filter stays in L2, a task takes few rows and all panels, so the rows are read once; otherwise
    // as many rows as fit beside a panel, so that the filter is streamed as seldom as possible.
    let row_block = if filter_bytes <= l2 / 2 { 1 } else { (l2 / 2 / row_bytes).clamp(1, rows) };
    // Blocks of equal height.
    let row_block = (rows + (rows + row_block - 1) / row_block - 1) / ((rows + row_block - 1) / row_block);
    let row_blocks = (rows + row_block - 1) / row_block;
    let groups_wanted = (ENOUGH_TASKS + row_blocks - 1) / row_blocks;
    let panel_group = (panels / groups_wanted).max(1);
    Some(Plan { conv, tile, ic_block, rows, columns, flat, row_block, panel_group })
}

struct Emitter<'a> {
    r: &'a Request<'a>,
    plan: Plan,
    k: KernelBuilder,
    operands: Vec<Buf>,
    y: Buf,
}

/// Where the tile at hand is.
struct Position {
    image: Affine,
    panel: Affine,
    row: Affine,
    column: Affine,
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
        let (rows, columns) = (plan.rows, plan.columns);
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
        let runs = self.row().runs(i64::from(self.plan.tile.pixels));

        let count = |first: &Affine, most: i64, all: i64| min_of([Affine::constant(most), first * -1 + all]);
        let mut k = std::mem::replace(&mut self.k, KernelBuilder::new(""));
        k.for_(0, count(&first_panel, self.plan.panel_group, panels), |k, panel| {
            let panel = &first_panel + panel;
            k.for_(0, count(&first_row, row_block, rows), |k, row| {
                let row = &first_row + row;
                for run in &runs {
                    run.for_each(k, |k, column| {
                        let at = Position {
                            image: image.clone(),
                            panel: panel.clone(),
                            row: row.clone(),
                            column: column.clone(),
                        };
                        self.tile(k, run, &at);
                    });
                }
            });
        });
        k.finish()
    }

    fn row(&self) -> Row {
        let (c, p) = (&self.r.ctx, &self.plan);
        Row {
            outputs: p.columns,
            inputs: if p.flat { p.columns } else { c.operands[0].dims[3] },
            taps: c.operands[1].dims[3],
            stride: p.conv.stride[1].cast_signed(),
            pad: p.conv.pad[1].cast_signed(),
            dilation: p.conv.dilation[1].cast_signed(),
        }
    }

    /// One register tile: start values, reduction, epilogue, stores.
    fn tile(&self, k: &mut KernelBuilder, run: &Run, at: &Position) {
        let (block, lanes) = (self.r.block(), self.r.target.block);
        let blocks = i64::from(self.plan.tile.blocks);
        let channel = |b: i64| (&at.panel * blocks + b) * block;
        let biases: Vec<Reg> =
            (0..blocks).map(|b| epilogue::start(k, self.r.ctx, &self.operands, &channel(b), lanes)).collect();
        let start: Vec<Reg> = (0..run.pixels).flat_map(|_| biases.iter().copied()).collect();
        let sums = self.reduce(k, run, at, start);
        for b in 0..blocks {
            for p in 0..run.pixels {
                let sum = sums[(p * blocks + b) as usize];
                let index =
                    [at.image.clone(), &at.panel * blocks + b, at.row.clone(), &at.column + p, Affine::constant(0)];
                let target = At { channel: channel(b), index: &index, lanes };
                let v = epilogue::finish(k, self.r.ctx, &self.operands, &target, sum);
                k.store(self.y, &index, v);
            }
        }
    }

    fn reduce(&self, k: &mut KernelBuilder, run: &Run, at: &Position, start: Vec<Reg>) -> Vec<Reg> {
        let (x, w, conv) = (&self.r.ctx.operands[0], &self.r.ctx.operands[1], &self.plan.conv);
        let channel_blocks = x.dims[1] / self.plan.ic_block;
        if w.dims[2] == 1 && conv.pad == [0; 4] {
            return k.for_carry(0, channel_blocks, &start, |k, c, sums| {
                let row = &at.row * conv.stride[0].cast_signed();
                self.taps(k, run, at, &c, &Affine::constant(0), &row, sums)
            });
        }
        let tap = Tap::new(&at.row, conv.stride[0], conv.pad[0], conv.dilation[0], x.dims[2], w.dims[2]);
        k.for_carry(0, channel_blocks, &start, |k, c, sums| {
            k.for_carry(max_of(tap.lo.clone()), min_of(tap.hi.clone()), sums, |k, r, sums| {
                self.taps(k, run, at, &c, &r, &tap.at(&r), sums)
            })
        })
    }

    /// The unrolled part: all columns of filter row `r`, all channels of block `c`, on input row `row`.
    fn taps(
        &self,
        k: &mut KernelBuilder,
        run: &Run,
        at: &Position,
        c: &Affine,
        r: &Affine,
        row: &Affine,
        sums: &[Reg],
    ) -> Vec<Reg> {
        let (geometry, blocks) = (self.row(), i64::from(self.plan.tile.blocks));
        let (block, lanes) = (self.r.block(), self.r.target.block);
        let zero = || Affine::constant(0);
        let mut sums = sums.to_vec();
        // Opaque for the compile time alone: LLVM's loop strength reduction weighs every address against every other.
        let weights = k.view(self.operands[1], &[at.panel.clone(), c.clone(), r.clone(), zero(), zero(), zero()], true);
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
