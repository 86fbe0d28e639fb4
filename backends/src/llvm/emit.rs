//! Kernel statements → LLVM instructions.
//!
//! Loops are rotated (test at the bottom); a loop that may run zero times has a guard in front, and whether it
//! may is decided by the ranges of the variables. A loop with constant bounds and one trip is no loop.
//!
//! An instruction stands where the kernel says; only address arithmetic moves outwards (`address`).

use crate::llvm::address::{Addresses, Place};
use crate::llvm::range::Range;
use crate::llvm::value::{Built, Values};
use cranelift_entity::SecondaryMap;
use inkwell::IntPredicate;
use inkwell::basic_block::BasicBlock;
use inkwell::builder::Builder;
use inkwell::intrinsics::Intrinsic;
use inkwell::values::{
    BasicMetadataValueEnum, BasicValue, BasicValueEnum, FunctionValue, InstructionValue, IntValue, PhiValue,
    PointerValue,
};
use ir::Kernel;
use ir::entity::{Buf, Reg};
use ir::kernel::{Affine, Expr, For, Stmt};

/// Emits the body of one task into one function.
pub struct Emitter<'c, 'm> {
    b: Builder<'c>,
    values: Values<'c, 'm>,
    kernel: &'m Kernel,
    function: FunctionValue<'c>,
    addresses: Addresses<'c>,
    regs: SecondaryMap<Reg, Option<BasicValueEnum<'c>>>,
    places: SecondaryMap<Buf, Option<Place<'c>>>,
    /// Inside a loop that has all vector registers.
    is_full: bool,
}

impl<'c, 'm> Emitter<'c, 'm> {
    /// `b` stands in the first block of `function`.
    pub fn new(
        b: Builder<'c>,
        values: Values<'c, 'm>,
        kernel: &'m Kernel,
        function: FunctionValue<'c>,
    ) -> Emitter<'c, 'm> {
        let addresses = Addresses::new(values.cx);
        let (regs, places) = (SecondaryMap::new(), SecondaryMap::new());
        Emitter { b, values, kernel, function, addresses, regs, places, is_full: false }
    }

    /// Says where a parameter or scratch buffer is.
    pub fn define_buffer(&mut self, buf: Buf, p: PointerValue<'c>, align: u64) {
        p.set_name(&self.kernel.bufs[buf].name);
        self.places[buf] = Some(self.addresses.place(p, align, 0));
    }

    /// Emits the kernel's body for task `t`, and the return.
    pub fn task(mut self, t: IntValue<'c>) -> Built<()> {
        self.addresses.define(self.kernel.task_var, t, Range { lo: 0, hi: self.kernel.tasks - 1 });
        self.block(&self.kernel.body)?;
        self.b.build_return(None)?;
        Ok(())
    }

    fn block(&mut self, stmts: &[Stmt]) -> Built<()> {
        for s in stmts {
            match s {
                Stmt::Let { dst, expr } => {
                    let v = self.expr(*dst, expr)?;
                    self.regs[*dst] = Some(v);
                }
                Stmt::Store { buf, at, value } => {
                    let (p, align) = self.address(*buf, at)?;
                    let store = self.b.build_store(p, self.reg(*value))?;
                    set_alignment(store, align);
                }
                Stmt::View { view, of, at, opaque } => self.view(*view, *of, at, *opaque)?,
                Stmt::Prefetch { buf, at } => {
                    let (p, _) = self.address(*buf, at)?;
                    self.prefetch(p)?;
                }
                Stmt::For(f) => self.for_(f)?,
            }
        }
        Ok(())
    }

