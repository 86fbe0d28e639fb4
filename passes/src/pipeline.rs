//! The named lists of passes, and the whole way from a graph to a program.

use crate::graph::recompute::too_small;
use crate::graph::{
    ApplyPlan, Canonicalize, Cse, Dce, FoldBn, FoldConstants, FoldShape, FuseEpilogue, MemoryGoal, Recompute, Reorders,
    SamplePointwise, SelectAlgorithm, SelectLayout, SplitBn, Winograd,
};
use crate::lower::{self, Lowering};
use crate::pass::{Log, Pass, PassCtx};
use crate::plan::Plan;
use crate::program::{check_memory, order_kernels, plan_memory};
use crate::{Evaluator, group};
use ir::diag::Class;
use ir::store::{MemoryStore, TensorStore, Widened};
use ir::target::Target;
use ir::{Diagnostic, Diagnostics, Graph, Program};
use std::sync::Arc;

/// The passes of an inference build, in order.
pub fn inference() -> Vec<&'static dyn Pass> {
    vec![
        &Dce,
        &Canonicalize,
        &FoldShape,
        &Cse,
        &FoldBn,
        &SplitBn,      // what could not be folded
        &FuseEpilogue, // after the folds: a folded bias is a step of the epilogue
        &SamplePointwise,
        &ApplyPlan,
        &SelectLayout,
        &Reorders,
        &SelectAlgorithm, // the layouts are those of direct convolution
        &FoldConstants,   // evaluates the folds and the packing that the layouts ask for
    ]
}

/// Every pass by name.
pub fn all() -> Vec<&'static dyn Pass> {
    let mut all = inference();
    all.push(&Recompute);
    all
}

/// The pass that users call `name`.
///
/// Errors: E0401 with the nearest name, if one is near, and all names.
pub fn by_name(name: &str) -> Result<&'static dyn Pass, Diagnostics> {
    all().into_iter().find(|p| p.name() == name).ok_or_else(|| {
        let known: Vec<&str> = all().iter().map(|p| p.name()).collect();
        let near = ir::text::nearest(name, known.iter().copied());
        let near = near.map_or_else(String::new, |n| format!("did you mean '{n}'? "));
        Diagnostic::error("E0401", format!("there is no pass '{name}'"))
            .class(Class::Usage)
            .help(format!("{near}the passes are {}", known.join(", ")))
            .into()
    })
}

/// How a graph is optimised.
#[derive(Clone, Copy, Default)]
pub struct PassOptions<'a> {
    /// These passes, in this order, instead of the list for inference.
    pub only: Option<&'a [String]>,
    /// Passes to leave out.
    pub skip: &'a [String],
    /// Stop after that many patches in total.
    pub limit: Option<usize>,
    pub winograd: Winograd,
    /// Schedules that were measured, for the convolutions that it names.
    pub plan: Option<&'a Plan>,
    /// Trade time for memory: `recompute` runs last.
    pub recompute: Option<MemoryGoal>,
    /// Verify the graph after each pass.
    pub verify_each: bool,
    /// Called after each pass with its name and the graph.
    pub after: Option<&'a dyn Fn(&'static str, &Graph)>,
}

/// What a model is compiled for.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    pub target: Target,
    /// Images of an inference. The program computes a group of them at a time, see [`group`].
    pub batch: u64,
    pub passes: PassOptions<'a>,
    /// No passes, no templates, every f32 computed as f64: the program that others are compared with.
    pub reference: bool,
}

impl Options<'_> {
    pub fn new(target: Target, batch: u64) -> Self {
        Options { target, batch, passes: PassOptions::default(), reference: false }
    }

    /// The unoptimised program in f64. Its inputs, outputs and constants are f64.
    pub fn reference(target: Target, batch: u64) -> Self {
        Options { reference: true, ..Options::new(target, batch) }
    }
}

/// A graph after its passes, with the tensors that they have computed.
pub struct Optimised {
    pub graph: Graph,
    pub store: Arc<dyn TensorStore>,
    pub log: Log,
}

/// A program that is planned and proven, and what belongs to it.
pub struct Compiled {
    pub graph: Graph,
    /// Holds every constant of the program as it lies in memory, by the name of its slot.
    pub store: Arc<dyn TensorStore>,
    pub program: Program,
    pub log: Log,
}

