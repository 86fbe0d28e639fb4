//! One op as text: `conv2d 1x64x56x56 64x64x3x3 pad=1,1,1,1 epilogue=[bias,add,relu]`.
//!
//! The op, the shapes of its operands, its attributes as in the text form, and steps of an epilogue, whose operands
//! follow from the result. `N` as a first dimension stands for the batch. [`Spec::subject`] makes a network of one node:
//! the first operand is its input, all others are parameters with seeded values.

use super::build::Subject;
use crate::input;
use crate::render::{Failure, Sources};
use ir::entity::Value;
use ir::epilogue::Step;
use ir::graph::GraphBuilder;
use ir::op::{Attr, Attrs, OpCtx, OpDef, Problem, lookup};
use ir::store::MemoryStore;
use ir::text::nearest;
use ir::types::Dim;
use ir::{DType, Diagnostic, Diagnostics, Place, TensorType};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Largest number of elements of an operand.
const MOST_ELEMENTS: u64 = 1 << 29;
const EXAMPLE: &str = "for example 'conv2d 1x64x56x56 64x64x3x3 pad=1,1,1,1 epilogue=[bias,add,relu]'";
const STEPS: [&str; 6] = ["bias", "scale_shift", "add", "relu", "clamp LO HI", "relu_grad"];

/// A parsed specification.
#[derive(Clone, Debug)]
pub struct Spec {
    text: String,
    op: &'static OpDef,
    operands: Vec<Operand>,
    attrs: Vec<(&'static str, Attr)>,
    /// Steps with operands numbered later, and where they stand.
    steps: Vec<(Step, Range<usize>)>,
    /// Where the op's name stands.
    at: Range<usize>,
}

#[derive(Clone, Debug)]
struct Operand {
    dims: Vec<Dim>,
    at: Range<usize>,
}

/// Reads a specification.
///
/// Errors: E0814 with the place in the text.
pub fn parse(text: &str) -> Result<Spec, Failure> {
    read(text).map_err(|d| located(text, d.into()))
}

/// The diagnostics with the specification as their source.
fn located(text: &str, diagnostics: Diagnostics) -> Failure {
    Failure {
        diagnostics,
        sources: Sources { main: Some((PathBuf::from("--op"), Some(text.to_string()))), data: None },
    }
}

fn wrong(message: impl Into<String>, at: &Range<usize>) -> Diagnostic {
    Diagnostic::error("E0814", message).at(Place::Text(at.clone()), "").help(EXAMPLE)
}

fn read(text: &str) -> Result<Spec, Diagnostic> {
    let mut words = words(text).into_iter();
    let at = words.next().ok_or_else(|| wrong("the specification is empty", &(0..0)))?;
    let name = &text[at.clone()];
    let op = lookup(name).ok_or_else(|| {
        let d = wrong(format!("there is no op '{name}'"), &at);
        match nearest(name, ir::ops::ALL.iter().map(|o| o.name)) {
            Some(near) => d.help(format!("did you mean {near}?")),
            None => d,
        }
    })?;
    let mut spec =
        Spec { text: text.into(), op, operands: Vec::new(), attrs: Vec::new(), steps: Vec::new(), at: at.clone() };
    for at in words {
        let word = &text[at.clone()];
        match word.split_once('=') {
            None => spec.operands.push(Operand { dims: dims(word, &at)?, at }),
            Some(("epilogue", _)) if !op.properties.epilogue => {
                return Err(wrong(format!("{name} takes no epilogue"), &at));
            }
            Some(("epilogue", list)) => spec.steps = steps(list, at.end - list.len())?,
            Some((key, value)) => spec.attrs.push(attr(op, key, value, &at)?),
        }
    }
    let least = op.operands.iter().filter(|o| !o.ends_with('?')).count();
    let most = if op.properties.variadic { usize::MAX } else { op.operands.len() };
    if !(least..=most).contains(&spec.operands.len()) {
        let names: Vec<String> = op.operands.iter().map(|o| format!("the shape of {o}")).collect();
        let at = spec.operands.get(most).map_or(text.len()..text.len(), |o| o.at.clone());
        return Err(wrong(format!("{name} takes {}, found {} shapes", names.join(", "), spec.operands.len()), &at));
    }
    let given = |n: &str| spec.attrs.iter().any(|(a, _)| *a == n);
    if let Some(missing) = op.attrs.iter().find(|a| a.default.is_none() && !given(a.name)) {
        return Err(wrong(format!("{name} needs {}=…: {}", missing.name, missing.doc), &at));
    }
    Ok(spec)
}

/// Words between blanks; brackets hold words together.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::new();
    let (mut begin, mut depth) = (None, 0i32);
    for (i, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        let is_end = i == text.len() || (c.is_whitespace() && depth <= 0);
        match (is_end, begin) {
            (true, Some(b)) => {
                out.push(b..i);
                begin = None;
            }
            (false, None) => begin = Some(i),
            _ => {}
        }
    }
    out
}

