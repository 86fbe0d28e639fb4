//! `winograd_grad_weight`: dw[k] = Gᵀ[Σ (Bᵀ x B)·(A g Aᵀ)]G over all tiles of part k of the images: what
//! `conv2d_grad_weight` gives for a 3×3 filter at stride 1 padded by 1, from a quarter of its products (Winograd's F(3,4)).
//!
//! x: [N,C,H,W]; g: [N,O,H,W]; dw: [splits, O, C, 3, 3]; parts as in `conv2d_grad_weight`. For each point the sum over the
//! tiles of some strips is a matrix product, which is added to the sums of the part.

use super::common;
use super::splits::{self, SPLITS, images_per_split};
use super::winograd::{COLUMNS, Grid, Matrix, ROWS, STRIP, Stride, columns_times, rows_times, spaced};
use super::winograd_input::{self, At, Transform, clear};
use super::winograd_output::for_tiles;
use crate::entity::{Buf, Reg};
use crate::grad::Gradient;
use crate::kernel::build::{LINE, min_of};
use crate::kernel::{Affine, Kernel, KernelBuilder};
use crate::op::{AttrDef, AttrKind, Body, BodyCtx, Cost, OpCtx, OpDef, Problem, Properties};
use crate::types::{DType, TensorType};

/// As of the other Winograd ops, for their grid; a filter's gradient is taken at stride 1 alone.
const STRIDE: AttrDef =
    AttrDef { name: "stride", kind: AttrKind::Pair, default: Some("1x1"), doc: "1x1: no other is computed" };

pub const WINOGRAD_GRAD_WEIGHT: OpDef = OpDef {
    name: "winograd_grad_weight",
    doc: "dw = G^T [sum over tiles of (B^T x B) * (A g A^T)] G over part k of the images",
    operands: &["x", "g"],
    properties: Properties::NONE,
    attrs: &[STRIDE, ROWS, COLUMNS, STRIP, SPLITS],
    shape,
    cost,
    body: Body::Loops(|ctx| {
        let channels = [0, 1].map(|i| ctx.operands[i].dims[1]);
        kernel(ctx, &Tiling { lanes: 1, pixels: 1, blocks: 1, together: 1, channels })
    }),
    grad: Gradient::None("made by passes, after gradients are taken"),
};

fn shape(ctx: &OpCtx) -> Result<Vec<TensorType>, Problem> {
    let grid = Grid::of(ctx.attrs)?;
    if grid.stride != Stride::One {
        return Err(common::bad_attr("the gradient of a filter has stride=1x1"));
    }
    let ([c, h, w], [o, ..]) = (common::image(ctx, 0)?, common::image(ctx, 1)?);
    winograd_input::tiles(ctx, &grid, c)?;
    common::equal(ctx, 1, &common::image_like_first(ctx, [o, h, w]))?;
    let splits = splits::count(ctx.attrs)?;
    let shape = [splits.into(), o.into(), c.into(), 3.into(), 3.into()];
    Ok(vec![TensorType::new(ctx.operands[0].dtype, shape)])
}

/// The multiply-adds between the transforms.
fn cost(ctx: &OpCtx) -> Cost {
    let [x, g] = [0, 1].map(|i| ctx.operands[i].dims(ctx.batch));
    let products = Grid::of(ctx.attrs).map_or(0, |g| g.products().cast_unsigned());
    Cost { macs: x[0] * products * x[1] * g[1], ..common::memory_cost(ctx) }
}

/// How the kernel is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Channels of a vector: 1, or the block of both images.
    pub lanes: u32,
    /// Register tile of the products: input channels × vectors of output channels.
    pub pixels: i64,
    pub blocks: i64,
    /// Strips whose tiles are summed before they are added to the sums of the part, whose strips they divide.
    pub together: i64,
    /// Input and output channels of a task; they divide those of the filter.
    pub channels: [i64; 2],
}

