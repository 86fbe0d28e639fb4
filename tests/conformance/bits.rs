//! `normalize_u8` promises more than a bound: the bits of f32 arithmetic in a stated order.

use super::case::{Data, case};
use super::engine::Engine;
use super::{unique, variants};
use ir::DType;
use ir::interp::elements::decode;

pub fn check(engine: &dyn Engine) {
    let (mean, std) = ([0.485f32, 0.456, 0.406], [0.229f32, 0.224, 0.225]);
    let case = case("normalize_u8", "u8:1,16,16,3", "mean=[0.485,0.456,0.406] std=[0.229,0.224,0.225]", "");
    let variants: Vec<_> = variants(&case, engine).into_iter().filter(|v| v.dtype == DType::F32).collect();
    let runs =
        engine.load(unique(variants.iter().map(|v| v.kernel.clone()).collect())).unwrap_or_else(|e| panic!("{e}"));
    let picture = &case.inputs(Data::Random, DType::F32)[0];
    for (variant, run) in variants.iter().zip(&runs) {
        let bytes = variant.pack(std::slice::from_ref(picture));
        let out = run(&[&bytes[0]]).unwrap_or_else(|e| panic!("{variant}: {e}"));
        let got = decode(DType::F32, &out[0]);
        for (i, &pixel) in picture.data.iter().enumerate() {
            let (position, c) = (i / 3, i % 3);
            let want = (pixel as f32 / 255.0 - mean[c]) / std[c];
            assert_eq!(got[c * 256 + position] as f32, want, "{variant}: pixel {position}, channel {c}");
        }
    }
}
