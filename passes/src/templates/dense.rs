//! Dense layer on panels of output channels: packed GEMM, and for one image a matrix-vector product.
//!
//! A tile is P images × B vectors of output channels; each weight is read once per tile, in order. What is left
//! of the last panel is done by whole vectors, then channel by channel. Long sums are sums of shorter ones, which round
//! less: a thousand classes are one sum in the gradient of the layer's input.

use super::epilogue::{self, At};
use super::register_tile::Scalars;
use super::tiling;
use super::{Offer, Request, vector_cost_ns};
use ir::entity::{Buf, Reg};
use ir::kernel::build::{Bound, max_of, min_of};
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::{DType, Kernel, Layout};

/// Vectors of one panel if there is one image: enough accumulators to cover most of the latency.
const VECTORS_FOR_ONE_IMAGE: u32 = 4;
/// Most terms that are added one after the other.
const CHAIN: i64 = 256;

pub fn offers(r: &Request) -> Vec<Offer> {
    let Some(panel) = panel(r) else { return Vec::new() };
    let mut operands = vec![Layout::Plain; r.ctx.operands.len()];
    operands[1] = Layout::Panel(panel);
    vec![Offer { operands, result: Layout::Plain, cost_ns: vector_cost_ns(r) }]
}

/// Output channels of a panel: no more than there are.
fn panel(r: &Request) -> Option<u32> {
    let (&[images, _], &[outputs, _]) = (&r.ctx.operands[0].dims[..], &r.ctx.operands[1].dims[..]) else {
        return None;
    };
    let vectors = if images == 1 { VECTORS_FOR_ONE_IMAGE } else { 2 };
    let useful = u32::try_from((outputs + r.block() - 1) / r.block()).ok()?;
    Some(vectors.min(useful) * r.target.block)
}

pub fn build(r: &Request) -> Option<Kernel> {
    let panel = i64::from(panel(r)?);
    let c = r.ctx;
    let (&[images, inputs], outputs) = (&c.operands[0].dims[..], c.operands[1].dims[0]) else { return None };
    let (vectors, lanes) = (panel / r.block(), r.target.block);

    let mut k = KernelBuilder::new(format!("dense_{inputs}_{outputs}"));
    let operands: Vec<Buf> = (0..c.operands.len())
        .map(|i| k.param(&format!("x{i}"), DType::F32, &c.operands[i].physical(), Role::In))
        .collect();
    let y = k.param("y", DType::F32, &c.results[0].physical(), Role::Out);
    let gemm = Gemm { r, operands, y, inputs };

    // All panels are tasks; the last one may be narrower. A loop of at most one trip tells them apart.
    let whole = outputs / panel;
    let rest = outputs % panel;
    let pixels = if images == 1 { 1 } else { i64::from(r.target.tile_pixels(2).unwrap_or(1)) };
    let t = k.tasks(whole + i64::from(rest > 0));
    let once = || Affine::constant(1);
    k.for_(0, min_of([once(), &t * -1 + whole]), |k, _| {
        gemm.panel(k, &t, pixels, &Columns { count: vectors, lanes });
    });
    let full = rest / i64::from(lanes);
    k.for_(max_of([Affine::constant(0), &t * -1 + whole]), once(), |k, _| {
        if full > 0 {
            gemm.panel(k, &t, pixels, &Columns { count: full, lanes });
        }
        if rest > full * i64::from(lanes) {
            gemm.scalars(k, &t, full * i64::from(lanes), rest);
        }
    });
    Some(k.finish())
}

/// Vectors of a panel that a tile covers, from its first.
struct Columns {
    count: i64,
    lanes: u32,
}

struct Gemm<'a> {
    r: &'a Request<'a>,
    operands: Vec<Buf>,
    y: Buf,
    inputs: i64,
}

