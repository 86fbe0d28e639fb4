//! The list of cases. Prime sizes show what round ones hide; 8, 16 and 32 channels can be blocked.

use super::case::{Case, case};

/// All cases, op by op.
pub fn all() -> Vec<Case> {
    [conv2d(), convolution_gradients(), dense(), pools(), maps(), moves(), folds(), winograd(), training()]
        .into_iter()
        .flatten()
        .collect()
}

fn conv2d() -> Vec<Case> {
    let c = |x: &str, attrs: &str, epilogue: &str| case("conv2d", x, attrs, epilogue);
    vec![
        // plain: odd channels, kernels and sizes
        c("1,3,7,5 5,3,3,3", "pad=1,1,1,1", ""),
        c("3,5,7,13 7,5,3,5", "pad=1,2,1,2", "bias relu"),
        c("1,3,13,13 16,3,7,7", "stride=2x2 pad=3,3,3,3", "bias relu"),
        c("1,3,13,17 32,3,7,7", "stride=2x2 pad=3,3,3,3", "bias"),
        c("1,1,1,1 1,1,1,1", "", ""),
        c("3,13,5,7 5,13,1,1", "", "scale_shift add clamp"),
        // blocked
        c("1,16,7,5 16,16,3,3", "pad=1,1,1,1", "bias add relu"),
        c("3,8,5,7 24,8,3,3", "pad=1,1,1,1", "bias relu"),
        c("1,16,13,7 32,16,3,3", "stride=2x2 pad=1,1,1,1", "bias relu"),
        c("1,16,14,14 16,16,3,3", "stride=2x2 pad=0,0,1,1", "bias"),
        c("1,32,7,7 64,32,1,1", "", "bias add relu"),
        c("3,32,7,13 16,32,1,1", "stride=2x2", "bias"),
        c("1,16,5,5 48,16,1,1", "", "add"),
        c("1,16,7,7 16,16,5,3", "pad=2,1,2,1", "scale_shift clamp"),
        // so many input channels that they are summed by blocks, the last one shorter, and tiles of two rows
        c("1,488,14,14 16,488,3,3", "stride=2x2 pad=1,1,1,1", "bias relu"),
        // the same with two rows in all
        c("1,512,4,4 144,512,1,1", "stride=2x2", "bias"),
        // one to three rows or columns; a window as large as the image; pads beyond the filter
        c("1,16,1,13 16,16,3,3", "pad=1,1,1,1", ""),
        c("1,16,2,3 16,16,3,3", "pad=1,1,1,1", "relu"),
        c("1,8,5,7 8,8,5,7", "", "bias"),
        c("1,8,3,3 8,8,2,2", "pad=3,2,1,3", ""),
        // asymmetric pads, strides that differ, dilation, groups
        c("1,8,7,13 16,8,3,3", "stride=1x2 pad=0,2,1,0", "bias"),
        c("1,16,13,7 16,16,3,3", "pad=2,2,2,2 dilation=2x2", "bias relu"),
        c("1,5,13,13 5,5,3,2", "stride=3x2 pad=1,0,2,1 dilation=3x4", ""),
        c("3,16,7,7 16,1,3,3", "groups=16 pad=1,1,1,1", "bias relu"),
        c("1,32,7,5 32,8,3,3", "groups=4 pad=1,1,1,1", "bias relu"),
        c("1,6,5,5 9,2,3,3", "groups=3 stride=2x2 pad=1,1,1,1", "scale_shift"),
        // epilogues in orders that fusion does not make, but the IR allows
        c("1,16,5,5 16,16,3,3", "pad=1,1,1,1", "relu add bias"),
        c("1,16,5,5 16,16,1,1", "", "bias scale_shift add add relu clamp"),
        c("2,16,6,5 16,16,3,3", "pad=1,1,1,1", "add relu_grad"),
    ]
}

