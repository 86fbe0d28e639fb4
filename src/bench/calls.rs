//! Time by call and by kernel, with work, bytes, the roof that binds, and the estimate.

use super::measure::Times;
use crate::machine::Measured;
use ir::Program;
use ir::program::Call;
use ir::target::Target;
use passes::cost::{self, Parts, Prediction};
use serde::Serialize;
use std::collections::BTreeSet;

/// One call, or all calls of one kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The graph value that the call computes; of several calls the first.
    pub node: String,
    pub op: String,
    pub kernel: String,
    pub calls: u64,
    pub us: f64,
    /// Multiply-adds that the kernel does.
    pub macs: u64,
    /// Distinct bytes of its parameters.
    pub bytes: u64,
    /// 10⁹ operations a second, two for each multiply-add that the kernel does.
    pub gflops: f64,
    /// `gflops` of the measured peak of as many threads.
    pub of_peak: f64,
    pub predicted_us: f64,
    /// The estimate's parts.
    pub parts_us: PartsUs,
    /// What bounds it, by the estimate.
    pub roof: &'static str,
    /// Winograd's products: operations of the convolution as it is written, over the time of transform and products.
    pub effective_gflops: Option<f64>,
    /// Multiply-adds of the convolution as it is written, and the time they are held against.
    #[serde(skip)]
    direct: Option<(u64, f64)>,
}

/// Microseconds of each roof alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PartsUs {
    pub compute: f64,
    pub l2_read: f64,
    pub l2_write: f64,
    pub l3_read: f64,
    pub l3_write: f64,
    pub dram_read: f64,
    pub dram_write: f64,
    pub remote_read: f64,
    pub remote_write: f64,
}

impl PartsUs {
    fn of(p: Parts) -> PartsUs {
        let us = |ns: f64| ns / 1e3;
        PartsUs {
            compute: us(p.compute),
            l2_read: us(p.l2_read),
            l2_write: us(p.l2_write),
            l3_read: us(p.l3_read),
            l3_write: us(p.l3_write),
            dram_read: us(p.dram_read),
            dram_write: us(p.dram_write),
            remote_read: us(p.remote_read),
            remote_write: us(p.remote_write),
        }
    }

    fn plus(self, o: PartsUs) -> PartsUs {
        PartsUs {
            compute: self.compute + o.compute,
            l2_read: self.l2_read + o.l2_read,
            l2_write: self.l2_write + o.l2_write,
            l3_read: self.l3_read + o.l3_read,
            l3_write: self.l3_write + o.l3_write,
            dram_read: self.dram_read + o.dram_read,
            dram_write: self.dram_write + o.dram_write,
            remote_read: self.remote_read + o.remote_read,
            remote_write: self.remote_write + o.remote_write,
        }
    }
}

/// Each call of `p`, whose templates were chosen for `target`, as `times` has measured it.
pub fn rows(p: &Program, target: &Target, times: &Times, machine: &Measured, is_cold: bool) -> Vec<Row> {
    let threads = times.threads as usize;
    // A batch is a sequence of groups, and a call's time is that of all of them.
    let groups = times.batch / p.batch.max(1);
    let (model, peak) = (machine.model(target), machine.peak_gflops(threads));
    let mut out: Vec<Row> = Vec::with_capacity(p.calls.len());
    let places = cost::places(p, &model, threads, is_cold);
    for ((call, &us), places) in p.calls.iter().zip(&times.calls_us).zip(&places) {
        let Prediction { ns, roof, parts } = cost::predict(p, call, places, &model, threads);
        let transform = out.iter().rev().find(|r| r.op == "winograd_input" && r.node == format!("{}.tiles", call.node));
        let direct = direct_macs(p, call).map(|macs| (macs * groups, us + transform.map_or(0.0, |r| r.us)));
        let row = Row {
            node: call.node.clone(),
            op: call.op.clone(),
            kernel: p.kernels[call.kernel].name.clone(),
            calls: 1,
            us,
            macs: call.macs * groups,
            bytes: bytes(p, call) * groups,
            gflops: 0.0,
            of_peak: 0.0,
            predicted_us: ns * groups as f64 / 1e3,
            parts_us: PartsUs::of(parts),
            roof: roof.name(),
            effective_gflops: None,
            direct,
        };
        out.push(row.rated(peak));
    }
    out
}

/// The rows of each kernel added up, the longest first.
pub fn by_kernel(rows: &[Row], peak: f64) -> Vec<Row> {
    let mut out: Vec<Row> = Vec::new();
    for r in rows {
        match out.iter_mut().find(|o| o.kernel == r.kernel) {
            Some(o) => {
                o.calls += r.calls;
                o.us += r.us;
                o.macs += r.macs;
                o.bytes += r.bytes;
                o.predicted_us += r.predicted_us;
                o.parts_us = o.parts_us.plus(r.parts_us);
                o.direct = o.direct.zip(r.direct).map(|(a, b)| (a.0 + b.0, a.1 + b.1));
            }
            None => out.push(r.clone()),
        }
    }
    out.sort_by(|a, b| b.us.total_cmp(&a.us));
    out.into_iter().map(|r| r.rated(peak)).collect()
}

/// Share of the rows whose estimate is within `share` of the measurement.
pub fn accuracy(rows: &[Row], share: f64) -> f64 {
    let good = rows.iter().filter(|r| (r.predicted_us / r.us - 1.0).abs() <= share).count();
    good as f64 / rows.len().max(1) as f64
}

impl Row {
    fn rated(self, peak: f64) -> Row {
        let rate = |macs: u64, us: f64| if us > 0.0 { 2.0 * macs as f64 / (us * 1e3) } else { 0.0 };
        let gflops = rate(self.macs, self.us);
        let of_peak = if peak > 0.0 { gflops / peak } else { 0.0 };
        Row { gflops, of_peak, effective_gflops: self.direct.map(|(macs, us)| rate(macs, us)), ..self }
    }
}

fn bytes(p: &Program, call: &Call) -> u64 {
    let slots: BTreeSet<_> = call.args.iter().copied().collect();
    slots.into_iter().map(|s| p.slots[s].len_bytes()).sum()
}

/// Multiply-adds of the 3×3 convolution that a call of Winograd's products stands for.
fn direct_macs(p: &Program, call: &Call) -> Option<u64> {
    if !matches!(call.op.as_str(), "winograd_output" | "winograd_conv2d") {
        return None;
    }
    let dims = |i: Option<&ir::entity::Slot>| i.map(|&s| p.slots[s].dims.clone());
    // Filters are [panels, points, input channels, panel].
    let (filters, image) = (dims(call.args.get(1))?, dims(call.args.last())?);
    Some(image.iter().product::<u64>() * filters.get(2)? * 9)
}
