//! Gradient of a strided convolution's image on blocked images: one dense convolution of the gradient for each phase.
//!
//! Pixels of the image whose row and column leave the same remainders when divided by the strides are a phase. The taps
//! that reach them are every stride-th one, and for these the gradient is read at stride 1: of a 3×3 filter at stride 2
//! the four phases have 1, 2, 2 and 4 taps. No product with a zero is done, and each pixel is written once.
//!
//! A register tile is as in direct convolution: neighbouring pixels of a phase × channel blocks, which stay in registers
//! over the whole reduction. The filter comes flipped, so that its panels are read in the order of the sums.

use super::register_tile::Scalars;
use super::tiling::{self, Row, Run};
use super::{Offer, Request, vector_cost_ns};
use ir::entity::{Buf, Reg};
use ir::kernel::build::{max_of, min_of};
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::ops::conv2d::Conv2d;
use ir::target::Tile;
use ir::{DType, Kernel, Layout};

/// Tasks that are enough to share work evenly among a handful of workers.
const ENOUGH_TASKS: i64 = 16;

pub fn offers(r: &Request) -> Vec<Offer> {
    let Some(blocking) = Blocking::new(r) else { return Vec::new() };
    let blocked = Layout::Blocked(r.target.block);
    let filter = Layout::Filter { ic: r.target.block, oc: blocking.tile.blocks * r.target.block };
    vec![Offer { operands: vec![blocked, filter], result: blocked, cost_ns: vector_cost_ns(r) }]
}

pub fn build(r: &Request) -> Option<Kernel> {
    Some(emit(r, &Blocking::new(r)?))
}

/// What is decided before code is built.
struct Blocking {
    tile: Tile,
    /// Phases along the rows and along the columns.
    phases: [Vec<Phase>; 2],
    /// Panels of channels and rows of each phase that a task covers.
    task_panels: i64,
    task_rows: i64,
}

/// The pixels of one remainder along an axis, and the gradient that they read: `row.outputs` pixels, `row.taps` taps.
struct Phase {
    /// First pixel, and distance of the pixels.
    first: i64,
    step: i64,
    row: Row,
    /// First tap in the flipped filter; the others follow at distance `step`.
    tap: i64,
}

impl Phase {
    /// All phases of an axis of `pixels` pixels, which a filter of `taps` taps has made `gradients` of.
    fn all(conv: &Conv2d, axis: usize, [pixels, gradients, taps]: [i64; 3]) -> Vec<Phase> {
        let (step, pad) = (conv.stride[axis].cast_signed(), conv.pad[axis].cast_signed());
        let of = |first: i64| {
            // Tap t of the filter joins gradient i and pixel i·step + t − pad.
            let least = (first + pad) % step;
            let count = (taps - least + step - 1).div_euclid(step).max(0);
            let row = Row {
                outputs: (pixels - first + step - 1) / step,
                inputs: gradients,
                taps: count,
                stride: 1,
                pad: count - 1 - (first + pad - least) / step,
                dilation: 1,
            };
            Phase { first, step, row, tap: taps - 1 - least - step * (count - 1) }
        };
        (0..step.min(pixels)).map(of).collect()
    }
}

impl Blocking {
    fn new(r: &Request) -> Option<Blocking> {
        let conv = Conv2d::of(r.ctx.attrs);
        let (&[_, oc, p, q], &[_, _, rows, columns]) = (&r.ctx.operands[0].dims[..], &r.ctx.operands[1].dims[..])
        else {
            return None;
        };
        let &[images, ic, h, w] = &r.ctx.results[0].dims[..] else { return None };
        let block = r.block();
        let is_usual = conv.groups == 1 && conv.dilation == [1, 1] && columns <= tiling::MOST_TAPS;
        if !is_usual || oc % block != 0 || ic % block != 0 {
            return None;
        }
        let tile = tiling::pick_tile(r.target, ic / block, 0)?;
        let panels = ic / block / i64::from(tile.blocks);
        let phases = [Phase::all(&conv, 0, [h, p, rows]), Phase::all(&conv, 1, [w, q, columns])];
        // A filter that stays in L2 is shared by all panels of an image; of others a panel is used by all images.
        let is_resident = ic * oc * rows * columns * 4 <= r.target.l2_bytes.cast_signed() / 2;
        let task_panels = if is_resident { panels } else { 1 };
        let most = phases[0].iter().map(|f| f.row.outputs).max()?;
        let wanted = (ENOUGH_TASKS + images - 1) / images;
        Some(Blocking { tile, task_rows: (most + wanted - 1) / wanted, phases, task_panels })
    }
}

