//! Graphs, with aligned columns.

use super::quoted;
use crate::entity::{Node, Value};
use crate::epilogue::Step;
use crate::graph::{Def, Graph};
use crate::op::Attrs;
use std::fmt::Write;

pub fn print_graph(g: &Graph) -> String {
    let list = |values: &[Value], f: &dyn Fn(Value) -> String| -> String {
        values.iter().map(|&v| f(v)).collect::<Vec<_>>().join(", ")
    };
    let inputs = list(&g.inputs, &|v| format!("%{}: {}", g.name(v), g.ty(v)));
    let outputs = list(&g.outputs, &|v| format!("%{}", g.name(v)));
    let [lo, hi] = g.batch;
    let mut out = format!("graph @{}({inputs}) -> ({outputs}) where N in {lo}..{hi} {{\n", g.name);

    let params = g.params.iter().map(|&v| {
        let Def::Param { tensor, state } = &g.values[v].def else {
            unreachable!("invariant: the list of parameters holds parameters");
        };
        let state = if *state { " state" } else { "" };
        [format!("param %{}", g.name(v)), quoted(tensor), format!("{}{state}", g.ty(v))]
    });
    let nodes = g.order.iter().map(|&n| columns(g, n));
    table(&mut out, params.collect());
    table(&mut out, nodes.collect());
    out += "}\n";
    out
}

/// The line of one node, without the blanks that align it with others.
pub fn print_node(g: &Graph, n: Node) -> String {
    let [results, operation, types] = columns(g, n);
    format!("{results} = {operation} : {types}")
}

/// `%y`, `relu %x`, `f32[N,8]`
fn columns(g: &Graph, n: Node) -> [String; 3] {
    let results = &g.nodes[n].results;
    let list = |f: &dyn Fn(Value) -> String| results.iter().map(|&v| f(v)).collect::<Vec<_>>().join(", ");
    [list(&|v| format!("%{}", g.name(v))), operation(g, n), list(&|v| g.ty(v).to_string())]
}

/// Widest column that others are padded to; longer entries stand out instead of pushing all the rest away.
const WIDEST: usize = 100;

/// Rows of `left = middle : right`.
fn table(out: &mut String, rows: Vec<[String; 3]>) {
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).filter(|&w| w <= WIDEST).max().unwrap_or(0);
    let (left, middle) = (width(0), width(1));
    for [a, b, c] in &rows {
        let _ = writeln!(out, "  {a:left$} = {b:middle$} : {c}");
    }
}

/// `conv2d %x, %w stride=2x2 epilogue=[bias %b, relu]`
fn operation(g: &Graph, n: Node) -> String {
    let data = &g.nodes[n];
    let in_epilogue: Vec<usize> = data.epilogue.iter().flat_map(|s| s.operands()).collect();
    let name = |i: usize| format!("%{}", g.name(data.operands[i]));
    let own = (0..data.operands.len()).filter(|i| !in_epilogue.contains(i)).map(name).collect::<Vec<_>>().join(", ");
    let mut out = format!("{} {own}", data.op.name);
    let defaults = Attrs::defaults(data.op);
    for def in data.op.attrs {
        match data.attrs.0.get(def.name) {
            Some(a) if defaults.0.get(def.name) != Some(a) => {
                let _ = write!(out, " {}={a}", def.name);
            }
            _ => {}
        }
    }
    if !data.epilogue.is_empty() {
        let step = |s: &Step| {
            let numbers = match s {
                Step::Clamp(lo, hi) => format!(" {lo} {hi}"),
                _ => String::new(),
            };
            let operands: String = s.operands().into_iter().map(|i| format!(" {}", name(i))).collect();
            format!("{}{operands}{numbers}", s.name())
        };
        let _ = write!(out, " epilogue=[{}]", data.epilogue.iter().map(step).collect::<Vec<_>>().join(", "));
    }
    out
}
