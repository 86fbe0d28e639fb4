//! Graphs.

use super::{Kind, MOST_PROBLEMS, Parse, Parser, Skip};
use crate::diag::{Diagnostic, Place};
use crate::entity::Value;
use crate::epilogue::Step;
use crate::graph::{Def, Graph, GraphBuilder, ValueData};
use crate::op::{Attr, AttrKind, Attrs, OpDef, lookup};
use crate::types::{Dim, TensorType};
use std::collections::HashMap;
use std::ops::Range;

/// Names in scope. `None` stands for a value whose definition was wrong: its readers are passed over in silence.
type Scope<'a> = HashMap<&'a str, Option<Value>>;

impl<'a> Parser<'a> {
    /// `@name(%x: TYPE, …) -> (%y, …) where N in LO..HI { … }`
    pub(super) fn graph(&mut self) -> Parse<Graph> {
        let (name, _) = self.name(Kind::Symbol, "a graph name such as @resnet")?;
        let mut builder = GraphBuilder::new(name);
        let mut scope = Scope::new();
        self.expect("(")?;
        while !self.is(")") {
            if !builder.graph().inputs.is_empty() {
                self.expect(",")?;
            }
            let (name, span) = self.name(Kind::Value, "an input such as %x")?;
            self.expect(":")?;
            let ty = self.tensor_type()?;
            let v = builder.input(name, ty);
            self.define(&mut scope, name, span, Some(v));
        }
        self.expect(")")?;
        self.expect("->")?;
        self.expect("(")?;
        let mut outputs: Vec<(&str, Range<usize>)> = Vec::new();
        while !self.is(")") {
            if !outputs.is_empty() {
                self.expect(",")?;
            }
            outputs.push(self.name(Kind::Value, "an output such as %y")?);
        }
        self.expect(")")?;
        let mut batch = [1, 1024];
        if self.eat("where") {
            self.expect("N")?;
            self.expect("in")?;
            let span = self.span();
            batch = self.range()?;
            if batch[0] == 0 || batch[0] > batch[1] || batch[1] > 1 << 20 {
                self.report("E0005", "N ranges from at least 1 to at most 1048576", span);
                batch = [1, 1024];
            }
        }
        self.expect("{")?;
        let mut graph = builder.finish();
        graph.batch = batch;
        while !self.is("}") {
            if self.peek().kind == Kind::End {
                return Err(self.expected("'}'"));
            }
            if self.problems.len() >= MOST_PROBLEMS {
                break;
            }
            let start = self.at;
            if self.statement(&mut graph, &mut scope).is_err() {
                self.recover(start);
            }
        }
        self.next();
        for (name, span) in outputs {
            if let Ok(Some(v)) = self.resolve(&scope, name, span) {
                graph.outputs.push(v);
            }
        }
        Ok(graph)
    }

    /// `LO..HI`
    fn range(&mut self) -> Parse<[u64; 2]> {
        let lo = self.integer("a number")?;
        self.expect("..")?;
        Ok([lo, self.integer("a number")?])
    }

    fn define(&mut self, scope: &mut Scope<'a>, name: &'a str, span: Range<usize>, v: Option<Value>) {
        if scope.insert(name, v).is_some() {
            self.report("E0008", format!("%{name} is defined twice"), span);
        }
    }

    fn resolve(&mut self, scope: &Scope, name: &str, span: Range<usize>) -> Parse<Option<Value>> {
        if let Some(v) = scope.get(name) {
            return Ok(*v);
        }
        let mut d =
            Diagnostic::error("E0009", format!("%{name} is not defined before this line")).at(Place::Text(span), "");
        if let Some(near) = crate::text::nearest(name, scope.keys().copied()) {
            d = d.help(format!("did you mean %{near}?"));
        }
        Err(self.problem(d))
    }

    fn statement(&mut self, graph: &mut Graph, scope: &mut Scope<'a>) -> Parse<()> {
        if self.eat("param") {
            return self.param(graph, scope);
        }
        let mut names = vec![self.name(Kind::Value, "a statement")?];
        while self.eat(",") {
            names.push(self.name(Kind::Value, "a result such as %y")?);
        }
        let node = self.node(graph, scope, &names);
        let results: Vec<Option<Value>> = match &node {
            Ok(results) => results.iter().map(|&v| Some(v)).collect(),
            Err(Skip) => vec![None; names.len()],
        };
        for (i, (name, span)) in names.into_iter().enumerate() {
            self.define(scope, name, span, results.get(i).copied().flatten());
        }
        node.map(|_| ())
    }