/// `1x64x56x56`, `64`, `Nx10`.
fn dims(word: &str, at: &Range<usize>) -> Result<Vec<Dim>, Diagnostic> {
    let mut out = Vec::new();
    let mut begin = at.start;
    for part in word.split('x') {
        let here = begin..begin + part.len();
        begin = here.end + 1;
        out.push(match part.parse::<u64>() {
            _ if part == "N" && out.is_empty() => Dim::N,
            Ok(n) if n > 0 => Dim::Size(n),
            _ => return Err(wrong(format!("'{part}' is no dimension: a shape is written like 1x64x56x56"), &here)),
        });
    }
    let elements = out.iter().filter_map(|d| d.size()).try_fold(1u64, u64::checked_mul);
    if out.len() > 8 || elements.is_none_or(|n| n > MOST_ELEMENTS) {
        return Err(wrong("this shape is too large", at));
    }
    Ok(out)
}

fn attr(op: &OpDef, key: &str, value: &str, at: &Range<usize>) -> Result<(&'static str, Attr), Diagnostic> {
    let Some(def) = op.attrs.iter().find(|a| a.name == key) else {
        let known: Vec<&str> = op.attrs.iter().map(|a| a.name).collect();
        let d = wrong(format!("{} has no attribute '{key}'", op.name), &(at.start..at.start + key.len()));
        return Err(match nearest(key, known.iter().copied()) {
            Some(near) => d.help(format!("did you mean {near}?")),
            None if known.is_empty() => d.help(format!("{} has none", op.name)),
            None => d.help(format!("it has {}", known.join(", "))),
        });
    };
    let begin = at.end - value.len();
    let parsed = Attr::parse(def.kind, value).ok_or_else(|| {
        let like = def.default.map_or(String::new(), |d| format!(" like {d}"));
        wrong(format!("'{value}' cannot be read as {key}: a {:?}{like}", def.kind).to_lowercase(), &(begin..at.end))
    })?;
    Ok((def.name, parsed))
}

/// `[bias,add,relu]`, which begins at byte `begin`.
fn steps(list: &str, begin: usize) -> Result<Vec<(Step, Range<usize>)>, Diagnostic> {
    let all = begin..begin + list.len();
    let Some(inner) = list.strip_prefix('[').and_then(|l| l.strip_suffix(']')) else {
        return Err(wrong("an epilogue is written like [bias,add,relu]", &all));
    };
    let mut out = Vec::new();
    let mut at = begin + 1;
    for part in inner.split(',').filter(|_| !inner.trim().is_empty()) {
        let here = at..at + part.len();
        at = here.end + 1;
        let words: Vec<&str> = part.split_whitespace().collect();
        let number = |i: usize| words.get(i).and_then(|w| w.parse::<f32>().ok());
        let step = match (words.first().copied().unwrap_or(""), words.len(), number(1), number(2)) {
            ("bias", 1, ..) => Step::Bias(0),
            ("scale_shift", 1, ..) => Step::ScaleShift(0, 0),
            ("add", 1, ..) => Step::Add(0),
            ("relu", 1, ..) => Step::Relu,
            ("clamp", 3, Some(lo), Some(hi)) => Step::Clamp(lo, hi),
            ("relu_grad", 1, ..) => Step::ReluGrad(0),
            _ => {
                let text = format!("'{}' is no step of an epilogue", part.trim());
                return Err(wrong(text, &here).help(format!("steps are {}", STEPS.join(", "))));
            }
        };
        out.push((step, here));
    }
    Ok(out)
}

impl Spec {
    /// The batch that the text fixes, or `None` if its first dimension is `N`.
    pub fn batch(&self) -> Option<u64> {
        self.operands.first().and_then(|o| o.dims.first()).and_then(|d| d.size())
    }

