//! Kernels.

use super::{Kind, MOST_PROBLEMS, Parse, Parser, Skip};
use crate::Kernel;
use crate::entity::{Buf, Reg, Var};
use crate::kernel::{Affine, BinOp, BufDecl, Expr, For, KernelBuilder, Role, Stmt, Test, Ty, UnOp};
use crate::types::DType;
use std::collections::HashMap;

/// Deepest nesting of loops and of index expressions.
const DEEPEST: usize = 64;
/// Largest number of an index, so that none overflows on the way to the verifier.
const LARGEST_NUMBER: u64 = 1 << 40;

#[derive(Default)]
struct Scope<'a> {
    bufs: HashMap<&'a str, Buf>,
    vars: HashMap<&'a str, Var>,
    regs: HashMap<&'a str, Reg>,
}

impl<'a> Parser<'a> {
    /// `@name(%x: in f32[4,9], …) tasks %t in 0..N { … }`
    pub(super) fn kernel(&mut self) -> Parse<Kernel> {
        let (name, _) = self.name(Kind::Symbol, "a kernel name such as @relu")?;
        let mut k = KernelBuilder::new(name).finish();
        let mut scope = Scope::default();
        self.expect("(")?;
        while !self.eat(")") {
            if !k.params.is_empty() {
                self.expect(",")?;
            }
            let role = |p: &mut Self| -> Parse<Role> {
                let (role, span) = p.word("in, out or inout")?;
                match role {
                    "in" => Ok(Role::In),
                    "out" => Ok(Role::Out),
                    "inout" => Ok(Role::InOut),
                    _ => Err(p.report("E0004", format!("a parameter is in, out or inout, not '{role}'"), span)),
                }
            };
            let b = self.buffer(&mut k, &mut scope, role)?;
            k.params.push(b);
        }
        self.expect("tasks")?;
        let (task, _) = self.name(Kind::Value, "the task variable")?;
        scope.vars.insert(task, k.task_var);
        k.vars[k.task_var] = task.to_string();
        self.expect("in")?;
        self.expect("0")?;
        self.expect("..")?;
        k.tasks = self.integer("a number of tasks")?;
        self.expect("{")?;
        k.body = self.block(&mut k, &mut scope, 0)?.0;
        Ok(k)
    }

    /// `%x: ROLE f32[4,9]`
    fn buffer(
        &mut self,
        k: &mut Kernel,
        scope: &mut Scope<'a>,
        role: impl FnOnce(&mut Self) -> Parse<Role>,
    ) -> Parse<Buf> {
        let (name, span) = self.name(Kind::Value, "a buffer such as %x")?;
        self.expect(":")?;
        let role = role(self)?;
        let ty = self.tensor_type()?;
        let shape = ty.dims(1).into_iter().map(u64::cast_signed).collect();
        let buf = k.bufs.push(BufDecl { name: name.to_string(), dtype: ty.dtype, shape, role });
        if scope.bufs.insert(name, buf).is_some() {
            self.report("E0008", format!("%{name} is defined twice"), span);
        }
        Ok(buf)
    }

    /// Statements up to `}`, and what the block yields.
    fn block(&mut self, k: &mut Kernel, scope: &mut Scope<'a>, depth: usize) -> Parse<(Vec<Stmt>, Vec<Reg>)> {
        if depth > DEEPEST {
            return Err(self.expected(&format!("at most {DEEPEST} loops inside each other")));
        }
        let mut out = Vec::new();
        let mut yields = Vec::new();
        loop {
            if self.eat("}") {
                return Ok((out, yields));
            }
            if self.eat("yield") {
                yields = self.regs(scope)?;
                self.expect("}")?;
                return Ok((out, yields));
            }
            if self.peek().kind == Kind::End || self.problems.len() >= MOST_PROBLEMS {
                return Err(self.expected("'}'"));
            }
            let start = self.at;
            match self.kernel_statement(k, scope, depth) {
                Ok(statement) => out.extend(statement),
                Err(Skip) => self.recover(start),
            }
        }
    }

    fn regs(&mut self, scope: &Scope) -> Parse<Vec<Reg>> {
        let mut out = vec![self.reg(scope)?];
        while self.eat(",") {
            out.push(self.reg(scope)?);
        }
        Ok(out)
    }

    fn reg(&mut self, scope: &Scope) -> Parse<Reg> {
        let (name, span) = self.name(Kind::Value, "a register such as %r0")?;
        scope.regs.get(name).copied().ok_or_else(|| self.undefined(name, span))
    }

    fn buf(&mut self, scope: &Scope) -> Parse<Buf> {
        let (name, span) = self.name(Kind::Value, "a buffer such as %x")?;
        scope.bufs.get(name).copied().ok_or_else(|| self.undefined(name, span))
    }

