//! Gradient of a convolution's filter on blocked images: register tiles of filter taps × channel blocks, with the pixels
//! as the dimension that is summed.
//!
//! The taps of a filter row and the channels of a block are neighbours in a row of the image: (tap, channel) pairs,
//! cut into tiles. For each pixel of the gradient a tile loads B vectors of output channels, broadcasts its pairs, and
//! multiplies each with each. Rows are blocked so that image and gradient stay in L1 while filter rows and tiles pass
//! over them; the sums of a block start from zero, and are added to the task's part of the filter in scratch memory:
//! short sums round less.
//!
//! - Taps in the padding are skipped: rows by loop bounds, the first and last columns as variants with fewer pairs.
//! - The batch is cut into the parts that the op asks for; a task takes one of them, some panels of output channels and
//!   some strips of input channels. So the order of additions is fixed whoever runs it.
//! - A 1×1 filter has only the channels for pairs: several blocks of them make a strip.
//! - An image with fewer channels than a block (the stem) is read in plain layout.

use super::register_tile::Scalars;
use super::tiling::{self, Row};
use super::{Offer, Request, vector_cost_ns};
use ir::entity::{Buf, Reg};
use ir::kernel::build::{max_of, min_of};
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::ops::conv2d::Conv2d;
use ir::ops::splits::images_per_split;
use ir::{DType, Kernel, Layout};

/// Tasks that are enough to share work evenly among a handful of workers.
const ENOUGH_TASKS: i64 = 16;
/// Rows up to this long are unrolled whole; of longer ones so many pixels at a time.
const SHORT_ROW: i64 = 8;
const UNROLLED: i64 = 4;

pub fn offers(r: &Request) -> Vec<Offer> {
    let Some(blocking) = Blocking::new(r) else { return Vec::new() };
    let blocked = Layout::Blocked(r.target.block);
    let x = if blocking.is_plain { Layout::Plain } else { blocked };
    vec![Offer { operands: vec![x, blocked], result: Layout::Plain, cost_ns: vector_cost_ns(r) }]
}

pub fn build(r: &Request) -> Option<Kernel> {
    let (k, emitter) = Emitter::new(r, Blocking::new(r)?);
    Some(emitter.emit(k))
}

/// One element of a strip that is broadcast: channel block in the strip, channel in the block, filter column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    block: i64,
    channel: i64,
    tap: i64,
}

/// What is decided before code is built.
struct Blocking {
    conv: Conv2d,
    /// Whether the image is read in plain layout.
    is_plain: bool,
    /// Geometry of a row of outputs.
    row: Row,
    /// Channel blocks of the gradient in a register tile, and so many panels of them.
    blocks: i64,
    panels: i64,
    /// Input channels of a strip, and so many strips.
    strip_channels: i64,
    strips: i64,
    /// The strip, cut into register tiles.
    tiles: Vec<Vec<Pair>>,
    /// Rows of outputs that are summed before the next pairs.
    row_block: i64,
    /// Panels and strips of a task.
    task_panels: i64,
    task_strips: i64,
}

