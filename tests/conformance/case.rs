//! One application of an op, its data, and its kernels in every element type and layout.

use crate::oracle::place::{Lay, pack, places};
use crate::oracle::{After, Call, Tensor, Truth, oracle};
use ir::epilogue::Step;
use ir::interp::elements::{decode, encode, to};
use ir::op::{Attr, Attrs, BodyCtx, BufType, OpCtx, OpDef, Problem, lookup};
use ir::ops::winograd::Grid;
use ir::target::{TARGETS, Target};
use ir::{DType, Kernel, Layout, TensorType};
use std::collections::BTreeMap;
use std::fmt;

/// What operands are filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Uniform in −1..1, in −300..300 for casts; variances in 0.1..2, integers of their type.
    Random,
    /// −3..=3, so that sums in f32 are exact; variances in 0..=3, integers of their type.
    Integers,
    /// As `Random`, with NaN and ±∞ strewn in.
    Special,
}

pub struct Case {
    pub op: &'static OpDef,
    operands: Vec<TensorType>,
    attrs: Attrs,
    epilogue: Vec<Step>,
    text: String,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A case as text: operand shapes `"1,3,7,5 16,3,3,3"` (of f32, or e.g. `u8:1,5,7,3`), attributes
/// `"stride=2x2 groups=1"`, epilogue steps `"bias add relu"`, whose operands follow from the result's shape.
pub fn case(op: &str, operands: &str, attrs: &str, epilogue: &str) -> Case {
    let text = format!("{op}({operands}) {{{attrs}}} [{epilogue}]");
    let op = lookup(op).unwrap_or_else(|| panic!("no op {op}"));
    let mut operands: Vec<TensorType> = operands.split_whitespace().map(tensor_type).collect();
    let attrs = attrs.split_whitespace().fold(Attrs::defaults(op), |all, a| {
        let (name, value) = a.split_once('=').expect("an attribute is name=value");
        let def = op.attrs.iter().find(|d| d.name == name).unwrap_or_else(|| panic!("{text}: no attribute {name}"));
        all.set(def.name, Attr::parse(def.kind, value).unwrap_or_else(|| panic!("{text}: {a}")))
    });
    let mut steps = Vec::new();
    if !epilogue.is_empty() {
        let y = result(op, &operands, &attrs, &[]).unwrap_or_else(|p| panic!("{text}: {}", p.message));
        let vector = TensorType::new(DType::F32, [y.shape[1]]);
        for step in epilogue.split_whitespace() {
            let next = operands.len();
            let (step, more) = match step {
                "bias" => (Step::Bias(next), vec![vector.clone()]),
                "scale_shift" => (Step::ScaleShift(next, next + 1), vec![vector.clone(), vector.clone()]),
                "add" => (Step::Add(next), vec![y.clone()]),
                "relu_grad" => (Step::ReluGrad(next), vec![y.clone()]),
                "relu" => (Step::Relu, vec![]),
                "clamp" => (Step::Clamp(-0.5, 6.0), vec![]),
                other => panic!("no step {other}"),
            };
            steps.push(step);
            operands.extend(more);
        }
    }
    Case { op, operands, attrs, epilogue: steps, text }
}

fn tensor_type(text: &str) -> TensorType {
    let (dtype, dims) = text.split_once(':').unwrap_or(("f32", text));
    let dtype = DType::from_name(dtype).expect("an element type");
    TensorType::new(dtype, dims.split(',').map(|d| d.parse::<u64>().expect("a dimension").into()))
}

fn results(op: &OpDef, operands: &[TensorType], attrs: &Attrs, epilogue: &[Step]) -> Result<Vec<TensorType>, Problem> {
    (op.shape)(&OpCtx { operands, attrs, epilogue, results: &[], batch: 1 })
}

/// The first result.
fn result(op: &OpDef, operands: &[TensorType], attrs: &Attrs, epilogue: &[Step]) -> Result<TensorType, Problem> {
    results(op, operands, attrs, epilogue).map(|mut types| types.remove(0))
}

/// Pseudo-random numbers, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) * n) >> 31
    }

    fn unit(&mut self) -> f64 {
        self.below(1 << 24) as f64 / f64::from(1 << 24)
    }
}

impl Case {
    pub fn operands(&self) -> &[TensorType] {
        &self.operands
    }