/// Runs graph passes.
///
/// Errors: E0401 for an unknown pass; what a pass or, with `verify_each`, the graph verifier says.
pub fn optimise(
    graph: Graph,
    store: Arc<dyn TensorStore>,
    target: &Target,
    batch: u64,
    options: &PassOptions,
    evaluator: &dyn Evaluator,
) -> Result<Optimised, Diagnostics> {
    let mut passes = match options.only {
        Some(names) => names.iter().map(|n| by_name(n)).collect::<Result<Vec<_>, _>>()?,
        None => inference(),
    };
    if options.recompute.is_some() && !passes.iter().any(|p| p.name() == Recompute.name()) {
        passes.push(&Recompute);
    }
    for name in options.skip {
        by_name(name)?;
    }
    let mut cx = PassCtx::new(graph, MemoryStore::over(store), *target, batch, evaluator, options.limit);
    (cx.winograd, cx.plan) = (options.winograd, options.plan);
    cx.memory = options.recompute.unwrap_or(MemoryGoal::Least);
    for p in passes.into_iter().filter(|p| !options.skip.iter().any(|s| s == p.name())) {
        cx.run(p)?;
        if options.verify_each {
            ours(cx.graph.verify(), &format!("after pass {}", p.name()))?;
        }
        if let Some(after) = options.after {
            after(p.name(), &cx.graph);
        }
    }
    let PassCtx { graph, store, log, .. } = cx;
    Ok(Optimised { graph, store: Arc::new(store), log })
}

/// From a verified graph to a program with a proven memory plan.
///
/// Errors: as [`optimise`]; E0408 if the arena cannot be as small as `options` ask for; E0402 if `batch` is outside the graph's range; what lowering and the verifiers of
/// kernels, programs and memory plans say.
pub fn compile(
    graph: Graph,
    store: Arc<dyn TensorStore>,
    options: &Options,
    evaluator: &dyn Evaluator,
) -> Result<Compiled, Diagnostics> {
    let [least, most] = graph.batch;
    if !(least..=most).contains(&options.batch) {
        let message = format!("batch {} is outside the {least}..{most} of this model", options.batch);
        return Err(Diagnostic::error("E0402", message).into());
    }
    let Some(MemoryGoal::Within(limit)) = options.passes.recompute else {
        return compile_once(graph, store, options, evaluator);
    };
    // The arena is larger than what is live at once by what lies between its buffers, which only its plan shows.
    let with = |goal| {
        let passes = PassOptions { recompute: Some(goal), ..options.passes };
        compile_once(graph.clone(), store.clone(), &Options { passes, ..*options }, evaluator)
    };
    let mut aim = limit;
    for _ in 0..MOST_PLANS {
        match with(MemoryGoal::Within(aim)) {
            Ok(compiled) if compiled.program.arena_bytes <= limit => return Ok(compiled),
            Ok(compiled) => aim = aim.saturating_sub(compiled.program.arena_bytes - limit),
            Err(d) if d.0.iter().any(|d| d.code == "E0408") => break,
            Err(d) => return Err(d),
        }
    }
    let least = with(MemoryGoal::Least)?;
    let arena = least.program.arena_bytes;
    if arena <= limit { Ok(least) } else { Err(too_small(limit, arena)) }
}

/// Memory plans that are made to come within a limit.
const MOST_PLANS: usize = 4;

fn compile_once(
    graph: Graph,
    store: Arc<dyn TensorStore>,
    options: &Options,
    evaluator: &dyn Evaluator,
) -> Result<Compiled, Diagnostics> {
    let group = group::of_batch(&graph, options.batch);
    let Optimised { graph, store, log } = if options.reference {
        Optimised { graph, store: Arc::new(Widened(store)), log: Log::default() }
    } else {
        optimise(graph, store, &options.target, group, &options.passes, evaluator)?
    };
    let lowering = Lowering { target: options.target, batch: group, reference: options.reference };
    let mut program = lower::lower(&graph, &lowering)?;
    order_kernels::run(&mut program);
    plan_memory::run(&mut program);
    ours(program.verify(), "in the program of a verified graph")?;
    check_memory::check(&program)?;
    Ok(Compiled { graph, store, program, log })
}

/// What a verifier finds in what was made here is our fault.
fn ours(mut found: Diagnostics, made: &str) -> Result<(), Diagnostics> {
    for d in &mut found.0 {
        d.class = Class::Internal;
        d.notes.push(made.into());
    }
    found.into_result(())
}
