//! The body of every op is proven, in every mixture of layouts that its operands and result can have; small ones
//! also run, on zeros.

use super::interpreted;
use crate::epilogue::Step;
use crate::layout::Layout;
use crate::op::{Attr, Attrs, BodyCtx, BufType, OpCtx, lookup};
use crate::ops;
use crate::types::{DType, Dim, TensorType};
use std::collections::BTreeSet;

fn ty(text: &str) -> TensorType {
    let (dtype, dims) = text.strip_suffix(']').and_then(|t| t.split_once('[')).expect("a type");
    let size = |d: &str| if d == "N" { Dim::N } else { Dim::Size(d.parse().expect("a number")) };
    TensorType::new(DType::from_name(dtype).expect("an element type"), dims.split(',').map(size))
}

/// Layouts that a tensor of this shape may be tried in.
fn layouts(t: &TensorType, batch: u64) -> Vec<Layout> {
    let all = [
        Layout::Plain,
        Layout::Blocked(8),
        Layout::Filter { ic: 8, oc: 16 },
        Layout::Filter { ic: 1, oc: 8 },
        Layout::Panel(16),
        Layout::Spaced,
    ];
    all.into_iter().filter(|l| l.fits(&t.dims(batch))).collect()
}

/// Every choice of one element from each list.
fn choices(lists: &[Vec<Layout>]) -> Vec<Vec<Layout>> {
    lists.iter().fold(vec![Vec::new()], |all, list| {
        all.iter().flat_map(|head| list.iter().map(move |&l| [&head[..], &[l]].concat())).collect()
    })
}

/// Proves the body in all mixtures of layouts that the shape rule allows. Returns how many there were.
fn check(op: &str, operands: &str, attrs: &str, epilogue: &[Step], batch: u64) -> usize {
    let op = lookup(op).expect("an op");
    let plain: Vec<TensorType> = operands.split(' ').map(ty).collect();
    let attrs = attrs.split(' ').filter(|a| !a.is_empty()).fold(Attrs::defaults(op), |all, a| {
        let (name, value) = a.split_once('=').expect("name=value");
        let def = op.attrs.iter().find(|d| d.name == name).expect("an attribute");
        all.set(def.name, Attr::parse(def.kind, value).expect("a value"))
    });
    let mut count = 0;
    for chosen in choices(&plain.iter().map(|t| layouts(t, batch)).collect::<Vec<_>>()) {
        let types: Vec<TensorType> = plain.iter().zip(&chosen).map(|(t, &l)| t.with_layout(l)).collect();
        let ctx = OpCtx { operands: &types, attrs: &attrs, epilogue, results: &[], batch };
        let Ok(results) = (op.shape)(&ctx) else { continue };
        // A reorder's result has the layout that its attribute names; the others may store in any.
        let stored = if op.name == "reorder" { vec![results[0].layout] } else { layouts(&results[0], batch) };
        for layout in stored
            .into_iter()
            .filter(|l| !matches!(l, Layout::Filter { .. } | Layout::Panel(_)) || *l == results[0].layout)
        {
            let result = results[0].with_layout(layout);
            let ctx = BodyCtx {
                operands: types.iter().map(|t| BufType::of(t, batch)).collect(),
                results: [&result].into_iter().chain(&results[1..]).map(|t| BufType::of(t, batch)).collect(),
                attrs: &attrs,
                epilogue,
            };
            let k = op.kernel(&ctx);
            let case = || format!("{} {types:?} -> {result} {attrs:?}", op.name);
            let d = k.verify();
            assert!(d.0.is_empty(), "{}\n{d}\n{:?}", case(), d.0[0].notes);
            if result.elements(batch) * types.iter().map(|t| t.elements(batch)).max().unwrap_or(1) < 1 << 20 {
                assert_eq!(interpreted(&k), None, "{}", case());
            }
            count += 1;
        }
    }
    assert!(count > 0, "{} {operands}: no layout is allowed", op.name);
    count
}

