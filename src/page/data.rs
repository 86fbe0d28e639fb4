//! What the page shows, as one JSON value. `core.js` says how it is read.

use super::history::{History, Snapshot};
use super::texts::{Texts, packed};
use super::times::{Machine, Origin, Timing};
use ir::Program;
use ir::program::{Call, Space};
use passes::pass::Log;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What is said of the model as a whole.
#[derive(Clone, Debug)]
pub struct Facts {
    pub name: String,
    pub file: String,
    pub target: String,
    pub backend: String,
    pub batch: u64,
    pub threads: usize,
    pub params: u64,
    /// Multiply-adds of the network as it is written, for the batch.
    pub macs: u64,
}

/// A compiled model.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub facts: &'a Facts,
    pub history: &'a History,
    pub log: &'a Log,
    pub program: &'a Program,
    pub texts: &'a [Texts],
    pub timing: &'a Timing,
    pub machine: &'a Machine,
}

/// Everything. Microseconds and bytes; node, layer, kernel and slot are indices.
pub fn data(s: &Subject) -> Value {
    let (f, p, h) = (s.facts, s.program, s.history);
    let (reasons, refused) = refusals(s);
    json!({
        "schema": "rescc.report/1",
        "version": env!("CARGO_PKG_VERSION"),
        "model": {
            "name": f.name, "file": f.file, "target": f.target, "backend": f.backend, "batch": f.batch,
            "group": p.batch, "threads": f.threads, "params": f.params, "macs": f.macs,
            "activation_bytes": p.arena_bytes, "weights_bytes": p.const_bytes, "scratch_bytes": p.scratch_bytes(),
        },
        "run": s.timing.run.as_ref().map(|t| json!({
            "n": t.n, "min_us": t.min_us, "median_us": t.median_us, "p90_us": t.p90_us,
        })),
        "machine": machine(s.machine, f.threads),
        "layers": h.layers,
        "before": nodes(h, &h.before),
        "after": nodes(h, &h.after),
        "passes": s.log.passes.iter().map(|p| json!({
            "name": p.pass,
            "doc": passes::pipeline::by_name(p.pass).map_or("", |p| p.doc()),
            "patches": p.patches, "nodes": p.nodes, "params": p.params, "ms": p.time.as_secs_f64() * 1e3,
        })).collect::<Vec<_>>(),
        "reasons": reasons,
        "refused": refused,
        // Long and alike: a twentieth when deflated.
        "events": packed(&events(h).to_string()),
        "kernels": kernels(s),
        "calls": p.calls.iter().enumerate().map(|(i, c)| call(s, i, c)).collect::<Vec<_>>(),
        "slots": p.slots.values().filter_map(|d| match d.space {
            Space::Arena { offset, first, last } => Some(json!([d.name, d.len_bytes(), offset, first, last])),
            _ => None,
        }).collect::<Vec<_>>(),
    })
}

fn machine(m: &Machine, threads: usize) -> Value {
    let pick = |r: crate::machine::Rate| if threads > 1 { r.all } else { r.one };
    json!({
        "cpu": m.rates.cpu,
        "origin": match m.origin {
            Origin::Saved => "saved",
            Origin::Measured => "measured",
            Origin::Assumed => "assumed",
        },
        "peak_gflops": m.rates.peak_gflops(threads),
        "levels": m.rates.read.iter().map(|l| json!([l.name, pick(l.gb_per_s)])).collect::<Vec<_>>(),
    })
}

/// `[layer, op, type, nodes that it reads, text]`
fn nodes(h: &History, s: &Snapshot) -> Value {
    let index: BTreeMap<&str, usize> = s.0.iter().map(|l| l.name.as_str()).zip(0..).collect();
    let row = |l: &super::Line| {
        let reads: Vec<usize> = l.reads.iter().filter_map(|r| index.get(r.as_str()).copied()).collect();
        json!([l.name, h.layer(&l.name), l.op, l.ty, reads, l.text])
    };
    s.0.iter().map(row).collect()
}

/// Each reason once as `[pass, name, why]`, and for each layer `[node, reason]`.
fn refusals(s: &Subject) -> (Value, Value) {
    let mut reasons: Vec<(&str, &str, &str)> = Vec::new();
    let mut number = |key| {
        reasons.iter().position(|r| *r == key).unwrap_or_else(|| {
            reasons.push(key);
            reasons.len() - 1
        })
    };
    let mut layers = Vec::new();
    for of_layer in &s.history.refused {
        let one = |r: &passes::pass::Refused| json!([r.node, number((r.pass, r.keep.name, r.keep.why))]);
        layers.push(of_layer.iter().map(one).collect::<Vec<_>>());
    }
    (json!(reasons), json!(layers))
}

/// For each layer `[pass, change, text]`; the change is 0 for added, 1 for changed, 2 for removed.
fn events(h: &History) -> Value {
    let list = |of: &Vec<super::Event>| of.iter().map(|e| json!([e.pass, e.change as u8, e.text])).collect::<Value>();
    h.events.iter().map(list).collect()
}

fn kernels(s: &Subject) -> Value {
    let one = |(k, t): (&ir::Kernel, &Texts)| {
        json!({
            "name": k.name, "tasks": k.tasks, "scratch_bytes": k.scratch_bytes(),
            "texts": [Some(packed(&t.kernel)), t.llvm.as_deref().map(packed), t.asm.as_deref().map(packed)],
        })
    };
    s.program.kernels.iter().zip(s.texts).map(one).collect()
}

fn call(s: &Subject, i: usize, c: &Call) -> Value {
    let t = s.timing.calls[i];
    let slots: BTreeSet<_> = c.args.iter().collect();
    let bytes: u64 = slots.into_iter().map(|&a| s.program.slots[a].len_bytes()).sum();
    let groups = (s.facts.batch / s.program.batch.max(1)).max(1);
    json!({
        "node": c.node, "layer": s.history.layer(&c.node), "op": c.op, "kernel": c.kernel,
        "macs": c.macs * groups, "flops": t.flops, "bytes": bytes * groups,
        "predicted": thousandths(t.predicted_us), "roof": t.roof, "measured": t.measured_us.map(thousandths),
    })
}

/// Nanoseconds are enough.
fn thousandths(us: f64) -> f64 {
    (us * 1e3).round() / 1e3
}
