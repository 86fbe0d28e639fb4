//! Round trips and mistakes.

use super::{line_column, nearest, parse, print, print_kernel};
use crate::op::{Attrs, BodyCtx, BufType, lookup};
use crate::{Layout, TensorType};

const BLOCK: &str = r#"rir 1
weights "block.safetensors" sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
preprocess resize=256 crop=224x224 order=bgr scale=1 mean=103.939,116.779,123.68 std=1,1,1
labels [
  "tench",
  "a \"quoted\" name",
]

graph @block(%x: f32[N,16,8,8]) -> (%out) where N in 1..64 {
  param %w = "conv1.weight" : f32[16,16,3,3]
  param %b = "conv1.bias"   : f32[16] state
  %c   = conv2d %x, %w pad=1,1,1,1 epilogue=[bias %b, add %x, clamp 0 6] : f32[N,16,8,8]:nChw8c
  %out = relu %c                                                         : f32[N,16,8,8]:nChw8c
}
"#;

#[track_caller]
fn round_trip(text: &str) {
    let (module, problems) = parse(text);
    assert_eq!(problems.to_string(), "");
    assert_eq!(print(&module), text);
}

#[test]
fn a_model_prints_as_it_was_written() {
    round_trip(BLOCK);
}

#[test]
fn bodies_of_ops_survive_the_text() {
    let op = lookup("conv2d").expect("invariant: conv2d is an op");
    let attrs = Attrs::defaults(op)
        .set("stride", crate::op::Attr::Pair([2, 1]))
        .set("pad", crate::op::Attr::Quad([1, 2, 0, 1]))
        .set("dilation", crate::op::Attr::Pair([2, 1]));
    let of = |dims: &[u64], layout| BufType { layout, ..BufType::of(&TensorType::f32(dims), 1) };
    let ctx = BodyCtx {
        operands: vec![of(&[1, 8, 9, 7], Layout::Blocked(8)), of(&[16, 8, 3, 3], Layout::Plain)],
        results: vec![of(&[1, 16, 3, 8], Layout::Blocked(8))],
        attrs: &attrs,
        epilogue: &[],
    };
    let text = format!("rir 1\n\n{}", print_kernel(&op.kernel(&ctx)));
    round_trip(&text);
}

#[test]
fn a_program_survives_the_text() {
    round_trip(
        r#"rir 1

program @p target "x86-64-v3" batch 1 arena 64 consts 128 {
  %s0 = input 0 "x" : f32[4,9]
  %s1 = arena "y" : f32[4,9] at 0 live 0..1
  %s2 = const "w.packed" : f32[9] at 64
  %s3 = output 0 "z" : f32[4,9]
  call @relu(%s0, %s1) node "y" op relu macs 0
  call @relu(%s1, %s3) node "z" op relu macs 0
}

kernel @relu(%x: in f32[4,9], %y: out f32[4,9]) tasks %t in 0..4 {
  scratch %s: f32[9]
  %r0: f32 = const 0
  %r1 = for %i0 in max(0, 1 - %t)..min(9, %t + 3) step 2 carry (%r2 = %r0) {
    %b0 = view %x at [%t, 2*((%i0 + 1) floordiv 2)] opaque
    %r3: f32 = load %b0[0, 0]
    %r4: f32 = max %r3, %r2
    store %y[%t, (%i0 mod 9)], %r4
    prefetch %x[%t, 8 - %i0]
    yield %r4
  }
}
"#,
    );
}

#[test]
fn every_mistake_is_reported_at_its_place() {
    let text = "rir 1
graph @g(%x: f32[N,16,8,8]) -> (%y) where N in 1..4 {
  param %w = \"w\" : f32[16,8,3,3]
  %a = conv2 %x, %w : f32[N,16,6,6]
  %b = conv2d %x, %w : f32[N,16,6,6]
  %c = relu %x strid=2 : f32[N,16,8,8]
  %d = relu %q : f32[N,16,8,8]
  %y = relu %x : f32[N,16,8,9]
}
";
    let (_, problems) = parse(text);
    let found: Vec<(String, (usize, usize))> = problems
        .0
        .iter()
        .map(|d| {
            let crate::Place::Text(r) = &d.labels[0].place else { panic!("invariant: text problems have a span") };
            (d.code.to_string(), line_column(text, r.start))
        })
        .collect();
    let want = [("E0011", (4, 8)), ("E0203", (5, 19)), ("E0007", (6, 16)), ("E0009", (7, 13)), ("E0014", (8, 18))];
    assert_eq!(found, want.map(|(c, p)| (c.to_string(), p)), "{problems}");
    assert_eq!(problems.0[0].help.as_deref(), Some("did you mean 'conv2d'?"));
}

#[test]
fn hostile_text_ends_in_problems() {
    let deep = format!("rir 1\nkernel @k(%x: in f32[1]) tasks %t in 0..1 {{\n{}", "for %i in 0..1 {\n".repeat(100_000));
    for text in [
        "",
        "rir 2\n",
        "rir 1\ngraph",
        "rir 1\n\"",
        "rir 1\n\"\\",
        "rir 1\ngraph @g(%x: f32[4294967296]) -> () {",
        "rir 1\nlabels [,",
        "rir 1\npreprocess crop=0x0\n",
        &deep,
        &"é%".repeat(1000),
        "rir 1\nkernel @k() tasks %t in 0..4 {\n  %r: f32 = index 1099511627776*(8388608*%t)\n}",
    ] {
        let (_, problems) = parse(text);
        assert!(problems.has_errors(), "{:.60}", text);
    }
    let (_, problems) = parse(&format!("rir 1\n{}", "x".repeat(100_000)));
    assert_eq!(problems.0[0].code, "E0003");
    let (_, problems) = parse(&format!("rir 1\n{}", "!".repeat(1 << 20)));
    assert_eq!(problems.0.len(), 100);
    let vast = "rir 1\nprogram @p target \"none\" batch 4294967296 arena 0 consts 0 {\n  %s = const \"y\" : f32[N,N] at 0\n}\n";
    assert!(parse(vast).0.programs[0].verify().has_errors());
}

#[test]
fn the_nearest_name_is_near_and_not_searched_for_long() {
    assert_eq!(nearest("conv2", ["relu", "conv2d", "convolution2"]), Some("conv2d"));
    assert_eq!(nearest("conv2", ["relu", "max_pool"]), None);
    let long = "a".repeat(300);
    assert_eq!(nearest(&long, [&format!("{long}b")[..]]), None);
}
