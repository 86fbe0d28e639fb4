//! The machine code of the convolution templates: every register tile stays in registers.
//!
//! One spilled accumulator costs more than all that a template arranges, and whether LLVM spills hangs on small
//! things. So the hot loops are disassembled for every tile of every CPU level, on any machine.

use crate::test;
use backends::Backend;
use backends::llvm::Llvm;
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};
use ir::epilogue::Step;
use ir::op::{Attr, Attrs, BodyCtx, BufType, OpCtx, lookup};
use ir::target::{TARGETS, Target, Tile};
use ir::{Dim, Kernel, Layout, TensorType};
use libtest_mimic::Trial;
use object::{Object, ObjectSection};

pub fn tests() -> Vec<Trial> {
    let mut trials = Vec::new();
    for target in TARGETS {
        for &tile in target.tiles {
            let name = format!("asm::{}_{}x{}_stays_in_registers", target.name, tile.pixels, tile.blocks);
            trials.push(test(&name, move || check_tile(target, tile)));
            let name = format!("asm::winograd_{}_{}x{}_stays_in_registers", target.name, tile.pixels, tile.blocks);
            trials.push(test(&name, move || check_winograd(target, tile)));
            let name = format!("asm::gradients_{}_{}x{}_stay_in_registers", target.name, tile.pixels, tile.blocks);
            trials.push(test(&name, move || check_gradients(target, tile)));
        }
    }
    trials.push(test("asm::a_tile_too_large_is_found_out", || {
        let too_large = Tile { pixels: 8, blocks: 2 };
        let spilled = hot_loops(&convolution(&only(ir::target::X86_64_V3, too_large), too_large, &GEOMETRIES[1]));
        assert!(spilled.iter().any(|l| l.stack > 0), "16 accumulators cannot fit 16 registers: {spilled:?}");
    }));
    trials
}

/// What convolutions of the paper's networks look like to the template.
struct Geometry {
    name: &'static str,
    filter: u64,
    stride: u64,
    in_channels: u64,
}

const GEOMETRIES: [Geometry; 7] = [
    Geometry { name: "1x1", filter: 1, stride: 1, in_channels: 64 },
    Geometry { name: "3x3", filter: 3, stride: 1, in_channels: 32 },
    Geometry { name: "3x3 stride 2", filter: 3, stride: 2, in_channels: 32 },
    Geometry { name: "1x1 stride 2", filter: 1, stride: 2, in_channels: 64 },
    Geometry { name: "3x3 stride 2 by blocks of channels", filter: 3, stride: 2, in_channels: 512 },
    Geometry { name: "1x1 with weights fetched ahead", filter: 1, stride: 1, in_channels: 4096 },
    Geometry { name: "7x7 stride 2 on 3 channels", filter: 7, stride: 2, in_channels: 3 },
];

/// Least share of multiply-adds among the instructions of a full tile's loop, as a part of what the tile allows.
const SHARE_OF_IDEAL: f64 = 0.9;

fn check_tile(target: Target, tile: Tile) {
    // The template takes the narrow tile for a stem where there are no fused multiply-adds.
    let picked = |g: &&Geometry| g.in_channels != 3 || target.has_fma || tile.blocks == 1;
    for g in GEOMETRIES.iter().filter(picked) {
        let kernel = convolution(&only(target, tile), tile, g);
        let loops = hot_loops(&kernel);
        assert!(!loops.is_empty(), "{}: no loop multiplies", g.name);
        for l in &loops {
            assert_eq!(l.stack, 0, "{} on {}: {} of {l:?}", g.name, target.name, kernel.0.name);
        }
        let Some(best) = loops.iter().map(Loop::share).reduce(f64::max) else { continue };
        let ideal = ideal_share(&target, tile);
        // The stem's loop is short: one channel of seven taps, beside the same address arithmetic.
        let floor = if g.in_channels == 3 { 0.7 } else { SHARE_OF_IDEAL };
        assert!(best >= floor * ideal, "{} on {}: {best:.2} of {ideal:.2}, {loops:?}", g.name, target.name);
    }
}

/// The products of a Winograd convolution run in the same tiles. Its way back to the image is straight code whose
/// loads come from scratch memory anyway, so it may use the stack; the loops that accumulate may not.
fn check_winograd(target: Target, tile: Tile) {
    let loops = hot_loops(&winograd(&only(target, tile), tile));
    let ideal = ideal_share(&target, tile);
    let products: Vec<&Loop> = loops.iter().filter(|l| l.share() >= SHARE_OF_IDEAL * ideal).collect();
    assert!(!products.is_empty(), "no loop on {} is {ideal:.2} multiply-adds: {loops:?}", target.name);
    assert!(products.iter().all(|l| l.stack == 0), "{}: {products:?}", target.name);
}