    pub fn attrs(&self) -> &Attrs {
        &self.attrs
    }

    /// Whether only the sign of operand `i` counts, as a step of the epilogue reads it.
    pub fn is_mask(&self, i: usize) -> bool {
        self.epilogue.contains(&Step::ReluGrad(i))
    }

    /// Whether f32 gives every element exactly if all operands are small integers.
    pub fn is_exact_on_integers(&self) -> bool {
        if self.op.name == "winograd_output" {
            return Grid::of(&self.attrs).is_ok_and(|grid| grid.is_exact_on_integers());
        }
        !matches!(
            self.op.name,
            "avg_pool_grad"
                | "batch_norm"
                | "batch_norm_grad_input"
                | "batch_norm_grad_params"
                | "batch_statistics"
                | "bn_scale"
                | "bn_shift"
                | "cross_entropy"
                | "cross_entropy_grad"
                | "fold_bn_bias"
                | "fold_bn_weight"
                | "global_avg_pool_grad"
                | "normalize_u8"
                | "running_average"
                | "sgd_step"
                | "softmax"
                | "winograd_conv2d"
                | "winograd_grad_weight"
                | "winograd_weight"
        )
    }

    /// Logical data of every operand, representable in its element type.
    pub fn inputs(&self, data: Data, dtype: DType) -> Vec<Tensor> {
        let mut seed = Random(self.text.bytes().fold(1, |h: u64, b| h.wrapping_mul(31).wrapping_add(u64::from(b))));
        let names = self.op.operands;
        let fill = |(i, t): (usize, &TensorType)| {
            let variance = names.get(i) == Some(&"var");
            let element = |seed: &mut Random| match (t.dtype, data) {
                (DType::U8, _) => seed.below(256) as f64,
                (DType::I32, _) if names.get(i) == Some(&"labels") => seed.below(self.operands[0].dims(1)[1]) as f64,
                (DType::I32, _) => seed.below(2001) as f64 - 1000.0,
                (_, Data::Random) if variance => 0.1 + 1.9 * seed.unit(),
                (_, Data::Integers) if variance => seed.below(4) as f64,
                (_, Data::Integers) => seed.below(7) as f64 - 3.0,
                (_, Data::Special) if !variance && seed.below(12) == 0 => {
                    [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][seed.below(3) as usize]
                }
                _ if self.op.name == "cast" => 600.0 * seed.unit() - 300.0,
                _ => 2.0 * seed.unit() - 1.0,
            };
            let dims: Vec<usize> = t.dims(1).iter().map(|&d| d as usize).collect();
            let count = dims.iter().product();
            let store = if t.dtype.is_float() { dtype } else { t.dtype };
            Tensor { dims, data: (0..count).map(|_| to(store, element(&mut seed))).collect() }
        };
        self.operands.iter().enumerate().map(fill).collect()
    }

    /// What the oracle says of each result.
    pub fn truths(&self, inputs: &[Tensor]) -> Vec<Truth> {
        let (mut numbers, mut words) = (BTreeMap::new(), BTreeMap::new());
        for (&name, value) in &self.attrs.0 {
            let list = match value {
                Attr::Int(i) => vec![*i as f64],
                Attr::Float(x) => vec![*x],
                Attr::Bool(b) => vec![f64::from(u8::from(*b))],
                Attr::Pair(p) => p.map(|n| n as f64).to_vec(),
                Attr::Quad(q) => q.map(|n| n as f64).to_vec(),
                Attr::Dims(d) => d.iter().map(|d| d.at(1) as f64).collect(),
                Attr::Floats(v) => v.clone(),
                Attr::Word(w) => {
                    words.insert(name, w.clone());
                    continue;
                }
            };
            numbers.insert(name, list);
        }
        let after = |s: &Step| match *s {
            Step::Bias(b) => After::Bias(b),
            Step::ScaleShift(a, b) => After::ScaleShift(a, b),
            Step::Add(s) => After::Add(s),
            Step::Relu => After::Relu,
            Step::Clamp(lo, hi) => After::Clamp(lo.into(), hi.into()),
            Step::ReluGrad(s) => After::ReluGrad(s),
        };
        let after: Vec<After> = self.epilogue.iter().map(after).collect();
        let f = oracle(self.op.name).unwrap_or_else(|| panic!("{} has no oracle", self.op.name));
        let count = results(self.op, &self.operands, &self.attrs, &self.epilogue).map_or(1, |r| r.len());
        let truth = |result| f(&Call { inputs, numbers: &numbers, words: &words, after: &after, result });
        (0..count).map(truth).collect()
    }

