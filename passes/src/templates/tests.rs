//! Every template against the body of its op: exactly equal on integers, in any order of tasks.

use super::{build, offers, winograd};
use ir::epilogue::Step;
use ir::interp::elements::{decode, encode};
use ir::interp::kernel::run_in_any_order;
use ir::kernel::Affine;
use ir::op::{Attr, Attrs, BodyCtx, BufType, OpCtx, lookup};
use ir::ops::winograd::{Grid, Stride};
use ir::target::{TARGETS, Target};
use ir::{DType, Layout, TensorType};

/// Small integers, so that every f32 sum is exact.
fn integers(n: usize, seed: u64) -> Vec<f64> {
    let mut s = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            s = s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((s >> 40) % 7) as f64 - 3.0
        })
        .collect()
}

/// Moves plain row-major data into `layout`.
fn lay_out(data: &[f64], dims: &[i64], layout: Layout) -> Vec<f64> {
    let logical: Vec<u64> = dims.iter().map(|d| d.cast_unsigned()).collect();
    let physical = layout.physical(&logical);
    let mut out = vec![0.0; physical.iter().product::<u64>() as usize];
    for (i, &v) in data.iter().enumerate() {
        let mut rest = i as i64;
        let mut at: Vec<Affine> = Vec::new();
        for d in dims.iter().rev() {
            at.push((rest % d).into());
            rest /= d;
        }
        at.reverse();
        let index = layout.index(&at);
        let to = index.iter().zip(&physical).fold(0, |sum, (a, d)| {
            sum * d.cast_signed() + a.as_constant().expect("invariant: constants map to constants")
        });
        out[to as usize] = v;
    }
    out
}