    fn undefined(&mut self, name: &str, span: std::ops::Range<usize>) -> Skip {
        self.report("E0009", format!("%{name} is not defined before this line"), span)
    }

    fn kernel_statement(&mut self, k: &mut Kernel, scope: &mut Scope<'a>, depth: usize) -> Parse<Option<Stmt>> {
        if self.eat("scratch") {
            self.buffer(k, scope, |_| Ok(Role::Scratch))?;
            return Ok(None);
        }
        if self.eat("store") {
            let (buf, at) = self.access(scope)?;
            self.expect(",")?;
            let value = self.reg(scope)?;
            self.end_of_statement()?;
            return Ok(Some(Stmt::Store { buf, at, value }));
        }
        if self.eat("prefetch") {
            let (buf, at) = self.access(scope)?;
            self.end_of_statement()?;
            return Ok(Some(Stmt::Prefetch { buf, at }));
        }
        if self.is("for") {
            return self.for_loop(k, scope, Vec::new(), depth).map(Some);
        }
        let mut names = vec![self.name(Kind::Value, "a statement")?.0];
        while self.eat(",") {
            names.push(self.name(Kind::Value, "a result")?.0);
        }
        if self.eat(":") {
            let ty = self.ty()?;
            self.expect("=")?;
            let expr = self.expr(scope)?;
            self.end_of_statement()?;
            let dst = k.regs.push(ty);
            scope.regs.insert(names[0], dst);
            return Ok(Some(Stmt::Let { dst, expr }));
        }
        self.expect("=")?;
        if self.is("for") {
            return self.for_loop(k, scope, names, depth).map(Some);
        }
        self.expect("view")?;
        let of = self.buf(scope)?;
        self.expect("at")?;
        let at = self.indices(scope)?;
        let opaque = self.eat("opaque");
        self.end_of_statement()?;
        let decl = BufDecl { name: names[0].to_string(), role: Role::View, ..k.bufs[of].clone() };
        let view = k.bufs.push(decl);
        scope.bufs.insert(names[0], view);
        Ok(Some(Stmt::View { view, of, at, opaque }))
    }

    /// `f32x8`
    fn ty(&mut self) -> Parse<Ty> {
        let (word, span) = self.word("a register type such as f32x8")?;
        let (dtype, lanes) = word.split_once('x').unwrap_or((word, "1"));
        match (DType::from_name(dtype), lanes.parse()) {
            (Some(dtype), Ok(lanes @ 1..=256)) => Ok(Ty { dtype, lanes }),
            _ => Err(self.report("E0010", format!("there is no register type '{word}'"), span)),
        }
    }

    /// `for %i in LO..HI [step S] [carry (%a = %b, …)] { … }`
    fn for_loop(&mut self, k: &mut Kernel, scope: &mut Scope<'a>, names: Vec<&'a str>, depth: usize) -> Parse<Stmt> {
        self.expect("for")?;
        let (name, _) = self.name(Kind::Value, "a loop variable")?;
        self.expect("in")?;
        let lo = self.bound(scope, "max")?;
        self.expect("..")?;
        let hi = self.bound(scope, "min")?;
        let step = if self.eat("step") { self.integer("a step")? } else { 1 };
        let var = k.vars.push(name.to_string());
        scope.vars.insert(name, var);
        let (mut params, mut inits) = (Vec::new(), Vec::new());
        if self.eat("carry") {
            self.expect("(")?;
            while !self.eat(")") {
                if !params.is_empty() {
                    self.expect(",")?;
                }
                let (param, _) = self.name(Kind::Value, "a carried value")?;
                self.expect("=")?;
                inits.push(self.reg(scope)?);
                params.push(param);
            }
        }
        let types: Vec<Ty> = inits.iter().map(|&r| k.regs[r]).collect();
        if names.len() != types.len() {
            return Err(self.expected(&format!("{} carried values", names.len())));
        }
        let results: Vec<Reg> = types.iter().map(|&t| k.regs.push(t)).collect();
        let params: Vec<Reg> = params
            .into_iter()
            .zip(&types)
            .map(|(name, &t)| {
                let r = k.regs.push(t);
                scope.regs.insert(name, r);
                r
            })
            .collect();
        self.expect("{")?;
        let (body, yields) = self.block(k, scope, depth + 1)?;
        scope.regs.extend(names.into_iter().zip(results.iter().copied()));
        Ok(Stmt::For(Box::new(For { var, lo, hi, step, params, inits, body, yields, results })))
    }