/// The kernel: a task computes some input and output channels of a part.
pub fn kernel(ctx: &BodyCtx, tiling: &Tiling) -> Kernel {
    let grid =
        Grid::of(ctx.attrs).unwrap_or_else(|p| unreachable!("invariant: the shape rule has checked {}", p.message));
    let (x, dw) = (&ctx.operands[0], &ctx.results[0]);
    let &[splits, outputs, channels, ..] = &dw.dims[..] else {
        unreachable!("invariant: the shape rule gives five dimensions");
    };
    let (images, block, dtype) = (x.dims[0], i64::from(tiling.lanes), dw.dtype);
    let ([rows, columns], own) = (grid.points(), tiling.channels);
    let mut k = KernelBuilder::new(format!("winograd_grad_{}x{}_{channels}_{outputs}", grid.height(), grid.width()));
    let (ins, y) = common::params(&mut k, ctx);
    let mut tiles_of = |name: &str, channels: i64| {
        k.scratch(name, dtype, &spaced([tiling.together, 1, rows * columns, channels / block, grid.tiles(), block]))
    };
    let (v, w) = (tiles_of("tiles", own[0]), tiles_of("gradients", own[1]));
    let sums = k.scratch("sums", dtype, &[rows * columns, own[0], own[1]]);
    let transform = Transform::new(&mut k, ctx, &Stride::input_matrix, &grid, [ins[0], v], tiling.lanes);
    let spread = Spread::new(&mut k, ctx, &grid, [ins[1], w], tiling.lanes);

    let digits = common::tasks_over(&mut k, &[splits, channels / own[0], outputs / own[1]]);
    let [split, channel, output] = &digits[..] else { unreachable!("invariant: three digits") };
    let first_channel = [channel * own[0], output * own[1]];
    let first_block = [channel * (own[0] / block), output * (own[1] / block)];
    let e = Emitter { tiling: *tiling, points: [rows, columns], first_channel, v, w, sums, dtype };
    let (part, strips) = (images_per_split(images, splits), grid.strips());
    let first = split * part;
    let groups = match tiling.together {
        1 => min_of([Affine::constant(part * strips), (&first * -1 + images) * strips]),
        n => (part * strips / n).into(),
    };
    e.clear(&mut k);
    [v, w].into_iter().for_each(|tiles| clear(&mut k, &grid, tiles, dtype, tiling.lanes));
    k.for_(0, groups, |k, group| {
        let number = &first * strips + &group * tiling.together;
        k.for_(0, tiling.together, |k, local| {
            let (image, strip) = ((&number + &local).floordiv(strips), (&number + &local).modulo(strips));
            let (image, strip, zero) = (&image, &strip, &Affine::constant(0));
            k.for_(0, own[0] / block, |k, b| {
                let channel_block = &(&first_block[0] + &b);
                transform.strip(k, &At { image, strip, channel_block, lane: zero, place: [&local, zero, &b] });
            });
            k.for_(0, own[1] / block, |k, b| {
                let channel_block = &(&first_block[1] + &b);
                spread.strip(k, &At { image, strip, channel_block, lane: zero, place: [&local, zero, &b] });
            });
        });
        let next = number + tiling.together;
        let ahead = [0, 1].map(|i| {
            let (buf, first_block, blocks) = (ins[i], first_block[i].clone(), own[i] / block);
            Ahead { buf, first_block, blocks, next: next.clone(), together: tiling.together, grid: &grid, block }
        });
        e.add_products(k, grid.tiles(), &ahead);
    });
    e.write(&mut k, y, split);
    k.finish()
}

/// The strips of an operand that come next, which the register tiles fetch while they compute: a transform alone waits for
/// memory.
struct Ahead<'a> {
    buf: Buf,
    first_block: Affine,
    blocks: i64,
    /// Number of the first strip, and how many.
    next: Affine,
    together: i64,
    grid: &'a Grid,
    block: i64,
}

impl Ahead<'_> {
    /// Fetches the part of register tile `number` of `of`.
    fn fetch(&self, k: &mut KernelBuilder, number: &Affine, of: i64) {
        let (grid, strips) = (self.grid, self.grid.strips());
        let rows = if strips > 1 { grid.strip * grid.rows[0] } else { grid.height() };
        // Whole lines.
        let of_block = (rows * grid.width() * self.block + LINE - 1) / LINE * LINE;
        let between = k.shape(self.buf).len() - 4;
        k.prefetch_part(self.buf, self.together * self.blocks * of_block, number, of, |element| {
            let strip = &self.next + element.floordiv(self.blocks * of_block);
            let block = &self.first_block + element.floordiv(of_block).modulo(self.blocks);
            let row = strip.modulo(strips) * rows;
            let place = vec![strip.floordiv(strips), block, row];
            [place, vec![0.into(); between], vec![element.modulo(of_block)]].concat()
        });
    }
}

struct Emitter {
    tiling: Tiling,
    points: [i64; 2],
    /// First input and output channel of the task.
    first_channel: [Affine; 2],
    v: Buf,
    w: Buf,
    /// [points, input channels, output channels] of the task
    sums: Buf,
    dtype: DType,
}