/// Gradients of convolutions: operands as the convolution's image, filter and result.
fn convolution_gradients() -> Vec<Case> {
    let mut out = Vec::new();
    // image, filter, result, attributes
    let convolutions = [
        ("1,3,7,5", "5,3,3,3", "1,5,7,5", "pad=1,1,1,1"),
        ("3,16,7,5", "16,16,3,3", "3,16,7,5", "pad=1,1,1,1"),
        ("2,16,8,8", "32,16,3,3", "2,32,8,8", "pad=1,1,1,1"),
        ("3,8,9,20", "16,8,3,3", "3,16,9,20", "pad=1,1,1,1"),
        ("3,16,13,7", "32,16,3,3", "3,32,7,4", "stride=2x2 pad=1,1,1,1"),
        ("2,32,8,8", "16,32,3,3", "2,16,4,4", "stride=2x2 pad=1,1,1,1"),
        ("2,16,14,14", "16,16,3,3", "2,16,7,7", "stride=2x2 pad=0,0,1,1"),
        ("3,32,7,7", "48,32,1,1", "3,48,7,7", ""),
        ("2,24,5,1", "8,24,1,1", "2,8,5,1", ""),
        ("3,32,7,13", "16,32,1,1", "3,16,4,7", "stride=2x2"),
        ("2,16,8,6", "32,16,1,1", "2,32,4,3", "stride=2x2"),
        ("2,3,13,17", "16,3,7,7", "2,16,7,9", "stride=2x2 pad=3,3,3,3"),
        ("3,3,9,12", "16,3,3,3", "3,16,9,12", "pad=1,1,1,1"),
        ("1,16,5,6", "16,16,5,5", "1,16,5,6", "pad=2,2,2,2"),
        ("1,16,9,9", "16,16,3,3", "1,16,9,9", "pad=2,2,2,2 dilation=2x2"),
        ("1,8,7,13", "16,8,3,3", "1,16,7,7", "stride=1x2 pad=0,2,2,0"),
        ("2,5,13,13", "5,5,3,2", "2,5,4,5", "stride=3x2 pad=1,0,2,1 dilation=3x4"),
        ("1,16,1,3", "16,16,3,3", "1,16,1,3", "pad=1,1,1,1"),
        ("1,8,3,3", "8,8,2,2", "1,8,6,7", "pad=3,2,1,3"),
        // filter taps, and pixels, that no output has
        ("1,16,9,10", "16,16,1,1", "1,16,3,3", "stride=4x4"),
        ("1,8,5,5", "8,8,5,5", "1,8,1,1", ""),
    ];
    for (x, w, g, attrs) in convolutions {
        let flipped = exchanged(w);
        out.push(case("conv2d_grad_input", &format!("{g} {flipped}"), &format!("{attrs} input={}", size(x)), ""));
    }
    let grouped = ["groups=4 pad=1,1,1,1", "groups=3 stride=2x2 pad=1,1,1,1"];
    out.push(case("conv2d_grad_input", "1,32,7,5 32,8,3,3", &format!("{} input=7x5", grouped[0]), ""));
    out.push(case("conv2d_grad_input", "2,9,3,3 6,3,3,3", &format!("{} input=5x5", grouped[1]), ""));
    for (i, (x, w, g, attrs)) in convolutions.into_iter().enumerate() {
        // more parts than images, as many, and fewer
        let splits = [1, 2, 3, 16][i % 4];
        let attrs = format!("{attrs} kernel={} splits={splits}", size(w));
        out.push(case("conv2d_grad_weight", &format!("{x} {g}"), &attrs, ""));
    }
    out.push(case("conv2d_grad_weight", "1,32,7,5 1,32,7,5", &format!("{} kernel=3x3", grouped[0]), ""));
    out.push(case("conv2d_grad_weight", "2,6,5,5 2,9,3,3", &format!("{} kernel=3x3 splits=2", grouped[1]), ""));
    out.extend(["16,8,3,3", "5,7,1,1", "66,130,1,1", "16,16,3,5"].map(|w| case("flip_filter", w, "", "")));
    out.push(case("flip_filter", "32,8,3,3", "groups=4", ""));
    out.push(case("flip_filter", "9,2,3,2", "groups=3", ""));
    out.extend(["1,7,5", "2,13", "16,16,8,3,3", "5,3,5,7", "7,1,2"].map(|x| case("sum_splits", x, "", "")));
    out
}

