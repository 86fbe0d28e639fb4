//! `select-layout`: gives every tensor the memory layout with which the whole graph runs fastest.
//!
//! Each image is either plain or blocked by channels. A node costs what the best template for its labels costs; an
//! image that is read in another layout than it has costs a reorder, once however many readers there are. The sum
//! of these costs is the capacity of a cut, so the labelling of least cost is a minimum cut, found exactly by
//! petgraph's maximum flow: Kolmogorov and Zabih, "What energy functions can be minimized via graph cuts?", PAMI
//! 2004, section 4. Weights take the layout that the chosen template asks for; packing them costs nothing at run
//! time.
//!
//! Reorders that stand in the graph are looked through, so the choice does not depend on what an earlier run chose.

mod cut;

use super::fold_shape::is_shape_change;
use super::{add_reorder, constants, is_op, op};
use crate::pass::{Pass, PassCtx};
use crate::templates::{self, Offer};
use cranelift_entity::{EntitySet, SecondaryMap};
use cut::{Cut, Label, Menu, NEVER};
use ir::entity::{Node, Value};
use ir::graph::{Patch, Src};
use ir::op::{Attr, Attrs, BodyCtx, BufType, OpCtx};
use ir::target::Target;
use ir::{Diagnostics, Graph, Layout, TensorType};
use std::collections::HashMap;

pub struct SelectLayout;

impl Pass for SelectLayout {
    fn name(&self) -> &'static str {
        "select-layout"
    }

    fn doc(&self) -> &'static str {
        "chooses memory layouts by a minimum cut over template and reorder costs"
    }

    fn run(&self, cx: &mut PassCtx) -> Result<(), Diagnostics> {
        let selector = Selector::new(&cx.graph, &cx.target, cx.batch);
        let layouts = selector.layouts();
        match selector.patch(&layouts) {
            Some(patch) => cx.apply(vec![patch]).map(|_| ()),
            None => Ok(()),
        }
    }
}

/// Chosen layouts.
struct Layouts {
    /// Of each node that is not constant and no reorder: its offer.
    offers: SecondaryMap<Node, Option<Offer>>,
}

struct Selector<'a> {
    g: &'a Graph,
    target: &'a Target,
    batch: u64,
    constant: EntitySet<Value>,
    blocked: Layout,
}