/// Kernels of the backward pass: the loops that accumulate, in tiles of channels by channels.
fn check_gradients(target: Target, tile: Tile) {
    const SHARE: f64 = 0.75;
    // A transform is straight code, longer than any tile's loop, whose values are in scratch memory anyway.
    const LONGEST: usize = 500;
    let (channels, oc) = (u64::from(2 * target.block), u64::from(tile.blocks * target.block));
    let (x, g) = ([4, channels, 8, 8], [4, oc, 8, 8]);
    let (strided, flipped) = ([4, channels, 4, 4], [oc, channels, 3, 3]);
    let pad = ("pad", Attr::Quad([1; 4]));
    let sizes = || Attr::Dims(vec![Dim::Size(4); 2]);
    let parts = ("splits", Attr::Int(2));
    let grid = vec![("rows", sizes()), ("columns", sizes()), ("strip", Attr::Int(2)), parts.clone()];
    let direct = vec![pad.clone(), parts, ("kernel", Attr::Pair([3; 2]))];
    let input = vec![pad, ("input", Attr::Pair([8; 2])), ("stride", Attr::Pair([2; 2]))];
    for (name, operands, attrs) in [
        ("winograd_grad_weight", [x, g], grid),
        ("conv2d_grad_weight", [x, g], direct),
        ("conv2d_grad_input", [strided, flipped], input),
    ] {
        let kernel = offered(&only(target, tile), name, &operands, attrs);
        let (loops, ideal) = (hot_loops(&kernel), ideal_share(&target, tile));
        let is_sum = |l: &&Loop| l.share() >= SHARE * ideal && l.instructions < LONGEST;
        let sums: Vec<&Loop> = loops.iter().filter(is_sum).collect();
        assert!(!sums.is_empty(), "{name}: no loop on {} is {ideal:.2} multiply-adds: {loops:?}", target.name);
        // Known: without fused multiply-adds the loop of four taps of a strided gradient reads four values from the stack.
        let most = if name == "conv2d_grad_input" && !target.has_fma { 4 } else { 0 };
        assert!(sums.iter().all(|l| l.stack <= most), "{name} on {}: {sums:?}", target.name);
    }
}