/// Rows and columns, as an attribute.
fn size(dims: &str) -> String {
    let dims: Vec<&str> = dims.split(',').collect();
    format!("{}x{}", dims[2], dims[3])
}

/// A filter's dimensions with output and input channels exchanged.
fn exchanged(dims: &str) -> String {
    let mut dims: Vec<&str> = dims.split(',').collect();
    dims.swap(0, 1);
    dims.join(",")
}

fn dense() -> Vec<Case> {
    let d = |x: &str, epilogue: &str| case("dense", x, "", epilogue);
    vec![
        d("1,64 10,64", "bias"),
        d("3,512 7,512", ""),
        d("2,300 27,300", "bias"),
        d("1,13 1000,13", "bias relu"),
        d("5,7 13,7", "scale_shift clamp"),
        d("5,7 13,7", "relu_grad"),
        d("8,64 64,64", "bias add relu"),
        d("1,1 1,1", ""),
        d("3,128 100,128", "bias"),
    ]
}

fn pools() -> Vec<Case> {
    let mut out = Vec::new();
    for op in ["avg_pool", "global_avg_pool", "max_pool"] {
        if op == "global_avg_pool" {
            out.extend(["1,16,7,7", "3,5,13,1", "1,32,4,4", "2,8,1,1", "1,64,8,8"].map(|x| case(op, x, "", "")));
            continue;
        }
        let p = |x: &str, attrs: &str| case(op, x, attrs, "");
        out.extend([
            p("1,16,13,13", "kernel=3x3 stride=2x2 pad=1,1,1,1"),
            p("3,8,7,5", "kernel=2x2 stride=2x2"),
            p("1,5,7,13", "kernel=3x3 stride=2x2 pad=0,0,1,1"),
            p("1,16,7,7", "kernel=7x7"),
            p("1,16,6,6", "kernel=3x3 stride=2x2 ceil_mode=true"),
            p("1,8,5,5", "kernel=2x2 stride=3x3 pad=1,1,1,1 ceil_mode=true"),
            p("3,7,13,5", "kernel=3x2 stride=2x3 pad=1,1,2,0 ceil_mode=true"),
            p("1,16,1,1", "kernel=1x1"),
            p("1,3,5,7", "kernel=1x3 stride=2x1 pad=0,2,0,1"),
        ]);
        if op == "avg_pool" {
            out.extend([
                p("1,16,7,7", "kernel=3x3 stride=2x2 pad=1,1,1,1 count_include_pad=true"),
                p("1,8,6,6", "kernel=3x3 stride=2x2 pad=1,1,0,1 ceil_mode=true count_include_pad=true"),
                p("3,5,5,7", "kernel=2x2 stride=2x2 ceil_mode=true count_include_pad=true"),
            ]);
        }
    }
    out
}

fn maps() -> Vec<Case> {
    vec![
        case("add", "1,16,5,7 1,16,5,7", "", ""),
        case("add", "3,5,7 3,5,7 3,5,7 3,5,7", "", ""),
        case("add", "13 13", "", ""),
        case("batch_norm", "1,16,5,7 16 16 16 16", "", ""),
        case("batch_norm", "3,7,5,1 7 7 7 7", "eps=0.001", ""),
        case("batch_norm", "5,13 13 13 13 13", "eps=1.001e-5", ""),
        case("cast", "3,5,7", "to=i32", ""),
        case("cast", "1,16,3,3", "to=u8", ""),
        case("cast", "u8:13,5", "to=f32", ""),
        case("cast", "i32:7", "to=f64", ""),
        case("cast", "1,8,3,5", "to=f64", ""),
        case("clamp", "1,16,5,7", "lo=0 hi=6", ""),
        case("clamp", "13,5", "lo=-0.25 hi=0.5", ""),
        case("normalize_u8", "u8:1,5,7,3", "mean=[0.485,0.456,0.406] std=[0.229,0.224,0.225]", ""),
        case("normalize_u8", "u8:3,13,5,3", "mean=[103.939,116.779,123.68] std=[1,1,1] scale=1 order=bgr", ""),
        case("normalize_u8", "u8:1,7,1,1", "mean=[0] std=[0.5]", ""),
        case("relu", "1,16,5,7", "", ""),
        case("relu", "3,5,7,13", "", ""),
        case("relu", "7", "", ""),
        case("scale_shift", "1,16,5,7 16 16", "", ""),
        case("scale_shift", "3,5 5 5", "", "add relu"),
        case("scale_shift", "2,16,4,3 16 16", "", "add relu scale_shift relu_grad"),
        case("softmax", "1,10", "", ""),
        case("softmax", "3,1000", "", ""),
        case("softmax", "13", "", ""),
        case("softmax", "2,3,5", "", ""),
        case("softmax", "5,1", "", ""),
    ]
}

