//! The opcodes: what each does to stack, marks, memo and objects.

use super::{MAX_OBJECTS, Machine, Object, Value};
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics, Place};

impl Machine<'_> {
    /// Runs one opcode; `true` after STOP.
    pub(super) fn step(&mut self) -> Result<bool, Diagnostics> {
        self.op_at = self.at;
        let op = self.take(1)?[0];
        match op {
            0x80 => {
                let version = self.take(1)?[0];
                if version > 5 {
                    return Err(self.broken(format!("protocol {version} is unknown")));
                }
            }
            0x95 => drop(self.take(8)?),
            b'.' => return Ok(true),
            b'(' => {
                self.marks.push(self.stack.len());
                self.limit(self.marks.len(), MAX_OBJECTS)?;
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' => {
                let i = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(i.into()))?;
            }
            b'K' => {
                let [i] = self.array()?;
                self.push(Value::Int(i.into()))?;
            }
            b'M' => {
                let i = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(i.into()))?;
            }
            0x8a => self.long()?,
            b'G' => {
                let x = f64::from_be_bytes(self.array()?);
                self.push(Value::Float(x))?;
            }
            b'X' => {
                let n = u32::from_le_bytes(self.array()?);
                self.text(n.into())?;
            }
            0x8c => {
                let [n] = self.array()?;
                self.text(n.into())?;
            }
            0x8d => {
                let n = u64::from_le_bytes(self.array()?);
                self.text(n)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let name = self.import(&module, &name)?;
                self.push_object(Object::Name(name))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Some(module), Some(name)) = (self.str(module), self.str(name)) else {
                    return Err(self.broken("an import without names"));
                };
                let name = self.import(module, name)?;
                self.push_object(Object::Name(name))?;
            }
            b'R' => self.call("called")?,
            0x81 => self.call("instantiated")?,
            b'b' => {
                // State of an OrderedDict is `_metadata`, which is not needed.
                let _state = self.pop()?;
                let top = self.top()?;
                if !matches!(self.object(top), Some(Object::Dict(_) | Object::Opaque)) {
                    return Err(self.broken("state is set on something that has none"));
                }
            }
            b')' => self.push_object(Object::Tuple(Vec::new()))?,
            b't' => {
                let items = self.pop_mark()?;
                self.push_object(Object::Tuple(items))?;
            }
            0x85..=0x87 => {
                let n = usize::from(op - 0x84);
                let Some(from) = self.stack.len().checked_sub(n).filter(|f| self.marks.last().is_none_or(|m| f >= m))
                else {
                    return Err(self.broken("the stack is empty"));
                };
                let items = self.stack.split_off(from);
                self.push_object(Object::Tuple(items))?;
            }
            b']' => self.push_object(Object::List(Vec::new()))?,
            b'}' => self.push_object(Object::Dict(Vec::new()))?,
            0x8f => self.push_object(Object::Opaque)?,
            0x90 => {
                let _items = self.pop_mark()?;
                self.top()?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set_items(&items)?;
            }
            b'q' => {
                let [i] = self.array()?;
                self.memoise(i.into())?;
            }
            b'r' => {
                let i = u32::from_le_bytes(self.array()?);
                self.memoise(i)?;
            }
            0x94 => self.memoise(self.memo.len() as u32)?,
            b'h' => {
                let [i] = self.array()?;
                self.recall(i.into())?;
            }
            b'j' => {
                let i = u32::from_le_bytes(self.array()?);
                self.recall(i)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push_object(Object::Storage(storage))?;
            }
            _ => return Err(self.refuse_opcode(op)),
        }
        Ok(false)
    }

    fn refuse_opcode(&self, op: u8) -> Diagnostics {
        let Some(name) = opcode_name(op) else { return self.broken(format!("byte {op:#04x} is no instruction")) };
        let d = Diagnostic::error("E0315", format!("the pickle uses {name}, which no state dict needs"));
        let d = d.class(Class::Unsupported).at(Place::Byte(self.op_at as u64), "");
        d.help("save the state dict again with a current PyTorch, or as .safetensors").into()
    }
}

/// Opcodes that exist and are refused.
fn opcode_name(op: u8) -> Option<&'static str> {
    Some(match op {
        b'I' => "INT",
        b'L' => "LONG",
        b'F' => "FLOAT",
        b'S' => "STRING",
        b'V' => "UNICODE",
        b'T' => "BINSTRING",
        b'U' => "SHORT_BINSTRING",
        b'B' => "BINBYTES",
        b'C' => "SHORT_BINBYTES",
        b'P' => "PERSID",
        b'd' => "DICT",
        b'l' => "LIST",
        b'g' => "GET",
        b'p' => "PUT",
        b'i' => "INST",
        b'o' => "OBJ",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        0x8b => "LONG4",
        0x8e => "BINBYTES8",
        0x91 => "FROZENSET",
        0x92 => "NEWOBJ_EX",
        0x96 => "BYTEARRAY8",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => return None,
    })
}