/// The kernel of the first offer for an op without epilogue.
fn offered(target: &Target, op: &str, operands: &[[u64; 4]], attrs: Vec<(&'static str, Attr)>) -> (Kernel, Target) {
    let op = lookup(op).expect("the op table has it");
    let attrs = attrs.into_iter().fold(Attrs::defaults(op), |all, (name, value)| all.set(name, value));
    let types: Vec<TensorType> = operands.iter().map(|d| TensorType::f32(d)).collect();
    let ctx = OpCtx { operands: &types, attrs: &attrs, epilogue: &[], results: &[], batch: 1 };
    let results = (op.shape)(&ctx).unwrap_or_else(|p| panic!("{}: {}", op.name, p.message));
    let all = |types: &[TensorType]| types.iter().map(|t| BufType::of(t, 1)).collect::<Vec<_>>();
    let mut ctx = BodyCtx { operands: all(&types), results: all(&results), attrs: &attrs, epilogue: &[] };
    let offer = passes::templates::offers(op, &ctx, target).swap_remove(0);
    ctx.operands.iter_mut().zip(&offer.operands).for_each(|(t, &l)| t.layout = l);
    ctx.results[0].layout = offer.result;
    (passes::templates::build(op, &ctx, target).expect("what is offered can be built"), *target)
}

/// Winograd products for a strip that is one full tile and a narrower one.
fn winograd(target: &Target, tile: Tile) -> (Kernel, Target) {
    let op = lookup("winograd_output").expect("the op table has winograd_output");
    let columns = u64::from(2 * tile.pixels - 1);
    let sizes = |n: u64| Attr::Dims(vec![Dim::Size(4); n as usize]);
    let attrs = Attrs::defaults(op).set("rows", sizes(2)).set("columns", sizes(columns)).set("strip", Attr::Int(1));
    let (block, oc) = (u64::from(target.block), u64::from(tile.blocks * target.block));
    let tiles = TensorType::f32(&[1, 2, 36, 4, columns, block]).with_layout(Layout::Spaced);
    let operands = [tiles, TensorType::f32(&[1, 36, 4 * block, oc])];
    let result = TensorType::f32(&[1, oc, 8, 4 * columns]).with_layout(Layout::Blocked(target.block));
    let ctx = BodyCtx {
        operands: operands.iter().map(|t| BufType::of(t, 1)).collect(),
        results: vec![BufType::of(&result, 1)],
        attrs: &attrs,
        epilogue: &[],
    };
    (passes::templates::build(op, &ctx, target).expect("a grid of equal tiles can be built"), *target)
}

/// Multiply-adds of one step of a tile among all that it needs.
fn ideal_share(target: &Target, tile: Tile) -> f64 {
    let (p, b) = (f64::from(tile.pixels), f64::from(tile.blocks));
    let vectors = b * f64::from(target.block / target.lanes);
    if target.has_fma {
        // A lone use of a pixel is broadcast by the multiply-add itself, on AVX-512.
        let broadcasts = if vectors == 1.0 && target.lanes == 16 { 0.0 } else { p };
        p * vectors / (p * vectors + broadcasts + vectors)
    } else {
        // Products and sums; a load and a shuffle for each pixel, and a copy for each product but the last.
        let arithmetic = 2.0 * p * vectors;
        arithmetic / (arithmetic + 2.0 * p + p * (vectors - 1.0) + vectors)
    }
}

/// The target with one tile to choose.
fn only(target: Target, tile: Tile) -> Target {
    Target { tiles: Box::leak(Box::new([tile])), ..target }
}

/// The template's kernel for an image three tiles wide, with every step of an epilogue.
fn convolution(target: &Target, tile: Tile, g: &Geometry) -> (Kernel, Target) {
    let op = lookup("conv2d").expect("the op table has conv2d");
    let pad = g.filter / 2;
    let attrs = Attrs::defaults(op).set("stride", Attr::Pair([g.stride; 2])).set("pad", Attr::Quad([pad; 4]));
    let (p, q) = (8, 3 * u64::from(tile.pixels));
    let oc = u64::from(tile.blocks * target.block);
    let types = [
        TensorType::f32(&[1, g.in_channels, p * g.stride, q * g.stride]),
        TensorType::f32(&[oc, g.in_channels, g.filter, g.filter]),
        TensorType::f32(&[oc]),
        TensorType::f32(&[1, oc, p, q]),
    ];
    let epilogue = [Step::Bias(2), Step::Add(3), Step::Relu];
    let plain = BodyCtx {
        operands: types.iter().map(|t| BufType::of(t, 1)).collect(),
        results: vec![BufType::of(&types[3], 1)],
        attrs: &attrs,
        epilogue: &epilogue,
    };
    let offer = passes::templates::offers(op, &plain, target).swap_remove(0);
    let with = |t: &BufType, layout: Layout| BufType { layout, ..t.clone() };
    let ctx = BodyCtx {
        operands: plain.operands.iter().zip(&offer.operands).map(|(t, &l)| with(t, l)).collect(),
        results: vec![with(&plain.results[0], offer.result)],
        attrs: &attrs,
        epilogue: &epilogue,
    };
    (passes::templates::build(op, &ctx, target).expect("what is offered can be built"), *target)
}

/// One innermost loop that multiplies vectors.
#[derive(Debug)]
struct Loop {
    instructions: usize,
    /// Fused multiply-adds, or products and sums.
    arithmetic: usize,
    /// Accesses of the stack.
    stack: usize,
}

impl Loop {
    fn share(&self) -> f64 {
        self.arithmetic as f64 / self.instructions as f64
    }
}

fn hot_loops((kernel, target): &(Kernel, Target)) -> Vec<Loop> {
    let objects = Llvm.compile(std::slice::from_ref(kernel), "t", target).expect("templates compile");
    let file = object::File::parse(&*objects[0]).expect("an object");
    let text = file.section_by_name(".text").expect("code").data().expect("code");
    let code: Vec<Instruction> = Decoder::new(64, text, DecoderOptions::NONE).into_iter().collect();
    assert!(code.iter().all(|i| i.code() != Code::INVALID), "the code section holds only code");

    let back = |i: &&Instruction| {
        matches!(i.flow_control(), FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch)
            && i.op0_kind() == OpKind::NearBranch64
            && i.near_branch_target() <= i.ip()
    };
    let ranges: Vec<_> = code.iter().filter(back).map(|i| i.near_branch_target()..=i.ip()).collect();
    let innermost =
        ranges.iter().filter(|r| !ranges.iter().any(|s| s != *r && r.contains(s.start()) && r.contains(s.end())));
    innermost
        .map(|r| {
            let body: Vec<_> = code.iter().filter(|i| r.contains(&i.ip())).collect();
            Loop {
                instructions: body.len(),
                arithmetic: body.iter().filter(|i| is_arithmetic(i)).count(),
                stack: body.iter().filter(|i| uses_stack(i)).count(),
            }
        })
        .filter(|l| l.arithmetic >= 8)
        .collect()
}

fn is_arithmetic(i: &Instruction) -> bool {
    use Mnemonic::{Addps, Mulps, Vfmadd132ps, Vfmadd213ps, Vfmadd231ps};
    matches!(i.mnemonic(), Vfmadd132ps | Vfmadd213ps | Vfmadd231ps | Mulps | Addps)
}

fn uses_stack(i: &Instruction) -> bool {
    let memory = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory);
    i.is_stack_instruction() || memory && matches!(i.memory_base(), Register::RSP)
}