fn moves() -> Vec<Case> {
    vec![
        case("flatten", "3,5,7,2", "", ""),
        case("flatten", "1,16,1,1", "", ""),
        case("flatten", "13", "", ""),
        case("pad2d", "1,16,5,7", "pad=1,1,1,1", ""),
        case("pad2d", "3,5,3,1", "pad=0,3,2,0 value=-1.5", ""),
        case("pad_channels", "1,16,5,7", "before=8 after=8", ""),
        case("pad_channels", "3,5,7,2", "before=3", ""),
        case("pad_channels", "1,32,3,3", "before=16 after=16", ""),
        case("reorder", "1,16,5,7", "to=nChw8c", ""),
        case("reorder", "3,32,5,1", "to=nChw16c", ""),
        case("reorder", "1,16,7,5", "to=plain", ""),
        case("reorder", "16,8,3,3", "to=OIhw8i16o", ""),
        case("reorder", "32,3,7,7", "to=OIhw1i16o", ""),
        case("reorder", "13,7", "to=Oi8o", ""),
        case("reorder", "32,5", "to=Oi16o", ""),
        case("reorder", "13,5", "to=plain", ""),
        case("reorder", "2,1,4,2,16,8", "to=spaced", ""),
        case("reorder", "2,1,4,2,16,8", "to=plain", ""),
        case("reshape", "3,5,7,2", "shape=[3,70]", ""),
        case("reshape", "6,10", "shape=[4,3,5]", ""),
        case("reshape", "1,16,1,1", "shape=[1,16]", ""),
        case("reshape", "2,3,5,7", "shape=[7,5,1,3,2]", ""),
        case("subsample", "1,16,13,7", "step=2x2", ""),
        case("subsample", "3,5,7,5", "step=3x1", ""),
        case("subsample", "1,8,3,3", "step=5x5", ""),
    ]
}

