//! Printer: the canonical text. Columns are aligned within a graph; kernels are numbered in the order of the text.

mod graph;
mod kernel;
mod program;

pub use graph::{print_graph, print_node};
pub use kernel::print_kernel;
pub use program::print_program;

use super::Module;
use crate::graph::{ModelInfo, Preprocess};
use std::fmt::Write;

/// The whole file, beginning with `rir 1`.
pub fn print(m: &Module) -> String {
    let mut out = String::from("rir 1\n");
    header(&mut out, &m.info);
    for g in &m.graphs {
        out += "\n";
        out += &print_graph(g);
    }
    for p in &m.programs {
        out += "\n";
        out += &print_program(p);
    }
    for k in &m.kernels {
        out += "\n";
        out += &print_kernel(k);
    }
    out
}

fn header(out: &mut String, info: &ModelInfo) {
    if let Some(w) = &info.weights {
        let _ = write!(out, "weights {}", quoted(&w.file));
        if let Some(hash) = &w.sha256 {
            let _ = write!(out, " sha256:{hash}");
        }
        out.push('\n');
    }
    if let Some(p) = &info.preprocess {
        let _ = writeln!(out, "{}", preprocess(p));
    }
    if !info.labels.is_empty() {
        out.push_str("labels [\n");
        for l in &info.labels {
            let _ = writeln!(out, "  {},", quoted(l));
        }
        out.push_str("]\n");
    }
}

fn preprocess(p: &Preprocess) -> String {
    let list = |v: &[f32]| v.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
    let mut out = String::from("preprocess");
    if let Some(s) = p.resize {
        let _ = write!(out, " resize={s}");
    }
    let order = if p.bgr { "bgr" } else { "rgb" };
    let _ = write!(out, " crop={}x{} order={order} scale={}", p.crop[0], p.crop[1], p.scale);
    let _ = write!(out, " mean={} std={}", list(&p.mean), list(&p.std));
    if let Some(t) = &p.mean_tensor {
        let _ = write!(out, " mean_tensor={}", quoted(t));
    }
    out
}

/// `text` between quotation marks.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
    format!("\"{escaped}\"")
}
