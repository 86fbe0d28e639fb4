//! The innermost loops of the templates against the peak of multiply-adds, one thread, all data in L1 and L2.
//!
//! Sums are as long as the short ones of ResNet-50, so that entering a loop counts for what it does there. Kernels are
//! timed in turns, and the fastest time of each counts: what another process takes falls on all of them alike.

use super::Measured;
use super::probes::{args, buffers};
use crate::toolchain::BackendName;
use backends::exec;
use ir::op::{Attr, Attrs, BodyCtx, BufType, OpCtx};
use ir::target::{Target, Tile};
use ir::types::Dim;
use ir::{DType, Diagnostic, Diagnostics, Kernel, Layout, TensorType};
use passes::cost;
use serde::Serialize;
use std::collections::HashMap;
use std::time::Instant;

/// Speed of one kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TileSpeed {
    /// Pixels × channel blocks, as the target lists them; of a dense layer images × vectors.
    pub tile: String,
    /// Filter, or what else the kernel computes.
    pub filter: String,
    pub kernel: String,
    pub gflops: f64,
    /// Of the peak on one thread.
    pub of_peak: f64,
    /// What the estimate expects of it with all data in L2.
    pub expected_gflops: f64,
}

/// Rounds over all kernels.
const ROUNDS: usize = 30;
/// Height and width of outputs.
const SIZE: u64 = 24;
/// Channels: of 1×1 filters; of 3×3 filters, whose weights have to stay in L1; of Winograd's.
const CHANNELS: u64 = 64;
const FEW_CHANNELS: u64 = 32;

/// Measures every register tile of `target` in each kind of kernel.
///
/// Errors: those of the back end; E0706 if the target does not run here.
pub fn tiles(target: &Target, backend: BackendName, machine: &Measured) -> Result<Vec<TileSpeed>, Diagnostics> {
    let target = backend.legal(*target);
    let cases: Vec<Case> = target
        .tiles
        .iter()
        .flat_map(|&t| convolutions(&target, t))
        .chain(target.tiles.iter().flat_map(|&t| winograd(&target, t)))
        .chain([2, 4].into_iter().filter_map(|m| transform(&target, m)))
        .chain([1, SIZE].into_iter().filter_map(|images| dense(&target, images)))
        .enumerate()
        // Kernels that differ in their tile only have one name.
        .map(|(i, c)| Case { kernel: Kernel { name: format!("{}_{i}", c.kernel.name), ..c.kernel }, ..c })
        .collect();
    let plain: Vec<Kernel> = cases.iter().map(|c| c.kernel.clone()).collect();
    let compiled = exec::load(&*backend.get()?, &plain, &target)?;
    let limit = |e: rayon::ThreadPoolBuildError| Diagnostic::error("E0801", format!("cannot start a thread: {e}"));
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(limit)?;
    let mut memory: Vec<_> = plain.iter().map(buffers).collect();
    let mut best = vec![f64::INFINITY; cases.len()];
    alone.install(|| -> Result<(), Diagnostics> {
        for _ in 0..ROUNDS {
            for ((code, memory), best) in compiled.iter().zip(&mut memory).zip(&mut best) {
                // The first run brings the data into the caches.
                for _ in 0..3 {
                    let mut args = args(code.kernel(), memory);
                    let begin = Instant::now();
                    code.run(&mut args)?;
                    *best = best.min(begin.elapsed().as_secs_f64() * 1e9);
                }
            }
        }
        Ok(())
    })?;
    let (peak, model) = (machine.fma_gflops.one, machine.model(&target));
    let speed = |(c, ns): (Case, f64)| {
        // Taps in the padding are skipped, so what is counted is what runs.
        let vectors = cost::count(&c.kernel, u64::from(target.lanes) * 4).fmas;
        let operations = (vectors * u64::from(target.lanes) * 2) as f64;
        let gflops = operations / ns;
        let expected = cost::predict_kernel(&c.kernel, &HashMap::new(), &model, 1);
        TileSpeed {
            tile: c.tile,
            filter: c.filter.into(),
            kernel: c.kernel.name.rsplit_once('_').map_or("", |(name, _)| name).into(),
            gflops,
            of_peak: gflops / peak,
            expected_gflops: operations / expected.ns,
        }
    };
    Ok(cases.into_iter().zip(best).map(speed).collect())
}

struct Case {
    tile: String,
    filter: &'static str,
    kernel: Kernel,
}

fn ty(dims: &[u64]) -> TensorType {
    TensorType::new(DType::F32, dims.iter().map(|&d| d.into()))
}

/// Output channels whose template takes `tile`: a number of blocks that no earlier tile divides.
fn outputs(target: &Target, tile: Tile) -> Option<u64> {
    let earlier = target.tiles.iter().take_while(|t| **t != tile);
    let is_left = |n: &u64| earlier.clone().all(|t| !n.is_multiple_of(t.blocks.into()));
    let blocks = (2..=60).map(|i| i * u64::from(tile.blocks)).chain([u64::from(tile.blocks)]).find(is_left)?;
    Some(blocks * u64::from(target.block))
}

