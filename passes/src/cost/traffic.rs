//! Bytes that a kernel moves into a cache of a given size.
//!
//! A loop's data is loaded once if one of its iterations fits the cache: what the next iteration needs again is still
//! there. Otherwise every iteration loads its own. The data of a loop is, for each buffer, the smallest box that
//! holds all its accesses.
//!
//! Source: the reuse-distance argument of Wolf and Lam, "A data locality optimizing algorithm", PLDI 1991.

use super::nest::{Access, Block, Loop};
use ir::Kernel;
use ir::entity::{Buf, Var};
use ir::kernel::{Affine, Term};
use std::collections::{BTreeMap, HashMap};

/// Caches are shared with stacks, indices and the other buffers' conflicts.
const USABLE: f64 = 0.9;

/// Bytes by buffer.
pub type Bytes = BTreeMap<Buf, f64>;

/// Bytes that each buffer moves into one core's cache of `capacity` bytes while that core runs `tasks` of the tasks.
pub fn into_cache(kernel: &Kernel, body: &Block, capacity: u64, tasks: f64) -> Bytes {
    let t = Traffic { kernel, capacity: capacity as f64 * USABLE };
    t.repeated(body, &[(kernel.task_var, [0.0, tasks])], tasks)
}

/// Distinct bytes of each buffer.
pub fn distinct(kernel: &Kernel, body: &Block) -> Bytes {
    touched(kernel, body, kernel.tasks as f64)
}

/// Distinct bytes of each buffer in so many neighbouring tasks.
pub fn touched(kernel: &Kernel, body: &Block, tasks: f64) -> Bytes {
    let t = Traffic { kernel, capacity: 0.0 };
    t.boxes(body, &[(kernel.task_var, [0.0, tasks])])
}

/// Bytes of a cache line.
const LINE: i64 = 64;

/// Most lines of `buf` that one block writes side by side.
pub fn streams(kernel: &Kernel, body: &Block, buf: Buf) -> usize {
    let stores: Vec<&Access> = body.accesses.iter().filter(|a| a.buf == buf && a.is_store).collect();
    let own = lines(kernel, buf, &stores).len();
    body.loops.iter().map(|l| streams(kernel, &l.body, buf)).fold(own, usize::max)
}

/// The lines of `buf` that these accesses touch, relative to what variables add, and whether they are written.
fn lines(kernel: &Kernel, buf: Buf, accesses: &[&Access]) -> BTreeMap<i64, bool> {
    let decl = &kernel.bufs[buf];
    let (strides, element) = (decl.strides(), decl.dtype.bytes().cast_signed());
    let mut lines = BTreeMap::new();
    for a in accesses {
        let at = a.at.iter().zip(&strides).map(|(e, s)| e.offset() * s).sum::<i64>() * element;
        *lines.entry(at.div_euclid(LINE)).or_insert(false) |= a.is_store;
    }
    lines
}

/// Bytes of lines that accesses side by side throw out of a cache with sets of `ways` lines that repeat every `span`
/// bytes, for all tasks: powers of two between them put them all into one set.
pub fn conflicts(kernel: &Kernel, body: &Block, span: u64, ways: u64) -> f64 {
    let mut by_buffer: BTreeMap<Buf, Vec<&Access>> = BTreeMap::new();
    for a in &body.accesses {
        by_buffer.entry(a.buf).or_default().push(a);
    }
    let mut moved = 0.0;
    for (buf, accesses) in by_buffer {
        let mut sets: HashMap<i64, Vec<bool>> = HashMap::new();
        for (line, is_stored) in lines(kernel, buf, &accesses) {
            sets.entry(line.rem_euclid((span.cast_signed() / LINE).max(1))).or_default().push(is_stored);
        }
        for set in sets.values().filter(|l| l.len() as u64 > ways) {
            // A line that is written comes in and goes out.
            moved += set.iter().map(|&is_stored| if is_stored { 2.0 } else { 1.0 }).sum::<f64>() * LINE as f64;
        }
    }
    moved * body.runs as f64 + body.loops.iter().map(|l| conflicts(kernel, &l.body, span, ways)).sum::<f64>()
}

struct Traffic<'a> {
    kernel: &'a Kernel,
    capacity: f64,
}

/// Variables that run, with their first value and how many they take.
type Moving = [(Var, [f64; 2])];

