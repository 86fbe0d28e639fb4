//! An interpreter of pickles that has no imports: the opcodes of plain data (`opcodes.rs`) and a fixed list of names
//! (`names.rs`).
//!
//! Objects live in one table and refer to each other by number, so that shared and cyclic references cost nothing
//! and nothing recurses. Every opcode takes at least a byte of the file and copies no more than a few numbers or a
//! short key, so time is linear in its size. Where a list is copied, its items count like values that are pushed;
//! values and tables are capped, so memory is too.

mod names;
mod opcodes;

use super::malformed;
use crate::import::Element;
use crate::import::MAX_RANK;
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics, Place};
use std::collections::HashMap;

/// Most objects, marks and memo entries of one pickle. ResNet-1202 with an optimiser needs 60,000.
const MAX_OBJECTS: usize = 1 << 20;
/// Most values that are pushed or copied in one pickle: stack and containers together hold no more.
const MAX_VALUES: usize = 1 << 22;

/// A value on the stack or inside an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Object(u32),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    Str(String),
    /// An integer beyond 64 bits, little-endian.
    Long(Vec<u8>),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Name(Name),
    Storage(Storage),
    Tensor(View),
    /// Something that is read over: metrics, dtypes.
    Opaque,
}

/// A name that pickles of state dicts import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    OrderedDict,
    /// With a storage, an offset, sizes and strides.
    RebuildTensor,
    /// With a tensor.
    RebuildParameter,
    Size,
    StorageType(Element),
    Opaque,
}

/// Elements somewhere else in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    pub key: String,
    pub element: Element,
    pub elements: u64,
}

/// A tensor: a strided view of a storage (an object of that kind).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub storage: u32,
    pub offset: u64,
    pub shape: Vec<u64>,
    pub strides: Vec<u64>,
}

/// What a pickle evaluated to.
#[derive(Debug)]
pub struct Pickled {
    pub root: Value,
    pub objects: Vec<Object>,
    /// Bytes of the file up to and with its STOP.
    pub end: usize,
}

impl Pickled {
    pub fn get(&self, v: Value) -> Option<&Object> {
        match v {
            Value::Object(i) => self.objects.get(i as usize),
            _ => None,
        }
    }

    pub fn str(&self, v: Value) -> Option<&str> {
        match self.get(v)? {
            Object::Str(s) => Some(s),
            _ => None,
        }
    }

    pub fn dict(&self, v: Value) -> Option<&[(Value, Value)]> {
        match self.get(v)? {
            Object::Dict(d) => Some(d),
            _ => None,
        }
    }
}

/// Interprets the pickle that begins at byte `start`.
pub fn run(file: &[u8], start: usize) -> Result<Pickled, Diagnostics> {
    let mut m = Machine {
        file,
        at: start,
        op_at: start,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        objects: Vec::new(),
        values: 0,
    };
    while !m.step()? {}
    let root = m.pop()?;
    Ok(Pickled { root, objects: m.objects, end: m.at })
}

struct Machine<'a> {
    file: &'a [u8],
    at: usize,
    /// Where the current opcode is.
    op_at: usize,
    stack: Vec<Value>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    objects: Vec<Object>,
    /// How many values were pushed or copied.
    values: usize,
}

