//! A graph as a drawing: Graphviz text, and SVG laid out by `layout-rs`.

use ir::Graph;
use ir::graph::Def;
use layout::backends::svg::SVGWriter;
use layout::gv::{DotParser, GraphBuilder};
use std::fmt::Write;

/// The data flow in Graphviz's language; parameters are left out.
pub fn dot(g: &Graph) -> String {
    let mut out = format!("digraph \"{}\" {{\n  node [shape=box];\n", escape(&g.name));
    let mut line = |text: String| {
        let _ = writeln!(out, "  {text}");
    };
    for &v in &g.inputs {
        line(format!("v{} [label=\"{}\\n{}\"];", v.as_u32(), escape(g.name(v)), g.ty(v)));
    }
    for &n in &g.order {
        let v = g.result(n);
        let mut label = format!("{}\\n{}", escape(g.name(v)), g.op(n).name);
        for step in &g.nodes[n].epilogue {
            label += " +";
            label += step.name();
        }
        line(format!("v{} [label=\"{label}\\n{}\"];", v.as_u32(), g.ty(v)));
        for &x in &g.nodes[n].operands {
            if !matches!(g.values[x].def, Def::Param { .. }) {
                line(format!("v{} -> v{};", x.as_u32(), v.as_u32()));
            }
        }
    }
    out + "}\n"
}

/// The same as a picture. `None` if the layout fails.
pub fn svg(g: &Graph) -> Option<String> {
    let text = dot(g);
    let parsed = DotParser::new(&text).process().ok()?;
    let mut builder = GraphBuilder::new();
    builder.visit_graph(&parsed);
    let mut writer = SVGWriter::new();
    builder.get().do_it(false, false, false, &mut writer);
    Some(writer.finalize())
}

fn escape(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"")
}
