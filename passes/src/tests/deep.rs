//! The deepest network of the paper: what its program is made of.

use super::{Random, parse, weights};
use crate::graph::Winograd;
use crate::pipeline::{Options, PassOptions, compile};
use ir::target::X86_64_V3;
use ir::{Diagnostics, Kernel};

/// A CIFAR network of `3·n` blocks with options A shortcuts, as text.
fn cifar(n: usize) -> String {
    let mut out = String::from("rir 1\ngraph @cifar(%x: f32[N,3,32,32]) -> (%out) where N in 1..4 {\n");
    let (mut body, mut params) = (String::new(), String::new());
    let mut conv = |name: &str, x: &str, ic: u32, oc: u32, stride: u32, side: u32, body: &mut String| {
        params += &format!("  param %{name}.w = \"{name}.w\" : f32[{oc},{ic},3,3]\n");
        for p in ["gamma", "beta", "mean", "var"] {
            params += &format!("  param %{name}.{p} = \"{name}.{p}\" : f32[{oc}]\n");
        }
        *body += &format!(
            "  %{name}.c = conv2d %{x}, %{name}.w stride={stride}x{stride} pad=1,1,1,1 : f32[N,{oc},{side},{side}]\n  \
             %{name}.n = batch_norm %{name}.c, %{name}.gamma, %{name}.beta, %{name}.mean, %{name}.var eps=0 : f32[N,{oc},{side},{side}]\n"
        );
    };
    conv("stem", "x", 3, 16, 1, 32, &mut body);
    body += "  %r0 = relu %stem.n : f32[N,16,32,32]\n";
    let mut x = "r0".to_string();
    let mut width = 16;
    for (stage, oc) in [16, 32, 64].into_iter().enumerate() {
        for i in 0..n {
            let side = 32 >> stage;
            let stride = if oc == width { 1 } else { 2 };
            let b = format!("s{stage}b{i}");
            conv(&format!("{b}.1"), &x, width, oc, stride, side, &mut body);
            let ty = format!("f32[N,{oc},{side},{side}]");
            body += &format!("  %{b}.r = relu %{b}.1.n : {ty}\n");
            conv(&format!("{b}.2"), &format!("{b}.r"), oc, oc, 1, side, &mut body);
            if stride == 2 {
                body += &format!("  %{b}.s = subsample %{x} step=2x2 : f32[N,{width},{side},{side}]\n");
                body += &format!("  %{b}.p = pad_channels %{b}.s before={0} after={0} : {ty}\n", width / 2);
                x = format!("{b}.p");
            }
            body += &format!("  %{b}.a = add %{b}.2.n, %{x} : {ty}\n  %{b} = relu %{b}.a : {ty}\n");
            (x, width) = (b, oc);
        }
    }
    body += &format!("  %g = global_avg_pool %{x} : f32[N,64]\n  %out = dense %g, %fc : f32[N,10]\n}}\n");
    params += "  param %fc = \"fc\" : f32[10,64]\n";
    out += &params;
    out + &body
}

/// Gives zeros, for graphs whose numbers do not matter.
struct Zeros;

impl crate::Evaluator for Zeros {
    fn eval(&self, kernel: &Kernel, _: &[&[u8]]) -> Result<Vec<Vec<u8>>, Diagnostics> {
        let outs = kernel.params.iter().map(|&b| &kernel.bufs[b]).filter(|b| b.role != ir::kernel::Role::In);
        Ok(outs.map(|b| vec![0; b.len_bytes() as usize]).collect())
    }
}

#[test]
fn the_deepest_network_of_the_paper_becomes_a_short_program() {
    let g = parse(&cifar(200));
    let store = weights(&g, &mut Random::new(1));
    let passes = PassOptions { winograd: Winograd::Off, ..PassOptions::default() };
    let options = Options { passes, ..Options::new(X86_64_V3, 1) };
    let compiled = compile(g, store, &options, &Zeros).unwrap();
    let p = &compiled.program;
    // A call for each convolution, two for each option-A shortcut, pool and dense.
    assert_eq!(p.calls.len(), 1201 + 2 * 2 + 2);
    assert_eq!(p.kernels.len(), 15, "{:?}", p.kernels.iter().map(|k| &k.name).collect::<Vec<_>>());
    // Three images of the first stage.
    assert_eq!(p.arena_bytes, 3 * 16 * 32 * 32 * 4);
}
