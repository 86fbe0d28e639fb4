//! The examples of the documentation are what they say: they parse, print as they stand, verify and run.

use crate::{root, test};
use ir::interp;
use ir::store::MemoryStore;
use ir::text::{parse, print};
use libtest_mimic::Trial;
use std::fs;

pub fn tests() -> Vec<Trial> {
    vec![test("docs::examples_of_the_text_form_run", || {
        let text = fs::read_to_string(root().join("docs/ir.md")).expect("docs/ir.md is there");
        let examples: Vec<&str> =
            text.split("```rir\n").skip(1).map(|t| t.split("```").next().expect("an example has an end")).collect();
        assert_eq!(examples.len(), 3, "one example a level");
        for example in examples {
            run(example);
        }
    })]
}

fn run(example: &str) {
    let (module, problems) = parse(example);
    assert_eq!(problems.to_string(), "", "{example}");
    assert_eq!(print(&module), example);
    let zeros = |elements: i64| vec![0u8; elements as usize * 4];
    for g in &module.graphs {
        assert_eq!(g.verify().to_string(), "");
        let mut store = MemoryStore::default();
        store.insert_f32("conv.weight", &[4, 4, 3, 3], &[0.25; 144]);
        store.insert_f32("conv.bias", &[4], &[1.0; 4]);
        let options = interp::graph::Options { batch: 2, widen: false };
        let out = interp::graph::run(g, &[&zeros(2 * 4 * 36)], &store, options).expect("the example runs");
        // Zeros in: the bias comes out.
        let got = interp::elements::decode(ir::DType::F32, &out[0]);
        assert_eq!(got, vec![1.0; 2 * 4 * 9]);
    }
    for p in &module.programs {
        assert_eq!(p.verify().to_string(), "");
        let x = interp::elements::encode(ir::DType::F32, &(0..36).map(|i| f64::from(i) - 18.0).collect::<Vec<_>>());
        let out = interp::program::run(p, &[&x], &MemoryStore::default()).expect("the example runs");
        let got = interp::elements::decode(ir::DType::F32, &out[0]);
        assert_eq!(got[..18], [0.0; 18]);
        assert_eq!(got[35], 17.0);
    }
    for k in &module.kernels {
        assert_eq!(k.verify().to_string(), "");
        let ins: Vec<Vec<u8>> = k.params.iter().map(|&b| zeros(k.bufs[b].elements())).collect();
        let ins: Vec<&[u8]> = ins[..ins.len() - 1].iter().map(Vec::as_slice).collect();
        interp::kernel::run_in_any_order(k, &ins).expect("the example runs");
    }
}