fn named(tile: Tile) -> String {
    format!("{}x{}", tile.pixels, tile.blocks)
}

/// Direct convolutions in that tile: rows of whole tiles.
fn convolutions(target: &Target, tile: Tile) -> Vec<Case> {
    let kinds = [("3x3", 3, 1, FEW_CHANNELS), ("3x3 stride 2", 3, 2, FEW_CHANNELS), ("1x1", 1, 1, CHANNELS)];
    let case = |(filter, size, stride, ic): (&'static str, u64, u64, u64)| {
        let (oc, width) = (outputs(target, tile)?, SIZE.next_multiple_of(tile.pixels.into()));
        let op = ir::op::lookup("conv2d")?;
        let attrs = Attrs::defaults(op).set("pad", Attr::Quad([size / 2; 4])).set("stride", Attr::Pair([stride; 2]));
        let operands = [ty(&[1, ic, SIZE * stride, width * stride]), ty(&[oc, ic, size, size])];
        Some(Case { tile: named(tile), filter, kernel: template(target, "conv2d", &attrs, &operands)? })
    };
    kinds.into_iter().filter_map(case).collect()
}

/// Attributes of a grid of tiles of `m` outputs, in strips of two rows.
fn grid(op: &'static ir::op::OpDef, m: u64, stride: u64) -> Attrs {
    let sizes = Attr::Dims(vec![Dim::Size(m); (SIZE / m) as usize]);
    Attrs::defaults(op)
        .set("stride", Attr::Pair([stride; 2]))
        .set("rows", sizes.clone())
        .set("columns", sizes)
        .set("strip", Attr::Int(2))
}

/// Winograd's products, with the way back, in that tile.
fn winograd(target: &Target, tile: Tile) -> Vec<Case> {
    let case = |(filter, stride): (&'static str, u64)| {
        let op = ir::op::lookup("winograd_output")?;
        let (m, block, panel) = (4, u64::from(target.block), u64::from(tile.blocks * target.block));
        let (across, points) = (SIZE / m, if stride == 1 { 36 } else { 81 });
        let v = ty(&[1, across / 2, points, FEW_CHANNELS / block, 2 * across, block]);
        let u = ty(&[outputs(target, tile)? / panel, points, FEW_CHANNELS, panel]);
        let kernel = template(target, "winograd_output", &grid(op, m, stride), &[v, u])?;
        Some(Case { tile: named(tile), filter, kernel })
    };
    [("winograd", 1), ("winograd stride 2", 2)].into_iter().filter_map(case).collect()
}

/// The transform of Winograd's input, which has no register tile: tiles of `m` outputs.
fn transform(target: &Target, m: u64) -> Option<Case> {
    let op = ir::op::lookup("winograd_input")?;
    let attrs = grid(op, m, 1).set("block", Attr::Int(target.block.into()));
    let kernel = template(target, "winograd_input", &attrs, &[ty(&[1, FEW_CHANNELS, SIZE, SIZE])])?;
    Some(Case { tile: format!("{m}x{m}"), filter: "winograd input", kernel })
}

/// A dense layer, whose weights stay in L2.
fn dense(target: &Target, images: u64) -> Option<Case> {
    let op = ir::op::lookup("dense")?;
    let tile = match images {
        1 => "1x4".to_string(),
        _ => format!("{}x2", target.tile_pixels(2)?),
    };
    let operands = [ty(&[images, 8 * CHANNELS]), ty(&[2 * CHANNELS, 8 * CHANNELS])];
    let kernel = template(target, "dense", &Attrs::defaults(op), &operands)?;
    Some(Case { tile, filter: "dense", kernel })
}

/// The kernel that the first of the templates' offers makes; `None` if no template takes the op.
fn template(target: &Target, op: &str, attrs: &Attrs, operands: &[TensorType]) -> Option<Kernel> {
    let op = ir::op::lookup(op)?;
    let results = (op.shape)(&OpCtx { operands, attrs, epilogue: &[], results: &[], batch: 1 }).ok()?;
    let typed = |t: &TensorType, layout: Layout| BufType { layout, ..BufType::of(t, 1) };
    let plain = |l: &[TensorType]| l.iter().map(|t| typed(t, Layout::Plain)).collect();
    let mut ctx = BodyCtx { operands: plain(operands), results: plain(&results), attrs, epilogue: &[] };
    let offer = passes::templates::offers(op, &ctx, target).into_iter().next()?;
    ctx.operands = operands.iter().zip(&offer.operands).map(|(t, &l)| typed(t, l)).collect();
    ctx.results = results.iter().map(|t| typed(t, offer.result)).collect();
    passes::templates::build(op, &ctx, target)
}
