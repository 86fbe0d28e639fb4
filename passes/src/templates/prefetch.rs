//! Fetching weights ahead of their use: the register tiles that use the same weights share out the next ones, so that
//! each line is fetched once, at the pace at which weights are used up.

use ir::entity::Buf;
use ir::kernel::build::LINE;
use ir::kernel::{Affine, KernelBuilder};

/// Tile `number` of the `of` that use the same weights one after the other.
pub struct Share {
    pub number: Affine,
    pub of: i64,
}

/// Lines that one step of a sum fetches, a few with each of its parts: a core has few places for lines on their way, and a
/// burst that finds them taken holds up the multiply-adds behind it.
pub struct Ahead {
    buf: Buf,
    lines: Vec<Vec<Affine>>,
}

impl Share {
    /// This tile's part for its step number `step`. `next` is the index of the first weight to fetch; a tile takes
    /// `steps` steps of `elements` weights each.
    pub fn ahead(&self, buf: Buf, next: &[Affine], step: &Affine, [steps, elements]: [i64; 2]) -> Ahead {
        let count = (elements + LINE * self.of - 1) / (LINE * self.of);
        let position = (&self.number * steps + step) * (count * LINE);
        let last = next.len() - 1;
        let line = |i: i64| {
            let mut index = next.to_vec();
            index[last] = &next[last] + &position + i * LINE;
            index
        };
        Ahead { buf, lines: (0..count).map(line).collect() }
    }
}

impl Ahead {
    /// Fetches what is due with part `part` of `of` equal ones.
    pub fn fetch(&self, k: &mut KernelBuilder, part: i64, of: i64) {
        let is_due = |line: i64, lines: i64| line * of / lines == part;
        let lines = self.lines.len() as i64;
        for (_, index) in (0..).zip(&self.lines).filter(|&(line, _)| is_due(line, lines)) {
            k.prefetch(self.buf, index);
        }
    }
}
