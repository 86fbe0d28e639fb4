//! Faults planted into passes: the comparison with the interpreter shows them.

use super::{BLOCKS, Interpreter, Random, SHORTCUT, inputs, parse, reference, weights};
use crate::graph::{FoldBn, FuseEpilogue};
use crate::pass::{Pass, PassCtx};
use ir::Diagnostics;
use ir::store::MemoryStore;
use ir::target::X86_64_V3;

/// Folds batch norms as `fold-bn` does, and drops the bias of the convolution.
struct FaultyFold;

impl Pass for FaultyFold {
    fn name(&self) -> &'static str {
        "faulty-fold"
    }
    fn doc(&self) -> &'static str {
        "a planted fault"
    }
    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        FoldBn.run(cx)?;
        for n in cx.graph.order.clone() {
            let d = &mut cx.graph.nodes[n];
            if d.op.name == "fold_bn_bias" {
                d.operands.truncate(4);
            }
        }
        Ok(())
    }
}

#[test]
fn a_fold_that_drops_the_bias_is_caught_by_the_interpreter() {
    let g = parse(BLOCKS);
    let mut random = Random::new(7);
    let (store, inputs) = (weights(&g, &mut random), inputs(&g, 2, &mut random));
    let expected = reference(&g, &*store, &inputs, 2);
    let fold = |pass: &dyn Pass| {
        let mut cx = PassCtx::new(g.clone(), MemoryStore::over(store.clone()), X86_64_V3, 2, &Interpreter, None);
        cx.run(pass).unwrap();
        reference(&cx.graph, &*store, &inputs, 2)
    };
    assert!(fold(&FoldBn) == expected);
    assert!(fold(&FaultyFold) != expected, "the fault must show");
}

/// Fuses `s` into `c` although `c` is read again: what `fuse-epilogue` refuses as `HasOtherReader`.
struct FaultyFuse;

impl Pass for FaultyFuse {
    fn name(&self) -> &'static str {
        "faulty-fuse"
    }
    fn doc(&self) -> &'static str {
        "a planted fault"
    }
    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        let g = &cx.graph;
        let [c, s] = ["c", "s"].map(|n| g.value_named(n).expect("named above"));
        let d = &g.nodes[g.def(c).expect("a node")];
        let operands = [d.operands[0], d.operands[1], g.inputs[0]].map(ir::graph::Src::Old).to_vec();
        let mut p = ir::graph::Patch::new("faulty-fuse");
        let y = p.add("fused", d.op, d.attrs.clone(), operands, vec![ir::epilogue::Step::Add(2)], None);
        p.replace(c, y);
        p.replace(s, y);
        cx.apply(vec![p]).map(|_| ())
    }
}

#[test]
fn an_add_fused_over_a_value_that_is_read_later_is_caught_by_the_interpreter() {
    let g = parse(SHORTCUT);
    let mut random = Random::new(9);
    let (store, inputs) = (weights(&g, &mut random), inputs(&g, 2, &mut random));
    let expected = reference(&g, &*store, &inputs, 2);
    let fuse = |pass: &dyn Pass| {
        let mut cx = PassCtx::new(g.clone(), MemoryStore::over(store.clone()), X86_64_V3, 2, &Interpreter, None);
        cx.run(pass).unwrap();
        assert!(!cx.graph.verify().has_errors());
        (reference(&cx.graph, &*store, &inputs, 2), cx.log)
    };
    let (kept, log) = fuse(&FuseEpilogue);
    assert!(kept == expected);
    assert!(log.why("s").any(|r| r.keep.name == "HasOtherReader"), "{log:?}");
    assert!(fuse(&FaultyFuse).0 != expected, "the fault must show");
}
