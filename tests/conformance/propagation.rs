//! NaN and infinities go where IEEE 754 and the formulas send them, through bodies and templates alike.

use super::case::{Data, case};
use super::engine::Engine;
use super::{unique, variants};

pub fn check(engine: &dyn Engine) {
    let cases = [
        case("relu", "1,16,5,7", "", ""),
        case("clamp", "1,16,5,7", "lo=0 hi=6", ""),
        case("add", "1,16,5,7 1,16,5,7", "", ""),
        case("scale_shift", "1,16,5,7 16 16", "", ""),
        case("max_pool", "1,16,13,13", "kernel=3x3 stride=2x2 pad=1,1,1,1", ""),
        case("avg_pool", "1,16,7,7", "kernel=2x2 stride=2x2", ""),
        case("global_avg_pool", "1,16,3,3", "", ""),
        case("conv2d", "1,16,7,5 16,16,3,3", "pad=1,1,1,1", "bias relu"),
        case("conv2d", "1,16,5,5 32,16,1,1", "", "bias add relu"),
        case("dense", "3,8 13,8", "", "bias relu"),
        case("softmax", "7,13", "", ""),
        case("pad2d", "1,3,5,5", "pad=1,1,1,1", ""),
        case("subsample", "1,16,7,7", "step=2x2", ""),
        case("cast", "13,5", "to=i32", ""),
    ];
    let mut not_finite = 0;
    for case in &cases {
        let variants = variants(case, engine);
        let kernels = unique(variants.iter().map(|v| v.kernel.clone()).collect());
        let runs = engine.load(kernels).unwrap_or_else(|e| panic!("{e}"));
        for (variant, run) in variants.iter().zip(&runs) {
            let inputs = case.inputs(Data::Special, variant.dtype);
            let truths = case.truths(&inputs);
            not_finite += truths[0].y.data.iter().filter(|v| !v.is_finite()).count();
            let bytes = variant.pack(&inputs);
            let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
            let out = run(&bytes).unwrap_or_else(|e| panic!("{case}, {variant}: {e}"));
            variant.compare(&out, &truths, false).unwrap_or_else(|e| panic!("{case}, {variant}: {e}"));
        }
    }
    assert!(not_finite > 1000, "the data is strewn with NaN and inf, and they arrive: {not_finite}");
}
