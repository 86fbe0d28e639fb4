//! One kernel as one Cranelift function.
//!
//! Loops are rotated: a test before the first trip (none if the bounds are constants), and one at the end of the
//! body. Carried registers are block parameters, one for each piece.

use super::address::{Addresses, Place};
use super::{exp, lanes, target::Machine};
use crate::internal_one;
use cranelift::codegen::Context;
use cranelift::codegen::control::ControlPlane;
use cranelift::codegen::ir::{BlockArg, Function};
use cranelift::codegen::isa::CallConv;
use cranelift::prelude::*;
use ir::diag::Class;
use ir::entity::{Buf, Reg};
use ir::kernel::{Affine, Expr, For, Role, Stmt, UnOp};
use ir::{Diagnostic, Kernel};
use std::collections::HashMap;

/// Machine code of one kernel, without relocations.
pub struct Code {
    pub bytes: Vec<u8>,
    pub align: u64,
}

/// `void kernel(unsigned char *const *params, int64_t lo, int64_t hi, unsigned char *scratch)`
pub fn signature(call_conv: CallConv) -> Signature {
    let mut s = Signature::new(call_conv);
    s.params.extend([AbiParam::new(types::I64); 4]);
    s
}

pub fn compile(kernel: &Kernel, machine: &Machine) -> Result<Code, Diagnostic> {
    let isa = machine.isa();
    let mut context = Context::for_function(function(kernel, machine)?);
    let compiled = context
        .compile(&*isa, &mut ControlPlane::default())
        .map_err(|e| internal_one("E0701", format!("kernel `{}`: {:?}", kernel.name, e.inner)))?;
    if let Some(r) = compiled.buffer.relocs().first() {
        return Err(internal_one("E0701", format!("kernel `{}` would call out of itself: {r:?}", kernel.name)));
    }
    let align = u64::from(compiled.buffer.alignment.max(isa.function_alignment().preferred));
    Ok(Code { bytes: compiled.code_buffer().to_vec(), align })
}

fn function(kernel: &Kernel, machine: &Machine) -> Result<Function, Diagnostic> {
    let isa = machine.isa();
    let mut function = Function::new();
    function.signature = signature(isa.default_call_conv());
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut function, &mut context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let [params, lo, hi, scratch] = *b.block_params(entry) else {
        return Err(internal_one("E0701", "the entry block lost its parameters"));
    };

    let mut places = HashMap::new();
    for (i, &buf) in kernel.params.iter().enumerate() {
        let flags = MemFlagsData::trusted().with_readonly();
        places.insert(buf, Place { base: b.ins().load(types::I64, flags, params, 8 * i as i32), offset: 0 });
    }
    for (buf, offset) in kernel.scratch_offsets() {
        places.insert(buf, Place { base: scratch, offset: offset as i64 });
    }

    let (body, exit) = (b.create_block(), b.create_block());
    let task = b.append_block_param(body, types::I64);
    let any = b.ins().icmp(IntCC::SignedLessThan, lo, hi);
    b.ins().brif(any, body, &[lo.into()], exit, &[]);
    b.switch_to_block(body);
    let mut e = Emitter { b, kernel, machine, places, regs: HashMap::new(), addresses: Addresses::default() };
    e.addresses.enter(kernel.task_var, task);
    e.stmts(&kernel.body)?;
    let mut b = e.b;
    let next = b.ins().iadd_imm_s(task, 1);
    let more = b.ins().icmp(IntCC::SignedLessThan, next, hi);
    b.ins().brif(more, body, &[next.into()], exit, &[]);
    b.switch_to_block(exit);
    b.ins().return_(&[]);
    b.seal_all_blocks();
    b.finalize(isa.frontend_config());
    Ok(function)
}

struct Emitter<'a> {
    b: FunctionBuilder<'a>,
    kernel: &'a Kernel,
    machine: &'a Machine,
    places: HashMap<Buf, Place>,
    regs: HashMap<Reg, Vec<Value>>,
    addresses: Addresses,
}

