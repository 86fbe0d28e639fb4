//! Runs a kernel, task after task, and checks every access while it does.
//!
//! A run ends in a diagnostic where
//! - an index leaves its dimension, through any chain of views (E0691);
//! - an element of scratch is read that this task has not written, or an element of an `out` parameter that
//!   this task has not written (E0692);
//! - two tasks touch the same element of an `out` or `inout` parameter and at least one writes it (E0693);
//! - an element of an `out` parameter has not been written in the end (E0694, can be switched off).
//!
//! With these checks the order of tasks cannot show in the result; [`run_in_any_order`] looks nevertheless.

mod arith;
mod resolve;

use super::elements::{decode, encode, from_integer};
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::entity::{Buf, Var};
use crate::kernel::verify::structure;
use crate::kernel::{Kernel, Role};
use cranelift_entity::{EntityRef, SecondaryMap};
use resolve::{Access, Code, Form, Lanes, Resolved};

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Last task first.
    pub reversed: bool,
    /// Every byte of scratch and of `out` parameters before the run. 0xff makes floats NaN.
    pub fill: u8,
    /// Whether the kernel must write every element of its `out` parameters.
    pub complete: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { reversed: false, fill: 0, complete: true }
    }
}

/// Runs all tasks. `inputs` are the `In` and `InOut` parameters in order; the result holds the bytes of the
/// `Out` and `InOut` parameters in order.
///
/// Errors: E0690 for inputs that do not fit, the structural rules of the verifier, and the faults listed in the
/// [module doc](self).
pub fn run(k: &Kernel, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, Diagnostics> {
    run_with(k, inputs, Options::default())
}

/// Runs twice, tasks forwards on zeros and backwards on NaNs, and compares the bits (E0693).
pub fn run_in_any_order(k: &Kernel, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, Diagnostics> {
    let forwards = run(k, inputs)?;
    let backwards = run_with(k, inputs, Options { reversed: true, fill: 0xff, complete: true })?;
    if forwards != backwards {
        return Err(fault(k, "E0693", "the result depends on the order of tasks or on memory before the run".into()));
    }
    Ok(forwards)
}

/// [`run`] with options.
pub fn run_with(k: &Kernel, inputs: &[&[u8]], options: Options) -> Result<Vec<Vec<u8>>, Diagnostics> {
    structure::check(k).into_result(())?;
    let code = Resolved::new(k);
    let mut m = Machine::new(k, &code, inputs, options)?;
    for i in 0..k.tasks {
        m.task = if options.reversed { k.tasks - 1 - i } else { i };
        m.set(k.task_var, m.task)?;
        m.block(&code.body)?;
    }
    m.finish(options)
}

/// A buffer's elements and who touched them.
#[derive(Clone, Default)]
struct Memory {
    values: Vec<f64>,
    strides: Vec<i64>,
    /// Per element the task that wrote it last, or [`NOBODY`]. Empty for `In`.
    writer: Vec<i64>,
    /// Per element the task that read it from before the run, [`NOBODY`] or [`SEVERAL`]. `InOut` only.
    reader: Vec<i64>,
}

const NOBODY: i64 = -1;
const SEVERAL: i64 = -2;

struct Machine<'a> {
    k: &'a Kernel,
    code: &'a Resolved,
    task: i64,
    /// Values of variables, then of the derived terms of [`Resolved`].
    slots: Vec<i64>,
    /// Lanes of all registers one after the other.
    regs: Vec<f64>,
    /// Parameters and scratch.
    memory: SecondaryMap<Buf, Memory>,
    /// Where a view begins: the buffer at the end of its chain, and the index there.
    views: SecondaryMap<Buf, (Buf, Vec<i64>)>,
    /// Variables of the loops that run, outermost first.
    open: Vec<Var>,
}

fn fault(k: &Kernel, code: &'static str, message: String) -> Diagnostics {
    Diagnostic::error(code, format!("kernel @{}: {message}", k.name)).into()
}

impl<'a> Machine<'a> {
    fn new(k: &'a Kernel, code: &'a Resolved, inputs: &[&[u8]], o: Options) -> Result<Machine<'a>, Diagnostics> {
        let mut m = Machine {
            k,
            code,
            task: 0,
            slots: vec![0; code.slots],
            regs: vec![0.0; code.lanes],
            memory: SecondaryMap::new(),
            views: SecondaryMap::with_default((Buf::new(0), Vec::new())),
            open: vec![k.task_var],
        };
        let mut inputs = inputs.iter();
        for (buf, decl) in k.bufs.iter().filter(|(_, d)| d.role != Role::View) {
            let filled;
            let bytes = match decl.role {
                Role::In | Role::InOut => match inputs.next() {
                    Some(b) if b.len() as u64 == decl.len_bytes() => *b,
                    Some(b) => {
                        let message =
                            format!("%{} holds {} bytes, the input has {}", decl.name, decl.len_bytes(), b.len());
                        return Err(fault(k, "E0690", message));
                    }
                    None => return Err(fault(k, "E0690", format!("there is no input for %{}", decl.name))),
                },
                _ => {
                    filled = vec![o.fill; decl.len_bytes() as usize];
                    &filled[..]
                }
            };
            let values = decode(decl.dtype, bytes);
            let marks = |wanted: bool| if wanted { vec![NOBODY; values.len()] } else { Vec::new() };
            m.memory[buf] = Memory {
                strides: decl.strides(),
                writer: marks(decl.role != Role::In),
                reader: marks(decl.role == Role::InOut),
                values,
            };
            m.views[buf] = (buf, vec![0; decl.shape.len()]);
        }
        match inputs.next() {
            Some(_) => Err(fault(k, "E0690", "there are more inputs than parameters".into())),
            None => Ok(m),
        }
    }

    fn finish(mut self, o: Options) -> Result<Vec<Vec<u8>>, Diagnostics> {
        let mut out = Vec::new();
        for &buf in &self.k.params {
            let decl = &self.k.bufs[buf];
            let memory = std::mem::take(&mut self.memory[buf]);
            if decl.role == Role::Out
                && o.complete
                && let Some(missing) = memory.writer.iter().position(|&w| w == NOBODY)
            {
                let at = unflatten(missing as i64, &memory.strides);
                return Err(fault(self.k, "E0694", format!("element {at:?} of %{} is never written", decl.name)));
            }
            if decl.role != Role::In {
                out.push(encode(decl.dtype, &memory.values));
            }
        }
        Ok(out)
    }

    /// A fault with the values of all running variables.
    fn fault(&self, code: &'static str, message: String) -> Diagnostics {
        let vars: Vec<String> =
            self.open.iter().map(|&v| format!("%{}={}", self.k.vars[v], self.slots[v.index()])).collect();
        fault(self.k, code, format!("{message} ({})", vars.join(", ")))
    }

    fn eval(&self, f: &Form) -> Result<i64, Diagnostics> {
        let sum = f
            .terms
            .iter()
            .fold(i128::from(f.constant), |sum, &(c, slot)| sum + i128::from(c) * i128::from(self.slots[slot]));
        i64::try_from(sum).map_err(|_| {
            Diagnostics::from(
                Diagnostic::error("E0691", format!("kernel @{}: the index {sum} is out of reach", self.k.name))
                    .class(Class::Limit),
            )
        })
    }

    /// Sets a variable and the derived terms that change with it.
    fn set(&mut self, v: Var, value: i64) -> Result<(), Diagnostics> {
        self.slots[v.index()] = value;
        for d in &self.code.derived[v] {
            let inner = self.eval(&d.of)?;
            self.slots[d.slot] = if d.modulo { inner.rem_euclid(d.by) } else { inner.div_euclid(d.by) };
        }
        Ok(())
    }

    /// Buffer and position of the first element of an access; the others follow it.
    fn locate(&self, a: &Access) -> Result<(Buf, usize), Diagnostics> {
        let (buf, base) = &self.views[a.buf];
        let decl = &self.k.bufs[*buf];
        let mut flat = 0;
        for (d, (form, &len)) in a.at.iter().zip(&decl.shape).enumerate() {
            let first = base[d].saturating_add(self.eval(form)?);
            let last = if d + 1 == a.at.len() { first.saturating_add(i64::from(a.lanes) - 1) } else { first };
            if first < 0 || last >= len {
                let bad = if first < 0 { first } else { last };
                return Err(self.fault(
                    "E0691",
                    format!("index {d} of %{} reaches {bad}, its length is {len}", self.k.bufs[a.buf].name),
                ));
            }
            flat += first * self.memory[*buf].strides[d];
        }
        Ok((*buf, flat as usize))
    }

    fn load(&mut self, dst: &Lanes, from: &Access) -> Result<(), Diagnostics> {
        let (buf, first) = self.locate(from)?;
        let role = self.k.bufs[buf].role;
        let memory = &mut self.memory[buf];
        for i in 0..dst.len() {
            let at = first + i;
            if role != Role::In && memory.writer[at] != self.task {
                let writer = memory.writer[at];
                if role != Role::InOut {
                    return Err(self.unwritten(buf, at));
                }
                if writer != NOBODY {
                    return Err(self.shared(buf, at, writer));
                }
                let reader = &mut memory.reader[at];
                *reader = if *reader == NOBODY || *reader == self.task { self.task } else { SEVERAL };
            }
            self.regs[dst.start + i] = memory.values[at];
        }
        Ok(())
    }

    fn store(&mut self, value: &Lanes, to: &Access) -> Result<(), Diagnostics> {
        let (buf, first) = self.locate(to)?;
        let role = self.k.bufs[buf].role;
        let memory = &mut self.memory[buf];
        for i in 0..value.len() {
            let at = first + i;
            let other = |mark: i64| mark != NOBODY && mark != self.task;
            if role != Role::Scratch && other(memory.writer[at]) {
                let writer = memory.writer[at];
                return Err(self.shared(buf, at, writer));
            }
            if role == Role::InOut && other(memory.reader[at]) {
                let reader = memory.reader[at];
                return Err(self.shared(buf, at, reader));
            }
            memory.writer[at] = self.task;
            memory.values[at] = self.regs[value.start + i];
        }
        Ok(())
    }

    fn unwritten(&self, buf: Buf, at: usize) -> Diagnostics {
        let index = unflatten(at as i64, &self.memory[buf].strides);
        self.fault("E0692", format!("element {index:?} of %{} is read before it is written", self.k.bufs[buf].name))
    }

    fn shared(&self, buf: Buf, at: usize, other: i64) -> Diagnostics {
        let index = unflatten(at as i64, &self.memory[buf].strides);
        let other = if other == SEVERAL { "several other tasks".into() } else { format!("task {other}") };
        let (name, task) = (&self.k.bufs[buf].name, self.task);
        self.fault("E0693", format!("element {index:?} of %{name} is touched by task {task} and by {other}"))
    }

    fn block(&mut self, code: &[Code]) -> Result<(), Diagnostics> {
        for c in code {
            match c {
                Code::Const { dst, value } => self.regs[dst.clone()].fill(*value),
                Code::Index { dst, dtype, at } => self.regs[*dst] = from_integer(*dtype, self.eval(at)?),
                Code::Load { dst, from } => self.load(dst, from)?,
                Code::Splat { dst, a } => {
                    let x = self.regs[*a];
                    self.regs[dst.clone()].fill(x);
                }
                Code::Compute { f, dst, args } => {
                    for i in 0..dst.len() {
                        let [a, b, c] = args.map(|start| self.regs[start + i]);
                        self.regs[dst.start + i] = f(a, b, c);
                    }
                }
                Code::Select { test, dst, args } => {
                    for i in 0..dst.len() {
                        let [a, b, x, y] = args.map(|start| self.regs[start + i]);
                        self.regs[dst.start + i] = arith::select(*test, a, b, x, y);
                    }
                }
                Code::Store { value, to } => self.store(value, to)?,
                Code::View { view, of, at } => {
                    let (root, base) = self.views[*of].clone();
                    let at: Vec<i64> = at
                        .iter()
                        .zip(base)
                        .map(|(f, b)| Ok(self.eval(f)?.saturating_add(b)))
                        .collect::<Result<_, Diagnostics>>()?;
                    self.views[*view] = (root, at);
                }
                Code::For(l) => {
                    let mut from = i64::MIN;
                    for f in &l.lo {
                        from = from.max(self.eval(f)?);
                    }
                    let mut to = i64::MAX;
                    for f in &l.hi {
                        to = to.min(self.eval(f)?);
                    }
                    self.copy(&l.inits, &l.params);
                    self.open.push(l.var);
                    let mut i = from;
                    while i < to {
                        self.set(l.var, i)?;
                        self.block(&l.body)?;
                        self.copy(&l.yields, &l.params);
                        i = i.saturating_add(l.step);
                    }
                    self.open.pop();
                    self.copy(&l.params, &l.results);
                }
            }
        }
        Ok(())
    }

    /// Copies registers at the same time: sources are read before any is written.
    fn copy(&mut self, from: &[Lanes], to: &[Lanes]) {
        let values: Vec<f64> = from.iter().flat_map(|r| self.regs[r.clone()].iter().copied()).collect();
        let mut rest = &values[..];
        for r in to {
            let (head, tail) = rest.split_at(r.len());
            self.regs[r.clone()].copy_from_slice(head);
            rest = tail;
        }
    }
}

/// Index in each dimension of a flat position.
fn unflatten(mut flat: i64, strides: &[i64]) -> Vec<i64> {
    strides
        .iter()
        .map(|&s| {
            let i = flat / s.max(1);
            flat -= i * s;
            i
        })
        .collect()
}

#[cfg(test)]
mod tests;
