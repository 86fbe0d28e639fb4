//! Graph → Program: a kernel for every node, a slot for every value.
//!
//! - A node runs the template that answers for its layouts, or the body of its op. The reference program runs bodies
//!   only, in f64.
//! - Kernels are built once for each signature and kept once for each structure; a deep network has few. Each is
//!   proven by the kernel verifier before it is used.
//! - A change of shape or layout that moves no bytes is no call: its result lies in the slot of its operand.
//! - A graph output that is an input, a parameter or another output is copied.
//!
//! The program that results runs in the order of the graph; slots of the arena have no place yet
//! ([`plan_memory`](crate::program::plan_memory) gives them one).

use crate::templates;
use ir::diag::{Class, Place};
use ir::entity::{Node, Slot, Value};
use ir::epilogue::Step;
use ir::grad::Gradient;
use ir::graph::Def;
use ir::kernel::build::min_of;
use ir::kernel::{Affine, KernelBuilder, Role};
use ir::op::{Attrs, Body, BodyCtx, BufType, OpCtx, OpDef, Properties};
use ir::program::verify::MAX_PARAMS;
use ir::program::{Call, SlotData, Space};
use ir::target::Target;
use ir::{DType, Diagnostic, Diagnostics, Graph, Kernel, Program, TensorType};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};

/// What a graph is lowered for.
#[derive(Clone, Copy)]
pub struct Lowering {
    pub target: Target,
    pub batch: u64,
    /// Bodies only, with f64 for every f32.
    pub reference: bool,
}

/// Lowers a verified graph.
///
/// Errors: E0404 for a node with more operands than a kernel can have; what the kernel verifier finds.
pub fn lower(g: &Graph, to: &Lowering) -> Result<Program, Diagnostics> {
    let mut l = Lowerer::new(g, to);
    l.inputs();
    l.outputs();
    for &n in g.order.iter().filter(|&&n| !moves_no_bytes(g, n)) {
        l.node(n);
    }
    l.copies();
    l.finish()
}

/// Whether the result of a node is its operand, byte for byte.
pub fn moves_no_bytes(g: &Graph, n: Node) -> bool {
    let d = &g.nodes[n];
    d.operands.first().is_some_and(|&x| (d.op.properties.moves_no_bytes)(g.ty(x), g.ty(d.results[0])))
}

/// What a kernel is built from.
struct Job<'a> {
    op: &'static OpDef,
    attrs: &'a Attrs,
    epilogue: &'a [Step],
    operands: Vec<BufType>,
    results: Vec<BufType>,
}

impl Job<'_> {
    fn build(&self, to: &Lowering) -> Kernel {
        let ctx = BodyCtx {
            operands: self.operands.clone(),
            results: self.results.clone(),
            attrs: self.attrs,
            epilogue: self.epilogue,
        };
        let template = if to.reference { None } else { templates::build(self.op, &ctx, &to.target) };
        let mut kernel = template.unwrap_or_else(|| {
            let mut k = self.op.kernel(&ctx);
            let dims: Vec<String> = self.results[0].dims.iter().map(i64::to_string).collect();
            k.name = format!("{}_{}", self.op.name, dims.join("x"));
            k
        });
        let steps: String = self.epilogue.iter().filter_map(|s| s.name().chars().next()).collect();
        if !steps.is_empty() {
            kernel.name = format!("{}_{steps}", kernel.name);
        }
        kernel
    }
}

struct Lowerer<'a> {
    g: &'a Graph,
    to: &'a Lowering,
    program: Program,
    slots: HashMap<Value, Slot>,
    /// By tensor and the type that it is read as.
    constants: HashMap<(&'a str, &'a TensorType), Slot>,
    names: HashSet<String>,
    /// Different signatures, in order of first use, and where to find one. `Call::kernel` counts them until
    /// [`finish`](Self::finish).
    jobs: Vec<Job<'a>>,
    known: HashMap<String, usize>,
    /// Outputs that need a copy of a value.
    copies: Vec<(Value, Slot)>,
    problems: Diagnostics,
}