impl<'a> Selector<'a> {
    fn new(g: &'a Graph, target: &'a Target, batch: u64) -> Selector<'a> {
        Selector { g, target, batch, constant: constants(g), blocked: Layout::Blocked(target.block) }
    }

    /// Nodes that are labelled, in order.
    fn nodes(&self) -> impl Iterator<Item = Node> {
        let is_free = |n: &Node| !self.constant.contains(self.g.result(*n)) && !is_op(self.g, *n, "reorder");
        self.g.order.iter().copied().filter(is_free)
    }

    /// The value before all reorders.
    fn source(&self, mut v: Value) -> Value {
        while let Some(n) = self.g.def(v).filter(|&n| is_op(self.g, n, "reorder")) {
            v = self.g.operand(n, 0);
        }
        v
    }

    fn is_image(&self, ty: &TensorType) -> bool {
        ty.rank() == 4 && ty.dtype.is_float()
    }

    fn can_block(&self, v: Value) -> bool {
        let ty = self.g.ty(v);
        self.is_image(ty) && self.blocked.fits(&ty.dims(self.batch))
    }

    fn layout(&self, label: usize) -> Layout {
        [Layout::Plain, self.blocked][label]
    }

    fn plain_types(&self, values: &[Value]) -> Vec<TensorType> {
        values.iter().map(|&v| self.g.ty(v).with_layout(Layout::Plain)).collect()
    }

    fn menu(&self, n: Node, known: &mut HashMap<String, Vec<Offer>>) -> Menu {
        let d = &self.g.nodes[n];
        let (operands, results) = (self.plain_types(&d.operands), self.plain_types(&d.results));
        let mut menu = Menu { offers: Default::default() };
        if is_shape_change(self.g, n) {
            // Plain to plain they move no bytes.
            let operands = vec![Layout::Plain; operands.len()];
            menu.offers[0][0] = Some(Offer { operands, result: Layout::Plain, cost_ns: 0.0 });
            return menu;
        }
        let key = format!("{} {operands:?} {results:?} {:?} {:?}", d.op.name, d.attrs, d.epilogue);
        let offers = known.entry(key).or_insert_with(|| {
            let bufs = |types: &[TensorType]| types.iter().map(|t| BufType::of(t, self.batch)).collect();
            let ctx =
                BodyCtx { operands: bufs(&operands), results: bufs(&results), attrs: &d.attrs, epilogue: &d.epilogue };
            templates::offers(d.op, &ctx, self.target)
        });
        let body = offers.last().expect("invariant: the body is always offered");
        let lead = d.operands.get(self.lead(n)).copied();
        let is_filter = lead.is_some_and(|v| self.can_block(v)) && !self.reads_blocks(n, self.lead(n));
        for (i, o) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let fits = (i == 0 || lead.is_some_and(|v| self.can_block(v)) && !is_filter)
                && (o == 0 || self.can_block(d.results[0]) && !is_filter);
            if !fits {
                continue;
            }
            let here = offers.iter().filter(|f| self.labels(n, f) == Some((i, o)));
            let generic = self.body_offer(n, &operands, (i, o), body.cost_ns);
            let all = here.cloned().chain(generic);
            menu.offers[i][o] = all.min_by(|a, b| a.cost_ns.total_cmp(&b.cost_ns));
        }
        menu
    }

    /// The operand whose label a node chooses beside its result's: the first, or, where the result is no image, the
    /// first that can be blocked.
    fn lead(&self, n: Node) -> usize {
        let d = &self.g.nodes[n];
        if self.is_image(self.g.ty(d.results[0])) {
            return 0;
        }
        (0..d.operands.len()).find(|&i| self.can_block(d.operands[i]) && self.reads_blocks(n, i)).unwrap_or(0)
    }

    /// Whether the op admits blocks for operand `i`: filters and matrices have layouts of their own.
    fn reads_blocks(&self, n: Node, i: usize) -> bool {
        let d = &self.g.nodes[n];
        let mut types = self.plain_types(&d.operands);
        types[i].layout = self.blocked;
        let ctx = OpCtx { operands: &types, attrs: &d.attrs, epilogue: &d.epilogue, results: &[], batch: self.batch };
        !matches!((d.op.shape)(&ctx), Err(p) if p.code == "E0206" && p.operand == Some(i))
    }

    /// Labels of the leading operand and of the result, if the offer is one of plain and blocked images; whatever else
    /// they are lies as templates agree. Further images are to lie as the result does, or else as the leading operand.
    fn labels(&self, n: Node, offer: &Offer) -> Option<(usize, usize)> {
        let label = |v: Value, l: Layout| match l {
            l if l == self.blocked => Some(1),
            l => (l == Layout::Plain || !self.is_image(self.g.ty(v))).then_some(0),
        };
        let (d, lead) = (&self.g.nodes[n], self.lead(n));
        let labels = (label(*d.operands.get(lead)?, offer.operands[lead])?, label(d.results[0], offer.result)?);
        let alike = (0..d.operands.len())
            .filter(|&i| i != self.lead(n) && self.follows(n, i))
            .all(|i| offer.operands[i] == self.layout(self.follower(n, labels)));
        Some(labels).filter(|_| alike)
    }

    /// Whether an operand is an image that is computed, not a weight, and may be blocked.
    fn follows(&self, n: Node, i: usize) -> bool {
        let v = self.g.nodes[n].operands[i];
        self.can_block(v) && !self.constant.contains(v) && self.reads_blocks(n, i)
    }

    /// Of the labels (or whatever stands for them) of a node the one that further images have.
    fn follower<T>(&self, n: Node, (input, output): (T, T)) -> T {
        if self.is_image(self.g.ty(self.g.result(n))) { output } else { input }
    }

    /// The op's body with these labels, if its shape rule admits them. Weights stay plain.
    fn body_offer(&self, n: Node, plain: &[TensorType], (i, o): (usize, usize), cost_ns: f64) -> Option<Offer> {
        let d = &self.g.nodes[n];
        let layouts = (0..d.operands.len()).map(|at| match at {
            _ if at == self.lead(n) => self.layout(i),
            _ if self.follows(n, at) => self.layout(self.follower(n, (i, o))),
            _ => Layout::Plain,
        });
        let operands: Vec<Layout> = layouts.collect();
        let types: Vec<TensorType> = plain.iter().zip(&operands).map(|(t, &l)| t.with_layout(l)).collect();
        let ctx = OpCtx { operands: &types, attrs: &d.attrs, epilogue: &d.epilogue, results: &[], batch: self.batch };
        (d.op.shape)(&ctx).ok()?;
        Some(Offer { operands, result: self.layout(o), cost_ns })
    }

    fn reorder_cost(&self, v: Value, known: &mut HashMap<String, i64>) -> i64 {
        let ty = self.g.ty(v).with_layout(Layout::Plain);
        *known.entry(ty.to_string()).or_insert_with(|| {
            let reorder = op("reorder");
            let attrs = Attrs::defaults(reorder).set("to", Attr::Word(self.blocked.to_string()));
            let buf = |l| BufType::of(&ty.with_layout(l), self.batch);
            let ctx = BodyCtx {
                operands: vec![buf(Layout::Plain)],
                results: vec![buf(self.blocked)],
                attrs: &attrs,
                epilogue: &[],
            };
            let best = templates::offers(reorder, &ctx, self.target).into_iter().map(|o| o.cost_ns);
            (best.fold(f64::INFINITY, f64::min).round() as i64).clamp(1, NEVER / 2)
        })
    }

    fn layouts(&self) -> Layouts {
        let mut known = HashMap::new();
        let menus: Vec<(Node, Menu)> = self.nodes().map(|n| (n, self.menu(n, &mut known))).collect();
        let mut cut = Cut::new();
        // Of each value the label that it has; of each node the one that it reads its first operand with.
        let mut has: SecondaryMap<Value, Label> = SecondaryMap::with_default(Label::Plain);
        let mut reads: SecondaryMap<Node, Label> = SecondaryMap::with_default(Label::Plain);
        for &v in &self.g.inputs {
            if self.g.ty(v).layout == self.blocked {
                has[v] = Label::Blocked;
            }
        }
        for (n, menu) in &menus {
            let (input, output) = cut.node(menu);
            has[self.g.result(*n)] = output;
            reads[*n] = input;
        }
        let mut readers: SecondaryMap<Value, Vec<Label>> = SecondaryMap::new();
        for (n, _) in &menus {
            for (i, &v) in self.g.nodes[*n].operands.iter().enumerate().filter(|(_, v)| !self.constant.contains(**v)) {
                let label = match i {
                    _ if i == self.lead(*n) => reads[*n],
                    _ if self.follows(*n, i) => self.follower(*n, (reads[*n], has[self.g.result(*n)])),
                    _ => Label::Plain,
                };
                readers[self.source(v)].push(label);
            }
        }
        for &v in &self.g.outputs {
            let label = if self.g.ty(v).layout == self.blocked { Label::Blocked } else { Label::Plain };
            readers[self.source(v)].push(label);
        }
        let mut costs = HashMap::new();
        let values = self.g.inputs.iter().copied().chain(menus.iter().map(|(n, _)| self.g.result(*n)));
        for v in values.filter(|&v| self.can_block(v)) {
            cut.value(has[v], &readers[v], self.reorder_cost(v, &mut costs));
        }
        let blocked = cut.solve();
        let mut offers = SecondaryMap::new();
        for (n, mut menu) in menus {
            let (i, o) = (blocked(reads[n]), blocked(has[self.g.result(n)]));
            offers[n] = menu.offers[i][o].take();
        }
        Layouts { offers }
    }

    /// The graph with these layouts, or `None` if it has them.
    fn patch(&self, layouts: &Layouts) -> Option<Patch> {
        let offer = |n: Node| layouts.offers[n].as_ref().expect("invariant: a cut of finite cost takes offers");
        let as_it_is = |n: Node| {
            let (d, offer) = (&self.g.nodes[n], offer(n));
            let layouts = d.operands.iter().map(|&v| self.g.ty(v).layout);
            layouts.eq(offer.operands.iter().copied()) && self.g.ty(d.results[0]).layout == offer.result
        };
        if self.nodes().all(as_it_is) {
            return None;
        }
        let mut rebuild =
            Rebuild { s: self, p: Patch::new("select-layout"), now: HashMap::new(), reordered: HashMap::new() };
        for n in self.nodes() {
            rebuild.node(n, offer(n));
        }
        Some(rebuild.finish())
    }
}

