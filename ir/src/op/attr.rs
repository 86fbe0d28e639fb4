//! Attributes of nodes: what an op declares, what a node has, and both as text.

use super::OpDef;
use crate::types::Dim;
use std::collections::BTreeMap;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttrKind {
    Int,
    Float,
    Bool,
    /// `2x2`: height, width
    Pair,
    /// `1,1,1,1`: top, left, bottom, right
    Quad,
    /// `[N,64,1,1]`-like list of dimensions
    Dims,
    /// `[0.485,0.456,0.406]`
    Floats,
    /// A bare word, e.g. `rgb`
    Word,
}

/// Declared attribute. The printer leaves out attributes that equal their default.
#[derive(Debug)]
pub struct AttrDef {
    pub name: &'static str,
    pub kind: AttrKind,
    /// Text of the default as it would be written, or `None` if it must be given.
    pub default: Option<&'static str>,
    pub doc: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    Int(i64),
    Float(f64),
    Bool(bool),
    Pair([u64; 2]),
    Quad([u64; 4]),
    Dims(Vec<Dim>),
    Floats(Vec<f64>),
    Word(String),
}

impl Attr {
    /// Parses the text of an attribute value of that kind. `None` if it is not one.
    pub fn parse(kind: AttrKind, text: &str) -> Option<Attr> {
        fn list(t: &str) -> Option<Vec<&str>> {
            let inner = t.strip_prefix('[')?.strip_suffix(']')?;
            Some(if inner.trim().is_empty() { vec![] } else { inner.split(',').map(str::trim).collect() })
        }
        Some(match kind {
            AttrKind::Int => Attr::Int(text.parse().ok()?),
            AttrKind::Float => Attr::Float(parse_float(text)?),
            AttrKind::Bool => Attr::Bool(text.parse().ok()?),
            AttrKind::Pair => {
                let (h, w) = text.split_once('x')?;
                Attr::Pair([h.parse().ok()?, w.parse().ok()?])
            }
            AttrKind::Quad => {
                let v: Vec<u64> = text.split(',').map(|s| s.trim().parse().ok()).collect::<Option<_>>()?;
                Attr::Quad(v.try_into().ok()?)
            }
            AttrKind::Dims => Attr::Dims(
                list(text)?
                    .into_iter()
                    .map(|s| if s == "N" { Some(Dim::N) } else { s.parse().ok().map(Dim::Size) })
                    .collect::<Option<_>>()?,
            ),
            AttrKind::Floats => Attr::Floats(list(text)?.into_iter().map(parse_float).collect::<Option<_>>()?),
            AttrKind::Word => {
                let ok = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
                Attr::Word(ok.then(|| text.to_string())?)
            }
        })
    }
}

fn parse_float(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|_| !text.starts_with('+'))
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn join<T: fmt::Display>(v: &[T]) -> String {
            v.iter().map(T::to_string).collect::<Vec<_>>().join(",")
        }
        match self {
            Attr::Int(i) => write!(f, "{i}"),
            Attr::Float(x) => f.write_str(&format_float(*x)),
            Attr::Bool(b) => write!(f, "{b}"),
            Attr::Pair([h, w]) => write!(f, "{h}x{w}"),
            Attr::Quad(q) => f.write_str(&join(q)),
            Attr::Dims(d) => write!(f, "[{}]", join(d)),
            Attr::Floats(v) => write!(f, "[{}]", v.iter().map(|x| format_float(*x)).collect::<Vec<_>>().join(",")),
            Attr::Word(w) => f.write_str(w),
        }
    }
}

/// Shortest text that parses back to the same f64; exponents for the very small and very large.
pub fn format_float(x: f64) -> String {
    if x != 0.0 && x.is_finite() && !(1e-4..1e16).contains(&x.abs()) { format!("{x:e}") } else { format!("{x}") }
}

/// Attribute values of one node, complete: defaults are filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attrs(pub BTreeMap<&'static str, Attr>);

impl Attrs {
    /// All defaults of `op`; attributes without default are absent.
    pub fn defaults(op: &OpDef) -> Attrs {
        let value = |a: &AttrDef| {
            let text = a.default?;
            Some((a.name, Attr::parse(a.kind, text).expect("invariant: defaults in the op table parse")))
        };
        Attrs(op.attrs.iter().filter_map(value).collect())
    }

    pub fn set(mut self, name: &'static str, value: Attr) -> Attrs {
        self.0.insert(name, value);
        self
    }

    fn get(&self, name: &str) -> &Attr {
        self.0.get(name).expect("invariant: the verifier has checked that declared attributes are present")
    }

    pub fn int(&self, name: &str) -> i64 {
        match self.get(name) {
            Attr::Int(i) => *i,
            a => panic!("invariant: {name} is an integer, not {a}"),
        }
    }

    pub fn float(&self, name: &str) -> f64 {
        match self.get(name) {
            Attr::Float(x) => *x,
            a => panic!("invariant: {name} is a float, not {a}"),
        }
    }

    pub fn bool(&self, name: &str) -> bool {
        match self.get(name) {
            Attr::Bool(b) => *b,
            a => panic!("invariant: {name} is a bool, not {a}"),
        }
    }

    pub fn pair(&self, name: &str) -> [u64; 2] {
        match self.get(name) {
            Attr::Pair(p) => *p,
            a => panic!("invariant: {name} is a pair, not {a}"),
        }
    }

    pub fn quad(&self, name: &str) -> [u64; 4] {
        match self.get(name) {
            Attr::Quad(q) => *q,
            a => panic!("invariant: {name} is four numbers, not {a}"),
        }
    }

    pub fn dims(&self, name: &str) -> &[Dim] {
        match self.get(name) {
            Attr::Dims(d) => d,
            a => panic!("invariant: {name} is a shape, not {a}"),
        }
    }

    pub fn floats(&self, name: &str) -> &[f64] {
        match self.get(name) {
            Attr::Floats(v) => v,
            a => panic!("invariant: {name} is a list of floats, not {a}"),
        }
    }

    pub fn word(&self, name: &str) -> &str {
        match self.get(name) {
            Attr::Word(w) => w,
            a => panic!("invariant: {name} is a word, not {a}"),
        }
    }
}