    /// The op's body in f32 and f64, with all layouts plain, with blocks of 8 and 16, and mixed.
    pub fn bodies(&self) -> Vec<Variant> {
        let mut seen: Vec<(Vec<Layout>, Layout)> = Vec::new();
        for (operand_block, result_block) in [(1, 1), (8, 8), (16, 16), (1, 8), (8, 1)] {
            let layouts: Vec<Layout> =
                (0..self.operands.len()).map(|i| self.operand_layout(i, operand_block)).collect();
            let operands = self.laid_out(&layouts);
            // Some ops read row-major order only, and say so.
            let y = match result(self.op, &operands, &self.attrs, &self.epilogue) {
                Ok(y) => y,
                Err(p) if p.code == "E0206" && operand_block > 1 => continue,
                Err(p) => panic!("{self}: {}", p.message),
            };
            // The layout of a reorder's result is its attribute.
            let chosen = match self.op.name {
                "reorder" => y.layout,
                "winograd_input" if result_block > 1 => Layout::Spaced,
                _ => image_layout(&y, result_block),
            };
            if !seen.contains(&(layouts.clone(), chosen)) {
                seen.push((layouts, chosen));
            }
        }
        let both = |(operands, y): &(Vec<Layout>, Layout)| [DType::F32, DType::F64].map(|d| self.body(operands, *y, d));
        seen.iter().flat_map(both).collect()
    }

    fn body(&self, layouts: &[Layout], y: Layout, dtype: DType) -> Variant {
        let ctx = self.body_ctx(layouts, y, dtype);
        self.variant("body", self.op.kernel(&ctx), &ctx, dtype)
    }

    /// Tuned kernels for `target`, one for each combination of layouts that a template offers.
    pub fn templates(&self, target: &Target) -> Vec<Variant> {
        let plain = self.body_ctx(&vec![Layout::Plain; self.operands.len()], Layout::Plain, DType::F32);
        let mut offers = passes::templates::offers(self.op, &plain, target);
        offers.pop(); // the body
        let build = |offer: &passes::templates::Offer| {
            let ctx = self.body_ctx(&offer.operands, offer.result, DType::F32);
            let kernel = passes::templates::build(self.op, &ctx, target);
            let kernel = kernel.unwrap_or_else(|| panic!("{self}: what a template offers it can build"));
            self.variant(&format!("template for {}", target.name), kernel, &ctx, DType::F32)
        };
        offers.iter().map(build).collect()
    }

    pub fn all_templates(&self) -> Vec<Variant> {
        TARGETS.iter().flat_map(|t| self.templates(t)).collect()
    }

    fn body_ctx(&self, layouts: &[Layout], y: Layout, dtype: DType) -> BodyCtx<'_> {
        let operands = self.laid_out(layouts);
        let mut results = results(self.op, &operands, &self.attrs, &self.epilogue)
            .unwrap_or_else(|p| panic!("{self}: {}: {}", p.code, p.message));
        results[0].layout = y;
        let widen = |t: &TensorType| {
            let float = t.dtype == DType::F32 && dtype == DType::F64;
            BufType { dtype: if float { dtype } else { t.dtype }, ..BufType::of(t, 1) }
        };
        BodyCtx {
            operands: operands.iter().map(widen).collect(),
            results: results.iter().map(widen).collect(),
            attrs: &self.attrs,
            epilogue: &self.epilogue,
        }
    }

    fn variant(&self, kind: &str, kernel: Kernel, ctx: &BodyCtx, dtype: DType) -> Variant {
        Variant { kind: kind.into(), kernel, operands: ctx.operands.clone(), ys: ctx.results.clone(), dtype }
    }

    fn laid_out(&self, layouts: &[Layout]) -> Vec<TensorType> {
        self.operands.iter().zip(layouts).map(|(t, &l)| t.with_layout(l)).collect()
    }

    /// The layout with blocks of `block` that operand `i` can have.
    fn operand_layout(&self, i: usize, block: u32) -> Layout {
        let t = &self.operands[i];
        let wanted = match (self.op.name, i, t.rank()) {
            _ if block == 1 => Layout::Plain,
            ("conv2d" | "conv2d_grad_input", 1, _) | ("fold_bn_weight" | "flip_filter", 0, 4) => {
                Layout::Filter { ic: 8, oc: block }
            }
            ("winograd_output", 0, _) | ("reorder", 0, 6) => Layout::Spaced,
            ("dense", 1, _) | ("fold_bn_weight" | "reorder", 0, 2) => Layout::Panel(block),
            _ => return image_layout(t, block),
        };
        if wanted.fits(&t.dims(1)) { wanted } else { Layout::Plain }
    }
}

