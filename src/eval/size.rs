//! A network for pictures of another size: all layers up to a global pool take any size, what follows sees no pixels.

use ir::op::OpCtx;
use ir::types::Dim;
use ir::{Diagnostic, Diagnostics, Graph, Place, TensorType};

/// `graph` with an input of `height`×`width` pixels.
///
/// Errors: E0912 if a layer takes only the size that it was made for.
pub fn at_size(graph: &Graph, [height, width]: [u64; 2]) -> Result<Graph, Diagnostics> {
    let mut g = graph.clone();
    let refuse = |name: &str, why: String| {
        let d = Diagnostic::error("E0912", format!("the network cannot look at {height}x{width} pixels: {why}"));
        d.at(Place::Node(name.into()), "").help("scales need convolutions and pools up to a global average pool")
    };
    for &x in &graph.inputs {
        let [_, _, h, w] = &mut g.values[x].ty.shape[..] else {
            return Err(refuse(graph.name(x), "its input is no picture".into()).into());
        };
        (*h, *w) = (Dim::Size(height), Dim::Size(width));
    }
    for &n in &graph.order {
        let (node, name) = (&graph.nodes[n], graph.name(graph.result(n)));
        let operands = g.operand_types(n);
        let ctx = OpCtx { operands: &operands, attrs: &node.attrs, epilogue: &node.epilogue, results: &[], batch: 1 };
        let types = (node.op.shape)(&ctx).map_err(|p| refuse(name, p.message))?;
        for (&v, ty) in node.results.iter().zip(types) {
            let layout = g.ty(v).layout;
            g.values[v].ty = TensorType { layout, ..ty };
        }
    }
    for &y in &graph.outputs {
        if g.ty(y) != graph.ty(y) {
            let why = format!("its output is {} then, not {}", g.ty(y), graph.ty(y));
            return Err(refuse(graph.name(y), why).into());
        }
    }
    g.verify().into_result(g)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builders::{Spec, build};
    use ir::text::print_graph;

    fn network(name: &str, side: u64) -> Graph {
        build(&Spec { input: [3, side, side], ..Spec::named(name, None).unwrap() }).unwrap()
    }

    #[test]
    fn a_network_is_what_it_would_be_if_it_were_built_at_that_size() {
        for (name, from, to) in [("resnet50", 224, 480), ("cifar-resnet20", 32, 40), ("plain18", 64, 333)] {
            let other = at_size(&network(name, from), [to, to]).unwrap();
            assert_eq!(print_graph(&other), print_graph(&network(name, to)));
        }
    }

    #[test]
    fn layers_that_see_pixels_are_named() {
        let e = at_size(&network("vgg16", 224), [256, 256]).unwrap_err();
        assert_eq!(e.0[0].code, "E0912");
        assert!(e.to_string().contains("256x256"), "{e}");
        assert_eq!(at_size(&network("cifar-resnet20", 32), [0, 0]).unwrap_err().0[0].code, "E0912");
    }
}
