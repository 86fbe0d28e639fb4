//! Every network of the paper: parameters, buffers, convolutions and multiply-adds, to the last digit.
//!
//! The figures were computed by integer arithmetic of their own and equal torchvision's wherever it has the network.

use crate::test;
use libtest_mimic::Trial;
use rescc::builders::{self, PadChannels, Shortcut, Spec, StrideIn};
use rescc::counts::{self, Totals};

const A: Shortcut = Shortcut::A(PadChannels::Even);
const B: Shortcut = Shortcut::B;
const C: Shortcut = Shortcut::C;
const PLAIN: Shortcut = Shortcut::Plain;

/// Depth, shortcut, parameters, buffers, convolutions, multiply-adds of v1 and of v1.5.
type ImageNet = (u32, Shortcut, u64, u64, u64, u64, u64);

const IMAGENET: [ImageNet; 18] = [
    (18, PLAIN, 11_515_688, 7_808, 17, 1_794_805_760, 1_794_805_760),
    (18, A, 11_515_688, 7_808, 17, 1_794_805_760, 1_794_805_760),
    (18, B, 11_689_512, 9_600, 20, 1_814_073_344, 1_814_073_344),
    (18, C, 12_043_816, 11_648, 25, 1_878_298_624, 1_878_298_624),
    (34, PLAIN, 21_623_848, 15_232, 33, 3_644_493_824, 3_644_493_824),
    (34, A, 21_623_848, 15_232, 33, 3_644_493_824, 3_644_493_824),
    (34, B, 21_797_672, 17_024, 36, 3_663_761_408, 3_663_761_408),
    (34, C, 22_716_840, 22_784, 49, 3_830_747_136, 3_830_747_136),
    (50, PLAIN, 22_780_456, 45_440, 49, 3_498_311_680, 3_729_522_688),
    (50, A, 22_780_456, 45_440, 49, 3_498_311_680, 3_729_522_688),
    (50, B, 25_557_032, 53_120, 53, 3_857_973_248, 4_089_184_256),
    (50, C, 40_128_552, 75_648, 65, 6_324_224_000, 6_555_435_008),
    (101, A, 41_772_584, 97_664, 100, 7_210_532_864, 7_441_743_872),
    (101, B, 44_549_160, 105_344, 104, 7_570_194_432, 7_801_405_440),
    (101, C, 76_981_288, 162_688, 133, 13_530_300_416, 13_761_511_424),
    (152, A, 57_416_232, 143_744, 151, 10_922_754_048, 11_153_965_056),
    (152, B, 60_192_808, 151_424, 155, 11_282_415_616, 11_513_626_624),
    (152, C, 107_335_720, 239_488, 201, 20_736_376_832, 20_967_587_840),
];

/// Depth, buffers of plain and A; then parameters and multiply-adds of plain and A, of B, of C.
type Cifar = (u32, u64, [u64; 3], [u64; 3]);

const CIFAR: [Cifar; 6] = [
    (20, 1_376, [269_722, 272_474, 283_962], [40_551_040, 40_813_184, 42_648_192]),
    (32, 2_272, [464_154, 466_906, 489_594], [68_862_592, 69_124_736, 72_532_608]),
    (44, 3_168, [658_586, 661_338, 695_226], [97_174_144, 97_436_288, 102_417_024]),
    (56, 4_064, [853_018, 855_770, 900_858], [125_485_696, 125_747_840, 132_301_440]),
    (110, 8_096, [1_727_962, 1_730_714, 1_826_202], [252_887_680, 253_149_824, 266_781_312]),
    (1202, 89_632, [19_421_274, 19_424_026, 20_538_714], [2_829_238_912, 2_829_501_056, 2_986_263_168]),
];

/// Depth, convolutions, parameters, multiply-adds, those of the convolutions alone.
const VGG: [(u32, u64, u64, u64, u64); 2] =
    [(16, 13, 138_357_544, 15_470_264_320, 15_346_630_656), (19, 16, 143_667_240, 19_632_062_464, 19_508_428_800)];

pub fn tests() -> Vec<Trial> {
    vec![
        test("e2e::counts::imagenet", imagenet),
        test("e2e::counts::cifar", cifar),
        test("e2e::counts::vgg", vgg),
        test("e2e::counts::additions", additions),
        test("e2e::counts::free_sizes", free_sizes),
        test("e2e::counts::same_seed_same_bytes", same_seed_same_bytes),
    ]
}

fn totals(spec: &Spec) -> Totals {
    let g = builders::build(spec).unwrap_or_else(|d| panic!("{spec}: {d}"));
    assert!(!g.verify().has_errors(), "{spec}: {}", g.verify());
    counts::totals(&g, &counts::layers(&g, 1))
}

fn with(name: &str, shortcut: Shortcut, stride_in: StrideIn) -> Spec {
    Spec { shortcut, stride_in, ..Spec::named(name, None).unwrap() }
}