    /// One index expression, or `max(…)` / `min(…)` of several.
    fn bound(&mut self, scope: &Scope, pick: &str) -> Parse<Vec<Affine>> {
        if !self.eat(pick) {
            return Ok(vec![self.affine(scope, 0)?]);
        }
        self.expect("(")?;
        let mut out = vec![self.affine(scope, 0)?];
        while self.eat(",") {
            out.push(self.affine(scope, 0)?);
        }
        self.expect(")")?;
        Ok(out)
    }

    /// `%x[i, j]`
    fn access(&mut self, scope: &Scope) -> Parse<(Buf, Vec<Affine>)> {
        Ok((self.buf(scope)?, self.indices(scope)?))
    }

    fn indices(&mut self, scope: &Scope) -> Parse<Vec<Affine>> {
        self.expect("[")?;
        let mut out = Vec::new();
        while !self.eat("]") {
            if !out.is_empty() {
                self.expect(",")?;
            }
            out.push(self.affine(scope, 0)?);
        }
        Ok(out)
    }

    /// `2*%i + (%t floordiv 8) - 1`
    fn affine(&mut self, scope: &Scope, depth: usize) -> Parse<Affine> {
        let mut sum = Affine::default();
        let mut sign = if self.eat("-") { -1 } else { 1 };
        loop {
            let span = self.span();
            sum = sum + self.affine_term(scope, depth)? * sign;
            if sum.magnitude() > LARGEST_NUMBER {
                return Err(self.too_large(span));
            }
            sign = if self.eat("+") {
                1
            } else if self.eat("-") {
                -1
            } else {
                return Ok(sum);
            };
        }
    }

    fn affine_term(&mut self, scope: &Scope, depth: usize) -> Parse<Affine> {
        if self.peek().kind == Kind::Word {
            let span = self.span();
            let c: i64 = self.integer("a number")?;
            let of = if self.eat("*") { self.atom(scope, depth)? } else { 1.into() };
            if c.unsigned_abs().saturating_mul(of.magnitude()) > LARGEST_NUMBER {
                return Err(self.too_large(span));
            }
            return Ok(of * c);
        }
        self.atom(scope, depth)
    }

    fn too_large(&mut self, span: std::ops::Range<usize>) -> Skip {
        self.report("E0005", "the numbers of an index are at most 2^40", span)
    }

    fn atom(&mut self, scope: &Scope, depth: usize) -> Parse<Affine> {
        if depth > DEEPEST {
            return Err(self.expected("a simpler index"));
        }
        if !self.eat("(") {
            let (name, span) = self.name(Kind::Value, "an index such as %i")?;
            return scope.vars.get(name).map(|&v| v.into()).ok_or_else(|| self.undefined(name, span));
        }
        let e = self.affine(scope, depth + 1)?;
        let (divide, modulo) = (self.eat("floordiv"), self.eat("mod"));
        let e = if divide || modulo {
            let span = self.span();
            let by: i64 = self.integer("a divisor")?;
            if by < 1 {
                return Err(self.report("E0005", "a divisor is at least 1", span));
            }
            if divide { e.floordiv(by) } else { e.modulo(by) }
        } else {
            e
        };
        self.expect(")")?;
        Ok(e)
    }

    fn expr(&mut self, scope: &Scope) -> Parse<Expr> {
        let (word, span) = self.word("an instruction")?;
        let un = UnOp::ALL.into_iter().find(|o| o.name() == word);
        let bin = BinOp::ALL.into_iter().find(|o| o.name() == word);
        let test = Test::ALL.into_iter().find(|t| t.name() == word);
        let comma = |p: &mut Self| -> Parse<Reg> {
            p.expect(",")?;
            p.reg(scope)
        };
        Ok(match word {
            "const" => {
                let (text, span) = self.word("a number")?;
                let c = text.parse().map_err(|_| self.report("E0005", format!("'{text}' is not a number"), span))?;
                Expr::Const(c)
            }
            "index" => Expr::Index(self.affine(scope, 0)?),
            "load" => {
                let (buf, at) = self.access(scope)?;
                Expr::Load { buf, at }
            }
            "splat" => Expr::Splat(self.reg(scope)?),
            "convert" => Expr::Convert(self.reg(scope)?),
            "fma" => Expr::Fma(self.reg(scope)?, comma(self)?, comma(self)?),
            _ => match (un, bin, test) {
                (Some(op), ..) => Expr::Un(op, self.reg(scope)?),
                (_, Some(op), _) => Expr::Bin(op, self.reg(scope)?, comma(self)?),
                (_, _, Some(test)) => Expr::Select(test, [self.reg(scope)?, comma(self)?, comma(self)?, comma(self)?]),
                _ => return Err(self.report("E0011", format!("there is no instruction '{word}'"), span)),
            },
        })
    }
}
