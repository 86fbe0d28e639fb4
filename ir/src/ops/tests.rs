//! The table as a whole, and what each shape rule gives and refuses. What the bodies compute is tested against
//! oracles in the integration tests.

use super::ALL;
use crate::diag::CODES;
use crate::epilogue::Step;
use crate::layout::Layout;
use crate::op::{Attr, Attrs, OpCtx, Problem, lookup};
use crate::types::{DType, Dim, TensorType};

#[test]
fn names_are_sorted_and_unique() {
    assert!(ALL.windows(2).all(|w| w[0].name < w[1].name));
}

#[test]
fn every_op_and_attribute_is_documented_and_defaults_parse_back() {
    for op in ALL {
        assert!(!op.doc.is_empty() && !op.doc.contains('\n'), "{}: one line of doc", op.name);
        assert!(!op.operands.is_empty(), "{}", op.name);
        let optional = op.operands.iter().position(|o| o.ends_with('?')).unwrap_or(op.operands.len());
        assert!(op.operands[optional..].iter().all(|o| o.ends_with('?')), "{}: optional operands come last", op.name);
        let defaults = Attrs::defaults(op);
        for a in op.attrs {
            assert!(!a.doc.is_empty(), "{} {}", op.name, a.name);
            match a.default {
                // The printer leaves out what prints like the default, so the default must print as it is written.
                Some(text) => assert_eq!(defaults.0[a.name].to_string(), text, "{} {}", op.name, a.name),
                None => assert!(!defaults.0.contains_key(a.name)),
            }
        }
    }
}

fn ty(text: &str) -> TensorType {
    let (dtype, rest) = text.split_once('[').unwrap();
    let (dims, layout) = rest.split_once(']').unwrap();
    let dims = dims.split(',').filter(|d| !d.is_empty());
    let shape = dims.map(|d| if d == "N" { Dim::N } else { Dim::Size(d.parse().unwrap()) });
    let t = TensorType::new(DType::from_name(dtype).unwrap(), shape);
    match layout.strip_prefix(':') {
        Some(l) => t.with_layout(Layout::from_name(l).unwrap()),
        None => t,
    }
}

/// Result type of `op` on operands and attributes given as text: `"f32[N,3,5,5] f32[4,3,3,3]"`, `"pad=1,1,1,1"`.
fn infer(op: &str, operands: &str, attrs: &str, epilogue: &[Step]) -> Result<String, Problem> {
    let op = lookup(op).unwrap();
    let operands: Vec<TensorType> = operands.split(' ').map(ty).collect();
    let attrs = attrs.split(' ').filter(|a| !a.is_empty()).fold(Attrs::defaults(op), |all, a| {
        let (name, value) = a.split_once('=').unwrap();
        let def = op.attrs.iter().find(|d| d.name == name).unwrap();
        all.set(def.name, Attr::parse(def.kind, value).unwrap())
    });
    let ctx = OpCtx { operands: &operands, attrs: &attrs, epilogue, results: &[], batch: 1 };
    (op.shape)(&ctx).map(|types| types[0].to_string())
}

fn gives(op: &str, operands: &str, attrs: &str, result: &str) {
    assert_eq!(infer(op, operands, attrs, &[]).unwrap(), result, "{op} {operands} {attrs}");
}

/// The refusal's code, operand and a part of its message.
fn refuses(op: &str, operands: &str, attrs: &str, code: &str, operand: Option<usize>, part: &str) {
    let p = infer(op, operands, attrs, &[]).expect_err("the shape rule refuses");
    assert_eq!((p.code, p.operand), (code, operand), "{p:?}");
    assert!(p.message.contains(part), "{p:?}");
    assert!(CODES.iter().any(|(c, _)| *c == code), "{code} has no paragraph");
}

