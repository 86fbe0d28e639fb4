//! What a call costs beside its work: a network of many calls with next to nothing to do, compiled as any other.

use super::Rate;
use crate::bench::{Built, Sampling, Settings, Subject, build, measure};
use crate::output::Folder;
use crate::render::Failure;
use crate::toolchain::BackendName;
use ir::graph::GraphBuilder;
use ir::op::Attr;
use ir::store::MemoryStore;
use ir::target::Target;
use ir::types::Dim;
use ir::{DType, Diagnostic, Graph, TensorType};
use passes::pipeline::PassOptions;
use std::sync::Arc;

/// Calls of the network.
const CALLS: usize = 200;
const TURNS: usize = 5;
/// Of one measurement.
const SECONDS: f64 = 0.05;

/// Nanoseconds a call, on one thread and on `threads`.
///
/// Errors: those of compiling and running an executable.
pub fn fork_join(target: &Target, backend: BackendName, threads: usize) -> Result<Rate, Failure> {
    let dir = Folder::temporary()?;
    let settings = Settings { target: *target, backend, batch: 1, passes: PassOptions::default() };
    let built = |size: [u64; 2], name: &str| -> Result<Built, Failure> {
        let graph = chain(size).map_err(|p| Diagnostic::error("E0800", p.message))?;
        let subject = Subject { graph, store: Arc::new(MemoryStore::default()) };
        build(&subject, &settings, &dir.path().join(name))
    };
    let (empty, small) = (built(EMPTY, "empty")?, built(SMALL, "small")?);
    // In turns, and as for the other rates the fastest counts: others share the machine.
    let mut fastest = [f64::INFINITY; 3];
    for _ in 0..TURNS {
        for (ns, (built, threads)) in fastest.iter_mut().zip([(&empty, 1), (&small, 1), (&small, threads)]) {
            let sampling = Sampling { threads, seconds: SECONDS, warmup: None, iterations: None, cold: false };
            let times = measure(&built.exe, sampling)?;
            *ns = ns.min(times.min_us * 1e3 / times.calls_us.len().max(1) as f64);
        }
    }
    let [one, work, shared] = fastest;
    // With nothing to do one thread would be through before another wakes up.
    let all = shared - (work - one).max(0.0) / threads.max(1) as f64;
    Ok(Rate { one, all: all.max(one) })
}

/// Channels and width of images: next to no work, and enough of it to share.
const EMPTY: [u64; 2] = [16, 1];
const SMALL: [u64; 2] = [256, 4];

/// Pools, one after the other: nothing fuses or folds them.
fn chain([channels, width]: [u64; 2]) -> Result<Graph, ir::op::Problem> {
    let mut g = GraphBuilder::new("calls");
    let image = [Dim::N, Dim::Size(channels), Dim::Size(width), Dim::Size(width)];
    let mut v = g.input("x", TensorType::new(DType::F32, image));
    for i in 0..CALLS {
        let attrs = [("kernel", Attr::Pair([3, 3])), ("stride", Attr::Pair([1, 1])), ("pad", Attr::Quad([1; 4]))];
        v = g.op(&format!("p{i}"), "max_pool", &[v], &attrs)?;
    }
    g.output(v);
    Ok(g.finish())
}
