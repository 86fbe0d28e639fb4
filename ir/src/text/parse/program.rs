//! Programs.

use super::{Kind, MOST_PROBLEMS, Parse, Parser, Skip};
use crate::Kernel;
use crate::entity::Slot;
use crate::program::{Call, Program, SlotData, Space};
use cranelift_entity::PrimaryMap;
use std::collections::HashMap;
use std::ops::Range;

impl<'a> Parser<'a> {
    /// `@name target "T" batch N arena BYTES consts BYTES { slots, calls }`
    pub(super) fn program(&mut self) -> Parse<Program> {
        let (name, _) = self.name(Kind::Symbol, "a program name such as @resnet")?;
        self.expect("target")?;
        let (target, _) = self.string("the name of a target")?;
        self.expect("batch")?;
        let batch = self.integer("a number of images")?;
        self.expect("arena")?;
        let arena_bytes = self.integer("a number of bytes")?;
        self.expect("consts")?;
        let const_bytes = self.integer("a number of bytes")?;
        self.expect("{")?;
        let mut p = Program {
            name: name.to_string(),
            target,
            batch,
            slots: PrimaryMap::new(),
            kernels: Vec::new(),
            calls: Vec::new(),
            arena_bytes,
            const_bytes,
        };
        let mut scope: HashMap<&'a str, Slot> = HashMap::new();
        while !self.eat("}") {
            if self.peek().kind == Kind::End {
                return Err(self.expected("'}'"));
            }
            let start = self.at;
            let done = if self.eat("call") { self.call(&mut p, &scope) } else { self.slot(&mut p, &mut scope) };
            if let Err(Skip) = done {
                if self.problems.len() >= MOST_PROBLEMS {
                    break;
                }
                self.recover(start);
            }
        }
        Ok(p)
    }

    /// `%s2 = arena "name" : f32[1,8,32,32,8] at 65536 live 0..3`
    fn slot(&mut self, p: &mut Program, scope: &mut HashMap<&'a str, Slot>) -> Parse<()> {
        let (id, span) = self.name(Kind::Value, "a buffer such as %s0, or a call")?;
        self.expect("=")?;
        let (space, space_span) = self.word("input, output, arena or const")?;
        let number = matches!(space, "input" | "output").then(|| self.integer("its position")).transpose()?;
        let (name, _) = self.string("the name of a value")?;
        self.expect(":")?;
        let ty = self.tensor_type()?;
        let dims = ty.dims(p.batch);
        let space = match (space, number) {
            ("input", Some(i)) => Space::Input(i),
            ("output", Some(i)) => Space::Output(i),
            ("const", _) => {
                self.expect("at")?;
                Space::Const { offset: self.integer("an offset in bytes")? }
            }
            ("arena", _) => {
                self.expect("at")?;
                let offset = self.integer("an offset in bytes")?;
                self.expect("live")?;
                let first = self.integer("a call number")?;
                self.expect("..")?;
                Space::Arena { offset, first, last: self.integer("a call number")? }
            }
            (other, _) => {
                return Err(self.report("E0004", format!("there is no buffer of kind '{other}'"), space_span));
            }
        };
        self.end_of_statement()?;
        let slot = p.slots.push(SlotData { name, dtype: ty.dtype, dims, space });
        if scope.insert(id, slot).is_some() {
            self.report("E0008", format!("%{id} is defined twice"), span);
        }
        Ok(())
    }

    /// `call @kernel(%s0, %s1) node "name" op conv2d macs 123`
    fn call(&mut self, p: &mut Program, scope: &HashMap<&'a str, Slot>) -> Parse<()> {
        let (kernel, _) = self.name(Kind::Symbol, "a kernel such as @conv")?;
        self.expect("(")?;
        let mut args = Vec::new();
        while !self.eat(")") {
            if !args.is_empty() {
                self.expect(",")?;
            }
            let (id, span) = self.name(Kind::Value, "a buffer")?;
            match scope.get(id) {
                Some(&s) => args.push(s),
                None => return Err(self.report("E0009", format!("%{id} is not defined before this line"), span)),
            }
        }
        self.expect("node")?;
        let (node, _) = self.string("the name of a value")?;
        self.expect("op")?;
        let (op, _) = self.word("an op")?;
        self.expect("macs")?;
        let macs = self.integer("a number of multiply-adds")?;
        self.end_of_statement()?;
        // The kernel's position in the list of names; `link` fills the list.
        let index = self.callees(p, kernel);
        p.calls.push(Call { kernel: index, args, node, op: op.to_string(), macs });
        Ok(())
    }

    /// Position of `name` among the kernels that the program calls, with an empty kernel for a new one.
    fn callees(&mut self, p: &mut Program, name: &str) -> usize {
        p.kernels.iter().position(|k| k.name == name).unwrap_or_else(|| {
            p.kernels.push(crate::kernel::KernelBuilder::new(name).finish());
            p.kernels.len() - 1
        })
    }

    /// Puts the kernels of the file in place of their names.
    pub(super) fn link(&mut self, p: &mut Program, kernels: &[(Kernel, Range<usize>)], called: &mut [bool]) {
        for k in &mut p.kernels {
            match kernels.iter().position(|(other, _)| other.name == k.name) {
                Some(i) => {
                    called[i] = true;
                    *k = kernels[i].0.clone();
                }
                None => {
                    let message = format!("program @{} calls @{}, which is not in the file", p.name, k.name);
                    self.report("E0009", message, 0..0);
                }
            }
        }
    }
}
