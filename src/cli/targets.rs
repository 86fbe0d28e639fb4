//! `rescc targets`: the machines that code can be generated for.

use super::{Done, Env, Failure};
use ir::target::TARGETS;
use serde_json::{Value, json};

/// List the machines that can be compiled for
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rescc targets")]
pub struct Args {}

pub fn run(_args: &Args, _env: &Env) -> Result<Done, Failure> {
    let mut table = crate::format::table(&["target", "f32 lanes", "registers", "fma", "layout", "register tiles"]);
    let mut rows = Vec::new();
    for t in TARGETS {
        let tiles: Vec<String> = t.tiles.iter().map(|t| format!("{}x{}", t.pixels, t.blocks)).collect();
        let fma = if t.has_fma { "yes" } else { "no" };
        let layout = format!("nChw{}c", t.block);
        table.add_row([
            t.name.to_string(),
            t.lanes.to_string(),
            t.registers.to_string(),
            fma.to_string(),
            layout.clone(),
            tiles.join(" "),
        ]);
        rows.push(json!({
            "name": t.name, "lanes": t.lanes, "registers": t.registers, "fma": t.has_fma, "layout": layout,
            "tiles": tiles, "l1_bytes": t.l1_bytes, "l2_bytes": t.l2_bytes,
        }));
    }
    let text =
        format!("{}`native` stands for the best of these that this machine can run.\n", crate::format::lines(&table));
    Ok(Done::new(text, json!({ "targets": Value::Array(rows) })))
}