struct Case {
    op: &'static str,
    operands: Vec<Vec<u64>>,
    attrs: Vec<(&'static str, Attr)>,
    epilogue: Vec<Step>,
}

fn conv(x: [u64; 4], w: [u64; 4], stride: u64, pad: [u64; 4], epilogue: &[Step]) -> Case {
    let p = |n: u64, k: u64, a: u64, b: u64| (n + a + b - k) / stride + 1;
    let y = vec![x[0], w[0], p(x[2], w[2], pad[0], pad[2]), p(x[3], w[3], pad[1], pad[3])];
    let mut operands = vec![x.to_vec(), w.to_vec()];
    for s in epilogue {
        match s {
            Step::Bias(_) => operands.push(vec![w[0]]),
            Step::ScaleShift(..) => operands.extend([vec![w[0]], vec![w[0]]]),
            Step::Add(_) | Step::ReluGrad(_) => operands.push(y.clone()),
            Step::Relu | Step::Clamp(..) => {}
        }
    }
    let attrs = vec![("stride", Attr::Pair([stride; 2])), ("pad", Attr::Quad(pad))];
    Case { op: "conv2d", operands, attrs, epilogue: epilogue.to_vec() }
}

impl Case {
    /// Builds the template for every offer and compares it with the body. Returns how many offers there were.
    fn check(&self, target: &Target) -> usize {
        let op = lookup(self.op).expect("invariant: the case names an op");
        let attrs = self.attrs.iter().cloned().fold(Attrs::defaults(op), |a, (n, v)| a.set(n, v));
        let types: Vec<TensorType> = self.operands.iter().map(|d| TensorType::f32(d)).collect();
        let ctx = OpCtx { operands: &types, attrs: &attrs, epilogue: &self.epilogue, results: &[], batch: 1 };
        let results = (op.shape)(&ctx).expect("invariant: the case is valid");
        let buf = |t: &TensorType| BufType::of(t, 1);
        let plain = BodyCtx {
            operands: types.iter().map(buf).collect(),
            results: results.iter().map(buf).collect(),
            attrs: &attrs,
            epilogue: &self.epilogue,
        };
        let data: Vec<Vec<f64>> =
            (0..).zip(&plain.operands).map(|(i, t)| integers(t.dims.iter().product::<i64>() as usize, i + 1)).collect();
        let bytes = |data: &[Vec<f64>]| -> Vec<Vec<u8>> { data.iter().map(|d| encode(DType::F32, d)).collect() };
        let inputs = bytes(&data);
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        let want = run_in_any_order(&op.kernel(&plain), &inputs).expect("the body runs");
        let want = decode(DType::F32, &want[0]);

        let mut all = offers(op, &plain, target);
        all.pop();
        for offer in &all {
            let with = |t: &BufType, layout: Layout| BufType { layout, ..t.clone() };
            let ctx = BodyCtx {
                operands: plain.operands.iter().zip(&offer.operands).map(|(t, &l)| with(t, l)).collect(),
                results: vec![with(&plain.results[0], offer.result)],
                attrs: &attrs,
                epilogue: &self.epilogue,
            };
            let kernel = build(op, &ctx, target).expect("what is offered can be built");
            let moved: Vec<Vec<f64>> =
                data.iter().zip(&ctx.operands).map(|(d, t)| lay_out(d, &t.dims, t.layout)).collect();
            let inputs = bytes(&moved);
            let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
            let got = run_in_any_order(&kernel, &inputs).unwrap_or_else(|e| panic!("{}: {e}", kernel.name));
            let want = lay_out(&want, &ctx.results[0].dims, offer.result);
            assert!(decode(DType::F32, &got[0]) == want, "{} differs from the body on {}", kernel.name, target.name);
            let proof = kernel.verify();
            assert!(!proof.has_errors(), "{}: {proof}", kernel.name);
        }
        all.len()
    }
}

fn check_all(cases: &[Case]) {
    for target in &TARGETS {
        for case in cases {
            assert!(case.check(target) > 0, "{} has no template for {:?} on {}", case.op, case.operands, target.name);
        }
    }
}

#[test]
fn convolutions_equal_their_body() {
    let full = [Step::Bias(2), Step::Add(3), Step::Relu];
    check_all(&[
        conv([1, 16, 9, 13], [32, 16, 3, 3], 1, [1; 4], &full),
        conv([2, 16, 9, 13], [16, 16, 3, 3], 2, [1; 4], &[Step::Bias(2)]),
        conv([1, 32, 7, 7], [64, 32, 1, 1], 1, [0; 4], &full),
        // a sum so long that it goes by blocks of channels
        conv([2, 1040, 2, 3], [64, 1040, 1, 1], 1, [0; 4], &full),
        conv([1, 16, 28, 5], [32, 16, 1, 1], 2, [0; 4], &[]),
        conv([1, 3, 19, 17], [32, 3, 7, 7], 2, [3; 4], &[Step::Bias(2), Step::Relu]),
        conv([1, 16, 5, 6], [48, 16, 3, 5], 1, [0, 2, 1, 1], &[Step::ScaleShift(2, 3), Step::Clamp(-2.0, 6.0)]),
        conv([1, 16, 4, 4], [16, 16, 5, 5], 1, [2; 4], &[Step::Relu]),
        conv([2, 16, 6, 5], [16, 16, 3, 3], 1, [1; 4], &[Step::Add(2), Step::ReluGrad(3)]),
    ]);
}

#[test]
fn gradients_of_filters_equal_their_body() {
    let grad = |x: [u64; 4], w: [u64; 4], stride: u64, pad: [u64; 4], splits: i64| {
        let forward = conv(x, w, stride, pad, &[]);
        let p = |n: u64, k: u64, a: u64, b: u64| (n + a + b - k) / stride + 1;
        let g = vec![x[0], w[0], p(x[2], w[2], pad[0], pad[2]), p(x[3], w[3], pad[1], pad[3])];
        let more = [("kernel", Attr::Pair([w[2], w[3]])), ("splits", Attr::Int(splits))];
        let attrs = forward.attrs.into_iter().chain(more).collect();
        Case { op: "conv2d_grad_weight", operands: vec![x.to_vec(), g], attrs, epilogue: vec![] }
    };
    check_all(&[
        grad([3, 16, 9, 13], [32, 16, 3, 3], 1, [1; 4], 2),
        grad([2, 32, 8, 8], [16, 32, 3, 3], 1, [1; 4], 16),
        grad([2, 16, 9, 21], [16, 16, 3, 3], 2, [1; 4], 2),
        grad([1, 16, 14, 14], [16, 16, 3, 3], 2, [0, 0, 1, 1], 1),
        grad([2, 48, 7, 7], [64, 48, 1, 1], 1, [0; 4], 1),
        grad([2, 32, 9, 27], [32, 32, 1, 1], 2, [0; 4], 2),
        grad([2, 3, 19, 27], [32, 3, 7, 7], 2, [3; 4], 2),
        grad([2, 3, 8, 8], [16, 3, 3, 3], 1, [1; 4], 3),
        grad([1, 16, 5, 6], [48, 16, 3, 5], 1, [0, 2, 1, 1], 1),
        // a window as large as the image, and pads beyond the filter
        grad([1, 16, 4, 4], [16, 16, 5, 5], 1, [2; 4], 1),
        grad([1, 16, 3, 3], [16, 16, 2, 2], 1, [3, 2, 1, 3], 1),
    ]);
}

#[test]
fn moved_channels_equal_their_body() {
    let moved = |op, x: [u64; 4], attrs: [(&'static str, i64); 2]| Case {
        op,
        operands: vec![x.to_vec()],
        attrs: attrs.into_iter().map(|(name, n)| (name, Attr::Int(n))).collect(),
        epilogue: vec![],
    };
    let pad = |x, before, after| moved("pad_channels", x, [("before", before), ("after", after)]);
    let slice = |x, start, count| moved("slice_channels", x, [("start", start), ("count", count)]);
    check_all(&[
        // by whole blocks, by half of one (of AVX-512), by a quarter
        pad([2, 32, 3, 5], 16, 16),
        pad([1, 16, 4, 4], 8, 8),
        pad([1, 16, 4, 4], 4, 12),
        pad([1, 16, 4, 4], 0, 16),
        slice([2, 64, 3, 5], 16, 32),
        slice([1, 32, 4, 4], 8, 16),
        slice([1, 32, 4, 4], 12, 16),
    ]);
}

/// A step from row to row of 2^31 rows, of which the image has one.
#[test]
fn strides_far_beyond_the_image_are_planned() {
    let count = |op: &str, operands: [Vec<u64>; 2], more: &[(&'static str, Attr)]| {
        let op = lookup(op).expect("invariant: the case names an op");
        let attrs = Attrs::defaults(op).set("stride", Attr::Pair([1 << 31; 2])).set("pad", Attr::Quad([0, 0, 0, 1]));
        let attrs = more.iter().cloned().fold(attrs, |a, (n, v)| a.set(n, v));
        let types = operands.map(|d| TensorType::f32(&d));
        let ctx = OpCtx { operands: &types, attrs: &attrs, epilogue: &[], results: &[], batch: 1 };
        let results = (op.shape)(&ctx).expect("invariant: the case is valid");
        let buf = |t: &TensorType| BufType::of(t, 1);
        let ctx = BodyCtx {
            operands: types.iter().map(buf).collect(),
            results: results.iter().map(buf).collect(),
            attrs: &attrs,
            epilogue: &[],
        };
        TARGETS.map(|target| offers(op, &ctx, &target).len())
    };
    assert_eq!(count("conv2d", [vec![1, 128, 1, 1 << 24], vec![32768, 128, 1, 1]], &[]), [2; TARGETS.len()]);
    let kernel = [("kernel", Attr::Pair([1, 1]))];
    let gradient = [vec![1, 16, 1, 1 << 27], vec![1, 16, 1, 1]];
    assert_eq!(count("conv2d_grad_weight", gradient, &kernel), [2; TARGETS.len()]);
}

#[test]
fn sums_of_filter_gradients_stay_near_for_any_width() {
    let grid = Grid { stride: Stride::One, rows: vec![4, 4], columns: vec![4, 4], strip: 2 };
    for n in [16, 40, 96, 128, 160, 320, 640] {
        let [c, o] = winograd::grad_weight_channels(&grid, [n, n], 8);
        assert!(n % c == 0 && n % o == 0 && 36 * c * o * 4 <= 600 << 10, "{n}: {c}, {o}");
    }
}