#[test]
fn shapes() {
    gives("conv2d", "f32[N,3,224,224] f32[64,3,7,7]", "stride=2x2 pad=3,3,3,3", "f32[N,64,112,112]");
    gives("conv2d", "f64[1,6,7,5] f64[4,3,3,3]", "groups=2 pad=1,0,0,2 dilation=2x1", "f64[1,4,4,5]");
    gives("conv2d", "f32[N,8,5,5]:nChw8c f32[16,8,1,1]:OIhw8i16o", "", "f32[N,16,5,5]:nChw8c");
    gives("conv2d", "f32[N,8,5,5]:nChw8c f32[5,8,1,1]", "", "f32[N,5,5,5]");
    gives("max_pool", "f32[N,64,112,112]", "kernel=3x3 stride=2x2 pad=1,1,1,1", "f32[N,64,56,56]");
    gives("max_pool", "f32[N,1,6,6]", "kernel=3x3 stride=2x2 ceil_mode=true", "f32[N,1,3,3]");
    // Here ⌈…⌉ adds a window that starts in the padding below the image: dropped.
    gives("avg_pool", "f32[N,1,5,5]", "kernel=2x2 stride=3x3 pad=1,1,1,1 ceil_mode=true", "f32[N,1,2,2]");
    gives("global_avg_pool", "f32[N,16,7,7]:nChw8c", "", "f32[N,16]");
    gives("dense", "f32[N,512] f32[1000,512]:Oi16o", "", "f32[N,1000]");
    gives("subsample", "f32[N,16,7,8]", "step=2x3", "f32[N,16,4,3]");
    gives("pad_channels", "f32[N,16,7,8]:nChw8c", "before=8 after=8", "f32[N,32,7,8]:nChw8c");
    gives("pad2d", "f32[N,1,7,8]", "pad=1,2,3,4 value=-1", "f32[N,1,11,14]");
    gives("flatten", "f32[N,512,7,7]", "", "f32[N,25088]");
    gives("reshape", "f32[N,512,1,1]", "shape=[N,512]", "f32[N,512]");
    gives("normalize_u8", "u8[N,32,24,3]", "mean=[0,0,0] std=[1,1,1]", "f32[N,3,32,24]");
    gives("reorder", "f32[N,16,5,5]", "to=nChw8c", "f32[N,16,5,5]:nChw8c");
    gives("reorder", "f32[N,16,5,5]:nChw8c", "to=plain", "f32[N,16,5,5]");
    gives("reorder", "f32[10,64]", "to=Oi16o", "f32[10,64]:Oi16o");
    gives("cast", "u8[3,5]", "to=f64", "f64[3,5]");
    gives("channel_moments", "f32[N,16,7,5]:nChw8c", "splits=4", "f64[4,16]");
    gives("batch_statistics", "f32[N,16,7,5] f64[4,16] f64[4,16]", "", "f32[16]");
    gives("channel_sum", "f32[N,10]", "", "f32[1,10]");
    gives("batch_norm_grad_params", "f32[N,8,5,5] f32[N,8,5,5] f32[8] f32[8]", "splits=2", "f32[2,8]");
    gives(
        "max_pool_grad",
        "f32[N,64,56,56] f32[N,64,112,112]",
        "kernel=3x3 stride=2x2 pad=1,1,1,1",
        "f32[N,64,112,112]",
    );
    gives("avg_pool_grad", "f32[N,1,3,3]", "kernel=2x2 stride=2x2 ceil_mode=true input=5x5", "f32[N,1,5,5]");
    gives("global_avg_pool_grad", "f32[N,16]", "input=7x5", "f32[N,16,7,5]");
    gives("subsample_grad", "f32[N,16,4,3]", "step=2x3 input=7x8", "f32[N,16,7,8]");
    gives("slice_channels", "f32[N,32,7,8]:nChw8c", "start=8 count=16", "f32[N,16,7,8]:nChw8c");
    gives("crop2d", "f32[N,1,11,14]", "pad=1,2,3,4", "f32[N,1,7,8]");
    gives("transpose", "f32[10,64]", "", "f32[64,10]");
    gives("dense_grad_weight", "f32[N,512] f32[N,10]", "", "f32[10,512]");
    gives("cross_entropy", "f32[N,10] i32[N]", "label_smoothing=0.1", "f32[1]");
    gives("sgd_step", "f32[8,3,3,3] f32[8,3,3,3] f32[8,3,3,3] f32[1]", "", "f32[8,3,3,3]");
    gives("fold_bn_weight", "f32[8,3,3,3] f32[8] f32[8]", "", "f32[8,3,3,3]");
    gives("fold_bn_bias", "f32[8] f32[8] f32[8] f32[8] f32[8]", "eps=0.001", "f32[8]");
}