impl Machine<'_> {
    fn take(&mut self, n: usize) -> Result<&[u8], Diagnostics> {
        let end = self.at.checked_add(n).filter(|&e| e <= self.file.len());
        let Some(end) = end else { return Err(self.broken("it ends in the middle of an instruction")) };
        let bytes = &self.file[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Diagnostics> {
        Ok(self.take(N)?.try_into().expect("invariant: take gives as many bytes as asked"))
    }

    fn text(&mut self, len: u64) -> Result<(), Diagnostics> {
        let bytes = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        let Ok(text) = std::str::from_utf8(bytes) else { return Err(self.broken("a string is not UTF-8")) };
        let text = Object::Str(text.to_string());
        self.push_object(text)
    }

    fn line(&mut self) -> Result<String, Diagnostics> {
        const LONGEST: usize = 4096;
        let rest = &self.file[self.at..];
        let end = rest.iter().take(LONGEST).position(|&b| b == b'\n');
        let line = end.and_then(|n| std::str::from_utf8(&rest[..n]).ok());
        let Some(line) = line else { return Err(self.broken("a name does not end")) };
        self.at += line.len() + 1;
        Ok(line.to_string())
    }

    fn long(&mut self) -> Result<(), Diagnostics> {
        let n = self.take(1)?[0];
        let bytes = self.take(n.into())?.to_vec();
        if bytes.len() > 8 {
            return self.push_object(Object::Long(bytes));
        }
        // Little-endian two's complement: the last byte gives the sign.
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(&bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    fn limit(&self, n: usize, most: usize) -> Result<(), Diagnostics> {
        if n <= most {
            return Ok(());
        }
        let d = Diagnostic::error("E0801", format!("the pickle makes or uses more than {most} objects"));
        let d = d.class(Class::Limit).at(Place::Byte(self.op_at as u64), "");
        Err(d.help("a state dict needs far fewer: save `model.state_dict()` alone").into())
    }

    /// Counts values before they are pushed or copied.
    fn count(&mut self, n: usize) -> Result<(), Diagnostics> {
        self.values += n;
        self.limit(self.values, MAX_VALUES)
    }

    fn push(&mut self, v: Value) -> Result<(), Diagnostics> {
        self.count(1)?;
        self.stack.push(v);
        Ok(())
    }

    fn push_object(&mut self, o: Object) -> Result<(), Diagnostics> {
        self.limit(self.objects.len() + 1, MAX_OBJECTS)?;
        self.objects.push(o);
        self.push(Value::Object(self.objects.len() as u32 - 1))
    }

    /// The topmost value above the last mark.
    fn top(&self) -> Result<Value, Diagnostics> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..].last().copied().ok_or_else(|| self.broken("the stack is empty"))
    }

    fn pop(&mut self) -> Result<Value, Diagnostics> {
        let v = self.top()?;
        self.stack.pop();
        Ok(v)
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>, Diagnostics> {
        match self.marks.pop() {
            Some(from) => Ok(self.stack.split_off(from)),
            None => Err(self.broken("a mark is missing")),
        }
    }

    fn object(&self, v: Value) -> Option<&Object> {
        match v {
            Value::Object(i) => self.objects.get(i as usize),
            _ => None,
        }
    }

    fn object_mut(&mut self, v: Value) -> Option<&mut Object> {
        match v {
            Value::Object(i) => self.objects.get_mut(i as usize),
            _ => None,
        }
    }

    fn str(&self, v: Value) -> Option<&str> {
        match self.object(v) {
            Some(Object::Str(s)) => Some(s),
            _ => None,
        }
    }

    /// The items of a tuple or list.
    fn items(&self, v: Value) -> Option<&[Value]> {
        match self.object(v) {
            Some(Object::Tuple(t) | Object::List(t)) => Some(t),
            _ => None,
        }
    }

    /// The numbers of a shape or of strides, none negative.
    fn numbers(&self, v: Value) -> Option<Vec<u64>> {
        let numbers = self.items(v).filter(|n| n.len() <= MAX_RANK)?;
        numbers.iter().copied().map(number).collect()
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), Diagnostics> {
        let list = self.top()?;
        match self.object_mut(list) {
            Some(Object::List(l)) => l.extend(items),
            Some(Object::Opaque) => {}
            _ => return Err(self.broken("items are appended to something that is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Value]) -> Result<(), Diagnostics> {
        let dict = self.top()?;
        let pairs = items.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err(self.broken("a key has no value"));
        }
        match self.object_mut(dict) {
            Some(Object::Dict(d)) => d.extend(pairs.map(|p| (p[0], p[1]))),
            Some(Object::Opaque) => {}
            _ => return Err(self.broken("items are set on something that is no dict")),
        }
        Ok(())
    }

    fn memoise(&mut self, i: u32) -> Result<(), Diagnostics> {
        let top = self.top()?;
        self.memo.insert(i, top);
        self.limit(self.memo.len(), MAX_OBJECTS)
    }

    fn recall(&mut self, i: u32) -> Result<(), Diagnostics> {
        match self.memo.get(&i) {
            Some(&v) => self.push(v),
            None => Err(self.broken(format!("it refers to object {i}, which is not there"))),
        }
    }

    fn broken(&self, text: impl Into<String>) -> Diagnostics {
        malformed(self.op_at, text)
    }
}

fn number(v: Value) -> Option<u64> {
    match v {
        Value::Int(i) => u64::try_from(i).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_data() {
        // {'a': (1, 2.0, None), 'b': [True, 300]} of protocol 2, with memo entries
        let p = b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01G@\x00\x00\x00\x00\x00\x00\x00N\x87X\x01\x00\x00\x00b](\x88M\x2c\x01eu.";
        let r = run(p, 0).unwrap();
        let d = r.dict(r.root).unwrap();
        assert_eq!(r.str(d[0].0), Some("a"));
        assert_eq!(r.get(d[0].1), Some(&Object::Tuple(vec![Value::Int(1), Value::Float(2.0), Value::None])));
        assert_eq!(r.get(d[1].1), Some(&Object::List(vec![Value::Bool(true), Value::Int(300)])));
        assert_eq!(r.end, p.len());
        for n in 0..p.len() {
            assert!(run(&p[..n], 0).is_err(), "{n} bytes");
        }
    }

    #[test]
    fn negative_and_long_integers() {
        assert_eq!(run(b"\x80\x02\x8a\x02\x00\xff.", 0).unwrap().root, Value::Int(-256));
        assert_eq!(run(b"\x80\x02\x8a\x00.", 0).unwrap().root, Value::Int(0));
        let r = run(b"\x80\x02\x8a\x09\x01\x02\x03\x04\x05\x06\x07\x08\x09.", 0).unwrap();
        assert!(matches!(r.get(r.root), Some(Object::Long(b)) if b.len() == 9));
    }

    #[test]
    fn code_and_classes_are_refused_by_name() {
        let e = run(b"cos\nsystem\n(S'true'\ntR.", 0).unwrap_err();
        assert!(e.0[0].code == "E0316" && e.to_string().contains("os.system"), "{e}");
        let e = run(b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", 0).unwrap_err();
        assert!(e.to_string().contains("posix.system"), "{e}");
        let e = run(b"\x80\x02ctorchvision.models.resnet\nResNet\n)\x81.", 0).unwrap_err();
        assert_eq!(e.0[0].code, "E0317");
        let e = run(b"\x80\x02ccopyreg\n_reconstructor\n.", 0).unwrap_err();
        assert_eq!(e.0[0].code, "E0316");
    }

    #[test]
    fn refused_opcodes_are_named() {
        for (p, name) in
            [(&b"I1\n."[..], "INT"), (b"S'x'\n.", "STRING"), (b"(i__main__\nX\n.", "INST"), (b"\x92.", "NEWOBJ_EX")]
        {
            let e = run(p, 0).unwrap_err();
            assert!(e.to_string().contains(name), "{e}");
        }
    }

    #[test]
    fn misuse_is_malformed() {
        for p in
            [&b"."[..], b"0.", b"t.", b"(0.", b"Na.", b"NNs.", b"}(NNNu.", b"NQ.", b"Nb.", b"NNR.", b"h\x07.", b"\xff"]
        {
            assert_eq!(run(p, 0).unwrap_err().0[0].code, "E0314", "{p:?}");
        }
    }

    #[test]
    fn objects_are_limited() {
        let mut p = vec![b']'; MAX_OBJECTS + 1];
        p.push(b'.');
        assert_eq!(run(&p, 0).unwrap_err().0[0].code, "E0801");
        // A single list, of a thousand items more each time.
        let items = [b"(".as_slice(), &[b'N'; 1000], b"e"].concat();
        let long = [b"]".as_slice(), &items.repeat(MAX_VALUES / 1000 + 1), b"."].concat();
        assert_eq!(run(&long, 0).unwrap_err().0[0].code, "E0801");
    }
}