impl Traffic<'_> {
    /// `trips` runs of `body`, between which the variables `of` change.
    fn repeated(&self, body: &Block, of: &Moving, trips: f64) -> Bytes {
        let once = self.boxes(body, &[]);
        if once.values().sum::<f64>() <= self.capacity {
            return self.boxes(body, of);
        }
        let mut sum = Bytes::new();
        // Straight-line accesses have no reuse worth counting beside the loops.
        let own = Block { accesses: body.accesses.clone(), ..Block::default() };
        let entered = body.loops.iter().filter(|l| l.body.runs > 0);
        let inner = entered.map(|l| self.repeated(&l.body, &[(l.var, values(l, &HashMap::new()))], l.trips()));
        for part in inner.chain([self.boxes(&own, &[])]) {
            for (buf, bytes) in part {
                *sum.entry(buf).or_default() += bytes;
            }
        }
        for bytes in sum.values_mut() {
            *bytes *= trips;
        }
        sum
    }

    /// Sizes of the boxes that hold all accesses of `body` while its own loops and the variables `moving` run.
    fn boxes(&self, body: &Block, moving: &Moving) -> Bytes {
        let mut ranges: BTreeMap<Buf, Vec<[f64; 2]>> = BTreeMap::new();
        let mut trips: HashMap<Var, [f64; 2]> = moving.iter().copied().collect();
        self.extend(body, &mut trips, &mut ranges);
        let size = |(buf, dims): (Buf, Vec<[f64; 2]>)| {
            let decl = &self.kernel.bufs[buf];
            let elements: f64 =
                dims.iter().zip(&decl.shape).map(|([lo, hi], &len)| (hi - lo + 1.0).clamp(1.0, len as f64)).product();
            (buf, elements * decl.dtype.bytes() as f64)
        };
        ranges.into_iter().map(size).collect()
    }

    fn extend(&self, body: &Block, trips: &mut HashMap<Var, [f64; 2]>, out: &mut BTreeMap<Buf, Vec<[f64; 2]>>) {
        if body.runs == 0 && !body.loops.is_empty() {
            return;
        }
        for a in &body.accesses {
            let dims = range_of(a, trips);
            out.entry(a.buf)
                .and_modify(|old| {
                    for (o, n) in old.iter_mut().zip(&dims) {
                        *o = [o[0].min(n[0]), o[1].max(n[1])];
                    }
                })
                .or_insert(dims);
        }
        for l in &body.loops {
            trips.insert(l.var, values(l, trips));
            self.extend(&l.body, trips, out);
            trips.remove(&l.var);
        }
    }
}

/// The first value of a loop's variable while those in `trips` run, and how many lie from there to its last one. One
/// bound moves with the loops around; of several, as at the edges of an image, a constant one is taken, or 0.
fn values(l: &Loop, trips: &HashMap<Var, [f64; 2]>) -> [f64; 2] {
    let [first, last] = match &l.lo[..] {
        [lo] => range(lo, trips),
        all if all.iter().all(|a| a.terms().is_empty()) => {
            [all.iter().map(Affine::offset).max().unwrap_or(0) as f64; 2]
        }
        _ => [0.0; 2],
    };
    [first, last - first + l.trips() * l.step as f64]
}

/// Range of each index, relative to what the variables that stand still add.
fn range_of(a: &Access, trips: &HashMap<Var, [f64; 2]>) -> Vec<[f64; 2]> {
    let mut dims: Vec<[f64; 2]> = a.at.iter().map(|e| range(e, trips)).collect();
    if let Some(last) = dims.last_mut() {
        last[1] += (a.lanes - 1) as f64;
    }
    dims
}

fn range(e: &Affine, trips: &HashMap<Var, [f64; 2]>) -> [f64; 2] {
    let constant = e.offset() as f64;
    e.terms().iter().fold([constant; 2], |[lo, hi], (c, t)| {
        let [a, b] = match t {
            Term::Var(v) => trips.get(v).map_or([0.0; 2], |[lo, n]| [*lo, lo + (n - 1.0).max(0.0)]),
            Term::FloorDiv(e, k) => range(&without_offset(e), trips).map(|x| (x / *k as f64).floor()),
            Term::Mod(e, k) => {
                let [a, b] = range(&without_offset(e), trips);
                [0.0, (b - a).min((*k - 1) as f64)]
            }
        };
        let (x, y) = (a * *c as f64, b * *c as f64);
        [lo + x.min(y), hi + x.max(y)]
    })
}

fn without_offset(e: &Affine) -> Affine {
    e.variable_part()
}
