//! Winograd convolution in three steps, from its transform matrices written out: Lavin and Gray, CVPR 2016, section
//! 4.3, with the points 0, ⅝, ∞, −⅝, 1½, −1½ in this order and Bᵀ rescaled so that all tiles share G. At stride 2 the
//! outer taps are a filter of two taps on every second input, at the points ½, ∞, −½, 1½, −1½, between which stand
//! the products of the middle tap: ½, ∞, first output, −½, second output, 1½, third output, −1½, fourth output.

use super::{Call, Tensor, Truth};

/// G, in the order of the points.
const G: [[f64; 3]; 6] = [
    [256.0 / 225.0, 0.0, 0.0],
    [-2048.0 / 2975.0, -256.0 / 595.0, -32.0 / 119.0],
    [0.0, 0.0, 1.0],
    [-2048.0 / 2975.0, 256.0 / 595.0, -32.0 / 119.0],
    [128.0 / 1071.0, 64.0 / 357.0, 32.0 / 119.0],
    [128.0 / 1071.0, -64.0 / 357.0, 32.0 / 119.0],
];

/// G at stride 2.
const G2: [[f64; 3]; 9] = [
    [-1.0 / 2.0, 0.0, -1.0 / 4.0],
    [0.0, 0.0, 1.0],
    MIDDLE,
    [1.0 / 2.0, 0.0, -1.0 / 4.0],
    MIDDLE,
    [1.0 / 6.0, 0.0, 1.0 / 4.0],
    MIDDLE,
    [-1.0 / 6.0, 0.0, 1.0 / 4.0],
    MIDDLE,
];
const MIDDLE: [f64; 3] = [0.0, 1.0, 0.0];

fn g(stride: usize, point: usize, tap: usize) -> f64 {
    if stride == 1 { G[point][tap] } else { G2[point][tap] }
}

/// Inputs and points of a tile of m outputs.
fn points_of(stride: usize, m: usize) -> usize {
    (m - 1) * stride + 3
}

/// Bᵀ at stride 2 for tiles of 1 to 4 outputs: rows of the points ½, ∞, −½, 1½, −1½, columns of every second input.
fn b2(m: usize) -> &'static [&'static [f64]] {
    match m {
        1 => &[&[-2.0, 0.0], &[-0.5, 1.0]],
        2 => &[&[-1.0, -2.0, 0.0], &[-0.25, 0.0, 1.0], &[1.0, -2.0, 0.0]],
        3 => &[&[-1.5, -2.0, 2.0, 0.0], &[0.375, -0.25, -1.5, 1.0], &[0.75, -2.0, 1.0, 0.0], &[-0.75, 0.0, 3.0, 0.0]],
        4 => &[
            &[-1.125, -2.25, 0.5, 1.0, 0.0],
            &[0.5625, 0.0, -2.5, 0.0, 1.0],
            &[1.125, -2.25, -0.5, 1.0, 0.0],
            &[-0.375, -0.25, 1.5, 1.0, 0.0],
            &[0.375, -0.25, -1.5, 1.0, 0.0],
        ],
        _ => panic!("no tile of {m}"),
    }
}

/// Bᵀ for tiles of 1 to 4 outputs, 256 times.
fn b256(m: usize) -> &'static [&'static [f64]] {
    match m {
        1 => &[&[225.0, -360.0, 0.0], &[0.0, -595.0, 0.0], &[0.0, -160.0, 256.0]],
        2 => &[
            &[225.0, 0.0, -576.0, 0.0],
            &[0.0, -297.5, -476.0, 0.0],
            &[0.0, -100.0, 0.0, 256.0],
            &[0.0, 297.5, -476.0, 0.0],
        ],
        3 => &[
            &[225.0, -150.0, -576.0, 384.0, 0.0],
            &[0.0, -510.0, -476.0, 544.0, 0.0],
            &[0.0, 150.0, -100.0, -384.0, 256.0],
            &[0.0, 210.0, -476.0, 224.0, 0.0],
            &[0.0, -300.0, 0.0, 768.0, 0.0],
        ],
        4 => &[
            &[225.0, 0.0, -676.0, 0.0, 256.0, 0.0],
            &[0.0, -360.0, -576.0, 160.0, 256.0, 0.0],
            &[0.0, 225.0, 0.0, -676.0, 0.0, 256.0],
            &[0.0, 360.0, -576.0, -160.0, 256.0, 0.0],
            &[0.0, -150.0, -100.0, 384.0, 256.0, 0.0],
            &[0.0, 150.0, -100.0, -384.0, 256.0, 0.0],
        ],
        _ => panic!("no tile of {m}"),
    }
}

/// What a point at stride 2 is: the number of an outer one, or the output whose middle tap it is.
fn outer_or_middle(point: usize) -> Result<usize, usize> {
    match point {
        0 | 1 => Ok(point),
        p if p.is_multiple_of(2) => Err(p / 2 - 1),
        p => Ok(p.div_ceil(2)),
    }
}