#[test]
fn every_body_is_proven() {
    let full = [Step::Bias(2), Step::Add(3), Step::Relu];
    let cases: &[(&str, &str, &str, &[Step])] = &[
        // Convolutions of the paper's networks.
        ("conv2d", "f32[N,3,224,224] f32[64,3,7,7] f32[64]", "stride=2x2 pad=3,3,3,3", &[Step::Bias(2), Step::Relu]),
        ("conv2d", "f32[N,64,56,56] f32[64,64,3,3] f32[64] f32[N,64,56,56]", "pad=1,1,1,1", &full),
        ("conv2d", "f32[N,64,56,56] f32[128,64,3,3]", "stride=2x2 pad=1,1,1,1", &[]),
        ("conv2d", "f32[N,256,14,14] f32[1024,256,1,1]", "", &[]),
        ("conv2d", "f32[N,16,32,32] f32[16,16,3,3]", "pad=1,1,1,1", &[]),
        // Uneven pads, dilation, groups, depthwise; small enough to run.
        (
            "conv2d",
            "f32[N,8,7,5] f32[16,8,3,2] f32[16] f32[16]",
            "stride=2x1 pad=0,2,1,0 dilation=1x2",
            &[Step::ScaleShift(2, 3), Step::Clamp(0.0, 6.0)],
        ),
        ("conv2d", "f64[N,16,5,5] f64[16,8,3,3]", "groups=2 pad=1,1,1,1", &[]),
        ("conv2d", "f32[N,8,6,5] f32[16,1,3,3]", "groups=8 pad=2,2,2,2 dilation=2x2", &[]),
        ("conv2d", "f32[N,3,5,7] f32[5,3,5,5]", "pad=4,4,4,4 stride=3x3", &[]),
        ("dense", "f32[N,512] f32[1000,512] f32[1000]", "", &[Step::Bias(2)]),
        ("dense", "f32[N,7] f32[17,7] f32[N,17]", "", &[Step::ReluGrad(2)]),
        ("add", "f32[N,16,5,7] f32[N,16,5,7]", "", &[]),
        ("add", "f32[N,8] f32[N,8] f32[N,8]", "", &[]),
        ("avg_pool", "f32[N,8,7,5]", "kernel=3x2 stride=2x1 pad=1,1,1,0", &[]),
        ("avg_pool", "f32[N,1,5,5]", "kernel=2x2 stride=3x3 pad=1,1,1,1 ceil_mode=true", &[]),
        ("max_pool", "f32[N,64,112,112]", "kernel=3x3 stride=2x2 pad=1,1,1,1", &[]),
        ("max_pool", "f32[N,8,6,6]", "kernel=3x3 stride=2x2 ceil_mode=true", &[]),
        ("global_avg_pool", "f32[N,16,7,7]", "", &[]),
        ("batch_norm", "f32[N,16,5,5] f32[16] f32[16] f32[16] f32[16]", "", &[]),
        ("bn_scale", "f32[16] f32[16]", "", &[]),
        ("bn_shift", "f32[16] f32[16] f32[16] f32[16]", "", &[]),
        ("fold_bn_weight", "f32[16,8,3,3] f32[16] f32[16]", "", &[]),
        ("fold_bn_bias", "f32[16] f32[16] f32[16] f32[16]", "", &[]),
        ("fold_bn_bias", "f32[16] f32[16] f32[16] f32[16] f32[16]", "", &[]),
        ("cast", "u8[3,5]", "to=f64", &[]),
        ("cast", "f32[N,8,3,5]", "to=f64", &[]),
        ("clamp", "f32[N,8,3,5]", "lo=0 hi=6", &[]),
        ("relu", "f32[N,8,3,5]", "", &[]),
        ("relu", "f32[7]", "", &[]),
        ("scale_shift", "f32[N,8,3,5] f32[8] f32[8]", "", &[]),
        ("flatten", "f32[N,8,3,5]", "", &[]),
        ("reshape", "f32[N,8,3,5]", "shape=[N,24,5]", &[]),
        ("reshape", "f32[N,512,1,1]", "shape=[N,512]", &[]),
        ("normalize_u8", "u8[N,6,5,3]", "mean=[0,0,0] std=[1,1,1]", &[]),
        ("pad2d", "f32[N,8,5,6]", "pad=1,2,3,4 value=-1", &[]),
        ("pad_channels", "f32[N,8,5,6]", "before=8 after=16", &[]),
        ("pad_channels", "f32[N,3,5,6]", "before=1 after=4", &[]),
        ("subsample", "f32[N,8,7,8]", "step=2x3", &[]),
        ("softmax", "f32[N,10]", "", &[]),
        ("softmax", "f32[7]", "", &[]),
        ("reorder", "f32[N,16,5,5]", "to=nChw8c", &[]),
        ("reorder", "f32[N,16,5,5]", "to=plain", &[]),
        ("reorder", "f32[16,8,3,3]", "to=OIhw8i16o", &[]),
        ("reorder", "f32[16,8,3,3]", "to=OIhw4i8o", &[]),
        ("reorder", "f32[17,7]", "to=Oi16o", &[]),
        ("reorder", "f32[17,7]", "to=plain", &[]),
        ("reorder", "f32[N,1,4,2,16,8]", "to=spaced", &[]),
        ("reorder", "f32[N,1,4,2,16,8]", "to=plain", &[]),
        ("conv2d_grad_input", "f32[N,16,7,5] f32[8,16,3,3]", "pad=1,1,1,1 input=7x5", &[]),
        ("conv2d_grad_input", "f32[N,16,4,3] f32[8,16,3,3]", "stride=2x2 pad=1,1,1,1 input=7x5", &[]),
        ("conv2d_grad_weight", "f32[N,8,7,5] f32[N,16,7,5]", "pad=1,1,1,1 kernel=3x3 splits=2", &[]),
        ("conv2d_grad_weight", "f32[N,8,7,5] f32[N,16,4,3]", "stride=2x2 kernel=1x1", &[]),
        ("flip_filter", "f32[16,8,3,3]", "", &[]),
        ("sum_splits", "f32[5,7,3]", "", &[]),
        ("channel_sum", "f32[N,16,5,7]", "splits=2", &[]),
        ("channel_sum", "f32[N,10]", "", &[]),
        ("channel_dot", "f32[N,8,5,7] f32[N,8,5,7]", "splits=16", &[]),
        ("channel_moments", "f32[N,64,56,56]", "splits=4", &[]),
        ("channel_moments", "f32[N,8,5,1]", "", &[]),
        ("batch_statistics", "f32[N,16,5,7] f64[3,16] f64[3,16]", "", &[]),
        ("running_average", "f32[16] f32[16]", "", &[]),
        ("running_average", "f32[16] f32[16] f32[N,16,3,5]", "momentum=0.01", &[]),
        ("batch_norm_grad_params", "f32[N,8,5,7] f32[N,8,5,7] f32[8] f32[8]", "splits=2", &[]),
        ("batch_norm_grad_input", "f32[N,8,3,5] f32[N,8,3,5] f32[8] f32[8] f32[8] f32[8] f32[8]", "", &[]),
        ("scale", "f32[N,8,3,5] f32[8]", "", &[]),
        ("bias", "f32[N,8,3,5] f32[8]", "", &[]),
        ("relu_grad", "f32[N,8,3,5] f32[N,8,3,5]", "", &[]),
        ("clamp_grad", "f32[N,8,3,5] f32[N,8,3,5]", "lo=0 hi=6", &[]),
        ("fill", "f32[N,8,3,5]", "", &[]),
        ("later", "f32[N,8,3,5] f32[7]", "", &[]),
        ("max_pool_grad", "f32[N,64,56,56] f32[N,64,112,112]", "kernel=3x3 stride=2x2 pad=1,1,1,1", &[]),
        ("max_pool_grad", "f32[N,8,3,3] f32[N,8,6,6]", "kernel=3x3 stride=2x2 ceil_mode=true", &[]),
        ("max_pool_grad", "f32[N,8,2,4] f32[N,8,7,5]", "kernel=3x2 stride=4x1", &[]),
        ("avg_pool_grad", "f32[N,8,3,5]", "kernel=3x2 stride=2x1 pad=1,1,0,0 input=6x5", &[]),
        ("avg_pool_grad", "f32[N,1,2,2]", "kernel=2x2 stride=3x3 pad=1,1,1,1 ceil_mode=true input=5x5", &[]),
        ("global_avg_pool_grad", "f32[N,16]", "input=7x7", &[]),
        ("subsample_grad", "f32[N,8,4,3]", "step=2x3 input=7x8", &[]),
        ("slice_channels", "f32[N,32,5,6]", "start=8 count=8", &[]),
        ("slice_channels", "f32[N,8,5,6]", "start=1 count=3", &[]),
        ("crop2d", "f32[N,8,8,12]", "pad=1,2,3,4", &[]),
        ("transpose", "f32[17,7]", "", &[]),
        ("dense_grad_weight", "f32[N,7] f32[N,17]", "", &[]),
        ("softmax_grad", "f32[N,10] f32[N,10]", "", &[]),
        ("softmax_grad", "f32[7] f32[7]", "", &[]),
        ("cross_entropy", "f32[N,10] i32[N]", "", &[]),
        ("cross_entropy", "f64[N,7] i32[N]", "label_smoothing=0.1", &[]),
        ("cross_entropy_grad", "f32[N,10] i32[N] f32[1]", "label_smoothing=0.1", &[]),
        ("sgd_step", "f32[16,8,3,3] f32[16,8,3,3] f32[16,8,3,3] f32[1]", "momentum=0.9 nesterov=true", &[]),
        ("sgd_step", "f32[7] f32[7] f32[7] f32[1]", "weight_decay=0.0001", &[]),
        ("winograd_weight", "f32[32,8,3,3]", "tile=4x2 panel=16", &[]),
        ("winograd_input", "f32[N,16,14,8]", "rows=[4,4,4,2] columns=[4,4] strip=4 block=8", &[]),
        ("winograd_input", "f32[N,16,8,8]", "rows=[4,4] columns=[4,4] strip=1 block=8", &[]),
        ("winograd_input", "f32[N,256,4,4]", "rows=[4] columns=[4] strip=1 block=8", &[]),
        ("winograd_weight", "f32[32,8,3,3]", "stride=2x2 tile=4x2 panel=16", &[]),
        ("winograd_input", "f32[N,16,27,16]", "stride=2x2 rows=[4,4,4,2] columns=[4,4] strip=4 block=8", &[]),
        ("winograd_output", "f32[N,2,81,2,2,8] f32[2,81,16,16]", "stride=2x2 rows=[4,4] columns=[4,4] strip=1", &[]),
        ("winograd_output", "f32[N,1,36,2,8,8] f32[2,36,16,16]", "rows=[4,4,4,2] columns=[4,4] strip=4", &[]),
        ("winograd_output", "f32[N,2,36,2,2,8] f32[2,36,16,16]", "rows=[4,4] columns=[4,4] strip=1", &[]),
        ("winograd_conv2d", "f32[N,16,8,8] f32[2,36,16,16]", "rows=[4,4] columns=[4,4] strip=1", &[]),
        ("winograd_conv2d", "f32[N,16,7,5] f32[2,36,16,16]", "rows=[4,3] columns=[4,1] strip=2", &[]),
        ("winograd_grad_weight", "f32[N,16,8,8] f32[N,16,8,8]", "rows=[4,4] columns=[4,4] strip=2 splits=2", &[]),
        ("winograd_grad_weight", "f32[N,16,6,5] f32[N,8,6,5]", "rows=[4,2] columns=[4,1] strip=2 splits=1", &[]),
    ];
    let mut kernels = 0;
    for (op, operands, attrs, epilogue) in cases {
        for batch in [1, 3] {
            kernels += check(op, operands, attrs, epilogue, batch);
        }
    }
    println!("{kernels} bodies proven");
    let tested: BTreeSet<&str> = cases.iter().map(|c| c.0).collect();
    let missing: Vec<&str> = ops::ALL.iter().map(|o| o.name).filter(|n| !tested.contains(n)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}