    /// The network of this one node for a batch.
    ///
    /// Errors: E0814 with what the op's shape rule says.
    pub fn subject(&self, batch: u64) -> Result<Subject, Failure> {
        self.build(batch).map_err(|d| located(&self.text, d.into()))
    }

    fn build(&self, batch: u64) -> Result<Subject, Diagnostic> {
        let dims_of = |o: &Operand| -> Vec<u64> { o.dims.iter().map(|d| d.at(batch)).collect() };
        let mut b = Builder { graph: GraphBuilder::new(self.op.name), store: MemoryStore::default() };
        let mut operands: Vec<Value> = Vec::new();
        for (i, o) in self.operands.iter().enumerate() {
            let dims = dims_of(o);
            operands.push(match i {
                0 => b.input(&dims).map_err(|p| self.problem(p))?,
                _ => {
                    let name = self.op.operands.get(i).copied().unwrap_or("y").trim_end_matches('?');
                    b.param(&format!("{name}{i}"), &dims)
                }
            });
        }
        let result = self.result(&operands.iter().map(|&v| b.graph.graph().ty(v).clone()).collect::<Vec<_>>())?;
        let result = result.dims(batch);
        let channels = [result.get(1).copied().unwrap_or(1)];
        let mut epilogue = Vec::new();
        for (step, _) in &self.steps {
            let mut next = |b: &mut Builder, dims: &[u64]| {
                operands.push(b.param(&format!("e{}", operands.len()), dims));
                operands.len() - 1
            };
            epilogue.push(match step {
                Step::Bias(_) => Step::Bias(next(&mut b, &channels)),
                Step::ScaleShift(..) => Step::ScaleShift(next(&mut b, &channels), next(&mut b, &channels)),
                Step::Add(_) => Step::Add(next(&mut b, &result)),
                Step::ReluGrad(_) => Step::ReluGrad(next(&mut b, &result)),
                other => *other,
            });
        }
        let y = b.graph.fused_op("y", self.op.name, &operands, &self.attrs, epilogue).map_err(|p| self.problem(p))?;
        let y = b.output(y, batch).map_err(|p| self.problem(p))?;
        b.graph.output(y);
        Ok(Subject { graph: b.graph.finish(), store: Arc::new(b.store) })
    }

    /// Type of the result without epilogue.
    fn result(&self, operands: &[TensorType]) -> Result<TensorType, Diagnostic> {
        let attrs = self.attrs.iter().cloned().fold(Attrs::defaults(self.op), |a, (n, v)| a.set(n, v));
        let ctx = OpCtx { operands, attrs: &attrs, epilogue: &[], results: &[], batch: 1 };
        let mut results = (self.op.shape)(&ctx).map_err(|p| self.problem(p))?;
        Ok(results.remove(0))
    }

    /// What a shape rule says, at the operand that it means.
    fn problem(&self, p: Problem) -> Diagnostic {
        let operand = p.operand.and_then(|i| self.operands.get(i).map(|o| o.at.clone()));
        let step = || p.operand.and_then(|_| self.steps.first().map(|(_, at)| at.clone()));
        let at = operand.or_else(step).unwrap_or_else(|| self.at.clone());
        let d = wrong(p.message, &at).note(format!("{}: {}", self.op.name, self.op.doc));
        match p.help {
            Some(help) => d.help(help),
            None => d,
        }
    }
}

struct Builder {
    graph: GraphBuilder,
    store: MemoryStore,
}

impl Builder {
    /// The graph's input, which an executable takes as images; other ranks are a reshape of one.
    fn input(&mut self, dims: &[u64]) -> Result<Value, Problem> {
        let ty = |d: &[u64]| TensorType::new(DType::F32, d.iter().map(|&d| d.into()));
        if dims.len() == 4 {
            return Ok(self.graph.input("x", ty(dims)));
        }
        let (first, rest) = (dims.first().copied().unwrap_or(1), dims.iter().skip(1).product());
        let x = self.graph.input("x", ty(&[first, rest, 1, 1]));
        let shape = Attr::Dims(dims.iter().map(|&d| d.into()).collect());
        self.graph.op("rows", "reshape", &[x], &[("shape", shape)])
    }