fn emit(r: &Request, blocking: &Blocking) -> Kernel {
    let (g, f, dx) = (&r.ctx.operands[0], &r.ctx.operands[1], &r.ctx.results[0]);
    let stride = blocking.phases[0].len();
    let name =
        format!("gradx{}x{}s{stride}_{}x{}_{}_{}", f.dims[2], f.dims[3], dx.dims[2], dx.dims[3], dx.dims[1], g.dims[1]);
    let mut k = KernelBuilder::new(name);
    let gradient = k.param("x0", DType::F32, &g.physical(), Role::In);
    let filter = k.param("x1", DType::F32, &f.physical(), Role::In);
    let y = k.param("y", DType::F32, &dx.physical(), Role::Out);
    let panels = f.physical()[0];
    let most = blocking.phases[0].iter().map(|f| f.row.outputs).max().unwrap_or(1);
    let (row_blocks, groups) = ((most + blocking.task_rows - 1) / blocking.task_rows, panels / blocking.task_panels);
    let t = k.tasks(dx.dims[0] * groups * row_blocks);
    let image = t.floordiv(row_blocks).modulo(dx.dims[0]);
    let group = t.floordiv(row_blocks).floordiv(dx.dims[0]);
    let first_row = t.modulo(row_blocks) * blocking.task_rows;
    let e = Emitter { r, blocks: blocking.tile.blocks.into(), gradient, filter, y };
    k.for_(0, blocking.task_panels, |k, panel| {
        let panel = &group * blocking.task_panels + panel;
        for rows in &blocking.phases[0] {
            let here = min_of([Affine::constant(blocking.task_rows), &first_row * -1 + rows.row.outputs]);
            k.for_(0, here, |k, row| {
                let row = &first_row + row;
                for columns in &blocking.phases[1] {
                    for run in columns.row.runs(blocking.tile.pixels.into()) {
                        run.for_each(k, |k, _, column| {
                            let at = At { image: &image, panel: &panel, row: &row, column, rows, columns, run: &run };
                            e.tile(k, &at);
                        });
                    }
                }
            });
        }
    });
    k.finish()
}

/// A register tile at its place: row and first column count pixels of the phase.
struct At<'a> {
    image: &'a Affine,
    panel: &'a Affine,
    row: &'a Affine,
    column: &'a Affine,
    rows: &'a Phase,
    columns: &'a Phase,
    run: &'a Run,
}

struct Emitter<'a> {
    r: &'a Request<'a>,
    /// Channel blocks of a register tile.
    blocks: i64,
    gradient: Buf,
    filter: Buf,
    y: Buf,
}

impl Emitter<'_> {
    fn tile(&self, k: &mut KernelBuilder, at: &At) {
        let zero = k.constant(DType::F32, self.r.target.block, 0.0);
        let mut sums = vec![zero; (at.run.pixels * self.blocks) as usize];
        let rows = &at.rows.row;
        if rows.taps > 0 && at.columns.row.taps > 0 {
            let channel_blocks = self.r.ctx.operands[0].dims[1] / self.r.block();
            sums = k.for_carry(0, channel_blocks, &sums, |k, c, sums| {
                // Taps of rows outside the gradient are left out.
                let lo = max_of([Affine::constant(0), at.row * -1 + rows.pad]);
                let hi = min_of([Affine::constant(rows.taps), at.row * -1 + (rows.inputs + rows.pad)]);
                if rows.pad <= 0 && rows.outputs + rows.taps - 1 - rows.pad <= rows.inputs {
                    let each = |sums, t: i64| self.taps(k, at, &c, &t.into(), sums);
                    return (0..rows.taps).fold(sums.to_vec(), each);
                }
                k.for_carry(lo, hi, sums, |k, t, sums| self.taps(k, at, &c, &t, sums.to_vec()))
            });
        }
        for p in 0..at.run.pixels {
            for b in 0..self.blocks {
                let row = at.row * at.rows.step + at.rows.first;
                let column = (at.column + p) * at.columns.step + at.columns.first;
                let index = [at.image.clone(), at.panel * self.blocks + b, row, column, 0.into()];
                k.store(self.y, &index, sums[(p * self.blocks + b) as usize]);
            }
        }
    }

    /// The unrolled part: all columns of tap `t` of the rows, all channels of block `c` of the gradient.
    fn taps(&self, k: &mut KernelBuilder, at: &At, c: &Affine, t: &Affine, mut sums: Vec<Reg>) -> Vec<Reg> {
        let (block, lanes) = (self.r.block(), self.r.target.block);
        let zero = || Affine::constant(0);
        let (rows, columns) = (at.rows, at.columns);
        let row = t * rows.step + rows.tap;
        let weights = k.view(self.filter, &[at.panel.clone(), c.clone(), row, zero(), zero(), zero()], true);
        for s in 0..columns.row.taps {
            let live: Vec<i64> = (0..at.run.pixels).filter(|&p| !at.run.skip.contains(&(p, s))).collect();
            if live.is_empty() {
                continue;
            }
            let corner = [at.image.clone(), c.clone(), at.row + t - rows.row.pad, at.column + columns.row.column(0, s)];
            let corner: Vec<Affine> = corner.into_iter().chain([zero()]).collect();
            let pixels = Scalars::new(k, self.r.target, self.gradient, &corner, self.blocks, columns.row.taps > 1);
            let tap = s * columns.step + columns.tap;
            for i in 0..block {
                let w: Vec<Reg> = (0..self.blocks)
                    .map(|b| {
                        let index = [zero(), zero(), zero(), tap.into(), i.into(), (b * block).into()];
                        k.load_vec(weights, lanes, &index)
                    })
                    .collect();
                for &p in &live {
                    let sums = &mut sums[(p * self.blocks) as usize..];
                    pixels.multiply_add(k, &[zero(), zero(), zero(), p.into(), i.into()], &w, sums);
                }
            }
        }
        sums
    }
}
