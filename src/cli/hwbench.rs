//! `rescc hwbench`: what this machine can do at most.

use super::{Done, Env, Failure};
use crate::bench::Sheet;
use crate::bench::{Format, report};
use crate::machine::{self, Effort, Measured, TileSpeed};
use crate::toolchain::{self, BackendName};
use ir::Diagnostic;
use ir::diag::Class;
use serde_json::json;

/// Measure this machine's peaks
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rescc hwbench --save")]
pub struct Args {
    /// Keep the rates for `rescc bench`, in the user's cache folder
    #[arg(long)]
    save: bool,
    /// Exit with 1 if a kernel is under 85 % of the speed that the estimate expects
    #[arg(long)]
    assert: bool,
    /// How tables are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Machine to compile for
    #[arg(long, value_name = "T", default_value = "native")]
    target: String,
    /// Code generator [default: llvm where built in]
    #[arg(long, value_enum)]
    backend: Option<BackendName>,
}

/// Share of the expected speed that a kernel has to reach.
const LEAST_SHARE: f64 = 0.85;

impl Args {
    pub fn wants_json(&self) -> bool {
        self.format == Format::Json
    }
}

pub fn run(args: &Args, env: &Env) -> Result<Done, Failure> {
    let backend = args.backend.unwrap_or_else(BackendName::best);
    let target = backend.legal(toolchain::target(&args.target)?);
    toolchain::must_run(&target)?;
    let mut m = machine::measure(&target, backend, env.threads, Effort::Full)?;
    m.call_ns = Some(machine::fork_join(&target, backend, env.threads)?);
    let tiles = machine::tiles(&target, backend, &m)?;
    let mut done = Done::new(
        text(&m, &tiles, args.format),
        json!({
            "machine": report::machine_json(Some(&m)),
            "target": m.target, "backend": m.backend, "threads": m.threads,
            "fma_gflops": m.fma_gflops, "read": m.read, "write": m.write, "exchange": m.exchange, "call_ns": m.call_ns,
            "tiles": tiles,
        }),
    );
    if args.save {
        let path = machine::save(&m, &target)?;
        env.say(format!("saved to {}", path.display()));
        done.result["saved"] = path.display().to_string().into();
    }
    let share = |t: &TileSpeed| t.gflops / t.expected_gflops;
    let slow: Vec<&TileSpeed> = tiles.iter().filter(|t| share(t) < LEAST_SHARE).collect();
    if args.assert && !slow.is_empty() {
        let text = format!(
            "{} of {} kernels are under {:.0} % of the expected speed",
            slow.len(),
            tiles.len(),
            100.0 * LEAST_SHARE
        );
        let mut d = Diagnostic::error("E0793", text).class(Class::Negative);
        for t in slow {
            d = d.note(format!("{} in {}: {:.1} %", t.tile, t.kernel, 100.0 * share(t)));
        }
        done.diagnostics.push(d.help("measure again on an idle machine"));
        done.exit = 1;
    }
    Ok(done)
}

fn text(m: &Measured, tiles: &[TileSpeed], format: Format) -> String {
    let mut s = Sheet::new(1, &["what", "bytes", "1 thread", &format!("{} threads", m.threads), "unit"]);
    let row = |what: String, bytes: String, r: machine::Rate, unit: &str| {
        vec![what, bytes, format!("{:.1}", r.one), format!("{:.1}", r.all), unit.into()]
    };
    s.row(row("multiply-adds".into(), String::new(), m.fma_gflops, "GFLOP/s"));
    for (what, levels) in [("read", &m.read), ("write", &m.write)] {
        for l in levels {
            s.row(row(format!("{what} {}", l.name), crate::format::count(l.bytes), l.gb_per_s, "GB/s"));
        }
    }
    if let Some(e) = m.exchange {
        for (what, rate) in [("read", e.read), ("write", e.write)] {
            let what = format!("{what} another core's");
            s.row(vec![what, String::new(), String::new(), format!("{rate:.1}"), "GB/s".into()]);
        }
    }
    if let Some(calls) = m.call_ns {
        s.row(row("an empty call".into(), String::new(), calls, "ns"));
    }
    let mut t = Sheet::new(3, &["tile", "filter", "kernel", "GFLOP/s", "% of peak", "expected"]);
    for x in tiles {
        t.row(vec![
            x.tile.clone(),
            x.filter.clone(),
            x.kernel.clone(),
            format!("{:.1}", x.gflops),
            format!("{:.1}", 100.0 * x.of_peak),
            format!("{:.1}", x.expected_gflops),
        ]);
    }
    let head = match format {
        Format::Csv => String::new(),
        _ => format!("{}, {} code by {}\n\n", m.cpu, m.target, m.backend),
    };
    format!("{head}{}\n{}", s.print(format), t.print(format))
}