impl Blocking {
    fn new(r: &Request) -> Option<Blocking> {
        let conv = Conv2d::of(r.ctx.attrs);
        let (&[_, ic, h, w], &[_, oc, p, q]) = (&r.ctx.operands[0].dims[..], &r.ctx.operands[1].dims[..]) else {
            return None;
        };
        let &[splits, _, _, rows, taps] = &r.ctx.results[0].dims[..] else { return None };
        let block = r.block();
        if conv.groups != 1 || oc % block != 0 || (ic % block != 0 && ic >= block) || taps > tiling::MOST_TAPS {
            return None;
        }
        let is_plain = ic % block != 0;
        let tile = tiling::pick_tile(r.target, oc / block, 2)?;
        let blocks = i64::from(tile.blocks);
        let panels = oc / block / blocks;
        // A row of one tap is short; several blocks of channels fill the tiles.
        let blocks_of_strip = match ic / block {
            n if taps == 1 && !is_plain => [3, 2, 1].into_iter().find(|b| n % b == 0)?,
            _ => 1,
        };
        let pair = |block, channel, tap| Pair { block, channel, tap };
        let (pairs, strip_channels): (Vec<Pair>, i64) = if is_plain {
            ((0..ic).flat_map(|c| (0..taps).map(move |t| pair(0, c, t))).collect(), ic)
        } else {
            let of_block = |b| (0..taps).flat_map(move |t| (0..block).map(move |c| pair(b, c, t)));
            ((0..blocks_of_strip).flat_map(of_block).collect(), blocks_of_strip * block)
        };
        let strips = ic / strip_channels;
        let widest = i64::from(tile.pixels);
        let mut rest = &pairs[..];
        let mut tiles = Vec::new();
        for width in tiling::split(pairs.len() as i64, widest) {
            let (tile, others) = rest.split_at(width as usize);
            tiles.push(tile.to_vec());
            rest = others;
        }
        let row = Row {
            outputs: q,
            inputs: w,
            taps,
            stride: conv.stride[1].cast_signed(),
            pad: conv.pad[1].cast_signed(),
            dilation: conv.dilation[1].cast_signed(),
        };
        // Image and gradient of a block of rows share L1 with the sums.
        let row_bytes = (conv.stride[0].cast_signed().min(h) * w * strip_channels + q * blocks * block) * 4;
        let row_block = (r.target.l1_bytes.cast_signed() * 2 / 3 / row_bytes).clamp(1, p.min(h));
        let row_block = tiling::split(p, row_block)[0];
        // The sums of a task stay in a part of L2. Each group of panels reads the image again, each of strips the gradient.
        let bytes = pairs.len() as i64 * rows * blocks * block * 4;
        let most = (r.target.l2_bytes.cast_signed() / 8 / bytes).max(1);
        let groups = |all: i64, each: i64| (all + each - 1) / each;
        let even = |all: i64| (1..=all).map(move |most| tiling::split(all, most)[0]);
        let enough = (splits * panels * strips).min(ENOUGH_TASKS);
        let (task_panels, task_strips) = even(panels)
            .flat_map(|a| even(strips).map(move |b| (a, b)))
            .filter(|&(a, b)| a * b <= most && splits * groups(panels, a) * groups(strips, b) >= enough)
            .min_by_key(|&(a, b)| (groups(panels, a) * ic * h * w + groups(strips, b) * oc * p * q, b))?;
        Some(Blocking {
            conv,
            is_plain,
            row,
            blocks,
            panels,
            strip_channels,
            strips,
            tiles,
            row_block,
            task_panels,
            task_strips,
        })
    }
}

/// Where a block of rows is summed.
struct Place<'a> {
    image: &'a Affine,
    /// Panel and strip of the filter, and the same counted in the task.
    panel: Affine,
    strip: Affine,
    local: [&'a Affine; 2],
    /// Row of the filter.
    tap: &'a Affine,
    first_row: &'a Affine,
}

struct Emitter<'a> {
    r: &'a Request<'a>,
    blocking: Blocking,
    x: Buf,
    g: Buf,
    dw: Buf,
    sums: Buf,
}

impl<'a> Emitter<'a> {
    fn new(r: &'a Request<'a>, blocking: Blocking) -> (KernelBuilder, Emitter<'a>) {
        let (x, g, dw) = (&r.ctx.operands[0], &r.ctx.operands[1], &r.ctx.results[0]);
        let mut k = KernelBuilder::new(format!(
            "grad{}x{}s{}_{}x{}_{}_{}",
            dw.dims[3], dw.dims[4], blocking.conv.stride[0], x.dims[2], x.dims[3], x.dims[1], g.dims[1]
        ));
        let pairs = blocking.tiles.iter().map(Vec::len).sum::<usize>() as i64;
        let shape = [blocking.task_panels, blocking.task_strips, dw.dims[3], pairs, blocking.blocks * r.block()];
        let x = k.param("x0", DType::F32, &x.physical(), Role::In);
        let g = k.param("x1", DType::F32, &g.physical(), Role::In);
        let dw = k.param("y", DType::F32, &dw.physical(), Role::Out);
        let sums = k.scratch("sums", DType::F32, &shape);
        (k, Emitter { r, blocking, x, g, dw, sums })
    }

