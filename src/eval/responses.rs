//! How strongly the layers of a network respond: figure 7 of the paper.
//!
//! The response of a 3×3 convolution is its result after batch norm and before what follows (ReLU or addition). Its
//! deviation is taken over all pictures, channels and places of the layer.

use super::batches::Batches;
use crate::code::{Code, floats};
use crate::render::Failure;
use crate::store::Model;
use crate::toolchain::BackendName;
use crate::train::data::{Pixels, Set};
use ir::entity::Value;
use ir::epilogue::Step;
use ir::target::Target;
use ir::{Diagnostic, Graph};
use passes::pipeline::Options;
use rayon::prelude::*;

/// Pictures that a program is compiled for: every response of all of them is kept.
const BATCH: u64 = 16;

/// Sums over the elements of a response.
#[derive(Clone, Copy, Default)]
struct Moments {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn deviation(self) -> f64 {
        let mean = self.sum / self.n;
        (self.squares / self.n - mean * mean).max(0.0).sqrt()
    }
}

/// The responses of a network in order, with the names of their convolutions.
///
/// Errors: E0914 if there is none.
pub fn layers(g: &Graph) -> Result<Vec<(String, Value)>, Diagnostic> {
    let mut found = Vec::new();
    for &n in g.order.iter().filter(|&&n| g.op(n).name == "conv2d") {
        let (node, y) = (&g.nodes[n], g.result(n));
        if g.ty(node.operands[1]).dims(1)[2..] != [3, 3] || node.epilogue.iter().any(|s| !matches!(s, Step::Bias(_))) {
            continue;
        }
        let mut readers = g.order.iter().filter(|&&r| g.nodes[r].operands.contains(&y));
        let norm = readers.next().filter(|&&r| g.op(r).name == "batch_norm" && g.operand(r, 0) == y);
        found.push((g.name(y).to_string(), norm.map_or(y, |&r| g.result(r))));
    }
    match found.is_empty() {
        true => {
            let d = Diagnostic::error("E0914", "the network has no 3x3 convolution whose response can be seen");
            Err(d.help("give a network that no pass has changed"))
        }
        false => Ok(found),
    }
}

/// Name and deviation of the response of every 3×3 convolution, over some pictures of `set`.
///
/// Errors: E0914; those of the pictures, the passes and the back end.
pub fn deviations(
    model: &Model,
    pixels: &Pixels,
    set: &Set,
    pictures: &[u64],
    target: Target,
    backend: BackendName,
    advance: &dyn Fn(u64),
) -> Result<Vec<(String, f64)>, Failure> {
    let layers = layers(&model.graph)?;
    let mut g = model.graph.clone();
    g.outputs = layers.iter().map(|(_, v)| *v).collect();
    let code = Code::new(g, model.store.clone(), backend, &Options::new(backend.legal(target), BATCH))?;
    let mut moments = vec![Moments::default(); layers.len()];
    let fill = |i: u64, x: &mut [f32]| {
        pixels.recipe().apply(&set.picture(pictures[i as usize])?, x);
        Ok(())
    };
    Batches::new(&code)?.groups(pictures.len() as u64, &fill, &mut |here, execution| {
        let full = (here.end - here.start) as usize;
        moments.par_iter_mut().enumerate().for_each(|(layer, m)| {
            let bytes = execution.output(layer).unwrap_or_default();
            for v in floats(&bytes[..bytes.len() / code.group() * full]).map(f64::from) {
                *m = Moments { n: m.n + 1.0, sum: m.sum + v, squares: m.squares + v * v };
            }
        });
        advance(full as u64);
    })?;
    Ok(layers.into_iter().zip(moments).map(|((name, _), m)| (name, m.deviation())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builders::{Spec, build};

    #[test]
    fn responses_are_taken_after_batch_norm() {
        let g = build(&Spec::named("cifar-resnet20", None).unwrap()).unwrap();
        let found = layers(&g).unwrap();
        assert_eq!(found.len(), 19);
        assert_eq!((&*found[0].0, g.name(found[0].1)), ("conv1", "bn1"));
        assert_eq!((&*found[2].0, g.name(found[2].1)), ("layer1.0.conv2", "layer1.0.bn2"));
        // Bottlenecks have one 3×3 convolution each; the stem is 7×7.
        let g = build(&Spec::named("resnet50", None).unwrap()).unwrap();
        assert_eq!(layers(&g).unwrap().len(), 16);
    }

    #[test]
    fn deviations_are_those_of_the_formula() {
        let mut m = Moments::default();
        for v in [1.0, 2.0, 3.0, 6.0] {
            m = Moments { n: m.n + 1.0, sum: m.sum + v, squares: m.squares + v * v };
        }
        assert!((m.deviation() - 3.5f64.sqrt()).abs() < 1e-12);
    }
}