/// Builds every node again with the layouts of its offer.
struct Rebuild<'a> {
    s: &'a Selector<'a>,
    p: Patch,
    /// What stands for a value, and its layout.
    now: HashMap<Value, (Src, Layout)>,
    reordered: HashMap<(Value, Layout), Src>,
}

impl Rebuild<'_> {
    fn node(&mut self, n: Node, offer: &Offer) {
        let g = self.s.g;
        let d = &g.nodes[n];
        let operands = d.operands.iter().zip(&offer.operands).map(|(&v, &l)| self.value(v, l)).collect();
        let y = d.results[0];
        let src = self.p.add(g.name(y), d.op, d.attrs.clone(), operands, d.epilogue.clone(), Some(offer.result));
        self.now.insert(y, (src, offer.result));
        // Further results have the layout of the shape rule.
        for (i, &y) in d.results.iter().enumerate().skip(1) {
            let Src::New(node) = src else { unreachable!("invariant: a patch gives what it adds a number") };
            self.now.insert(y, (Src::NewResult(node, i), g.ty(y).layout));
        }
    }

    /// `v` with layout `layout`.
    fn value(&mut self, v: Value, layout: Layout) -> Src {
        let g = self.s.g;
        if self.s.constant.contains(v) && g.ty(v).layout == layout {
            return v.into();
        }
        let source = self.s.source(v);
        let (src, has) = self.now.get(&source).copied().unwrap_or((source.into(), g.ty(source).layout));
        if has == layout {
            return src;
        }
        let p = &mut self.p;
        let name = || format!("{}.{layout}", g.name(source));
        *self.reordered.entry((source, layout)).or_insert_with(|| add_reorder(p, name(), src, layout))
    }

    fn finish(mut self) -> Patch {
        let g = self.s.g;
        let outputs: Vec<(Value, Src)> =
            g.outputs.iter().map(|&v| (v, self.value(v, g.ty(v).layout))).filter(|(v, s)| Src::Old(*v) != *s).collect();
        for n in self.s.nodes() {
            for &y in g.nodes[n].results.iter().filter(|&y| !outputs.iter().any(|(v, _)| v == y)) {
                self.p.replace(y, self.now[&y].0);
            }
        }
        for (v, src) in outputs {
            self.p.replace(v, src);
        }
        self.p
    }
}