impl Emitter {
    fn block(&self) -> i64 {
        self.tiling.lanes.into()
    }

    fn clear(&self, k: &mut KernelBuilder) {
        let zero = k.constant(self.dtype, self.tiling.lanes, 0.0);
        let [channels, outputs] = self.tiling.channels;
        k.for_(0, self.points[0] * self.points[1], |k, point| {
            k.for_(0, channels, |k, c| {
                k.for_(0, outputs / self.block(), |k, o| {
                    k.store(self.sums, &[point.clone(), c.clone(), o * self.block()], zero);
                });
            });
        });
    }

    /// Adds the products of the tiles at hand.
    fn add_products(&self, k: &mut KernelBuilder, tiles: i64, ahead: &[Ahead; 2]) {
        let ([channels, outputs], width) = (self.tiling.channels, self.tiling.blocks * self.block());
        let panels = outputs / width;
        k.for_(0, self.points[0] * self.points[1], |k, point| {
            k.for_(0, panels, |k, panel| {
                // Equal register tiles; a vector's channels are unrolled, so that none needs a division.
                let count = (channels + self.tiling.pixels - 1) / self.tiling.pixels;
                if self.tiling.pixels == 1 {
                    k.for_(0, channels, |k, c| {
                        let block = [(c.clone().floordiv(self.block()), c.clone().modulo(self.block()))];
                        self.register_tile(k, tiles, [&point, &panel], &c, &block);
                    });
                    return;
                }
                let mut first = 0;
                for i in 0..count {
                    let number = (&point * panels + &panel) * count + i;
                    let of = self.points[0] * self.points[1] * panels * count;
                    ahead.iter().for_each(|a| a.fetch(k, &number, of));
                    let pixels = channels / count + i64::from(i < channels % count);
                    let places: Vec<(Affine, Affine)> = (first..first + pixels)
                        .map(|c| ((c / self.block()).into(), (c % self.block()).into()))
                        .collect();
                    self.register_tile(k, tiles, [&point, &panel], &first.into(), &places);
                    first += pixels;
                }
            });
        });
    }

    /// Channels from `first`, at `places` among the tiles, times a panel of output channels.
    fn register_tile(
        &self,
        k: &mut KernelBuilder,
        tiles: i64,
        [point, panel]: [&Affine; 2],
        first: &Affine,
        places: &[(Affine, Affine)],
    ) {
        let Tiling { lanes, blocks, together, .. } = self.tiling;
        let zero = || Affine::constant(0);
        let start = vec![k.constant(self.dtype, lanes, 0.0); places.len() * blocks as usize];
        let sums = k.for_carry(0, together, &start, |k, image, sums| {
            k.for_carry(0, tiles, sums, |k, tile, sums| {
                let mut sums = sums.to_vec();
                let w: Vec<Reg> = (0..blocks)
                    .map(|b| {
                        let at = [image.clone(), zero(), point.clone(), panel * blocks + b, tile.clone(), zero()];
                        k.load_vec(self.w, lanes, &at)
                    })
                    .collect();
                for (i, (block, lane)) in places.iter().enumerate() {
                    let at = [image.clone(), zero(), point.clone(), block.clone(), tile.clone(), lane.clone()];
                    let v = k.load(self.v, &at);
                    let v = if lanes > 1 { k.splat(v, lanes) } else { v };
                    for (b, &w) in w.iter().enumerate() {
                        let sum = &mut sums[i * blocks as usize + b];
                        *sum = k.fma(v, w, *sum);
                    }
                }
                sums
            })
        });
        for (i, sums) in (0..).zip(sums.chunks(blocks as usize)) {
            for (b, &sum) in (0..).zip(sums) {
                let at = [point.clone(), first + i, (panel * blocks + b) * self.block()];
                let before = k.load_vec(self.sums, lanes, &at);
                let sum = k.add(before, sum);
                k.store(self.sums, &at, sum);
            }
        }
    }