/// Tiles of one size and of two, in one strip and in several, at both strides, of odd and even images; two register
/// tiles and one, three channel blocks.
fn winograd() -> Vec<Case> {
    let grids = [
        ("8,4", "rows=[4,4] columns=[4] strip=1", "2,36,1"),
        ("4,6", "rows=[2,2] columns=[2,2,2] strip=1", "2,16,3"),
        ("7,5", "rows=[4,3] columns=[4,1] strip=2", "1,36,4"),
        ("5,14", "rows=[2,2,1] columns=[4,4,4,2] strip=3", "1,24,12"),
        ("1,3", "rows=[1] columns=[3] strip=1", "1,15,1"),
        ("8,2", "stride=2x2 rows=[2,2] columns=[1] strip=1", "2,15,1"),
        ("7,2", "stride=2x2 rows=[4] columns=[1] strip=1", "1,27,1"),
        ("9,2", "stride=2x2 rows=[3,2] columns=[1] strip=2", "1,21,2"),
    ];
    let mut all = vec![
        case("winograd_weight", "16,8,3,3", "tile=4x4 panel=16", ""),
        case("winograd_weight", "48,3,3,3", "tile=2x4 panel=24", ""),
        case("winograd_weight", "5,7,3,3", "tile=1x3 panel=1", ""),
        case("winograd_weight", "16,5,3,3", "stride=2x2 tile=4x2 panel=8", ""),
    ];
    for (image, grid, tiles) in grids {
        let tiles: Vec<&str> = tiles.split(',').collect();
        let [strips, points, tiles] = tiles[..] else { unreachable!("three numbers") };
        for block in [8, 16] {
            all.push(case("winograd_input", &format!("1,16,{image}"), &format!("{grid} block={block}"), ""));
            let output = |images: u32, panels: u32, panel: u32, epilogue: &str| {
                let blocks = 16 / block;
                let v = format!("{images},{strips},{points},{blocks},{tiles},{block}");
                case("winograd_output", &format!("{v} {panels},{points},16,{panel}"), grid, epilogue)
            };
            all.push(output(1, 1, 2 * block, "bias add relu"));
            all.push(output(2, 2, block, "scale_shift clamp"));
            all.push(output(1, 1, 3 * block, "add relu_grad"));
            let whole = |images: u32, panels: u32, panel: u32, epilogue: &str| {
                case("winograd_conv2d", &format!("{images},16,{image} {panels},{points},16,{panel}"), grid, epilogue)
            };
            match block {
                8 => all.push(whole(1, 1, 2 * block, "bias add relu")),
                _ => all.push(whole(2, 1, block, "scale_shift relu_grad")),
            }
        }
    }
    let gradients = [
        ("4,16,8,8 4,16,8,8", "rows=[4,4] columns=[4,4] strip=2 splits=2"),
        ("2,16,6,5 2,32,6,5", "rows=[4,2] columns=[4,1] strip=2 splits=1"),
        ("3,16,3,4 3,16,3,4", "rows=[3] columns=[2,2] strip=1 splits=2"),
        ("1,5,4,7 1,3,4,7", "rows=[4] columns=[4,3] strip=1 splits=3"),
        ("2,16,8,4 2,16,8,4", "rows=[4,4] columns=[4] strip=1 splits=1"),
        // Channels for several tasks.
        ("1,64,4,7 1,128,4,7", "rows=[4] columns=[4,3] strip=1 splits=1"),
    ];
    all.extend(gradients.map(|(operands, attrs)| case("winograd_grad_weight", operands, attrs, "")));
    all.push(case("winograd_input", "3,5,4,4", "rows=[4] columns=[4] strip=1 block=1", ""));
    // Channels of which a block more is stored, so that points are no multiple of 1 KiB apart.
    for block in [8, 16] {
        all.push(case("winograd_input", "1,256,4,2", &format!("rows=[4] columns=[2] strip=1 block={block}"), ""));
        let operands = format!("1,1,24,{},1,{block} 1,24,256,{block}", 256 / block);
        all.push(case("winograd_output", &operands, "rows=[4] columns=[2] strip=1", "relu"));
    }
    all
}

fn folds() -> Vec<Case> {
    vec![
        case("bn_scale", "13 13", "", ""),
        case("bn_shift", "13 13 13 13", "eps=0.001", ""),
        case("fold_bn_bias", "16 16 16 16", "", ""),
        case("fold_bn_bias", "7 7 7 7 7", "eps=9.99999974e-6", ""),
        case("fold_bn_weight", "16,8,3,3 16 16", "", ""),
        case("fold_bn_weight", "13,5 13 13", "eps=0.001", ""),
    ]
}

