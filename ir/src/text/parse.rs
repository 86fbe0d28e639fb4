//! Parser: tokens to the items of a module. Recursion-free; what is wrong is reported and the next line is read.

mod graph;
mod header;
mod kernel;
mod program;

use super::Module;
use super::lex::{Kind, MOST_PROBLEMS, Token, lex};
use crate::diag::{Diagnostic, Diagnostics, Place};
use crate::types::{DType, Dim, TensorType};
use crate::{Kernel, Layout};
use std::ops::Range;

/// Largest dimension and largest number of elements of a tensor.
const LARGEST: u64 = 1 << 31;
/// Largest rank of a tensor.
const LARGEST_RANK: usize = 8;

const ITEMS: [&str; 6] = ["weights", "preprocess", "labels", "graph", "program", "kernel"];

/// A mistake that ends the statement at hand; it has been reported.
struct Skip;
type Parse<T> = Result<T, Skip>;

/// Parses a `.rir` text. The module holds what could be understood.
pub fn parse(text: &str) -> (Module, Diagnostics) {
    let mut problems = Vec::new();
    let tokens = lex(text, &mut problems);
    let mut p = Parser { text, tokens, at: 0, problems };
    let mut module = Module::default();
    let mut kernels = Vec::new();
    p.version();
    while p.peek().kind != Kind::End && p.problems.len() < MOST_PROBLEMS {
        if p.item(&mut module, &mut kernels).is_err() {
            p.skip_item();
        }
    }
    for g in &mut module.graphs {
        g.info = module.info.clone();
    }
    // Kernels go to the programs that call them; the others stand alone.
    let mut called = vec![false; kernels.len()];
    for program in &mut module.programs {
        p.link(program, &kernels, &mut called);
    }
    module.kernels = kernels.into_iter().zip(called).filter(|(_, c)| !c).map(|((k, _), _)| k).collect();
    let mut problems = p.problems;
    problems.sort_by_key(|d| match d.labels.first().map(|l| &l.place) {
        Some(Place::Text(r)) => r.start,
        _ => usize::MAX,
    });
    (module, Diagnostics(problems))
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    problems: Vec<Diagnostic>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at]
    }

    fn span(&self) -> Range<usize> {
        self.peek().span.clone()
    }

    fn str(&self, t: &Token) -> &'a str {
        &self.text[t.span.clone()]
    }

    fn next(&mut self) -> Token {
        let t = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        t
    }

    fn is(&self, text: &str) -> bool {
        let t = self.peek();
        matches!(t.kind, Kind::Word | Kind::Punct) && self.str(t) == text
    }

    fn eat(&mut self, text: &str) -> bool {
        let yes = self.is(text);
        if yes {
            self.next();
        }
        yes
    }

    fn report(&mut self, code: &'static str, message: impl Into<String>, span: Range<usize>) -> Skip {
        let d = Diagnostic::error(code, message).at(Place::Text(span), "");
        self.problem(d.help("docs/ir.md has the grammar with examples"))
    }

    fn problem(&mut self, d: Diagnostic) -> Skip {
        self.problems.push(d);
        Skip
    }

    fn found(&self) -> String {
        match self.peek().kind {
            Kind::End => "the end of the file".into(),
            _ => format!("'{}'", self.str(self.peek()).chars().take(40).collect::<String>()),
        }
    }

    fn expected(&mut self, what: &str) -> Skip {
        let (message, span) = (format!("expected {what}, found {}", self.found()), self.span());
        self.report("E0004", message, span)
    }

    fn expect(&mut self, text: &str) -> Parse<()> {
        if self.eat(text) { Ok(()) } else { Err(self.expected(&format!("'{text}'"))) }
    }

    fn word(&mut self, what: &str) -> Parse<(&'a str, Range<usize>)> {
        if self.peek().kind != Kind::Word {
            return Err(self.expected(what));
        }
        let t = self.next();
        Ok((self.str(&t), t.span))
    }

    /// A name after `%` or `@`.
    fn name(&mut self, kind: Kind, what: &str) -> Parse<(&'a str, Range<usize>)> {
        if self.peek().kind != kind || self.peek().span.len() < 2 {
            return Err(self.expected(what));
        }
        let t = self.next();
        Ok((&self.str(&t)[1..], t.span))
    }

    fn string(&mut self, what: &str) -> Parse<(String, Range<usize>)> {
        if self.peek().kind != Kind::String {
            return Err(self.expected(what));
        }
        let t = self.next();
        let inner = self.str(&t).trim_start_matches('"');
        let inner = inner.strip_suffix('"').unwrap_or(inner);
        let mut out = String::with_capacity(inner.len());
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some(c) => out.push(c),
                    None => {}
                },
                c => out.push(c),
            }
        }
        Ok((out, t.span))
    }

    fn integer<T: std::str::FromStr>(&mut self, what: &str) -> Parse<T> {
        let (text, span) = self.word(what)?;
        let number = text.parse();
        number.map_err(|_| self.report("E0005", format!("'{text}' is not {what} in range"), span))
    }

    /// To the first token of the next line.
    fn skip_line(&mut self) {
        loop {
            self.next();
            if self.peek().first || self.peek().kind == Kind::End {
                return;
            }
        }
    }

    /// After a mistake in a statement that begins at token `start`: to the next line, unless parsing is there already.
    fn recover(&mut self, start: usize) {
        if self.at == start || !self.peek().first {
            self.skip_line();
        }
    }

    /// To the next line that begins an item.
    fn skip_item(&mut self) {
        while self.peek().kind != Kind::End && !(self.peek().first && ITEMS.iter().any(|i| self.is(i))) {
            self.next();
        }
    }

    /// Reports what follows a complete statement on its line.
    fn end_of_statement(&mut self) -> Parse<()> {
        if self.peek().first || self.is("}") {
            return Ok(());
        }
        Err(self.expected("the end of the line"))
    }

    fn version(&mut self) {
        if !self.eat("rir") {
            let span = self.span();
            let d = Diagnostic::error("E0006", "the file does not begin with 'rir 1'").at(Place::Text(span), "");
            self.problem(d.help("a rescc model begins with the line: rir 1"));
            return;
        }
        if !self.is("1") {
            let (message, span) = (format!("this is version {} of the format; 1 is known", self.found()), self.span());
            let d = Diagnostic::error("E0006", message).at(Place::Text(span), "");
            self.problem(
                d.class(crate::diag::Class::Unsupported).help("use the rescc that wrote the file, or a newer one"),
            );
        }
        self.next();
    }

    fn item(&mut self, module: &mut Module, kernels: &mut Vec<(Kernel, Range<usize>)>) -> Parse<()> {
        let (word, span) = self.word("an item")?;
        let info = &module.info;
        let given = match word {
            "weights" => info.weights.is_some(),
            "preprocess" => info.preprocess.is_some(),
            "labels" => !info.labels.is_empty(),
            _ => false,
        };
        if given {
            self.report("E0008", format!("'{word}' is given twice"), span.clone());
        }
        match word {
            "weights" => self.weights(&mut module.info),
            "preprocess" => self.preprocess(&mut module.info),
            "labels" => self.labels(&mut module.info),
            "graph" => {
                let graph = self.graph()?;
                module.graphs.push(graph);
                Ok(())
            }
            "program" => {
                let program = self.program()?;
                module.programs.push(program);
                Ok(())
            }
            "kernel" => {
                let kernel = self.kernel()?;
                if kernels.iter().any(|(k, _)| k.name == kernel.name) {
                    self.report("E0008", format!("there is another kernel '@{}'", kernel.name), span.clone());
                }
                kernels.push((kernel, span));
                Ok(())
            }
            _ => {
                let mut d = Diagnostic::error("E0004", format!("expected an item, found '{word}'"));
                d = d.at(Place::Text(span), "");
                if let Some(near) = super::nearest(word, ITEMS) {
                    d = d.help(format!("did you mean '{near}'?"));
                }
                Err(self.problem(d))
            }
        }
    }

    /// `f32[N,64,56,56]:nChw8c`
    fn tensor_type(&mut self) -> Parse<TensorType> {
        let (word, span) = self.word("a type such as f32[N,3,32,32]")?;
        let Some(dtype) = DType::from_name(word) else {
            return Err(self.report("E0010", format!("there is no element type '{word}'"), span));
        };
        let start = span.start;
        self.expect("[")?;
        let mut shape = Vec::new();
        while !self.is("]") {
            if !shape.is_empty() {
                self.expect(",")?;
            }
            shape.push(if self.eat("N") { Dim::N } else { Dim::Size(self.integer("a dimension")?) });
        }
        let end = self.next().span.end;
        let sizes = shape.iter().filter_map(|d| d.size());
        let elements = sizes.clone().try_fold(1u64, |p, d| p.checked_mul(d)).unwrap_or(u64::MAX);
        if sizes.clone().any(|d| d == 0) || elements > LARGEST || shape.len() > LARGEST_RANK {
            let message = format!("a tensor has 1 to {LARGEST} elements and at most {LARGEST_RANK} dimensions");
            return Err(self.report("E0005", message, start..end));
        }
        let mut ty = TensorType::new(dtype, shape);
        if self.is(":") {
            self.next();
            let (name, span) = self.word("a layout")?;
            match Layout::from_name(name) {
                Some(l) => ty.layout = l,
                None => return Err(self.report("E0010", format!("there is no layout '{name}'"), span)),
            }
        }
        Ok(ty)
    }
}
