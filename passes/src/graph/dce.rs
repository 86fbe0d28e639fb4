//! `dce`: drops nodes and parameters that no output depends on.

use crate::pass::{Pass, PassCtx, internal};
use ir::Diagnostics;

pub struct Dce;

impl Pass for Dce {
    fn name(&self) -> &'static str {
        "dce"
    }

    fn doc(&self) -> &'static str {
        "drops what no output depends on"
    }

    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        // Applying no patch drops what is dead, as applying any does.
        cx.graph.apply_all([]).map_err(|p| internal(self.name(), &p))
    }
}