    /// The graph's output, which an executable writes as a row an image; other results are a reshape to such rows, if
    /// their elements are enough for equal ones.
    fn output(&mut self, y: Value, batch: u64) -> Result<Value, Problem> {
        let dims = self.graph.graph().ty(y).dims(batch);
        let elements = dims.iter().product::<u64>();
        if dims.first() == Some(&batch) || elements % batch != 0 {
            return Ok(y);
        }
        let shape = Attr::Dims(vec![batch.into(), (elements / batch).into()]);
        self.graph.op("images", "reshape", &[y], &[("shape", shape)])
    }

    /// A parameter with small positive and negative numbers; a variance with positive ones.
    fn param(&mut self, name: &str, dims: &[u64]) -> Value {
        let elements = dims.iter().product::<u64>() as usize;
        let mut data = input::random(name.bytes().map(u64::from).sum(), elements);
        if name.starts_with("var") {
            data.iter_mut().for_each(|v| *v = v.abs() + 0.5);
        } else {
            data.iter_mut().for_each(|v| *v *= 0.1);
        }
        self.store.insert_f32(name, dims, &data);
        self.graph.param(name, TensorType::new(DType::F32, dims.iter().map(|&d| d.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> (String, String) {
        let spec = parse(text).and_then(|s| s.subject(1).map(|_| ()));
        let d = spec.expect_err("a faulty specification").diagnostics.0.remove(0);
        assert_eq!(d.code, "E0814");
        assert!(d.help.is_some());
        match d.labels.first().map(|l| &l.place) {
            Some(Place::Text(r)) => (text[r.clone()].to_string(), d.message),
            _ => panic!("no place: {d}"),
        }
    }

    #[test]
    fn mistakes_have_their_place() {
        for (text, at, says) in [
            ("", "", "empty"),
            ("conv3d 1x8x8x8", "conv3d", "no op"),
            ("conv2d 1x8x8x8", "", "takes the shape of x, the shape of w"),
            ("conv2d 1x8x8 8x8x3x3", "1x8x8", "expected an image"),
            ("conv2d 1x8x8x8 8x9x3x3", "8x9x3x3", "channels"),
            ("conv2d 1x8xx8 8x8x3x3", "", "no dimension"),
            ("conv2d 1x8x8x0 8x8x3x3", "0", "no dimension"),
            ("conv2d 1x8x8x8 8x8x3x3 pda=1,1,1,1", "pda", "no attribute"),
            ("conv2d 1x8x8x8 8x8x3x3 pad=1,1", "1,1", "cannot be read"),
            ("conv2d 1x8x8x8 8x8x3x3 epilogue=[bias,rleu]", "rleu", "no step"),
            ("conv2d 1x8x8x8 8x8x3x3 epilogue=bias", "bias", "written like"),
            ("relu 1x8x8x8 epilogue=[bias]", "epilogue=[bias]", "takes no epilogue"),
            ("relu 1x8x8x8 1x8x8x8", "1x8x8x8", "found 2 shapes"),
            ("relu 1x99999999x99999999", "1x99999999x99999999", "too large"),
        ] {
            let (found, message) = place(text);
            assert_eq!(found, at, "{text}: {message}");
            assert!(message.contains(says), "{text}: {message}");
        }
    }

    #[test]
    fn a_specification_becomes_a_verified_graph() {
        for text in [
            "conv2d 1x8x8x8 16x8x3x3 pad=1,1,1,1 epilogue=[bias,add,relu]",
            "conv2d Nx8x8x8 16x8x1x1 epilogue=[scale_shift, clamp 0 6]",
            "dense Nx32 10x32 epilogue=[bias]",
            "conv2d Nx8x8x8 8x8x3x3 pad=1,1,1,1 epilogue=[add, relu_grad]",
            "max_pool 1x8x8x8 kernel=3x3 stride=2x2 pad=1,1,1,1",
            "add 1x8x8x8 1x8x8x8",
            "batch_norm 1x8x8x8 8 8 8 8",
            "dense_grad_weight 2x16 2x8",
            "softmax 1x10",
        ] {
            let spec = parse(text).unwrap_or_else(|f| panic!("{text}: {}", f.diagnostics));
            let subject =
                spec.subject(spec.batch().unwrap_or(1)).unwrap_or_else(|f| panic!("{text}: {}", f.diagnostics));
            assert_eq!(subject.graph.verify().to_string(), "", "{text}");
        }
        assert_eq!(parse("relu Nx8x8x8").expect("it is right").batch(), None);
        assert_eq!(parse("relu 3x8x8x8").expect("it is right").batch(), Some(3));
    }
}