impl Emitter<'_> {
    fn stmts(&mut self, stmts: &[Stmt]) -> Result<(), Diagnostic> {
        for s in stmts {
            match s {
                Stmt::Let { dst, expr } => {
                    let values = self.expr(*dst, expr)?;
                    self.regs.insert(*dst, values);
                }
                Stmt::Store { buf, at, value } => self.store(*buf, at, *value),
                Stmt::View { view, of, at, opaque: _ } => {
                    let place = self.locate(*of, at);
                    self.places.insert(*view, place);
                }
                Stmt::Prefetch { .. } => {} // Cranelift has no such instruction
                Stmt::For(f) => self.for_(f)?,
            }
        }
        Ok(())
    }

    fn pieces_of(&self, r: Reg) -> Vec<Type> {
        lanes::pieces(self.kernel.regs[r])
    }

    fn expr(&mut self, dst: Reg, expr: &Expr) -> Result<Vec<Value>, Diagnostic> {
        let ty = self.kernel.regs[dst];
        let types = self.pieces_of(dst);
        let b = &mut self.b;
        Ok(match expr {
            Expr::Const(c) => types.into_iter().map(|t| lanes::constant(b, t, *c)).collect(),
            Expr::Index(a) => {
                let v = self.addresses.value(b, a);
                let t = lanes::scalar(ty.dtype);
                let v = if ty.dtype.is_float() { b.ins().fcvt_from_sint(t, v) } else { b.ins().ireduce(t, v) };
                vec![v]
            }
            Expr::Load { buf, at } => self.load(*buf, at, &types),
            Expr::Splat(r) => {
                let scalar = self.regs[r][0];
                let (mut wide, mut out) = (None, Vec::with_capacity(types.len()));
                for t in types {
                    out.push(if t.is_vector() {
                        *wide.get_or_insert_with(|| lanes::splat(b, t, scalar))
                    } else {
                        scalar
                    });
                }
                out
            }
            Expr::Un(UnOp::Exp, a) if ty.dtype.is_float() => {
                self.regs[a].iter().map(|&v| exp::exp(b, self.machine, v)).collect()
            }
            Expr::Un(UnOp::Log, a) if ty.dtype.is_float() => {
                self.regs[a].iter().map(|&v| exp::log(b, self.machine, v)).collect()
            }
            Expr::Un(op, a) => self.regs[a]
                .iter()
                .map(|&v| lanes::un(b, *op, ty.dtype, v))
                .collect::<Option<_>>()
                .ok_or_else(|| self.lacks(op.name(), ty.dtype))?,
            Expr::Bin(op, x, y) => self.regs[x]
                .iter()
                .zip(&self.regs[y])
                .map(|(&x, &y)| lanes::bin(b, *op, ty.dtype, x, y))
                .collect::<Option<_>>()
                .ok_or_else(|| self.lacks(op.name(), ty.dtype))?,
            Expr::Fma(x, y, z) if ty.dtype.is_float() => {
                let (x, y, z) = (&self.regs[x], &self.regs[y], &self.regs[z]);
                let fused = self.machine.has_fma;
                (0..types.len()).map(|i| lanes::fma(b, fused, x[i], y[i], z[i])).collect()
            }
            Expr::Fma(..) => return Err(self.lacks("fma", ty.dtype)),
            Expr::Select(test, args) => {
                let args = args.map(|r| &self.regs[&r]);
                (0..types.len()).map(|i| lanes::choose(b, *test, ty.dtype, args.map(|v| v[i]))).collect()
            }
            Expr::Convert(a) => lanes::convert(b, self.kernel.regs[*a], ty.dtype, &self.regs[a]),
        })
    }

    fn lacks(&self, op: &str, dtype: ir::DType) -> Diagnostic {
        Diagnostic::error("E0703", format!("kernel `{}`: there is no `{op}` for {dtype}", self.kernel.name))
            .class(Class::Unsupported)
    }

    /// Address of an element; its constant part stays an offset.
    fn locate(&mut self, buf: Buf, at: &[Affine]) -> Place {
        let bytes = self.byte_offset(buf, at);
        let of = self.places[&buf];
        let base = self.addresses.address(&mut self.b, of.base, &bytes, false);
        Place { base, offset: of.offset + bytes.offset() }
    }

    fn byte_offset(&self, buf: Buf, at: &[Affine]) -> Affine {
        let decl = &self.kernel.bufs[buf];
        Addresses::bytes(at, &decl.strides(), decl.dtype.bytes() as i64)
    }

    /// As [`locate`](Self::locate), with an offset that `bytes` more fit into an instruction's 32 bits.
    fn locate_near(&mut self, buf: Buf, at: &[Affine], bytes: i64) -> (Value, i32) {
        let place = self.locate(buf, at);
        match i32::try_from(place.offset + bytes) {
            Ok(_) if place.offset >= i64::from(i32::MIN) => (place.base, place.offset as i32),
            _ => (self.b.ins().iadd_imm_s(place.base, place.offset), 0),
        }
    }

    fn load(&mut self, buf: Buf, at: &[Affine], types: &[Type]) -> Vec<Value> {
        let len = types.iter().map(|t| i64::from(t.bytes())).sum();
        let (base, mut offset) = self.locate_near(buf, at, len);
        let mut out = Vec::with_capacity(types.len());
        for &t in types {
            out.push(self.b.ins().load(t, memory(), base, offset));
            offset += t.bytes() as i32;
        }
        out
    }

    fn store(&mut self, buf: Buf, at: &[Affine], value: Reg) {
        let types = self.pieces_of(value);
        let len = types.iter().map(|t| i64::from(t.bytes())).sum();
        let (base, mut offset) = self.locate_near(buf, at, len);
        for (&v, t) in self.regs[&value].iter().zip(types) {
            self.b.ins().store(memory(), v, base, offset);
            offset += t.bytes() as i32;
        }
    }

    fn for_(&mut self, f: &For) -> Result<(), Diagnostic> {
        let constants = |bounds: &[Affine]| bounds.iter().map(Affine::as_constant).collect::<Option<Vec<_>>>();
        let known = constants(&f.lo).zip(constants(&f.hi));
        let known = known.and_then(|(lo, hi)| Some((lo.into_iter().max()?, hi.into_iter().min()?)));
        if let Some((lo, hi)) = known
            && lo >= hi
        {
            for (r, i) in f.results.iter().zip(&f.inits) {
                self.regs.insert(*r, self.regs[i].clone());
            }
            return Ok(());
        }

        let (lo, hi) = (self.bound(&f.lo, true)?, self.bound(&f.hi, false)?);
        self.hoist(&f.body);
        let (body, exit) = (self.b.create_block(), self.b.create_block());
        let var = self.b.append_block_param(body, types::I64);
        for (&p, &r) in f.params.iter().zip(&f.results) {
            for (register, block) in [(p, body), (r, exit)] {
                let types = self.pieces_of(register);
                let values = types.into_iter().map(|t| self.b.append_block_param(block, t)).collect();
                self.regs.insert(register, values);
            }
        }
        let inits = self.args(&f.inits);
        let first: Vec<BlockArg> = std::iter::once(lo.into()).chain(inits.iter().copied()).collect();
        if known.is_some() {
            self.b.ins().jump(body, &first);
        } else {
            let any = self.b.ins().icmp(IntCC::SignedLessThan, lo, hi);
            self.b.ins().brif(any, body, &first, exit, &inits);
        }

        self.b.switch_to_block(body);
        self.addresses.enter(f.var, var);
        self.stmts(&f.body)?;
        self.addresses.leave(f.var);
        let yields = self.args(&f.yields);
        let next = self.b.ins().iadd_imm_s(var, f.step);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, next, hi);
        let again: Vec<BlockArg> = std::iter::once(next.into()).chain(yields.iter().copied()).collect();
        self.b.ins().brif(more, body, &again, exit, &yields);
        self.b.switch_to_block(exit);
        Ok(())
    }

    fn args(&self, regs: &[Reg]) -> Vec<BlockArg> {
        regs.iter().flat_map(|r| &self.regs[r]).map(|&v| v.into()).collect()
    }

    /// The largest (or smallest) of several bounds.
    fn bound(&mut self, bounds: &[Affine], largest: bool) -> Result<Value, Diagnostic> {
        let mut values = bounds.iter().map(|a| self.addresses.value(&mut self.b, a)).collect::<Vec<_>>().into_iter();
        let first = values.next().ok_or_else(|| internal_one("E0701", "a loop without bounds"))?;
        Ok(values.fold(first, |a, v| if largest { self.b.ins().smax(a, v) } else { self.b.ins().smin(a, v) }))
    }

    /// Computes ahead of a loop what its addresses start from, so that the body adds only what changes in it.
    fn hoist(&mut self, body: &[Stmt]) {
        for s in body {
            match s {
                Stmt::Let { expr: Expr::Load { buf, at }, .. }
                | Stmt::Store { buf, at, .. }
                | Stmt::View { of: buf, at, .. } => {
                    // A view that the body defines has no place yet.
                    let defined_here = self.kernel.bufs[*buf].role == Role::View && !self.places.contains_key(buf);
                    if !defined_here {
                        let (base, bytes) = (self.places[buf].base, self.byte_offset(*buf, at));
                        self.addresses.address(&mut self.b, base, &bytes, true);
                    }
                }
                Stmt::For(f) => self.hoist(&f.body),
                Stmt::Let { .. } | Stmt::Prefetch { .. } => {}
            }
        }
    }
}

/// Accesses are proven in bounds; they are aligned to their elements only.
fn memory() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}
