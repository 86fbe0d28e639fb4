//! How an NCHW tensor lies in memory, and the index map from logical to physical positions.

use crate::affine::Affine;
use std::fmt;

/// Memory layout of a tensor. Part of its type.
///
/// There is no halo: kernels skip padding taps, so no border has to be kept clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layout {
    /// Row-major in the logical order of dimensions.
    Plain,
    /// `nChw8c`, `nChw16c`: channels in blocks of that many, one block innermost. Rank 4 only, and the
    /// channel count must be a multiple of the block, so that no lane is ever undefined.
    Blocked(u32),
    /// `OIhw8i16o`: a convolution filter [O,I,R,S] in panels of `oc` output channels, each panel one stream in
    /// reading order: [O/oc, I/ic, R, S, ic, oc]. Both must divide.
    Filter { ic: u32, oc: u32 },
    /// `spaced`, padded against cache conflicts: transformed tiles [N, strips, points, C/b, tiles, b] with one more tile or
    /// block or both, filled with zeros, where points would lie a multiple of 1 KiB apart, as the sizes of networks make
    /// them: all points of a tile are written one after the other, and more of them would share a set of the first cache
    /// than it has ways.
    Spaced,
    /// `Oi16o`: a matrix [O,I] in panels of `oc` rows: [⌈O/oc⌉, I, oc]; the last panel is filled up with zeros.
    Panel(u32),
}

impl Layout {
    /// Physical dimensions of a tensor with these logical ones.
    pub fn physical(self, dims: &[u64]) -> Vec<u64> {
        match (self, dims) {
            (Layout::Blocked(b), &[n, c, h, w]) => vec![n, c.div_ceil(u64::from(b)), h, w, u64::from(b)],
            (Layout::Filter { ic, oc }, &[o, i, r, s]) => {
                let (ic, oc) = (u64::from(ic), u64::from(oc));
                vec![o.div_ceil(oc), i.div_ceil(ic), r, s, ic, oc]
            }
            (Layout::Panel(oc), &[o, i]) => vec![o.div_ceil(u64::from(oc)), i, u64::from(oc)],
            (Layout::Spaced, &[n, strips, points, blocks, tiles, b]) => {
                let is_apart = |&[blocks, tiles]: &[u64; 2]| !(blocks * tiles * b * 4).is_multiple_of(1024);
                let wider = [[blocks, tiles], [blocks, tiles + 1], [blocks + 1, tiles], [blocks + 1, tiles + 1]];
                let [blocks, tiles] = wider.into_iter().find(is_apart).unwrap_or([blocks, tiles]);
                vec![n, strips, points, blocks, tiles, b]
            }
            (Layout::Plain, _) => dims.to_vec(),
            // Types that do not fit are refused, and printed first.
            (Layout::Blocked(_) | Layout::Filter { .. } | Layout::Panel(_) | Layout::Spaced, _) => dims.to_vec(),
        }
    }

    /// Physical index of a logical one.
    pub fn index(self, at: &[Affine]) -> Vec<Affine> {
        match (self, at) {
            (Layout::Blocked(b), [n, c, h, w]) => {
                let b = i64::from(b);
                vec![n.clone(), c.floordiv(b), h.clone(), w.clone(), c.modulo(b)]
            }
            (Layout::Filter { ic, oc }, [o, i, r, s]) => {
                let (ic, oc) = (i64::from(ic), i64::from(oc));
                vec![o.floordiv(oc), i.floordiv(ic), r.clone(), s.clone(), i.modulo(ic), o.modulo(oc)]
            }
            (Layout::Panel(oc), [o, i]) => vec![o.floordiv(i64::from(oc)), i.clone(), o.modulo(i64::from(oc))],
            (Layout::Plain | Layout::Spaced, _) => at.to_vec(),
            (Layout::Blocked(_) | Layout::Filter { .. } | Layout::Panel(_), _) => at.to_vec(),
        }
    }

    /// Logical index of a physical one: the inverse of [`index`](Self::index). The lanes that a panel has beyond
    /// the last row have logical rows beyond it.
    pub fn logical(self, at: &[Affine]) -> Vec<Affine> {
        match (self, at) {
            (Layout::Blocked(b), [n, c, h, w, lane]) => {
                vec![n.clone(), c * i64::from(b) + lane, h.clone(), w.clone()]
            }
            (Layout::Filter { ic, oc }, [o, i, r, s, in_lane, out_lane]) => {
                vec![o * i64::from(oc) + out_lane, i * i64::from(ic) + in_lane, r.clone(), s.clone()]
            }
            (Layout::Panel(oc), [o, i, lane]) => vec![o * i64::from(oc) + lane, i.clone()],
            (Layout::Plain | Layout::Spaced, _) => at.to_vec(),
            (Layout::Blocked(_) | Layout::Filter { .. } | Layout::Panel(_), _) => at.to_vec(),
        }
    }

    /// Whether a tensor of these logical dimensions can have this layout.
    pub fn fits(self, dims: &[u64]) -> bool {
        let divides = |b: u32, n: u64| b > 0 && n.is_multiple_of(u64::from(b));
        match self {
            Layout::Plain => true,
            Layout::Blocked(b) => dims.len() == 4 && divides(b, dims[1]),
            Layout::Filter { ic, oc } => dims.len() == 4 && divides(oc, dims[0]) && divides(ic, dims[1]),
            Layout::Panel(oc) => dims.len() == 2 && oc > 0,
            Layout::Spaced => dims.len() == 6,
        }
    }

    /// Parses the name that [`Display`](fmt::Display) prints, but not `plain`, which is never written.
    pub fn from_name(name: &str) -> Option<Layout> {
        let block = |t: &str| t.parse::<u32>().ok().filter(|b| (1..=64).contains(b) && !t.starts_with('0'));
        if name == "spaced" {
            return Some(Layout::Spaced);
        }
        if let Some(b) = name.strip_prefix("nChw").and_then(|t| t.strip_suffix('c')) {
            return Some(Layout::Blocked(block(b)?));
        }
        if let Some(t) = name.strip_prefix("OIhw").and_then(|t| t.strip_suffix('o')) {
            let (ic, oc) = t.split_once('i')?;
            return Some(Layout::Filter { ic: block(ic)?, oc: block(oc)? });
        }
        let t = name.strip_prefix("Oi")?.strip_suffix('o')?;
        Some(Layout::Panel(block(t)?))
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::Plain => f.write_str("plain"),
            Layout::Blocked(b) => write!(f, "nChw{b}c"),
            Layout::Filter { ic, oc } => write!(f, "OIhw{ic}i{oc}o"),
            Layout::Panel(oc) => write!(f, "Oi{oc}o"),
            Layout::Spaced => f.write_str("spaced"),
        }
    }
}
