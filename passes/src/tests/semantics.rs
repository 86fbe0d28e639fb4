//! What every list of passes keeps: outputs on every target, also in part, and its own result.

use super::{BLOCKS, Interpreter, Random, check_semantics, inputs, parse, reference, weights};
use crate::pipeline::{Options, PassOptions, compile, optimise};
use ir::interp::{self, encode, program};
use ir::target::X86_64_V3;

#[test]
fn a_small_network_keeps_its_outputs_through_every_pass_on_every_target() {
    check_semantics(BLOCKS, 1);
}

#[test]
fn a_program_without_passes_and_one_in_f64_agree_with_the_graph() {
    let g = parse(BLOCKS);
    let mut random = Random::new(3);
    let (store, inputs) = (weights(&g, &mut random), inputs(&g, 2, &mut random));
    let expected = reference(&g, &*store, &inputs, 2);
    let wide: Vec<Vec<u8>> =
        inputs.iter().map(|b| encode(ir::DType::F64, &interp::decode(ir::DType::F32, b))).collect();
    let wide: Vec<&[u8]> = wide.iter().map(|b| &b[..]).collect();
    let compiled = compile(g.clone(), store.clone(), &Options::reference(X86_64_V3, 2), &Interpreter).unwrap();
    let got = program::run(&compiled.program, &wide, &*compiled.store).unwrap();
    let narrow = encode(ir::DType::F32, &interp::decode(ir::DType::F64, &got[0]));
    assert!(narrow == expected[0]);
}

#[test]
fn the_whole_list_is_idempotent() {
    let g = parse(BLOCKS);
    let store = weights(&g, &mut Random::new(5));
    let options = PassOptions::default();
    let once = optimise(g, store, &X86_64_V3, 2, &options, &Interpreter).unwrap();
    let text = ir::text::print_graph(&once.graph);
    let twice = optimise(once.graph, once.store, &X86_64_V3, 2, &options, &Interpreter).unwrap();
    assert_eq!(ir::text::print_graph(&twice.graph), text);
    for stats in &twice.log.passes {
        assert!(stats.is_unchanged(), "{stats:?}");
    }
}

#[test]
fn a_limit_stops_after_that_many_patches_and_what_it_leaves_still_compiles() {
    let g = parse(BLOCKS);
    let mut random = Random::new(11);
    let (store, inputs) = (weights(&g, &mut random), inputs(&g, 2, &mut random));
    let expected = reference(&g, &*store, &inputs, 2);
    for limit in 0..12 {
        let passes = PassOptions { limit: Some(limit), verify_each: true, ..PassOptions::default() };
        let options = Options { passes, ..Options::new(X86_64_V3, 2) };
        let compiled = compile(g.clone(), store.clone(), &options, &Interpreter).unwrap();
        assert_eq!(compiled.log.passes.iter().map(|p| p.patches).sum::<usize>(), limit);
        let bytes: Vec<&[u8]> = inputs.iter().map(|b| &b[..]).collect();
        let got = program::run(&compiled.program, &bytes, &*compiled.store).unwrap();
        assert!(got == expected, "differs with {limit} patches");
    }
}

#[test]
fn outputs_that_are_inputs_parameters_or_one_value_are_copied() {
    check_semantics(
        r#"rir 1
graph @outputs(%x: f32[N,2,3,3]) -> (%x, %y, %z, %k) where N in 1..2 {
  param %k = "k" : f32[2,3]
  %r = relu %x : f32[N,2,3,3]
  %y = flatten %r : f32[N,18]
  %z = reshape %r shape=[N,2,9] : f32[N,2,9]
}
"#,
        13,
    );
}