impl<'a> Lowerer<'a> {
    fn new(g: &'a Graph, to: &'a Lowering) -> Lowerer<'a> {
        let program = Program {
            name: g.name.clone(),
            target: to.target.name.into(),
            batch: to.batch,
            slots: Default::default(),
            kernels: Vec::new(),
            calls: Vec::new(),
            arena_bytes: 0,
            const_bytes: 0,
        };
        // A constant is found by its tensor's name, so no slot but constants may have it.
        let tensor = |&v: &Value| match &g.values[v].def {
            Def::Param { tensor, .. } => Some(tensor.clone()),
            _ => None,
        };
        Lowerer {
            g,
            to,
            program,
            slots: HashMap::new(),
            constants: HashMap::new(),
            names: g.params.iter().filter_map(tensor).collect(),
            jobs: Vec::new(),
            known: HashMap::new(),
            copies: Vec::new(),
            problems: Diagnostics::default(),
        }
    }

    fn inputs(&mut self) {
        for (i, &v) in self.g.inputs.iter().enumerate() {
            let space = Space::Input(u32::try_from(i).expect("invariant: inputs are few"));
            let slot = self.add_slot(v, space);
            self.slots.insert(v, slot);
        }
    }

    /// A result is written straight into the first output that it is; further outputs are copies.
    fn outputs(&mut self) {
        for (i, &v) in self.g.outputs.iter().enumerate() {
            let space = Space::Output(u32::try_from(i).expect("invariant: outputs are few"));
            let slot = self.add_slot(v, space);
            let at = self.place_of(v);
            if self.g.def(at).is_some() && !self.slots.contains_key(&at) {
                self.slots.insert(at, slot);
            } else {
                self.copies.push((at, slot));
            }
        }
    }

    fn copies(&mut self) {
        for (v, to) in std::mem::take(&mut self.copies) {
            let from = self.slot(v);
            let ty = self.buf_type(v);
            let job = Job { op: &COPY, attrs: &NO_ATTRS, epilogue: &[], operands: vec![ty.clone()], results: vec![ty] };
            let kernel = self.kernel(job);
            let node = self.program.slots[to].name.clone();
            self.program.calls.push(Call { kernel, args: vec![from, to], node, op: COPY.name.into(), macs: 0 });
        }
    }

    /// The value whose memory `v` lies in.
    fn place_of(&self, mut v: Value) -> Value {
        while let Some(n) = self.g.def(v).filter(|&n| moves_no_bytes(self.g, n)) {
            v = self.g.operand(n, 0);
        }
        v
    }

    fn buf_type(&self, v: Value) -> BufType {
        let ty = self.g.ty(v);
        let dtype = if self.to.reference && ty.dtype == DType::F32 { DType::F64 } else { ty.dtype };
        BufType { dtype, ..BufType::of(ty, self.to.batch) }
    }

    fn add_slot(&mut self, v: Value, space: Space) -> Slot {
        let ty = self.buf_type(v);
        let name = match &self.g.values[v].def {
            Def::Param { tensor, .. } if matches!(space, Space::Const { .. }) => tensor.clone(),
            _ => self.unique(self.g.name(v)),
        };
        let dims = ty.physical().into_iter().map(i64::cast_unsigned).collect();
        self.program.slots.push(SlotData { name, dtype: ty.dtype, dims, space })
    }

    fn unique(&mut self, name: &str) -> String {
        let mut unique = name.to_string();
        let mut i = 0;
        while !self.names.insert(unique.clone()) {
            i += 1;
            unique = format!("{name}.{i}");
        }
        unique
    }

    fn slot(&mut self, v: Value) -> Slot {
        let at = self.place_of(v);
        if let Some(&slot) = self.slots.get(&at) {
            return slot;
        }
        let g = self.g;
        let slot = match &g.values[at].def {
            Def::Param { tensor, .. } => {
                let key = (&tensor[..], g.ty(at));
                match self.constants.get(&key) {
                    Some(&slot) => slot,
                    None => {
                        let slot = self.add_slot(at, Space::Const { offset: 0 });
                        self.constants.insert(key, slot);
                        slot
                    }
                }
            }
            _ => self.add_slot(at, Space::Arena { offset: 0, first: 0, last: 0 }),
        };
        self.slots.insert(at, slot);
        slot
    }

    fn node(&mut self, n: Node) {
        let g = self.g;
        let d = &g.nodes[n];
        let args: Vec<Slot> = d.operands.iter().chain(&d.results).map(|&v| self.slot(v)).collect();
        let name = g.name(d.results[0]);
        if args.len() > MAX_PARAMS {
            let message =
                format!("{} has {} operands and results; a kernel can have {MAX_PARAMS}", d.op.name, args.len());
            let d = Diagnostic::error("E0404", message).class(Class::Unsupported).at(Place::Node(name.into()), "");
            self.problems.push(d);
            return;
        }
        let kernel = self.kernel(Job {
            op: d.op,
            attrs: &d.attrs,
            epilogue: &d.epilogue,
            operands: d.operands.iter().map(|&v| self.buf_type(v)).collect(),
            results: d.results.iter().map(|&v| self.buf_type(v)).collect(),
        });
        let cost = (d.op.cost)(&OpCtx {
            operands: &g.operand_types(n),
            attrs: &d.attrs,
            epilogue: &d.epilogue,
            results: &g.result_types(n),
            batch: self.to.batch,
        });
        self.program.calls.push(Call { kernel, args, node: name.into(), op: d.op.name.into(), macs: cost.macs });
    }

    /// Number of the job with this signature.
    fn kernel(&mut self, job: Job<'a>) -> usize {
        let key = format!("{} {:?} {:?} {:?} {:?}", job.op.name, job.attrs, job.epilogue, job.operands, job.results);
        *self.known.entry(key).or_insert_with(|| {
            self.jobs.push(job);
            self.jobs.len() - 1
        })
    }

    fn finish(mut self) -> Result<Program, Diagnostics> {
        let built: Vec<(Kernel, Diagnostics)> = self
            .jobs
            .par_iter()
            .map(|job| {
                let kernel = job.build(self.to);
                let found = kernel.verify();
                (kernel, found)
            })
            .collect();
        // Kernels of equal structure are one, whatever they were built from.
        let mut kept: HashMap<Kernel, usize> = HashMap::new();
        let mut names = HashSet::new();
        let mut number = Vec::new();
        for (mut kernel, found) in built {
            self.problems.0.extend(found.0.into_iter().map(|d| d.note(format!("in kernel @{}", kernel.name))));
            let name = std::mem::take(&mut kernel.name);
            let at = *kept.entry(kernel).or_insert_with_key(|kernel| {
                let mut unique = name.clone();
                let mut i = 1;
                while !names.insert(unique.clone()) {
                    i += 1;
                    unique = format!("{name}_{i}");
                }
                self.program.kernels.push(Kernel { name: unique, ..kernel.clone() });
                self.program.kernels.len() - 1
            });
            number.push(at);
        }
        for call in &mut self.program.calls {
            call.kernel = number[call.kernel];
        }
        self.problems.into_result(self.program)
    }
}

static NO_ATTRS: Attrs = Attrs(std::collections::BTreeMap::new());

/// Copies a tensor as it lies. Not in the table: a graph has no use for it.
static COPY: OpDef = OpDef {
    name: "copy",
    doc: "y = x",
    operands: &["x"],
    properties: Properties::NONE,
    attrs: &[],
    shape: |ctx| Ok(vec![ctx.operands[0].clone()]),
    cost: |_| Default::default(),
    body: Body::Loops(copy),
    grad: Gradient::None("not in the table"),
};

fn copy(ctx: &BodyCtx) -> Kernel {
    /// Elements that one task copies.
    const CHUNK: i64 = 4096;
    let y = &ctx.results[0];
    let total: i64 = y.physical().iter().product();
    let mut k = KernelBuilder::new("copy");
    let x = k.param("x", y.dtype, &[total], Role::In);
    let out = k.param("y", y.dtype, &[total], Role::Out);
    let first = k.tasks((total + CHUNK - 1) / CHUNK) * CHUNK;
    k.for_(0, min_of([Affine::constant(CHUNK), &first * -1 + total]), |k, i| {
        let at = [&first + i];
        let v = k.load(x, &at);
        k.store(out, &at, v);
    });
    k.finish()
}
