//! `apply-plan`: writes the schedules of a plan into the convolutions that it names.
//!
//! It runs after the fusions, because the epilogue is part of what a plan is about, and before the layouts, which
//! depend on the schedule. A schedule that is there already stays.

use crate::pass::{Pass, PassCtx, Refusal, Verdict};
use crate::plan::{Plan, signature};
use ir::Diagnostics;
use ir::entity::Node;
use ir::graph::{GraphRef, Patch};
use ir::schedule::{SCHEDULE, Schedule};

pub struct ApplyPlan;

impl Pass for ApplyPlan {
    fn name(&self) -> &'static str {
        "apply-plan"
    }

    fn doc(&self) -> &'static str {
        "writes the schedules of a plan into the convolutions that it names"
    }

    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        let Some(plan) = cx.plan else { return Ok(()) };
        cx.rewrite(|cx, view, n| apply(plan, cx.batch, view, n))
    }
}

fn apply(plan: &Plan, batch: u64, view: &GraphRef, n: Node) -> Verdict<Refusal> {
    let g = view.graph;
    let schedule = *plan.0.get(&signature(g, n, batch)?)?;
    let d = &g.nodes[n];
    if Schedule::of(&d.attrs) != Schedule::default() || schedule == Schedule::default() {
        return None;
    }
    let y = d.results[0];
    let mut p = Patch::new("apply-plan");
    let attrs = d.attrs.clone().set(SCHEDULE.name, schedule.attr());
    let operands = super::old_operands(g, n);
    let replacement = p.add(g.name(y), d.op, attrs, operands, d.epilogue.clone(), Some(g.ty(y).layout));
    p.replace(y, replacement);
    Some(Ok(p))
}
