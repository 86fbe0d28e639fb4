//! The text form of all three levels: one grammar, `rir 1`, described in `docs/ir.md`.
//!
//! [`parse`] never fails: it returns what it understood and every problem with its place, and goes on at the next
//! line. [`print`] is its inverse: `print(parse(s)) == s` for every text that `print` made.

mod lex;
mod parse;
mod print;
#[cfg(test)]
mod tests;

pub use parse::parse;
pub use print::{print, print_graph, print_kernel, print_node, print_program};

use crate::graph::{Graph, ModelInfo};
use crate::{Kernel, Program};

/// What a `.rir` file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Module {
    pub info: ModelInfo,
    pub graphs: Vec<Graph>,
    pub programs: Vec<Program>,
    /// Kernels that belong to no program of the file.
    pub kernels: Vec<Kernel>,
}

/// Line and column of a byte offset, both from 1; columns count characters.
pub fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line..].chars().count() + 1)
}

/// Longest name that a near one is looked for: the search takes the square of its length for each known name.
const LONGEST_NEAR: usize = 256;

/// The known name that is nearest to `name` by edit distance, if it is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST_NEAR {
        return None;
    }
    let most = name.len().div_ceil(3);
    // Each byte that one has more is an edit.
    let alike = known.into_iter().filter(|k| k.len().abs_diff(name.len()) <= most);
    let best = alike.map(|k| (distance(name, k), k)).min()?;
    (best.0 <= most).then_some(best.1)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