/// What training adds, but for the gradients of convolutions.
fn training() -> Vec<Case> {
    let c = |op: &str, operands: &str, attrs: &str| case(op, operands, attrs, "");
    let mut out = Vec::new();
    for (x, splits) in [("3,16,5,7", 1), ("5,8,3,1", 2), ("2,7,4,4", 16), ("13,10", 3), ("4,32,8,8", 4)] {
        let channels = x.split(',').nth(1).expect("channels");
        let splits = format!("splits={splits}");
        out.push(c("channel_sum", x, &splits));
        out.push(c("channel_dot", &format!("{x} {x}"), &splits));
        out.push(c("channel_moments", x, &splits));
        let operands = format!("{x} {x} {channels} {channels}");
        out.push(c("batch_norm_grad_params", &operands, &format!("{splits} eps=0.001")));
        let operands = format!("{x} {x} {}", [channels; 5].join(" "));
        out.push(c("batch_norm_grad_input", &operands, ""));
        out.push(c("scale", &format!("{x} {channels}"), ""));
        out.push(c("bias", &format!("{x} {channels}"), ""));
        out.push(c("relu_grad", &format!("{x} {x}"), ""));
        out.push(c("clamp_grad", &format!("{x} {x}"), "lo=-0.25 hi=0.5"));
        out.push(c("fill", x, "value=0.1"));
        out.push(c("later", &format!("{x} {channels}"), ""));
    }
    let pools = [
        ("1,16,7,7", "1,16,13,13", "kernel=3x3 stride=2x2 pad=1,1,1,1"),
        ("2,8,3,2", "2,8,7,5", "kernel=2x2 stride=2x2"),
        ("1,5,3,6", "1,5,7,13", "kernel=3x3 stride=2x2 pad=0,0,1,1"),
        ("1,16,1,1", "1,16,7,7", "kernel=7x7"),
        ("1,16,3,3", "1,16,6,6", "kernel=3x3 stride=2x2 ceil_mode=true"),
        ("1,8,2,2", "1,8,5,5", "kernel=2x2 stride=3x3 pad=1,1,1,1 ceil_mode=true"),
        ("1,3,3,7", "1,3,5,7", "kernel=1x3 stride=2x1 pad=0,2,0,0"),
    ];
    for (g, x, attrs) in pools {
        out.push(c("max_pool_grad", &format!("{g} {x}"), attrs));
        out.push(c("avg_pool_grad", g, &format!("{attrs} input={}", size(x))));
        out.push(c("avg_pool_grad", g, &format!("{attrs} count_include_pad=true input={}", size(x))));
    }
    out.extend([
        c("batch_statistics", "3,16,5,7 f64:1,16 f64:1,16", ""),
        c("batch_statistics", "2,7,4,4 f64:16,7 f64:16,7", ""),
        c("batch_statistics", "13,10 f64:3,10 f64:3,10", ""),
        c("running_average", "13 13", ""),
        c("running_average", "16 16 3,16,5,7", "momentum=0.25"),
        c("global_avg_pool_grad", "3,16", "input=7x7"),
        c("global_avg_pool_grad", "2,5", "input=1x3"),
        c("subsample_grad", "1,16,7,4", "step=2x2 input=13x7"),
        c("subsample_grad", "2,5,3,5", "step=3x1 input=7x5"),
        c("subsample_grad", "1,8,1,1", "step=5x5 input=3x3"),
        c("slice_channels", "1,32,5,7", "start=8 count=16"),
        c("slice_channels", "2,7,3,2", "start=1 count=5"),
        c("crop2d", "1,16,7,9", "pad=1,1,1,1"),
        c("crop2d", "2,5,6,4", "pad=0,3,2,0"),
        c("transpose", "13,7", ""),
        c("transpose", "16,64", ""),
        c("transpose", "130,70", ""),
        c("dense_grad_weight", "5,13 5,7", ""),
        c("dense_grad_weight", "1,64 1,10", ""),
        c("dense_grad_weight", "7,48 7,17", ""),
        c("softmax_grad", "3,10 3,10", ""),
        c("softmax_grad", "13 13", ""),
        c("softmax_grad", "2,3,5 2,3,5", ""),
        c("cross_entropy", "5,10 i32:5", ""),
        c("cross_entropy", "2,1000 i32:2", "label_smoothing=0.1"),
        c("cross_entropy_grad", "5,10 i32:5 1", ""),
        c("cross_entropy_grad", "2,1000 i32:2 1", "label_smoothing=0.1"),
        c("sgd_step", "16,8,3,3 16,8,3,3 16,8,3,3 1", "momentum=0.9 weight_decay=0.01"),
        c("sgd_step", "13 13 13 1", "momentum=0.5 weight_decay=0.25 nesterov=true"),
    ]);
    out
}

