//! The seam to `bench`: what a call takes, measured and predicted, and the rates that the prediction is made of.

use crate::bench::Times;
use crate::machine::{self, Effort, Level, Measured, Rate, cpu};
use crate::render::Failure;
use crate::toolchain::BackendName;
use ir::Program;
use ir::program::Call;
use ir::target::Target;
use passes::cost::{self, Place, Prediction};
use std::collections::HashMap;

/// One call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CallTime {
    pub predicted_us: f64,
    /// What bounds it, by the estimate.
    pub roof: &'static str,
    /// `None` if nothing was run.
    pub measured_us: Option<f64>,
    /// Floating-point operations, two for each multiply-add.
    pub flops: u64,
}

/// Where the rates of the machine come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Saved,
    Measured,
    /// Those of the table that the estimate was made with.
    Assumed,
}

/// A machine's rates.
#[derive(Clone, Debug)]
pub struct Machine {
    pub rates: Measured,
    pub origin: Origin,
}

impl Machine {
    /// Saved rates, else measured ones where something is run anyway.
    ///
    /// Errors: those of measuring.
    pub fn get(target: &Target, backend: BackendName, threads: usize, runs: bool) -> Result<Machine, Failure> {
        if let Some(rates) = machine::load(target, threads) {
            return Ok(Machine { rates, origin: Origin::Saved });
        }
        if runs {
            let rates = machine::measure(target, backend, threads, Effort::Quick)?;
            return Ok(Machine { rates, origin: Origin::Measured });
        }
        Ok(Machine { rates: assumed(target, threads), origin: Origin::Assumed })
    }
}

/// Those of the table that is nearest to this processor.
fn assumed(target: &Target, threads: usize) -> Measured {
    let table = cost::Machine::named(&cpu::microarchitecture());
    let core = table.running(u64::from(target.lanes) * 4, target.registers.into());
    let together = |one: f64| Rate { one, all: one * threads as f64 };
    let level = |name: &str, bytes, gb_per_s| Level { name: name.into(), bytes, gb_per_s };
    Measured {
        cpu: core.title.into(),
        microarchitecture: core.name.into(),
        target: target.name.into(),
        backend: String::new(),
        threads,
        fma_gflops: together(core.peak_gflops()),
        read: vec![
            level("L2", core.l2_bytes, together(core.l2)),
            level("L3", core.l3_bytes, together(core.l3)),
            level("DRAM", 0, Rate { one: core.dram, all: if threads > 1 { core.dram_all } else { core.dram } }),
        ],
        write: Vec::new(),
        exchange: None,
        call_ns: None,
    }
}

/// All calls of a program.
#[derive(Clone, Debug)]
pub struct Timing {
    pub calls: Vec<CallTime>,
    /// The measurement as a whole.
    pub run: Option<Times>,
}

/// What each call of `program` takes on `threads` threads. An inference runs the program `groups` times.
pub fn timing(
    program: &Program,
    groups: u64,
    target: &Target,
    machine: &Measured,
    threads: usize,
    run: Option<Times>,
) -> Timing {
    let model = machine.model(target);
    let flops: Vec<u64> = program.kernels.iter().map(flops).collect();
    // A deep network has thousands of calls of a few kernels, alike but for the places of their arguments.
    let mut known: HashMap<(usize, Vec<Place>), Prediction> = HashMap::new();
    let places = cost::places(program, &model, threads, false);
    let call = |(i, (c, places)): (usize, (&Call, Vec<Place>))| {
        let predict = || cost::predict(program, c, &places, &model, threads);
        let Prediction { ns, roof, .. } = *known.entry((c.kernel, places.clone())).or_insert_with(predict);
        CallTime {
            predicted_us: ns / 1e3 * groups as f64,
            roof: roof.name(),
            measured_us: run.as_ref().and_then(|r| r.calls_us.get(i).copied()),
            flops: groups * if c.macs > 0 { 2 * c.macs } else { flops[c.kernel] },
        }
    };
    Timing { calls: program.calls.iter().zip(places).enumerate().map(call).collect(), run }
}

/// Operations of all tasks, counted one element at a time.
fn flops(kernel: &ir::Kernel) -> u64 {
    let ops = cost::count(kernel, ELEMENT_BYTES);
    2 * ops.fmas + ops.adds + ops.divs + ops.exps
}

const ELEMENT_BYTES: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_assumed_of_this_processor() {
        let rates = assumed(&ir::target::X86_64_V3, 2);
        assert_eq!(rates.microarchitecture, cpu::microarchitecture());
        assert!(cost::MACHINES.iter().any(|m| m.title == rates.cpu && m.name == rates.microarchitecture));
    }
}