#[test]
fn refusals() {
    refuses("conv2d", "f32[N,3] f32[4,3,3,3]", "", "E0201", Some(0), "image");
    refuses("conv2d", "f32[N,3,5,5] f32[4,27]", "", "E0201", Some(1), "filter");
    refuses("conv2d", "f32[N,3,5,5] f32[4,3,3,3]", "groups=2", "E0202", Some(1), "groups=2");
    refuses("conv2d", "f32[N,4,5,5] f32[4,2,3,3]", "groups=-1", "E0202", Some(1), "groups=-1");
    refuses("conv2d", "f32[N,64,5,5] f32[64,32,3,3]", "", "E0203", Some(1), "32 input channels, input has 64");
    refuses("conv2d", "f32[N,3,5,5] f32[4,3,7,7]", "pad=0,0,1,1", "E0204", Some(0), "7x7");
    refuses("conv2d", "f32[N,3,5,5] f32[4,3,3,3]", "stride=0x1", "E0204", Some(0), "strides");
    refuses("conv2d", "f32[N,3,5,5] f32[4,3,3,3]", "pad=18446744073709551615,0,1,0", "E0204", Some(0), "pads");
    refuses("conv2d", "f32[N,3,5,5] f64[4,3,3,3]", "", "E0205", Some(1), "f32");
    refuses("relu", "i32[5]", "", "E0205", Some(0), "f32 or f64");
    refuses("conv2d", "f32[N,8,5,5] f32[8,8,3,3]:nChw8c", "", "E0206", Some(1), "nChw8c");
    refuses("flatten", "f32[N,8,5,5]:nChw8c", "", "E0206", Some(0), "nChw8c");
    refuses("softmax", "f32[8,5]:Oi8o", "", "E0206", Some(0), "Oi8o");
    refuses("softmax", "f32[]", "", "E0201", Some(0), "scalar");
    refuses("softmax", "f32[N]", "", "E0201", Some(0), "the batch");
    refuses("scale_shift", "f32[N,8,5,5] f32[8] f32[7]", "", "E0207", Some(2), "f32[8]");
    refuses("batch_norm", "f32[N,8] f32[8] f32[8] f32[8] f32[8,1]", "", "E0207", Some(4), "f32[8]");
    refuses("add", "f32[N,8,5,5] f32[N,8,5,5] f32[N,8,1,1]", "", "E0208", Some(2), "f32[N,8,5,5]");
    refuses("clamp", "f32[5]", "lo=1 hi=0", "E0209", None, "lo <= hi");
    refuses("clamp", "f32[5]", "lo=NaN hi=0", "E0209", None, "lo <= hi");
    refuses("max_pool", "f32[N,1,5,5]", "kernel=2x2 pad=0,2,0,0", "E0209", None, "pad=0,2,0,0");
    refuses("subsample", "f32[N,1,5,5]", "step=0x1", "E0209", None, "step");
    refuses("pad_channels", "f32[N,1,5,5]", "before=-1", "E0209", None, "before");
    refuses("pad2d", "f32[N,1,5,5]", "pad=18446744073709551615,0,0,0", "E0209", None, "rows");
    refuses("batch_norm", "f32[N,8] f32[8] f32[8] f32[8] f32[8]", "eps=-1", "E0209", None, "eps");
    refuses("normalize_u8", "u8[N,5,5,3]", "mean=[0,0] std=[1,1,1]", "E0209", None, "mean has 2");
    refuses("normalize_u8", "u8[N,5,5,3]", "mean=[0,0,0] std=[1,0,1]", "E0209", None, "divisors");
    refuses("normalize_u8", "u8[N,5,5,1]", "mean=[0] std=[1] order=rbg", "E0209", None, "rbg");
    refuses("normalize_u8", "f32[N,5,5,1]", "mean=[0] std=[1]", "E0205", Some(0), "u8");
    refuses("cast", "f32[5]", "to=f16", "E0209", None, "f16");
    refuses("reorder", "f32[N,8,5,5]", "to=nhwc", "E0209", None, "nhwc");
    refuses("reshape", "f32[N,8,5,5]", "shape=[8,N,5]", "E0210", Some(0), "number of elements");
    refuses("reshape", "f32[N,8]", "shape=[8]", "E0210", Some(0), "number of elements");
    refuses("dense", "f32[N,512] f32[10,256]", "", "E0211", Some(1), "256 columns");
    refuses("dense", "f32[N,512,1,1] f32[10,512]", "", "E0201", Some(0), "rows");
    refuses("reorder", "f32[N,7,5,5]", "to=nChw8c", "E0212", Some(0), "nChw8c");
    refuses("channel_moments", "f32[N,8,5,5]", "splits=0", "E0209", None, "splits");
    refuses("channel_moments", "f32[7]", "", "E0201", Some(0), "[N,C,…]");
    refuses("batch_statistics", "f32[N,8,5,5] f32[4,8] f32[4,8]", "", "E0201", Some(1), "f64[splits,8]");
    refuses("batch_statistics", "f32[N,8,5,5] f64[4,8] f64[2,8]", "", "E0208", Some(2), "f64[4,8]");
    refuses("batch_statistics", "f32[N,7,5,5] f64[4,8] f64[4,8]", "", "E0201", Some(1), "f64[splits,7]");
    refuses("channel_dot", "f32[N,8,5,5] f32[N,8,5,4]", "", "E0208", Some(1), "f32[N,8,5,5]");
    refuses("running_average", "f32[8] f32[8] f32[N,7,5,5]", "", "E0207", Some(2), "f32[N,7,5,5]");
    refuses("running_average", "f32[8] f32[8]", "momentum=1.5", "E0209", None, "momentum");
    refuses(
        "batch_norm_grad_input",
        "f32[N,8,5,5] f32[N,8,5,5] f32[8] f32[8] f32[8] f32[8] f32[7]",
        "",
        "E0207",
        Some(6),
        "f32[8]",
    );
    refuses("relu_grad", "f32[N,8,5,5] f32[N,8,5,4]", "", "E0208", Some(1), "f32[N,8,5,5]");
    refuses("clamp_grad", "f32[5] f32[5]", "lo=1 hi=0", "E0209", None, "lo <= hi");
    refuses("max_pool_grad", "f32[N,1,3,3] f32[N,1,5,5]", "kernel=2x2", "E0208", Some(0), "f32[N,1,4,4]");
    refuses("max_pool_grad", "f32[N,1,3,3] f32[N,1,5,5]", "kernel=7x7", "E0204", Some(1), "7x7");
    refuses("avg_pool_grad", "f32[N,1,3,3]", "kernel=2x2 input=5x5", "E0209", None, "does not give 3x3");
    refuses("global_avg_pool_grad", "f32[N,16]", "input=0x5", "E0209", None, "0x5");
    refuses("subsample_grad", "f32[N,1,3,3]", "step=2x2 input=8x5", "E0209", None, "does not give 3x3");
    refuses("slice_channels", "f32[N,8,5,5]", "start=4 count=5", "E0209", None, "the 8 there are");
    refuses("crop2d", "f32[N,8,5,5]", "pad=3,0,2,0", "E0209", None, "nothing");
    refuses("transpose", "f32[N,5]", "", "E0201", Some(0), "matrix");
    refuses("dense_grad_weight", "f32[N,5] f32[7,3]", "", "E0211", Some(1), "as many rows");
    refuses("softmax_grad", "f32[8,5]:Oi8o f32[8,5]", "", "E0206", Some(0), "Oi8o");
    refuses("softmax_grad", "f32[N] f32[N]", "", "E0201", Some(0), "the batch");
    let large = "f32[1,1,1,16777218]";
    let gradient = format!("f32[1,1,1,8388609] {large}");
    refuses("max_pool_grad", &gradient, "kernel=1x2 stride=1x2", "E0201", Some(1), "16777216 pixels");
    refuses("cross_entropy", "f32[N,10] i32[5]", "", "E0208", Some(1), "i32[N]");
    refuses("cross_entropy", "f32[N,10] i32[N]", "label_smoothing=2", "E0209", None, "label_smoothing");
    refuses("cross_entropy_grad", "f32[N,10] i32[N] f32[2]", "", "E0207", Some(2), "f32[1]");
    refuses("sgd_step", "f32[8] f32[7] f32[8] f32[1]", "", "E0208", Some(1), "f32[8]");
    refuses("sgd_step", "f32[8] f32[8] f32[8] f32[1]", "momentum=-1", "E0209", None, "momentum");
    refuses("fold_bn_bias", "f32[8] f32[8] f32[8] f32[7]", "", "E0207", Some(3), "f32[8]");
}

