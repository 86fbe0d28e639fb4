//! Programs and the kernels that they call.

use super::{print_kernel, quoted};
use crate::program::{Program, SlotData, Space};
use std::fmt::Write;

/// The program, then its kernels.
pub fn print_program(p: &Program) -> String {
    let (arena, consts) = (p.arena_bytes, p.const_bytes);
    let target = quoted(&p.target);
    let mut out = format!("program @{} target {target} batch {} arena {arena} consts {consts} {{\n", p.name, p.batch);
    for (s, d) in p.slots.iter() {
        let _ = writeln!(out, "  %{s} = {}", slot(d));
    }
    for c in &p.calls {
        let args = c.args.iter().map(|s| format!("%{s}")).collect::<Vec<_>>().join(", ");
        let (kernel, node) = (&p.kernels[c.kernel].name, quoted(&c.node));
        let _ = writeln!(out, "  call @{kernel}({args}) node {node} op {} macs {}", c.op, c.macs);
    }
    out += "}\n";
    for k in &p.kernels {
        out += "\n";
        out += &print_kernel(k);
    }
    out
}

fn slot(d: &SlotData) -> String {
    let dims = d.dims.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let (name, ty) = (quoted(&d.name), format!("{}[{dims}]", d.dtype));
    match d.space {
        Space::Input(i) => format!("input {i} {name} : {ty}"),
        Space::Output(i) => format!("output {i} {name} : {ty}"),
        Space::Const { offset } => format!("const {name} : {ty} at {offset}"),
        Space::Arena { offset, first, last } => format!("arena {name} : {ty} at {offset} live {first}..{last}"),
    }
}
