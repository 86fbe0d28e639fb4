//! Tensors between plain layout and that of a kernel.

use ir::Layout;
use ir::op::BufType;
use rayon::prelude::*;

/// Position in memory of every logical element, in row-major order of the logical index.
fn positions(t: &BufType) -> Vec<usize> {
    let physical = t.physical();
    let mut strides = vec![1usize; physical.len()];
    for i in (1..physical.len()).rev() {
        strides[i - 1] = strides[i] * physical[i] as usize;
    }
    let dims: Vec<usize> = t.dims.iter().map(|&d| d as usize).collect();
    let total: usize = dims.iter().product();
    (0..total)
        .into_par_iter()
        .map(|i| {
            let mut at = [0usize; 8];
            let mut rest = i;
            for d in (0..dims.len()).rev() {
                at[d] = rest % dims[d];
                rest /= dims[d];
            }
            let dot = |index: &[usize]| index.iter().zip(&strides).map(|(a, s)| a * s).sum();
            match t.layout {
                Layout::Plain => i,
                Layout::Blocked(b) => {
                    let b = b as usize;
                    dot(&[at[0], at[1] / b, at[2], at[3], at[1] % b])
                }
                Layout::Filter { ic, oc } => {
                    let (ic, oc) = (ic as usize, oc as usize);
                    dot(&[at[0] / oc, at[1] / ic, at[2], at[3], at[1] % ic, at[0] % oc])
                }
                Layout::Panel(oc) => {
                    let oc = oc as usize;
                    dot(&[at[0] / oc, at[1], at[0] % oc])
                }
                Layout::Spaced => dot(&at[..dims.len()]),
            }
        })
        .collect()
}

/// A tensor as it lies in memory, from its elements in row-major order of the logical index.
pub fn to_layout(x: &[f64], t: &BufType) -> Vec<f64> {
    if t.layout == Layout::Plain {
        return x.to_vec();
    }
    let mut out = vec![0.0; t.physical().iter().product::<i64>() as usize];
    for (&v, to) in x.iter().zip(positions(t)) {
        out[to] = v;
    }
    out
}

/// The other way.
pub fn from_layout(x: &[f64], t: &BufType) -> Vec<f64> {
    if t.layout == Layout::Plain {
        return x.to_vec();
    }
    positions(t).into_iter().map(|from| x[from]).collect()
}