    /// `param %w = "tensor" : TYPE [state]`
    fn param(&mut self, graph: &mut Graph, scope: &mut Scope<'a>) -> Parse<()> {
        let (name, span) = self.name(Kind::Value, "a parameter such as %w")?;
        let mut rest = || -> Parse<Value> {
            self.expect("=")?;
            let (tensor, _) = self.string("the name of a tensor")?;
            self.expect(":")?;
            let ty = self.tensor_type()?;
            let state = self.eat("state");
            self.end_of_statement()?;
            let v = graph.values.push(ValueData { name: name.to_string(), ty, def: Def::Param { tensor, state } });
            graph.params.push(v);
            Ok(v)
        };
        let v = rest();
        self.define(scope, name, span, v.as_ref().ok().copied());
        v.map(|_| ())
    }

    /// `= op %a, %b attr=… epilogue=[…] : TYPE`
    fn node(&mut self, graph: &mut Graph, scope: &Scope, names: &[(&str, Range<usize>)]) -> Parse<Vec<Value>> {
        self.expect("=")?;
        let (op_name, op_span) = self.word("an op")?;
        let Some(op) = lookup(op_name) else {
            let mut d = Diagnostic::error("E0011", format!("there is no op '{op_name}'")).at(Place::Text(op_span), "");
            if let Some(near) = crate::text::nearest(op_name, crate::ops::ALL.iter().map(|o| o.name)) {
                d = d.help(format!("did you mean '{near}'?"));
            }
            return Err(self.problem(d));
        };
        let mut operands: Vec<Option<Value>> = Vec::new();
        let mut spans = Vec::new();
        while self.peek().kind == Kind::Value && !self.peek().first {
            let (name, span) = self.name(Kind::Value, "an operand")?;
            spans.push(span.clone());
            operands.push(self.resolve(scope, name, span)?);
            if !self.eat(",") {
                break;
            }
        }
        let most = if op.properties.variadic { usize::MAX } else { op.operands.len() };
        let least = op.operands.iter().filter(|o| !o.ends_with('?')).count();
        if !(least..=most).contains(&operands.len()) {
            let takes = op.operands.join(", ");
            let message = format!(
                "{op_name} takes {takes}{}; {} are given",
                if op.properties.variadic { ", …" } else { "" },
                operands.len()
            );
            self.report("E0012", message, op_span.clone());
            return Err(Skip);
        }
        let (mut attrs, mut epilogue) = (Attrs::defaults(op), Vec::new());
        let mut given = Vec::new();
        while self.peek().kind == Kind::Word && !self.peek().first {
            let (name, span) = self.word("an attribute")?;
            if given.contains(&name) {
                return Err(self.report("E0008", format!("the attribute '{name}' is given twice"), span));
            }
            given.push(name);
            self.expect("=")?;
            if name == "epilogue" && op.properties.epilogue {
                self.epilogue(scope, &mut operands, &mut spans, &mut epilogue)?;
                continue;
            }
            let Some(def) = op.attrs.iter().find(|a| a.name == name) else {
                let mut d = Diagnostic::error("E0007", format!("{op_name} has no attribute '{name}'"))
                    .at(Place::Text(span), "");
                if let Some(near) = crate::text::nearest(name, op.attrs.iter().map(|a| a.name)) {
                    d = d.help(format!("did you mean '{near}'?"));
                }
                return Err(self.problem(d));
            };
            attrs = attrs.set(def.name, self.attribute(def.kind)?);
        }
        if let Some(missing) = op.attrs.iter().find(|a| !attrs.0.contains_key(a.name)) {
            return Err(self.report("E0013", format!("{op_name} needs the attribute '{}'", missing.name), op_span));
        }
        self.expect(":")?;
        let mut written = Vec::new();
        loop {
            let start = self.span().start;
            let ty = self.tensor_type()?;
            written.push((ty, start..self.tokens[self.at - 1].span.end));
            if !self.eat(",") {
                break;
            }
        }
        self.end_of_statement()?;
        let Some(operands) = operands.into_iter().collect::<Option<Vec<Value>>>() else {
            return Err(Skip); // an operand's own definition has been reported
        };
        let names: Vec<String> = names.iter().map(|(n, _)| n.to_string()).collect();
        self.append(graph, op, attrs, operands, epilogue, &names, &written, &op_span, &spans)
    }