fn imagenet() {
    for (depth, shortcut, params, buffers, convs, v1, v15) in IMAGENET {
        let name = format!("resnet{depth}");
        for (stride_in, macs) in [(StrideIn::Conv1x1, v1), (StrideIn::Conv3x3, v15)] {
            let t = totals(&with(&name, shortcut, stride_in));
            let found = (t.params, t.buffers, t.convs, t.macs);
            assert_eq!(found, (params, buffers, convs, macs), "{name} {shortcut:?} {stride_in:?}");
        }
    }
}

fn cifar() {
    for (depth, buffers, params, macs) in CIFAR {
        let name = format!("cifar-resnet{depth}");
        for (shortcut, column) in [(PLAIN, 0), (A, 0), (B, 1), (C, 2)] {
            let t = totals(&with(&name, shortcut, StrideIn::default()));
            assert_eq!((t.params, t.macs), (params[column], macs[column]), "{name} {shortcut:?}");
            if column == 0 {
                assert_eq!((t.buffers, t.convs), (buffers, u64::from(depth) - 1), "{name} {shortcut:?}");
            }
        }
    }
}

fn vgg() {
    for (depth, convs, params, macs, in_convs) in VGG {
        let g = builders::build(&Spec::named("vgg", Some(depth)).unwrap()).unwrap();
        let layers = counts::layers(&g, 1);
        let t = counts::totals(&g, &layers);
        assert_eq!((t.params, t.buffers, t.convs, t.macs), (params, 0, convs, macs), "vgg{depth}");
        let convs: u64 = layers.iter().filter(|l| l.op.starts_with("conv2d")).map(|l| l.macs).sum();
        assert_eq!(convs, in_convs, "vgg{depth}");
    }
}

/// Shortcuts are added 8, 16, 16, 33 and 50 times over so many elements.
fn additions() {
    let expected =
        [(18, 8, 752_640), (34, 16, 1_379_840), (50, 16, 5_519_360), (101, 33, 8_931_328), (152, 50, 13_146_112)];
    for (depth, count, elements) in expected {
        let g = builders::build(&Spec::named("resnet", Some(depth)).unwrap()).unwrap();
        let adds: Vec<u64> =
            g.order.iter().filter(|&&n| g.op(n).name == "add").map(|&n| g.ty(g.result(n)).elements(1)).collect();
        assert_eq!((adds.len(), adds.iter().sum::<u64>()), (count, elements), "resnet{depth}");
    }
}

/// Input, classes and width may be chosen; what cannot be built is refused.
fn free_sizes() {
    let small = Spec { input: [1, 32, 48], classes: 7, width: 8, ..Spec::named("resnet50", None).unwrap() };
    let g = builders::build(&small).unwrap();
    assert_eq!(g.ty(g.outputs[0]).to_string(), "f32[N,7]");
    for depth in [18, 34, 101, 152] {
        totals(&Spec { input: [3, 64, 64], ..Spec::named("plain", Some(depth)).unwrap() });
    }
    let tiny = Spec { input: [3, 1, 1], ..Spec::named("vgg16", None).unwrap() };
    assert_eq!(builders::build(&tiny).unwrap_err().0[0].code, "E0204");
    for spec in [
        Spec { classes: 0, ..Spec::named("resnet18", None).unwrap() },
        Spec { width: u64::MAX, ..Spec::named("resnet18", None).unwrap() },
        Spec { input: [3, 8192, 8192], ..Spec::named("vgg16", None).unwrap() },
        Spec { bn_eps: -1e-5, ..Spec::named("resnet18", None).unwrap() },
    ] {
        assert_eq!(builders::build(&spec).unwrap_err().0[0].code, "E0302");
    }
    for name in ["resnet51", "cifar-resnet21", "cifar-resnet", "densenet121", "vgg17", "resnet99999999999"] {
        assert_eq!(Spec::named(name, None).unwrap_err().0[0].code, "E0301", "{name}");
    }
    assert_eq!(Spec::named("resent50", None).unwrap_err().0[0].help.as_deref(), Some("did you mean 'resnet50'?"));
}

/// `new` writes the same bytes for the same seed, whatever the place, and others for another.
fn same_seed_same_bytes() {
    use crate::command::{Scratch, rescc};
    let bytes = |seed: &str| {
        let dir = Scratch::new();
        rescc(&["new", "cifar-resnet20", "--seed", seed, "-o", &dir.path("m.rir")]).succeeds();
        (dir.read("m.rir"), dir.read("m.safetensors"))
    };
    let (first, again, other) = (bytes("7"), bytes("7"), bytes("8"));
    assert!(first == again);
    assert!(first.1 != other.1);
    // The first filter's first weights: a change of generator or order must be noticed.
    let header = u64::from_le_bytes(first.1[..8].try_into().unwrap()) as usize;
    assert_eq!((8 + header) % 64, 0);
}
