//! Kernels. Registers, loop variables and views are numbered as they appear, so that the text does not depend on
//! how the kernel was built.

use crate::Kernel;
use crate::entity::{Buf, Reg, Var};
use crate::kernel::{Affine, BufDecl, Expr, Role, Stmt, Ty};
use std::collections::HashMap;
use std::fmt::Write;

pub fn print_kernel(k: &Kernel) -> String {
    let mut p =
        Printer { k, out: String::new(), names: HashMap::new(), vars: HashMap::new(), regs: HashMap::new(), views: 0 };
    p.kernel();
    p.out
}

struct Printer<'a> {
    k: &'a Kernel,
    out: String,
    names: HashMap<Buf, String>,
    vars: HashMap<Var, String>,
    regs: HashMap<Reg, usize>,
    views: usize,
}

impl Printer<'_> {
    fn kernel(&mut self) {
        let k = self.k;
        for (b, d) in k.bufs.iter().filter(|(_, d)| d.role != Role::View) {
            // Names are the builder's; where two agree the number tells them apart.
            let taken = self.names.values().any(|n| *n == d.name);
            self.names.insert(b, if taken { format!("{}.{b}", d.name) } else { d.name.clone() });
        }
        self.vars.insert(k.task_var, "t".into());
        let param = |&b: &Buf| {
            let role = match k.bufs[b].role {
                Role::In => "in",
                Role::Out => "out",
                _ => "inout",
            };
            format!("%{}: {role} {}", self.names[&b], buf_type(&k.bufs[b]))
        };
        let params = k.params.iter().map(param).collect::<Vec<_>>().join(", ");
        let _ = writeln!(self.out, "kernel @{}({params}) tasks %t in 0..{} {{", k.name, k.tasks);
        for (b, d) in k.bufs.iter().filter(|(_, d)| d.role == Role::Scratch) {
            let _ = writeln!(self.out, "  scratch %{}: {}", self.names[&b], buf_type(d));
        }
        self.block(&k.body, 1);
        self.out += "}\n";
    }

    fn block(&mut self, stmts: &[Stmt], depth: usize) {
        for s in stmts {
            self.statement(s, depth);
        }
    }

    fn statement(&mut self, s: &Stmt, depth: usize) {
        let line = match s {
            Stmt::Let { dst, expr } => {
                let expr = self.expr(expr);
                let ty = self.k.regs[*dst];
                format!("{}: {} = {expr}", self.define(*dst), reg_type(ty))
            }
            Stmt::Store { buf, at, value } => format!("store {}, {}", self.access(*buf, at), self.reg(*value)),
            Stmt::Prefetch { buf, at } => format!("prefetch {}", self.access(*buf, at)),
            Stmt::View { view, of, at, opaque } => {
                let (of, at) = (self.names[of].clone(), self.indices(at));
                let name = format!("b{}", self.views);
                self.views += 1;
                let line = format!("%{name} = view %{of} at [{at}]{}", if *opaque { " opaque" } else { "" });
                self.names.insert(*view, name);
                line
            }
            Stmt::For(f) => {
                let (lo, hi) = (self.bound("max", &f.lo), self.bound("min", &f.hi));
                let inits: Vec<String> = f.inits.iter().map(|&r| self.reg(r)).collect();
                let results: Vec<String> = f.results.iter().map(|&r| self.define(r)).collect();
                let params: Vec<String> = f.params.iter().map(|&r| self.define(r)).collect();
                let name = format!("i{}", self.vars.len() - 1);
                self.vars.insert(f.var, name.clone());
                let mut line = if results.is_empty() { String::new() } else { format!("{} = ", results.join(", ")) };
                let _ = write!(line, "for %{name} in {lo}..{hi}");
                if f.step != 1 {
                    let _ = write!(line, " step {}", f.step);
                }
                if !params.is_empty() {
                    let pairs: Vec<String> = params.iter().zip(&inits).map(|(p, i)| format!("{p} = {i}")).collect();
                    let _ = write!(line, " carry ({})", pairs.join(", "));
                }
                self.line(&format!("{line} {{"), depth);
                self.block(&f.body, depth + 1);
                if !f.yields.is_empty() {
                    let yields: Vec<String> = f.yields.iter().map(|&r| self.reg(r)).collect();
                    self.line(&format!("yield {}", yields.join(", ")), depth + 1);
                }
                "}".to_string()
            }
        };
        self.line(&line, depth);
    }

    fn line(&mut self, text: &str, depth: usize) {
        let _ = writeln!(self.out, "{:1$}{text}", "", 2 * depth);
    }

    fn define(&mut self, r: Reg) -> String {
        let number = self.regs.len();
        self.regs.insert(r, number);
        format!("%r{number}")
    }

    fn reg(&self, r: Reg) -> String {
        self.regs.get(&r).map_or_else(|| format!("%undefined.{r}"), |n| format!("%r{n}"))
    }

    fn access(&self, buf: Buf, at: &[Affine]) -> String {
        let name = self.names.get(&buf).cloned().unwrap_or_else(|| format!("undefined.{buf}"));
        format!("%{name}[{}]", self.indices(at))
    }

    fn indices(&self, at: &[Affine]) -> String {
        at.iter().map(|a| self.affine(a)).collect::<Vec<_>>().join(", ")
    }

    fn bound(&self, pick: &str, list: &[Affine]) -> String {
        match list {
            [one] => self.affine(one),
            _ => format!("{pick}({})", self.indices(list)),
        }
    }

    fn affine(&self, a: &Affine) -> String {
        a.display(&|v| format!("%{}", self.vars.get(&v).cloned().unwrap_or_else(|| format!("undefined.{v}"))))
    }

    fn expr(&self, e: &Expr) -> String {
        match e {
            Expr::Const(c) => format!("const {}", crate::op::format_float(*c)),
            Expr::Index(a) => format!("index {}", self.affine(a)),
            Expr::Load { buf, at } => format!("load {}", self.access(*buf, at)),
            Expr::Splat(r) => format!("splat {}", self.reg(*r)),
            Expr::Convert(r) => format!("convert {}", self.reg(*r)),
            Expr::Un(op, a) => format!("{} {}", op.name(), self.reg(*a)),
            Expr::Bin(op, a, b) => format!("{} {}, {}", op.name(), self.reg(*a), self.reg(*b)),
            Expr::Fma(a, b, c) => format!("fma {}, {}, {}", self.reg(*a), self.reg(*b), self.reg(*c)),
            Expr::Select(test, args) => {
                format!("{} {}", test.name(), args.map(|r| self.reg(r)).join(", "))
            }
        }
    }
}

fn buf_type(d: &BufDecl) -> String {
    format!("{}[{}]", d.dtype, d.shape.iter().map(i64::to_string).collect::<Vec<_>>().join(","))
}

fn reg_type(t: Ty) -> String {
    if t.lanes == 1 { t.dtype.to_string() } else { format!("{}x{}", t.dtype, t.lanes) }
}
