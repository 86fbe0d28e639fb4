//! Where logical elements lie in memory, from the description of each layout.

/// A memory layout as plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lay {
    RowMajor,
    /// [N, C/b, H, W, b]
    Blocked(usize),
    /// [O/oc, I/ic, R, S, ic, oc]
    Filter {
        ic: usize,
        oc: usize,
    },
    /// [⌈O/oc⌉, I, oc]
    Panel(usize),
    /// [n, s, p, c, t, b], where a point (c·t·b numbers) that takes a multiple of 256 numbers is made larger: by a t, if
    /// that does it, else by a c, else by both.
    Spaced,
}

/// Number of elements in memory, and the position of each logical element in row-major order.
pub fn places(lay: Lay, dims: &[usize]) -> (usize, Vec<usize>) {
    let count: usize = dims.iter().product();
    match (lay, dims) {
        (Lay::Blocked(b), &[n, c, h, w]) => {
            let mut out = Vec::new();
            for i in 0..n {
                for ch in 0..c {
                    for y in 0..h {
                        for x in 0..w {
                            out.push((((i * (c / b) + ch / b) * h + y) * w + x) * b + ch % b);
                        }
                    }
                }
            }
            (count, out)
        }
        (Lay::Spaced, &[n, s, p, c, t, b]) => {
            let sizes = [(c, t), (c, t + 1), (c + 1, t), (c + 1, t + 1)];
            let (wide_c, wide_t) = sizes.into_iter().find(|(c, t)| c * t * b % 256 != 0).unwrap_or((c, t));
            let mut out = Vec::new();
            for point in 0..n * s * p {
                for block in 0..c {
                    for tile in 0..t {
                        out.extend((0..b).map(|lane| ((point * wide_c + block) * wide_t + tile) * b + lane));
                    }
                }
            }
            (n * s * p * wide_c * wide_t * b, out)
        }
        (Lay::Filter { ic, oc }, &[o, i, r, s]) => {
            let mut out = Vec::new();
            for a in 0..o {
                for c in 0..i {
                    for y in 0..r {
                        for x in 0..s {
                            let panel = ((a / oc * (i / ic) + c / ic) * r + y) * s + x;
                            out.push((panel * ic + c % ic) * oc + a % oc);
                        }
                    }
                }
            }
            (count, out)
        }
        (Lay::Panel(oc), &[o, i]) => {
            let at = |row: usize, column: usize| (row / oc * i + column) * oc + row % oc;
            let rows = o.div_ceil(oc) * oc;
            (rows * i, (0..o).flat_map(|row| (0..i).map(move |column| at(row, column))).collect())
        }
        _ => (count, (0..count).collect()),
    }
}

/// Logical data as it lies in memory; lanes that belong to no element hold zero.
pub fn pack(lay: Lay, dims: &[usize], data: &[f64]) -> Vec<f64> {
    let (len, places) = places(lay, dims);
    let mut out = vec![0.0; len];
    for (&p, &v) in places.iter().zip(data) {
        out[p] = v;
    }
    out
}
