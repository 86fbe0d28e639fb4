//! What a graph pass is, and the driver that runs it: patches up to a limit, refusals kept, changes counted.
//!
//! A pass reads the graph and makes patches; the driver applies them. So a limit on their number bisects any list
//! of passes, and a pass cannot change a graph without being counted.

use ir::diag::Class;
use ir::entity::Node;
use ir::graph::{GraphRef, Patch};
use ir::op::Problem;
use ir::store::MemoryStore;
use ir::target::Target;
use ir::{Diagnostic, Diagnostics, Graph};
use std::time::{Duration, Instant};

use crate::Evaluator;
use crate::graph::{MemoryGoal, Recomputed, Winograd};
use crate::plan::Plan;

/// A transformation of graphs. Running it twice changes nothing the second time.
pub trait Pass: Sync {
    /// As users type it: a verb in kebab case.
    fn name(&self) -> &'static str;
    /// One line.
    fn doc(&self) -> &'static str;
    /// Every reason for which this pass leaves alone what it might change.
    fn refusals(&self) -> &'static [Refusal] {
        &[]
    }
    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics>;
}

/// Why a pass leaves something alone: the name of a variant of its `Keep` enum, and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub name: &'static str,
    pub why: &'static str,
}

/// Declares a pass's `Keep` enum. The doc comment of a variant is what `inspect --why` prints; each variant has
/// exactly one test in `tests/rir/passes/PASS/refuse/`.
macro_rules! keep {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Why something is left alone.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Keep {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Keep {
            pub const ALL: &'static [$crate::pass::Refusal] =
                &[$($crate::pass::Refusal { name: stringify!($name), why: concat!($($doc),+).trim_ascii() }),+];
        }

        impl From<Keep> for $crate::pass::Refusal {
            fn from(keep: Keep) -> $crate::pass::Refusal {
                Keep::ALL[keep as usize]
            }
        }
    };
}
pub(crate) use keep;

/// One refusal of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub pass: &'static str,
    /// Name of the first result of the node.
    pub node: String,
    pub keep: Refusal,
}

/// What one pass did.
#[derive(Clone, Debug)]
pub struct PassStats {
    pub pass: &'static str,
    pub patches: usize,
    /// Live nodes before and after.
    pub nodes: [usize; 2],
    pub params: [usize; 2],
    pub time: Duration,
}

impl PassStats {
    pub fn is_unchanged(&self) -> bool {
        self.patches == 0 && self.nodes[0] == self.nodes[1] && self.params[0] == self.params[1]
    }
}

/// What a list of passes did and what it left alone.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub passes: Vec<PassStats>,
    pub refused: Vec<Refused>,
    /// What `recompute` did.
    pub recomputed: Option<Recomputed>,
}

impl Log {
    /// Everything that was refused at the node whose first result is `name`.
    pub fn why<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Refused> {
        self.refused.iter().filter(move |r| r.node == name)
    }
}

/// What a pass works on.
pub struct PassCtx<'a> {
    pub graph: Graph,
    /// The model's tensors and, over them, those that passes have computed.
    pub store: MemoryStore,
    pub target: Target,
    /// The batch that costs are estimated for.
    pub batch: u64,
    pub winograd: Winograd,
    pub plan: Option<&'a Plan>,
    /// What `recompute` is to reach.
    pub memory: MemoryGoal,
    pub evaluator: &'a dyn Evaluator,
    pub log: Log,
    /// Patches that may still be applied.
    budget: usize,
    pass: &'static str,
    patches: usize,
}

/// What a rule says about a node: nothing, a patch, or why not.
pub type Verdict<K> = Option<Result<Patch, K>>;

impl<'a> PassCtx<'a> {
    pub fn new(
        graph: Graph,
        store: MemoryStore,
        target: Target,
        batch: u64,
        evaluator: &'a dyn Evaluator,
        limit: Option<usize>,
    ) -> PassCtx<'a> {
        let budget = limit.unwrap_or(usize::MAX);
        PassCtx {
            graph,
            store,
            target,
            batch,
            winograd: Winograd::Auto,
            plan: None,
            memory: MemoryGoal::Least,
            evaluator,
            log: Log::default(),
            budget,
            pass: "",
            patches: 0,
        }
    }

    /// Runs one pass and records what it did.
    pub fn run(&mut self, pass: &dyn Pass) -> Result<(), Diagnostics> {
        let start = Instant::now();
        let before = [self.graph.order.len(), self.graph.params.len()];
        (self.pass, self.patches) = (pass.name(), 0);
        pass.run(self)?;
        self.log.passes.push(PassStats {
            pass: self.pass,
            patches: self.patches,
            nodes: [before[0], self.graph.order.len()],
            params: [before[1], self.graph.params.len()],
            time: start.elapsed(),
        });
        Ok(())
    }

    /// Patches that may still be applied; a pass that would do work for a patch may ask before.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Applies as many of `patches` as the limit allows. Returns how many.
    pub fn apply(&mut self, mut patches: Vec<Patch>) -> Result<usize, Diagnostics> {
        patches.truncate(self.budget);
        let count = patches.len();
        if count > 0 {
            self.graph.apply_all(patches).map_err(|p| internal(self.pass, &p))?;
        }
        self.budget -= count;
        self.patches += count;
        Ok(count)
    }

    pub fn refuse(&mut self, n: Node, keep: impl Into<Refusal>) {
        let node = self.graph.name(self.graph.result(n)).to_string();
        self.log.refused.push(Refused { pass: self.pass, node, keep: keep.into() });
    }

    /// Applies `rule` to every node until it has nothing more to say.
    ///
    /// The patches of one sweep are built against one graph. A node that reads what the sweep replaces waits for
    /// the next, because the rule has not seen what it will read. What is refused in the last sweep is recorded.
    pub fn rewrite<K: Into<Refusal>>(
        &mut self,
        mut rule: impl FnMut(&PassCtx, &GraphRef, Node) -> Verdict<K>,
    ) -> Result<(), Diagnostics> {
        loop {
            let (mut patches, mut refused) = (Vec::new(), Vec::new());
            let view = GraphRef::new(&self.graph);
            let mut replaced = cranelift_entity::EntitySet::new();
            for &n in &self.graph.order {
                let waits = |v: &ir::entity::Value| self.graph.def(*v).is_some_and(|d| replaced.contains(d));
                if self.graph.nodes[n].operands.iter().any(waits) {
                    continue;
                }
                match rule(self, &view, n) {
                    None => {}
                    Some(Ok(patch)) => {
                        replaced.insert(n);
                        patches.push(patch);
                    }
                    Some(Err(keep)) => refused.push((n, keep)),
                }
            }
            if self.apply(patches)? == 0 {
                for (n, keep) in refused {
                    self.refuse(n, keep);
                }
                return Ok(());
            }
        }
    }
}

/// A patch that cannot be applied is a fault of its pass.
pub(crate) fn internal(pass: &str, p: &Problem) -> Diagnostics {
    Diagnostic::error(p.code, format!("pass {pass}: {}", p.message)).class(Class::Internal).into()
}