#[test]
fn epilogues_are_checked() {
    let with = |types: &str, steps: &[Step]| infer("conv2d", &format!("f32[N,3,5,5] f32[4,3,3,3] {types}"), "", steps);
    assert!(with("f32[4] f32[N,4,3,3]", &[Step::Bias(2), Step::Add(3), Step::Relu]).is_ok());
    let code = |r: Result<String, Problem>| r.map_err(|p| (p.code, p.operand)).unwrap_err();
    assert_eq!(code(with("f32[5]", &[Step::Bias(2)])), ("E0207", Some(2)));
    assert_eq!(code(with("f32[4] f32[1]", &[Step::ScaleShift(2, 3)])), ("E0207", Some(3)));
    assert_eq!(code(with("f32[N,4,5,5]", &[Step::Add(2)])), ("E0208", Some(2)));
    assert_eq!(code(with("f32[4]", &[Step::Clamp(6.0, 0.0)])), ("E0209", None));
}

#[test]
fn weighted_ops_count_multiply_adds_and_others_none() {
    let op = lookup("conv2d").unwrap();
    let operands = [ty("f32[N,6,7,7]"), ty("f32[4,3,3,3]")];
    let results = [ty("f32[N,4,5,5]")];
    let attrs = Attrs::defaults(op).set("groups", Attr::Int(2));
    let cost = (op.cost)(&OpCtx { operands: &operands, attrs: &attrs, epilogue: &[], results: &results, batch: 2 });
    assert_eq!(cost.macs, 2 * 4 * 25 * 27);
    assert_eq!(cost.bytes, 4 * (2 * 6 * 49 + 4 * 27 + 2 * 4 * 25));
}