    fn reg(&self, r: Reg) -> BasicValueEnum<'c> {
        self.regs[r].expect("invariant: the kernel verifier checks that registers are defined")
    }

    fn expr(&mut self, dst: Reg, expr: &Expr) -> Built<BasicValueEnum<'c>> {
        let ty = self.kernel.regs[dst];
        match expr {
            Expr::Const(c) => Ok(self.values.constant(ty, *c)),
            Expr::Index(a) => {
                let i = self.addresses.value(&self.b, a)?;
                self.values.index(&self.b, i, ty)
            }
            Expr::Load { buf, at } => {
                let (p, align) = self.address(*buf, at)?;
                let v = self.b.build_load(self.values.ty(ty), p, "")?;
                set_alignment(v.as_instruction_value().expect("invariant: a load is an instruction"), align);
                Ok(v)
            }
            Expr::Splat(a) if ty.lanes == 1 => Ok(self.reg(*a)),
            Expr::Splat(a) => self.values.splat(&self.b, self.reg(*a), ty.lanes),
            Expr::Un(op, a) => self.values.unary(&self.b, ty, *op, self.reg(*a)),
            Expr::Bin(op, a, c) => self.values.binary(&self.b, ty, *op, self.reg(*a), self.reg(*c)),
            Expr::Fma(a, c, d) => self.values.fma(&self.b, ty, self.reg(*a), self.reg(*c), self.reg(*d)),
            Expr::Select(test, args) => self.values.select(&self.b, ty, *test, args.map(|r| self.reg(r))),
            Expr::Convert(a) => self.values.convert(&self.b, self.reg(*a), self.kernel.regs[*a], ty),
        }
    }

    fn place(&self, buf: Buf) -> &Place<'c> {
        self.places[buf].as_ref().expect("invariant: the kernel verifier checks that buffers are in scope")
    }

    /// Distance in bytes of element `at` from element 0 of `buf`.
    fn bytes(&self, buf: Buf, at: &[Affine]) -> Affine {
        let decl = &self.kernel.bufs[buf];
        let size = decl.dtype.bytes().cast_signed();
        at.iter().zip(decl.strides()).fold(Affine::default(), |sum, (a, stride)| sum + a * (stride * size))
    }

    fn address(&mut self, buf: Buf, at: &[Affine]) -> Built<(PointerValue<'c>, u64)> {
        let bytes = self.bytes(buf, at);
        let place = self.place(buf).clone();
        let (p, align) = self.addresses.address(&self.b, &place, &bytes)?;
        Ok((p, align))
    }

    /// An opaque view launders the variable part of its address: an empty assembly statement returns its
    /// operand, and LLVM must assume any other pointer. It costs at most a register move. The constant part stays
    /// outside, where it is free.
    fn view(&mut self, view: Buf, of: Buf, at: &[Affine], opaque: bool) -> Built<()> {
        let bytes = self.bytes(of, at);
        let place = self.place(of).clone();
        self.places[view] = Some(if opaque && self.values.machine.launders_views() {
            let (p, align, constant) = self.addresses.variable_base(&self.b, &place, &bytes)?;
            let ptr = p.get_type();
            let ty = ptr.fn_type(&[ptr.into()], false);
            let nothing = self.values.cx.create_inline_asm(ty, String::new(), "=r,0".into(), false, false, None, false);
            let p = self.b.build_indirect_call(ty, nothing, &[p.into()], "")?.try_as_basic_value().unwrap_basic();
            self.addresses.place(p.into_pointer_value(), align, constant)
        } else {
            Place { offset: &place.offset + bytes, ..place }
        });
        Ok(())
    }

    /// For reading, to be kept in every cache level.
    fn prefetch(&self, p: PointerValue<'c>) -> Built<()> {
        let f = Intrinsic::find("llvm.prefetch")
            .and_then(|i| i.get_declaration(self.values.module, &[p.get_type().into()]))
            .expect("invariant: LLVM 22 has llvm.prefetch");
        let i32t = self.values.cx.i32_type();
        let flag = |n| BasicMetadataValueEnum::from(i32t.const_int(n, false));
        self.b.build_call(f, &[p.into(), flag(0), flag(3), flag(1)], "")?;
        Ok(())
    }

    fn for_(&mut self, f: &For) -> Built<()> {
        let lo: Vec<Affine> = f.lo.iter().map(|a| self.addresses.resolve(a)).collect();
        let hi: Vec<Affine> = f.hi.iter().map(|a| self.addresses.resolve(a)).collect();
        match trips(&lo, &hi, f.step) {
            Some((_, 0)) => {
                for (&r, &init) in f.results.iter().zip(&f.inits) {
                    self.regs[r] = Some(self.reg(init));
                }
                Ok(())
            }
            Some((first, 1)) => {
                self.addresses.define_constant(f.var, first);
                for (&p, &init) in f.params.iter().zip(&f.inits) {
                    self.regs[p] = Some(self.reg(init));
                }
                self.block(&f.body)?;
                for (&r, &y) in f.results.iter().zip(&f.yields) {
                    self.regs[r] = Some(self.reg(y));
                }
                Ok(())
            }
            _ => self.looping(f, &lo, &hi),
        }
    }

    fn looping(&mut self, f: &For, lo: &[Affine], hi: &[Affine]) -> Built<()> {
        let cx = self.values.cx;
        let first = self.tightest("llvm.smax", lo)?;
        let end = self.tightest("llvm.smin", hi)?;
        let range = Range::of_loop(lo, hi, &self.addresses.ranges);
        let guarded = !Range::never_empty(lo, hi, &self.addresses.ranges);
        let inits: Vec<_> = f.inits.iter().map(|&r| self.reg(r)).collect();

        let before = self.here();
        let ahead = cx.append_basic_block(self.function, "loop.ahead");
        let body = cx.append_basic_block(self.function, "loop");
        let after = cx.append_basic_block(self.function, "loop.done");
        let entry = if guarded {
            let runs = self.b.build_int_compare(IntPredicate::SLT, first, end, "")?;
            self.b.build_conditional_branch(runs, ahead, after)?
        } else {
            self.b.build_unconditional_branch(ahead)?
        };
        self.b.position_at_end(ahead);
        let fills = !self.is_full && self.carries_a_tile(f);
        if fills {
            self.empty_registers()?;
        }
        self.b.build_unconditional_branch(body)?;
        self.b.position_at_end(body);
        let var = self.b.build_phi(cx.i64_type(), &self.kernel.vars[f.var])?;
        let phis = self.phis(&inits)?;
        for (&p, phi) in f.params.iter().zip(&phis) {
            self.regs[p] = Some(phi.as_basic_value());
        }
        let index = var.as_basic_value().into_int_value();
        self.addresses.enter(entry);
        self.addresses.define(f.var, index, range);
        self.is_full |= fills;
        self.block(&f.body)?;
        self.is_full &= !fills;
        self.addresses.leave();

        let step = cx.i64_type().const_int(f.step.cast_unsigned(), true);
        let next = self.b.build_int_nsw_add(index, step, "")?;
        let more = self.b.build_int_compare(IntPredicate::SLT, next, end, "")?;
        self.b.build_conditional_branch(more, body, after)?;
        let latch = self.here();
        let yields: Vec<_> = f.yields.iter().map(|&r| self.reg(r)).collect();
        var.add_incoming(&[(&first, ahead), (&next, latch)]);
        for ((phi, init), y) in phis.iter().zip(&inits).zip(&yields) {
            phi.add_incoming(&[(init, ahead), (y, latch)]);
        }
        self.b.position_at_end(after);
        let results: Vec<_> = if guarded {
            let merged = self.phis(&inits)?;
            for ((phi, init), y) in merged.iter().zip(&inits).zip(&yields) {
                phi.add_incoming(&[(init, before), (y, latch)]);
            }
            merged.iter().map(|phi| phi.as_basic_value()).collect()
        } else {
            yields
        };
        for (&r, v) in f.results.iter().zip(results) {
            self.regs[r] = Some(v);
        }
        Ok(())
    }

    /// Whether a loop carries a register tile. The smallest, on any machine, has eight vectors; one at an edge may have less.
    fn carries_a_tile(&self, f: &For) -> bool {
        let vectors = f.params.iter().filter(|&&p| self.kernel.regs[p].lanes > 1).count();
        vectors > 6
    }

    /// An empty assembly statement that overwrites all vector registers: constants of other loops, which LLVM hoists out
    /// of all of them, are read again afterwards, instead of taking registers from a tile for which there are just enough.
    fn empty_registers(&self) -> Built<()> {
        let Some(clobbers) = self.values.machine.vector_clobbers() else { return Ok(()) };
        let cx = self.values.cx;
        let ty = cx.void_type().fn_type(&[], false);
        let nothing = cx.create_inline_asm(ty, String::new(), clobbers, true, false, None, false);
        self.b.build_indirect_call(ty, nothing, &[], "")?;
        Ok(())
    }

    fn here(&self) -> BasicBlock<'c> {
        self.b.get_insert_block().expect("invariant: the builder has a position")
    }

    fn phis(&self, like: &[BasicValueEnum<'c>]) -> Built<Vec<PhiValue<'c>>> {
        like.iter().map(|v| self.b.build_phi(v.get_type(), "")).collect()
    }

    /// The value of the tightest of several bounds.
    fn tightest(&mut self, pick: &str, bounds: &[Affine]) -> Built<IntValue<'c>> {
        let i64t = self.values.cx.i64_type();
        let mut tightest: Option<IntValue> = None;
        for a in bounds {
            let v = self.addresses.value(&self.b, a)?;
            tightest = Some(match tightest {
                None => v,
                Some(t) => {
                    let f = Intrinsic::find(pick)
                        .and_then(|i| i.get_declaration(self.values.module, &[i64t.into()]))
                        .expect("invariant: LLVM 22 has llvm.smax and llvm.smin");
                    let call = self.b.build_call(f, &[t.into(), v.into()], "")?;
                    call.try_as_basic_value().unwrap_basic().into_int_value()
                }
            });
        }
        Ok(tightest.expect("invariant: the kernel verifier checks that a loop has bounds"))
    }
}

/// First index and number of trips of a loop with constant bounds.
fn trips(lo: &[Affine], hi: &[Affine], step: i64) -> Option<(i64, i64)> {
    let all = |bounds: &[Affine]| bounds.iter().map(Affine::as_constant).collect::<Option<Vec<i64>>>();
    let (lo, hi) = (all(lo)?.into_iter().max()?, all(hi)?.into_iter().min()?);
    let span = hi.saturating_sub(lo).max(0);
    Some((lo, span / step + i64::from(span % step != 0)))
}

fn set_alignment(access: InstructionValue<'_>, align: u64) {
    let align = u32::try_from(align).expect("invariant: an alignment divides 64");
    access.set_alignment(align).expect("invariant: loads and stores have a power-of-two alignment");
}