/// Small cases of every op that has a gradient rule, to be compared with differences.
pub fn gradients() -> Vec<Case> {
    let c = |op: &str, operands: &str, attrs: &str| case(op, operands, attrs, "");
    vec![
        c("add", "2,3,2,2 2,3,2,2", ""),
        c("add", "5 5 5", ""),
        c("avg_pool", "1,2,5,5", "kernel=3x3 stride=2x2 pad=1,1,1,1"),
        c("avg_pool", "1,2,6,5", "kernel=3x2 stride=2x1 pad=1,0,1,1 count_include_pad=true"),
        c("avg_pool", "1,2,5,5", "kernel=2x2 stride=2x2 ceil_mode=true count_include_pad=true"),
        c("avg_pool", "1,1,5,5", "kernel=2x2 stride=3x3 pad=1,1,1,1 ceil_mode=true"),
        c("batch_norm", "2,3,2,2 3 3 3 3", ""),
        c("batch_norm", "5,3 3 3 3 3", "eps=0.01"),
        c("bias", "2,3,2,2 3", ""),
        c("bias", "5,3 3", ""),
        c("cast", "2,3", "to=f64"),
        c("clamp", "3,7", "lo=-0.3 hi=0.4"),
        c("conv2d", "2,3,5,4 4,3,3,3", "pad=1,1,1,1"),
        c("conv2d", "1,2,6,5 4,2,3,2", "pad=0,1,2,0"),
        c("conv2d", "1,2,6,6 3,2,3,3", "stride=2x2 pad=1,1,1,1"),
        c("conv2d", "1,3,5,5 2,3,1,1", "stride=2x2"),
        c("conv2d", "1,2,7,7 2,2,3,3", "pad=2,2,2,2 dilation=2x2"),
        c("conv2d", "1,4,4,4 6,2,3,3", "pad=1,1,1,1 groups=2"),
        c("conv2d", "1,4,5,5 4,1,3,3", "stride=2x1 pad=1,1,1,1 groups=4"),
        // more padding than the filter reaches
        c("conv2d", "1,2,3,3 2,2,2,2", "pad=2,1,1,3"),
        c("crop2d", "1,2,5,6", "pad=1,0,1,2"),
        c("cross_entropy", "5,4 i32:5", ""),
        c("cross_entropy", "3,7 i32:3", "label_smoothing=0.2"),
        c("dense", "3,5 4,5", ""),
        c("flatten", "2,3,2,2", ""),
        c("global_avg_pool", "2,3,3,2", ""),
        c("max_pool", "1,2,6,6", "kernel=3x3 stride=2x2 pad=1,1,1,1"),
        c("max_pool", "2,2,5,4", "kernel=2x2 stride=2x2 ceil_mode=true"),
        c("max_pool", "1,1,7,5", "kernel=2x3 stride=3x1"),
        c("pad2d", "1,2,3,3", "pad=1,2,0,1"),
        c("pad2d", "1,2,3,3", "pad=1,2,0,1 value=-1.5"),
        c("pad_channels", "1,3,2,2", "before=1 after=2"),
        c("relu", "3,7", ""),
        c("relu", "1,3,3,3", ""),
        c("reorder", "1,8,3,2", "to=nChw8c"),
        c("reorder", "5,3", "to=Oi4o"),
        c("reshape", "2,3,4", "shape=[6,4]"),
        c("scale_shift", "2,3,2,2 3 3", ""),
        c("scale_shift", "5,3 3 3", ""),
        c("slice_channels", "1,5,2,2", "start=1 count=3"),
        c("softmax", "3,5", ""),
        c("softmax", "4", ""),
        c("subsample", "1,2,5,4", "step=2x3"),
        c("transpose", "3,5", ""),
    ]
}