    /// Gᵀ(sums)G to part `split` of the result.
    fn write(&self, k: &mut KernelBuilder, y: Buf, split: &Affine) {
        let [channels, outputs] = self.tiling.channels;
        let lanes = self.tiling.lanes;
        let [rows, columns] = self.points.map(|n| -> Matrix {
            (0..3).map(|tap| (0..n).map(|i| Stride::One.filter_row(i as usize)[tap]).collect()).collect()
        });
        let taps = k.scratch("taps", self.dtype, &[9, self.block()]);
        k.for_(0, channels, |k, c| {
            k.for_(0, outputs / self.block(), |k, o| {
                let first = &o * self.block();
                let by_columns: Vec<Vec<Reg>> = (0..self.points[1])
                    .map(|j| {
                        let load = |i: i64| {
                            let point = Affine::constant(i * self.points[1] + j);
                            k.load_vec(self.sums, lanes, &[point, c.clone(), first.clone()])
                        };
                        let column: Vec<Reg> = (0..self.points[0]).map(load).collect();
                        columns_times(k, &rows, &column)
                    })
                    .collect();
                for r in 0..3 {
                    let row: Vec<Reg> = by_columns.iter().map(|c| c[r]).collect();
                    for (q, v) in (0..).zip(columns_times(k, &columns, &row)) {
                        k.store(taps, &[Affine::constant(3 * r as i64 + q), 0.into()], v);
                    }
                }
                k.for_(0, self.block(), |k, lane| {
                    for tap in 0..9 {
                        let v = k.load(taps, &[tap.into(), lane.clone()]);
                        let (o, c) = (&self.first_channel[1] + (&first + &lane), &self.first_channel[0] + &c);
                        let to = [split.clone(), o, c, (tap / 3).into(), (tap % 3).into()];
                        k.store(y, &to, v);
                    }
                });
            });
        });
    }
}

/// A g Aᵀ of strips of operand 1.
struct Spread<'a> {
    ctx: &'a BodyCtx<'a>,
    grid: &'a Grid,
    g: Buf,
    out: Buf,
    /// A g, before the columns are transformed.
    half: Buf,
    lanes: u32,
}

impl<'a> Spread<'a> {
    fn new(k: &mut KernelBuilder, ctx: &'a BodyCtx<'a>, grid: &'a Grid, [g, out]: [Buf; 2], lanes: u32) -> Spread<'a> {
        let [i, j] = grid.points();
        let half = k.scratch("half_gradient", ctx.operands[1].dtype, &[i * j, i64::from(lanes)]);
        Spread { ctx, grid, g, out, half, lanes }
    }

    /// Transforms a block of channels.
    fn strip(&self, k: &mut KernelBuilder, at: &At) {
        let (g, dtype) = (&self.ctx.operands[1], self.ctx.operands[1].dtype);
        for_tiles(k, self.grid, at.strip, &mut |k, tile| {
            let sizes = [tile.rows.size, tile.columns.size];
            let [by_rows, by_columns] = sizes.map(|m| transposed(&Stride::One.output_matrix(m)));
            let zero = k.constant(dtype, self.lanes, 0.0);
            for c in 0..sizes[1] {
                let load = |r: i64| {
                    let channel = at.channel_block * i64::from(self.lanes);
                    let index = g.at(&[at.image.clone(), channel, &tile.row + r, &tile.column + c]);
                    Some(k.load_vec(self.g, self.lanes, &index))
                };
                let column: Vec<Option<Reg>> = (0..sizes[0]).map(load).collect();
                for (i, v) in (0..).zip(rows_times(k, &by_rows, &column)) {
                    k.store(self.half, &[Affine::constant(i * sizes[1] + c), 0.into()], v.unwrap_or(zero));
                }
            }
            // Opaque, as in the transform of the input.
            let half = k.view(self.half, &[0.into(), 0.into()], true);
            let [rows, columns] = self.grid.points();
            for i in 0..rows {
                let mut vs = vec![None; columns as usize];
                if i < by_rows.len() as i64 {
                    let load =
                        |c: i64| Some(k.load_vec(half, self.lanes, &[Affine::constant(i * sizes[1] + c), 0.into()]));
                    let row: Vec<Option<Reg>> = (0..sizes[1]).map(load).collect();
                    vs = rows_times(k, &by_columns, &row);
                    vs.resize(columns as usize, None);
                }
                for (j, v) in (0..).zip(vs) {
                    let point = Affine::constant(i * columns + j);
                    let [image, strip, block] = at.place.map(Affine::clone);
                    let to = [image, strip, point, block, tile.position.clone(), at.lane.clone()];
                    k.store(self.out, &to, v.unwrap_or(zero));
                }
            }
        });
    }
}

fn transposed(m: &Matrix) -> Matrix {
    (0..m[0].len()).map(|i| m.iter().map(|row| row[i]).collect()).collect()
}