    #[allow(clippy::too_many_arguments)]
    fn append(
        &mut self,
        graph: &mut Graph,
        op: &'static OpDef,
        attrs: Attrs,
        operands: Vec<Value>,
        epilogue: Vec<Step>,
        names: &[String],
        written: &[(TensorType, Range<usize>)],
        op_span: &Range<usize>,
        spans: &[Range<usize>],
    ) -> Parse<Vec<Value>> {
        let node = match graph.append(op, attrs, operands, epilogue, names) {
            Ok(n) => n,
            Err(p) => {
                let span = p.operand.and_then(|i| spans.get(i)).unwrap_or(op_span).clone();
                let mut d = Diagnostic::error(p.code, p.message).at(Place::Text(span), "");
                d.help = p.help;
                return Err(self.problem(d));
            }
        };
        let results = graph.nodes[node].results.clone();
        if results.len() != written.len() || results.len() != names.len() {
            return Err(self.report("E0012", format!("{} has {} results", op.name, results.len()), op_span.clone()));
        }
        for (&v, (ty, span)) in results.iter().zip(written) {
            let inferred = graph.ty(v).clone();
            if inferred.dtype != ty.dtype || inferred.shape != ty.shape {
                let d = Diagnostic::error("E0014", format!("the result is {inferred}, not {ty}"));
                self.problem(d.at(Place::Text(span.clone()), "").help(format!("write {inferred}")));
            } else {
                graph.values[v].ty.layout = ty.layout;
            }
        }
        graph.order.push(node);
        Ok(results)
    }

    /// `[bias %b, add %s, relu, clamp 0 6, scale_shift %a %b]`
    fn epilogue(
        &mut self,
        scope: &Scope,
        operands: &mut Vec<Option<Value>>,
        spans: &mut Vec<Range<usize>>,
        epilogue: &mut Vec<Step>,
    ) -> Parse<()> {
        self.expect("[")?;
        while !self.eat("]") {
            if !epilogue.is_empty() {
                self.expect(",")?;
            }
            let (step, span) = self.word("an epilogue step")?;
            let mut operand = |p: &mut Self| -> Parse<usize> {
                let (name, span) = p.name(Kind::Value, "an operand such as %b")?;
                spans.push(span.clone());
                operands.push(p.resolve(scope, name, span)?);
                Ok(operands.len() - 1)
            };
            epilogue.push(match step {
                "bias" => Step::Bias(operand(self)?),
                "add" => Step::Add(operand(self)?),
                "scale_shift" => Step::ScaleShift(operand(self)?, operand(self)?),
                "relu" => Step::Relu,
                "clamp" => Step::Clamp(self.float()?, self.float()?),
                "relu_grad" => Step::ReluGrad(operand(self)?),
                _ => return Err(self.report("E0007", format!("there is no epilogue step '{step}'"), span)),
            });
        }
        Ok(())
    }

    fn float(&mut self) -> Parse<f32> {
        let (text, span) = self.word("a number")?;
        text.parse().map_err(|_| self.report("E0005", format!("'{text}' is not a number"), span))
    }

    /// The value of an attribute of that kind.
    fn attribute(&mut self, kind: AttrKind) -> Parse<Attr> {
        let start = self.span().start;
        match kind {
            AttrKind::Dims | AttrKind::Floats => {
                self.expect("[")?;
                while !self.is("]") && !self.peek().first {
                    self.next();
                }
                self.expect("]")?;
            }
            AttrKind::Quad => {
                self.word("four numbers")?;
                while self.eat(",") {
                    self.word("a number")?;
                }
            }
            _ => {
                self.word("a value")?;
            }
        }
        let span = start..self.tokens[self.at - 1].span.end;
        let text = &self.text[span.clone()];
        let bounded = |a: &Attr| match a {
            Attr::Pair(p) => p.iter().all(|&x| x <= super::LARGEST),
            Attr::Quad(q) => q.iter().all(|&x| x <= super::LARGEST),
            Attr::Int(i) => i.unsigned_abs() <= super::LARGEST,
            Attr::Dims(d) => d.iter().all(|d| !matches!(d, Dim::Size(n) if *n > super::LARGEST)),
            _ => true,
        };
        match Attr::parse(kind, text).filter(bounded) {
            Some(a) => Ok(a),
            None => {
                let like = match kind {
                    AttrKind::Int => "a number",
                    AttrKind::Float => "a number such as 1e-5",
                    AttrKind::Bool => "true or false",
                    AttrKind::Pair => "height x width such as 2x2",
                    AttrKind::Quad => "top,left,bottom,right such as 1,1,1,1",
                    AttrKind::Dims => "a shape such as [N,64]",
                    AttrKind::Floats => "a list such as [0.5,0.5,0.5]",
                    AttrKind::Word => "a word",
                };
                Err(self.report("E0005", format!("'{text}' is not {like}"), span))
            }
        }
    }
}