    fn emit(self, mut k: KernelBuilder) -> Kernel {
        let p = &self.blocking;
        let dw = &self.r.ctx.results[0];
        let groups = |all: i64, each: i64| (all + each - 1) / each;
        let (panel_groups, strip_groups) = (groups(p.panels, p.task_panels), groups(p.strips, p.task_strips));
        let t = k.tasks(dw.dims[0] * panel_groups * strip_groups);
        let first_strip = t.modulo(strip_groups) * p.task_strips;
        let first_panel = t.floordiv(strip_groups).modulo(panel_groups) * p.task_panels;
        let split = t.floordiv(strip_groups).floordiv(panel_groups);
        let panels = min_of([Affine::constant(p.task_panels), &first_panel * -1 + p.panels]);
        let strips = min_of([Affine::constant(p.task_strips), &first_strip * -1 + p.strips]);
        self.clear(&mut k);
        let images = self.r.ctx.operands[0].dims[0];
        let part = images_per_split(images, dw.dims[0]);
        let first_image = &split * part;
        let rows = self.r.ctx.operands[1].dims[2];
        k.for_(0, min_of([Affine::constant(part), &first_image * -1 + images]), |k, n| {
            let image = &first_image + n;
            k.for_(0, groups(rows, p.row_block), |k, block| {
                let first_row = block * p.row_block;
                k.for_(0, panels.clone(), |k, panel| {
                    k.for_(0, strips.clone(), |k, strip| {
                        let add = |k: &mut KernelBuilder, tap: &Affine| {
                            let place = Place {
                                image: &image,
                                panel: &first_panel + &panel,
                                strip: &first_strip + &strip,
                                local: [&panel, &strip],
                                tap,
                                first_row: &first_row,
                            };
                            self.add_rows(k, &place);
                        };
                        match dw.dims[3] {
                            1 => add(k, &Affine::constant(0)),
                            taps => k.for_(0, taps, |k, tap| add(k, &tap)),
                        }
                    });
                });
            });
        });
        k.for_(0, panels, |k, panel| {
            k.for_(0, strips, |k, strip| {
                let at = [&first_panel + &panel, &first_strip + &strip];
                self.write(k, &split, at, [&panel, &strip]);
            });
        });
        k.finish()
    }

    fn clear(&self, k: &mut KernelBuilder) {
        let zero = k.constant(DType::F32, self.r.target.block, 0.0);
        let &[panels, strips, rows, pairs, _] = k.shape(self.sums) else {
            unreachable!("invariant: the sums have five dimensions");
        };
        k.for_(0, panels, |k, p| {
            k.for_(0, strips, |k, s| {
                k.for_(0, rows, |k, r| {
                    k.for_(0, pairs, |k, pair| {
                        for b in 0..self.blocking.blocks {
                            let at = [p.clone(), s.clone(), r.clone(), pair.clone(), (b * self.r.block()).into()];
                            k.store(self.sums, &at, zero);
                        }
                    });
                });
            });
        });
    }

    /// Moves the task's sums of one panel and strip to their places in the filter.
    fn write(&self, k: &mut KernelBuilder, split: &Affine, [panel, strip]: [Affine; 2], local: [&Affine; 2]) {
        let p = &self.blocking;
        let (width, rows) = (p.blocks * self.r.block(), self.r.ctx.results[0].dims[3]);
        let (channel_blocks, channels, taps) = match p.is_plain {
            true => (1, p.strip_channels, p.row.taps),
            false => (p.strip_channels / self.r.block(), self.r.block(), p.row.taps),
        };
        k.for_(0, width, |k, lane| {
            k.for_(0, channel_blocks, |k, block| {
                k.for_(0, channels, |k, channel| {
                    k.for_(0, rows, |k, r| {
                        for tap in 0..taps {
                            let pair = match p.is_plain {
                                true => &channel * taps + tap,
                                false => &block * (taps * channels) + (&channel + tap * channels),
                            };
                            let from = [local[0].clone(), local[1].clone(), r.clone(), pair, lane.clone()];
                            let v = k.load(self.sums, &from);
                            let c = &strip * p.strip_channels + (&block * channels + &channel);
                            let to = [split.clone(), &panel * width + &lane, c, r.clone(), tap.into()];
                            k.store(self.dw, &to, v);
                        }
                    });
                });
            });
        });
    }

    /// Sums one block of rows for all tiles of a strip and one filter row.
    fn add_rows(&self, k: &mut KernelBuilder, at: &Place) {
        let p = &self.blocking;
        let (x, g, dw) = (&self.r.ctx.operands[0], &self.r.ctx.operands[1], &self.r.ctx.results[0]);
        let window = p.conv.window(0, dw.dims[3].cast_unsigned());
        let rows = window.windows_inside(at.tap, x.dims[2], g.dims[2]);
        let lo = max_of(rows.lo.iter().cloned().chain([at.first_row.clone()]));
        let hi = min_of(rows.hi.iter().cloned().chain([at.first_row + p.row_block]));
        let (block, lanes) = (self.r.block(), self.r.target.block);
        let mut first = 0;
        for tile in &p.tiles {
            let zero = k.constant(DType::F32, lanes, 0.0);
            let start = vec![zero; tile.len() * p.blocks as usize];
            let sums = k.for_carry(lo.clone(), hi.clone(), &start, |k, i, sums| {
                self.add_row(k, at, tile, &i, &rows.at(&i), sums.to_vec())
            });
            for (n, &sum) in (0..).zip(&sums) {
                let (pair, b) = (first + n / p.blocks, n % p.blocks);
                let place = [at.local[0].clone(), at.local[1].clone(), at.tap.clone(), pair.into(), (b * block).into()];
                let before = k.load_vec(self.sums, lanes, &place);
                let sum = k.add(before, sum);
                k.store(self.sums, &place, sum);
            }
            first += tile.len() as i64;
        }
    }