fn b(stride: usize, m: usize, point: usize, input: usize) -> f64 {
    match (stride, outer_or_middle(point)) {
        (1, _) => b256(m)[point][input] / 256.0,
        (_, Ok(outer)) if input.is_multiple_of(2) => b2(m)[outer][input / 2],
        (_, Err(output)) if input == 2 * output + 1 => 1.0,
        _ => 0.0,
    }
}

/// Aᵀ: row j has the j-th powers of the points.
fn a(stride: usize, m: usize, j: usize, point: usize) -> f64 {
    let value = match (stride, outer_or_middle(point)) {
        (1, _) => [0.0, 0.625, f64::INFINITY, -0.625, 1.5, -1.5][point],
        (_, Ok(outer)) => [0.5, f64::INFINITY, -0.5, 1.5, -1.5][outer],
        (_, Err(output)) => return f64::from(u8::from(j == output)),
    };
    match value {
        f64::INFINITY => f64::from(u8::from(j + 1 == m)),
        p => p.powi(j as i32),
    }
}

struct Tile {
    row: usize,
    column: usize,
    height: usize,
    width: usize,
}

/// The tiles of every strip in order: large × small ones first, then large × large, small × large, small × small.
fn strips(call: &Call) -> Vec<Vec<Tile>> {
    let sizes = |name: &str| call.numbers[name].iter().map(|&n| n as usize).collect::<Vec<_>>();
    let (rows, columns, [strip]) = (sizes("rows"), sizes("columns"), call.counts("strip"));
    let mut out = Vec::new();
    for part in (0..rows.len()).collect::<Vec<_>>().chunks(strip) {
        let mut tiles = Vec::new();
        for (large_row, large_column) in [(true, false), (true, true), (false, true), (false, false)] {
            for &i in part.iter().filter(|&&i| (rows[i] == rows[0]) == large_row) {
                for j in (0..columns.len()).filter(|&j| (columns[j] == columns[0]) == large_column) {
                    let (row, column) = (rows[..i].iter().sum(), columns[..j].iter().sum());
                    tiles.push(Tile { row, column, height: rows[i], width: columns[j] });
                }
            }
        }
        out.push(tiles);
    }
    out
}

fn stride(call: &Call) -> usize {
    call.counts::<2>("stride")[0]
}

fn points(call: &Call) -> [usize; 2] {
    ["rows", "columns"].map(|name| points_of(stride(call), call.numbers[name][0] as usize))
}

/// u[p,(i,j),c,l] = G w[p·panel + l, c] Gᵀ
pub fn weight(call: &Call) -> Truth {
    let w = call.x();
    let stride = stride(call);
    let ([panel], [height, width]) = (call.counts("panel"), call.counts("tile").map(|m: usize| points_of(stride, m)));
    let mut scale = Vec::new();
    let y = Tensor::build(&[w.dims[0] / panel, height * width, w.dims[1], panel], |at| {
        let (i, j) = (at[1] / width, at[1] % width);
        let term = |r: usize, q: usize| g(stride, i, r) * g(stride, j, q) * w.at(&[at[0] * panel + at[3], at[2], r, q]);
        let terms: Vec<f64> = (0..9).map(|k| term(k / 3, k % 3)).collect();
        scale.push(terms.iter().map(|t| t.abs()).sum());
        terms.iter().sum()
    });
    super::fold::once(y, scale)
}

/// v[n,s,(i,j),c/b,t,c%b] = Bᵀ x B
pub fn input(call: &Call) -> Truth {
    let x = call.x();
    let ([block], [height, width], strips) = (call.counts("block"), points(call), strips(call));
    let (h, w, stride) = (x.dims[2], x.dims[3], stride(call));
    let dims = [x.dims[0], strips.len(), height * width, x.dims[1] / block, strips[0].len(), block];
    let mut scale = Vec::new();
    let y = Tensor::build(&dims, |at| {
        let (tile, i, j) = (&strips[at[1]][at[4]], at[2] / width, at[2] % width);
        let (mut sum, mut magnitude) = (0.0, 0.0);
        let [rows, columns] = [tile.height, tile.width].map(|m| points_of(stride, m));
        if i < rows && j < columns {
            for r in 0..rows {
                for q in 0..columns {
                    let (row, column) = (tile.row * stride + r, tile.column * stride + q);
                    if (1..=h).contains(&row) && (1..=w).contains(&column) {
                        let pixel = x.at(&[at[0], at[3] * block + at[5], row - 1, column - 1]);
                        let term = b(stride, tile.height, i, r) * b(stride, tile.width, j, q) * pixel;
                        sum += term;
                        magnitude += term.abs();
                    }
                }
            }
        }
        scale.push(magnitude);
        sum
    });
    // Two passes of at most four sums and products each.
    Truth::rounded(y, scale, 16)
}

/// y = Aᵀ[Σ u·v]A, then the epilogue
pub fn output(call: &Call) -> Truth {
    let (y, scale) = products(call, call.x());
    super::convolution::finish(call, Truth::rounded(y, scale, call.inputs[1].dims[2] + 25))
}