impl Gemm<'_> {
    /// All images against these columns of panel `p`.
    fn panel(&self, k: &mut KernelBuilder, p: &Affine, pixels: i64, columns: &Columns) {
        let images = self.r.ctx.operands[0].dims[0];
        let mut first = 0;
        // Runs of equal tiles become one loop each.
        let sizes = tiling::split(images, pixels);
        let mut i = 0;
        while i < sizes.len() {
            let size = sizes[i];
            let count = sizes[i..].iter().take_while(|&&s| s == size).count();
            let start = first;
            k.for_(0, count as i64, |k, q| self.tile(k, p, &(q * size + start), size, columns));
            first += size * count as i64;
            i += count;
        }
    }

    fn tile(&self, k: &mut KernelBuilder, p: &Affine, image: &Affine, pixels: i64, columns: &Columns) {
        let lanes = columns.lanes;
        let width = i64::from(lanes);
        let panel = self.r.ctx.operands[1].physical()[2];
        let offset = |b: i64| b * width;
        let channel = |b: i64| p * panel + offset(b);
        let bias: Vec<Reg> =
            (0..columns.count).map(|b| epilogue::start(k, self.r.ctx, &self.operands, &channel(b), lanes)).collect();
        let start: Vec<Reg> = (0..pixels).flat_map(|_| bias.iter().copied()).collect();
        let sums = self.sum(k, &start, |k, i, sums| {
            let w: Vec<Reg> = (0..columns.count)
                .map(|b| k.load_vec(self.operands[1], lanes, &[p.clone(), i.clone(), offset(b).into()]))
                .collect();
            let x = Scalars::new(k, self.r.target, self.operands[0], &[image.clone(), i.clone()], columns.count, false);
            for (m, sums) in (0..).zip(sums.chunks_mut(w.len())) {
                x.multiply_add(k, &[m.into(), 0.into()], &w, sums);
            }
        });
        for m in 0..pixels {
            for b in 0..columns.count {
                let index = [image + m, channel(b)];
                let at = At { channel: channel(b), index: &index, lanes };
                let sum = sums[m as usize * columns.count as usize + b as usize];
                let v = epilogue::finish(k, self.r.ctx, &self.operands, &at, sum);
                k.store(self.y, &index, v);
            }
        }
    }

    /// `start` and what `add` adds to it for each input.
    fn sum(
        &self,
        k: &mut KernelBuilder,
        start: &[Reg],
        add: impl Fn(&mut KernelBuilder, &Affine, &mut [Reg]),
    ) -> Vec<Reg> {
        let chain = |k: &mut KernelBuilder, [from, to]: [Bound; 2], start: &[Reg]| {
            k.for_carry(from, to, start, |k, i, sums| {
                let mut sums = sums.to_vec();
                add(k, &i, &mut sums);
                sums
            })
        };
        if self.inputs <= CHAIN {
            return chain(k, [0.into(), self.inputs.into()], start);
        }
        let parts = (self.inputs + CHAIN - 1) / CHAIN;
        k.for_carry(0, parts, start, |k, part, sums| {
            let (from, to) = (&part * CHAIN, min_of([(&part + 1) * CHAIN, self.inputs.into()]));
            let zero: Vec<Reg> = start.iter().map(|&r| k.constant(DType::F32, k.ty(r).lanes, 0.0)).collect();
            let of_part = chain(k, [from.into(), to], &zero);
            sums.iter().zip(of_part).map(|(&sum, part)| k.add(sum, part)).collect()
        })
    }

    /// Channels `from..to` of panel `p` one by one.
    fn scalars(&self, k: &mut KernelBuilder, p: &Affine, from: i64, to: i64) {
        let images = self.r.ctx.operands[0].dims[0];
        k.for_(0, images, |k, image| {
            k.for_(from, to, |k, c| {
                let panel = self.r.ctx.operands[1].physical()[2];
                let channel = p * panel + &c;
                let start = epilogue::start(k, self.r.ctx, &self.operands, &channel, 1);
                let sum = self.sum(k, &[start], |k, i, sum| {
                    let w = k.load(self.operands[1], &[p.clone(), i.clone(), c.clone()]);
                    let x = k.load(self.operands[0], &[image.clone(), i.clone()]);
                    sum[0] = k.fma(x, w, sum[0]);
                });
                let index = [image.clone(), channel.clone()];
                let at = At { channel, index: &index, lanes: 1 };
                let v = epilogue::finish(k, self.r.ctx, &self.operands, &at, sum[0]);
                k.store(self.y, &index, v);
            });
        });
    }
}