    /// Adds output row `i`, which reads image row `row`.
    fn add_row(
        &self,
        k: &mut KernelBuilder,
        at: &Place,
        tile: &[Pair],
        i: &Affine,
        row: &Affine,
        mut sums: Vec<Reg>,
    ) -> Vec<Reg> {
        let geometry = &self.blocking.row;
        let is_live = |j: i64, t: &Pair| (0..geometry.inputs).contains(&geometry.column(j, t.tap));
        let is_whole = |j: i64| tile.iter().all(|t| is_live(j, t));
        let first = (0..geometry.outputs).find(|&j| is_whole(j)).unwrap_or(geometry.outputs);
        let end = (first..geometry.outputs).find(|&j| !is_whole(j)).unwrap_or(geometry.outputs);
        let border = |k: &mut KernelBuilder, columns: std::ops::Range<i64>, mut sums: Vec<Reg>| {
            for j in columns {
                let live: Vec<usize> = (0..tile.len()).filter(|&t| is_live(j, &tile[t])).collect();
                if !live.is_empty() {
                    self.add_pixels(k, at, tile, &live, i, row, &j.into(), 1, &mut sums);
                }
            }
            sums
        };
        let all: Vec<usize> = (0..tile.len()).collect();
        sums = border(k, 0..first, sums);
        let mut next = first;
        if end - first > SHORT_ROW {
            let steps = (end - first) / UNROLLED;
            sums = k.for_carry(0, steps, &sums, |k, step, sums| {
                let mut sums = sums.to_vec();
                let column = step * UNROLLED + first;
                self.add_pixels(k, at, tile, &all, i, row, &column, UNROLLED, &mut sums);
                sums
            });
            next += steps * UNROLLED;
        }
        if next < end {
            self.add_pixels(k, at, tile, &all, i, row, &next.into(), end - next, &mut sums);
        }
        border(k, end..geometry.outputs, sums)
    }

    /// Adds `count` neighbouring pixels from column `j` to the sums of the pairs in `live`.
    fn add_pixels(
        &self,
        k: &mut KernelBuilder,
        at: &Place,
        tile: &[Pair],
        live: &[usize],
        i: &Affine,
        row: &Affine,
        j: &Affine,
        count: i64,
        sums: &mut [Reg],
    ) {
        let p = &self.blocking;
        let (geometry, blocks, lanes) = (&p.row, p.blocks, self.r.target.block);
        let zero = || Affine::constant(0);
        let gradient = k.view(self.g, &[at.image.clone(), &at.panel * blocks, i.clone(), j.clone(), zero()], true);
        let blocks_of_strip = if p.is_plain { 1 } else { p.strip_channels / self.r.block() };
        let view = |k: &mut KernelBuilder, u: i64| {
            let column = (j + u) * geometry.stride - geometry.pad;
            let mut corner = vec![at.image.clone(), &at.strip * blocks_of_strip, row.clone(), column];
            corner.extend((!p.is_plain).then(zero));
            Scalars::new(k, self.r.target, self.x, &corner, blocks, true)
        };
        // Neighbouring pixels of one channel read the same elements by different taps.
        let overlaps = tile.iter().any(|a| tile.iter().any(|b| (a.block, a.channel) == (b.block, b.channel) && a != b));
        let mut pixels = view(k, 0);
        let mut base = 0;
        for u in 0..count {
            if u > 0 && overlaps {
                (pixels, base) = (view(k, u), u);
            }
            let d: Vec<Reg> = (0..blocks)
                .map(|b| k.load_vec(gradient, lanes, &[zero(), b.into(), zero(), u.into(), zero()]))
                .collect();
            for &t in live {
                let pair = tile[t];
                let column = Affine::constant((u - base) * geometry.stride + pair.tap * geometry.dilation);
                let index = match p.is_plain {
                    true => vec![zero(), pair.channel.into(), zero(), column],
                    false => vec![zero(), pair.block.into(), zero(), column, pair.channel.into()],
                };
                pixels.multiply_add(k, &index, &d, &mut sums[t * blocks as usize..]);
            }
        }
    }
}