/// y = Aᵀ[Σ u·(Bᵀ x B)]A, then the epilogue: the roundings of both transforms and of the sum.
pub fn convolution(call: &Call) -> Truth {
    let mut numbers = call.numbers.clone();
    numbers.insert("block", vec![1.0]);
    let tiles = input(&Call { inputs: &call.inputs[..1], numbers: &numbers, words: call.words, after: &[], result: 0 });
    let (y, _) = products(call, &tiles.y);
    let (_, scale) = products(call, &Tensor { dims: tiles.y.dims, data: tiles.scale });
    super::convolution::finish(call, Truth::rounded(y, scale, call.inputs[1].dims[2] + 25 + 16))
}

/// dw[k,o,c,r,q] = Σ over images and tiles of part k of Gᵀ[(Bᵀ x B)·(A g Aᵀ)]G
pub fn grad_weight(call: &Call) -> Truth {
    let (x, g_image, strips, [height, width]) = (call.x(), &call.inputs[1], strips(call), points(call));
    let [splits] = call.counts("splits");
    let part = x.dims[0].div_ceil(splits);
    let mut numbers = call.numbers.clone();
    numbers.insert("block", vec![1.0]);
    let v = input(&Call { inputs: &call.inputs[..1], numbers: &numbers, words: call.words, after: &[], result: 0 });
    let magnitudes = Tensor { dims: v.y.dims.clone(), data: v.scale };
    // A g Aᵀ, and the same of magnitudes.
    let mut w_magnitudes = Vec::new();
    let w = Tensor::build(&[x.dims[0], g_image.dims[1], strips.len(), strips[0].len(), height, width], |at| {
        let (n, o, tile, i, j) = (at[0], at[1], &strips[at[2]][at[3]], at[4], at[5]);
        let (mut sum, mut magnitude) = (0.0, 0.0);
        if i < points_of(1, tile.height) && j < points_of(1, tile.width) {
            for r in 0..tile.height {
                for q in 0..tile.width {
                    let pixel = g_image.at(&[n, o, tile.row + r, tile.column + q]);
                    let term = a(1, tile.height, r, i) * pixel * a(1, tile.width, q, j);
                    sum += term;
                    magnitude += term.abs();
                }
            }
        }
        w_magnitudes.push(magnitude);
        sum
    });
    let w_magnitudes = Tensor { dims: w.dims.clone(), data: w_magnitudes };
    let mut scale = Vec::new();
    let y = Tensor::build(&[splits, g_image.dims[1], x.dims[1], 3, 3], |at| {
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for n in at[0] * part..((at[0] + 1) * part).min(x.dims[0]) {
            for (s, t) in (0..strips.len()).flat_map(|s| (0..strips[0].len()).map(move |t| (s, t))) {
                for (i, j) in (0..height).flat_map(|i| (0..width).map(move |j| (i, j))) {
                    let (of_v, of_w) = ([n, s, i * width + j, at[2], t, 0], [n, at[1], s, t, i, j]);
                    let factor = g(1, i, at[3]) * g(1, j, at[4]);
                    sum += factor * v.y.at(&of_v) * w.at(&of_w);
                    magnitude += factor.abs() * magnitudes.at(&of_v) * w_magnitudes.at(&of_w);
                }
            }
        }
        scale.push(magnitude);
        sum
    });
    // Three transforms of at most two passes of six terms, and the sums of the products.
    Truth::rounded(y, scale, 3 * 16 + part * strips.len() * strips[0].len())
}

/// Aᵀ[Σ u·v]A, and the same of magnitudes.
fn products(call: &Call, v: &Tensor) -> (Tensor, Vec<f64>) {
    let u = &call.inputs[1];
    let (strips, [_, width], stride) = (strips(call), points(call), stride(call));
    let (panel, channels, block) = (u.dims[3], u.dims[2], v.dims[5]);
    let size = |name: &str| call.numbers[name].iter().sum::<f64>() as usize;
    let mut scale = Vec::new();
    let y = Tensor::build(&[v.dims[0], u.dims[0] * panel, size("rows"), size("columns")], |at| {
        let inside =
            |t: &Tile| (t.row..t.row + t.height).contains(&at[2]) && (t.column..t.column + t.width).contains(&at[3]);
        let place = strips.iter().enumerate().find_map(|(s, tiles)| Some((s, tiles.iter().position(inside)?)));
        let (s, t) = place.expect("a tile covers every output");
        let tile = &strips[s][t];
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for i in 0..points_of(stride, tile.height) {
            for j in 0..points_of(stride, tile.width) {
                let factor =
                    a(stride, tile.height, at[2] - tile.row, i) * a(stride, tile.width, at[3] - tile.column, j);
                for c in 0..channels {
                    let product = v.at(&[at[0], s, i * width + j, c / block, t, c % block])
                        * u.at(&[at[1] / panel, i * width + j, c, at[1] % panel]);
                    sum += factor * product;
                    magnitude += (factor * product).abs();
                }
            }
        }
        scale.push(magnitude);
        sum
    });
    (y, scale)
}