fn image_layout(t: &TensorType, block: u32) -> Layout {
    let blocked = Layout::Blocked(block);
    if block > 1 && blocked.fits(&t.dims(1)) { blocked } else { Layout::Plain }
}

/// A kernel for a case.
pub struct Variant {
    kind: String,
    pub kernel: Kernel,
    operands: Vec<BufType>,
    ys: Vec<BufType>,
    pub dtype: DType,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} (", self.kind, self.dtype)?;
        for t in &self.operands {
            write!(f, "{} ", t.layout)?;
        }
        write!(f, "-> {})", self.ys[0].layout)
    }
}

fn lay(layout: Layout) -> Lay {
    match layout {
        Layout::Plain => Lay::RowMajor,
        Layout::Blocked(b) => Lay::Blocked(b as usize),
        Layout::Filter { ic, oc } => Lay::Filter { ic: ic as usize, oc: oc as usize },
        Layout::Panel(oc) => Lay::Panel(oc as usize),
        Layout::Spaced => Lay::Spaced,
    }
}

impl Variant {
    /// Bytes of the inputs as they lie in memory.
    pub fn pack(&self, inputs: &[Tensor]) -> Vec<Vec<u8>> {
        let bytes = |(t, x): (&BufType, &Tensor)| encode(t.dtype, &pack(lay(t.layout), &x.dims, &x.data));
        self.operands.iter().zip(inputs).map(bytes).collect()
    }

    /// Compares the bytes of every result with its truth; `exact` demands the truth rounded to the element type.
    pub fn compare(&self, results: &[Vec<u8>], truths: &[Truth], exact: bool) -> Result<(), String> {
        assert_eq!((results.len(), truths.len()), (self.ys.len(), self.ys.len()), "{self}: results");
        let mut each = self.ys.iter().zip(results).zip(truths);
        each.try_for_each(|((y, bytes), truth)| compare(y, bytes, truth, exact))
    }
}

fn compare(y: &BufType, bytes: &[u8], truth: &Truth, exact: bool) -> Result<(), String> {
    let got = decode(y.dtype, bytes);
    let (len, places) = places(lay(y.layout), &truth.y.dims);
    if got.len() != len {
        return Err(format!("{} elements in memory, not {len}", got.len()));
    }
    let mut fill = vec![true; len];
    // Below that, results may be denormal and eˣ saturates.
    let (u, least) = match y.dtype {
        DType::F64 => (f64::EPSILON / 2.0, 2.0 * f64::MIN_POSITIVE),
        _ => (f64::from(f32::EPSILON) / 2.0, 2.0 * f64::from(f32::MIN_POSITIVE)),
    };
    for (i, &p) in places.iter().enumerate() {
        fill[p] = false;
        let (got, want) = (got[p], truth.y.data[i]);
        let bound = if exact || truth.is_exact() { 0.0 } else { truth.bound(i, u) + least };
        // Beside infinities every number would be near: there is one result, whatever the order of the sum.
        let bound = if bound.is_finite() { bound } else { 0.0 };
        let rounded = to(y.dtype, want);
        let close = got == rounded || (got.is_nan() && want.is_nan()) || (got - want).abs() <= bound;
        if !close {
            return Err(format!("element {i} is {got:e}, not {want:e} ± {bound:e}"));
        }
    }
    match fill.iter().zip(&got).position(|(&fill, &v)| fill && v != 0.0) {
        Some(p) => Err(format!("the fill at {p} is {}, not 0", got[p])),
        None => Ok(()),
    }
}
