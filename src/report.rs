//! Counts and tables over a graph, by the paper's rule: a multiply-add is one, padding taps count in full,
//! additions, normalisation and pooling count nothing.

mod draw;

pub use draw::{dot, svg};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use ir::Graph;
use ir::entity::Node;
use ir::graph::Def;
use ir::op::OpCtx;
use passes::graph::Recomputed;
use serde_json::{Value, json};

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub node: Node,
    pub name: String,
    pub op: String,
    /// Type of the result.
    pub out: String,
    /// Trained elements among its operands.
    pub params: u64,
    pub macs: u64,
    /// Bytes of operands and results.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub layers: u64,
    pub convs: u64,
    /// Trained elements.
    pub params: u64,
    /// Elements of state: running statistics.
    pub buffers: u64,
    pub macs: u64,
    pub weights_bytes: u64,
}

/// The nodes in order, for one batch of `batch` images.
pub fn layers(g: &Graph, batch: u64) -> Vec<Layer> {
    let layer = |&n: &Node| {
        let node = &g.nodes[n];
        let (operands, results) = (g.operand_types(n), g.result_types(n));
        let ctx = OpCtx { operands: &operands, attrs: &node.attrs, epilogue: &node.epilogue, results: &results, batch };
        let cost = (node.op.cost)(&ctx);
        let trained = |v: &&_| matches!(g.values[**v].def, Def::Param { state: false, .. });
        let params = node.operands.iter().filter(trained).map(|&v| g.ty(v).elements(1)).sum();
        let steps: Vec<&str> = node.epilogue.iter().map(|s| s.name()).collect();
        let op = if steps.is_empty() { node.op.name.into() } else { format!("{} +{}", node.op.name, steps.join("+")) };
        Layer {
            node: n,
            name: g.name(g.result(n)).to_string(),
            op,
            out: results[0].to_string(),
            params,
            macs: cost.macs,
            bytes: cost.bytes,
        }
    };
    g.order.iter().map(layer).collect()
}

pub fn totals(g: &Graph, layers: &[Layer]) -> Totals {
    let mut t = Totals { layers: layers.len() as u64, ..Totals::default() };
    t.convs = g.order.iter().filter(|&&n| g.op(n).name == "conv2d").count() as u64;
    t.macs = layers.iter().map(|l| l.macs).sum();
    for &p in &g.params {
        let elements = g.ty(p).elements(1);
        t.weights_bytes += g.ty(p).len_bytes(1);
        match g.values[p].def {
            Def::Param { state: true, .. } => t.buffers += elements,
            _ => t.params += elements,
        }
    }
    t
}

/// The table of `inspect`.
pub fn layer_table(layers: &[Layer], totals: &Totals) -> String {
    let mut table = table(&["name", "op", "output", "params", "MACs", "bytes"]);
    for l in layers {
        let [params, macs, bytes] = [l.params, l.macs, l.bytes].map(count_or_blank);
        table.add_row([&l.name, &l.op, &l.out, &params, &macs, &bytes]);
    }
    table.add_row(["total", &counted(totals.layers, "node"), "", &count(totals.params), &count(totals.macs), ""]);
    for column in 3..6 {
        if let Some(c) = table.column_mut(column) {
            c.set_cell_alignment(CellAlignment::Right);
        }
    }
    text(&table)
}

pub fn layers_json(layers: &[Layer], totals: &Totals) -> Value {
    let rows: Vec<Value> = layers
        .iter()
        .map(|l| {
            json!({ "name": l.name, "op": l.op, "out": l.out, "params": l.params, "macs": l.macs, "bytes": l.bytes })
        })
        .collect();
    let t = totals;
    json!({ "layers": rows, "totals": {
        "layers": t.layers, "convs": t.convs, "params": t.params, "buffers": t.buffers, "macs": t.macs,
        "weights_bytes": t.weights_bytes,
    }})
}

/// An empty table without lines, its columns two spaces apart.
pub fn table(header: &[&str]) -> Table {
    let mut t = Table::new();
    t.load_style(NOTHING).set_header(header);
    for c in t.column_iter_mut() {
        c.set_padding((0, 2));
    }
    t
}

/// The table as lines without blanks at their ends.
pub fn text(table: &Table) -> String {
    table.to_string().lines().flat_map(|l| [l.trim_end(), "\n"]).collect()
}

/// The most memory that this process has held so far, in bytes, where the system tells.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?;
    Some(kib.parse::<u64>().ok()? << 10)
}

/// What recomputation does to a step, in one line.
pub fn recomputed(r: &Recomputed) -> String {
    let [before, after] = r.peak_bytes.map(|b| b as f64 / f64::from(1 << 20));
    let [macs, again] = r.macs.map(|m| m as f64);
    format!(
        "{:.0} MiB saved of {before:.0}: {} computed again, {:.1} % more multiply-adds",
        before - after,
        counted(r.nodes as u64, "value"),
        100.0 * again / macs.max(1.0)
    )
}

pub fn recomputed_json(r: &Recomputed) -> Value {
    let ([macs, again], [before, after]) = (r.macs, r.peak_bytes);
    json!({ "nodes": r.nodes, "macs": again, "of_macs": macs, "peak_bytes_before": before, "peak_bytes": after })
}

/// Bytes with a unit, e.g. `1.25 MB`.
pub fn bytes(n: u64) -> String {
    let (unit, name) = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")]
        .into_iter()
        .find(|&(u, _)| n >= u)
        .unwrap_or((1, "B"));
    if unit == 1 { format!("{n} B") } else { format!("{:.2} {name}", n as f64 / unit as f64) }
}

/// `1234567` as `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

/// The same for a table, whose columns are easier to read without zeros.
pub fn count_or_blank(n: u64) -> String {
    if n == 0 { String::new() } else { count(n) }
}

/// `1 node`, `1,234 nodes`.
pub fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", count(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_a_number_in_a_sentence() {
        assert_eq!([0, 7, 1_234_567].map(count), ["0", "7", "1,234,567"]);
        assert_eq!([0, 1_000].map(count_or_blank), ["", "1,000"]);
        let parameters = |n| counted(n, "parameter");
        assert_eq!([0, 1, 2_000].map(parameters), ["0 parameters", "1 parameter", "2,000 parameters"]);
    }
}
