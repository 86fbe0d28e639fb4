//! Register tiles of the templates against the peak of multiply-adds.

use super::measure::{args, buffers};
use crate::toolchain::BackendName;
use backends::exec;
use ir::op::{Attr, Attrs, BodyCtx, BufType, OpCtx};
use ir::target::{Target, Tile};
use ir::{DType, Diagnostic, Diagnostics, Kernel, Layout, TensorType};
use serde::Serialize;
use std::time::Instant;

/// Speed of one tile in one kind of kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TileSpeed {
    /// Pixels × channel blocks, as the target lists them.
    pub tile: String,
    /// Filter.
    pub filter: String,
    pub kernel: String,
    pub gflops: f64,
    /// Of the peak on one thread.
    pub of_peak: f64,
}

const ROWS: u64 = 48;
const RUNS: usize = 25;

/// Measures every tile of `target` in 3×3 and 1×1 convolutions on one thread, weights in L1, images in L2.
///
/// Errors: those of the back end; E0706 if the target does not run here.
pub fn tiles(target: &Target, backend: BackendName, peak_gflops: f64) -> Result<Vec<TileSpeed>, Diagnostics> {
    let target = backend.legal(*target);
    let mut kernels: Vec<(Tile, u64, Kernel)> = Vec::new();
    for &tile in target.tiles {
        for size in [3, 1] {
            if let Some(mut k) = conv(&target, tile, size) {
                k.name = format!("{}_{}x{}", k.name, tile.pixels, tile.blocks);
                kernels.push((tile, size, k));
            }
        }
    }
    let plain: Vec<Kernel> = kernels.iter().map(|(_, _, k)| k.clone()).collect();
    let compiled = exec::load(&*backend.get()?, &plain, &target)?;
    let limit = |e: rayon::ThreadPoolBuildError| Diagnostic::error("E0801", format!("cannot start a thread: {e}"));
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(limit)?;
    let mut out = Vec::new();
    for ((tile, size, kernel), code) in kernels.iter().zip(&compiled) {
        let mut memory = buffers(kernel);
        let mut best = f64::INFINITY;
        alone.install(|| -> Result<(), Diagnostics> {
            for _ in 0..RUNS {
                let begin = Instant::now();
                code.run(&mut args(kernel, &mut memory))?;
                best = best.min(begin.elapsed().as_secs_f64() * 1e9);
            }
            Ok(())
        })?;
        // Taps in the padding are skipped, so what is counted is what runs.
        let vectors = passes::cost::count(kernel, u64::from(target.lanes) * 4).fmas;
        let gflops = (vectors * u64::from(target.lanes) * 2) as f64 / best;
        out.push(TileSpeed {
            tile: format!("{}x{}", tile.pixels, tile.blocks),
            filter: format!("{size}x{size}"),
            kernel: kernel.name.clone(),
            gflops,
            of_peak: gflops / peak_gflops,
        });
    }
    Ok(out)
}

/// A convolution whose template takes that tile: rows of whole tiles, and a number of channel blocks that no wider
/// tile divides. `None` if the template chooses otherwise.
fn conv(target: &Target, tile: Tile, size: u64) -> Option<Kernel> {
    let block = u64::from(target.block);
    let earlier = target.tiles.iter().take_while(|t| **t != tile);
    let is_left = |n: &u64| earlier.clone().all(|t| !n.is_multiple_of(t.blocks.into()));
    let blocks = (1..=60).map(|i| i * u64::from(tile.blocks)).find(is_left)?;
    let (ic, oc, w) = (2 * block, blocks * block, 4 * u64::from(tile.pixels));
    let op = ir::op::lookup("conv2d")?;
    let attrs = Attrs::defaults(op).set("pad", Attr::Quad([size / 2; 4]));
    let ty = |dims: &[u64]| TensorType::new(DType::F32, dims.iter().map(|&d| d.into()));
    let operands = [ty(&[1, ic, ROWS, w]), ty(&[oc, ic, size, size])];
    let results =
        (op.shape)(&OpCtx { operands: &operands, attrs: &attrs, epilogue: &[], results: &[], batch: 1 }).ok()?;
    let typed = |t: &TensorType, layout: Layout| BufType { layout, ..BufType::of(t, 1) };
    let plain = |l: &[TensorType]| l.iter().map(|t| typed(t, Layout::Plain)).collect();
    let mut ctx = BodyCtx { operands: plain(&operands), results: plain(&results), attrs: &attrs, epilogue: &[] };
    let offer = passes::templates::offers(op, &ctx, target).into_iter().next()?;
    ctx.operands = operands.iter().zip(&offer.operands).map(|(t, &l)| typed(t, l)).collect();
    ctx.results = results.iter().map(|t| typed(t, offer.result)).collect();
    passes::templates::build(op, &ctx, target)
}
