//! Planted faults: the verifier refuses them, and the interpreter faults on them.

use crate::DType::{F32, I32};
use crate::entity::Reg;
use crate::interp::kernel::{Options, run_with};
use crate::kernel::build::{max_of, min_of};
use crate::kernel::{Affine, Expr, Kernel, KernelBuilder, Role, Stmt};

mod bodies;
mod random;

/// What the interpreter says on inputs of zeros: the code of a fault, if any.
pub fn interpreted(k: &Kernel) -> Option<&'static str> {
    let inputs: Vec<Vec<u8>> = k
        .params
        .iter()
        .map(|&b| &k.bufs[b])
        .filter(|d| d.role != Role::Out)
        .map(|d| vec![0; d.len_bytes() as usize])
        .collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(|i| &i[..]).collect();
    let options = Options { complete: false, ..Options::default() };
    run_with(k, &inputs, options).err().map(|d| d.0[0].code)
}

fn proven(k: &Kernel) {
    let d = k.verify();
    assert!(d.0.is_empty(), "{d}\n{:?}", d.0[0].notes);
    assert_eq!(interpreted(k), None, "@{}", k.name);
}

/// Refused with this message, and the interpreter faults with this code.
fn refused(k: &Kernel, message: &str, fault: &str) {
    let d = k.verify();
    assert!(d.0.iter().any(|d| d.message.contains(message)), "expected: {message}\nfound: {d}");
    assert_eq!(interpreted(k), Some(fault), "@{}", k.name);
}

/// Taps of padded rows: y[t, i] = Σ x[t + r − 1, i·s + q − 1] with the rows that fall outside skipped, columns in
/// tiles of `tile` from 1 on.
fn taps(rows: i64, columns: i64, tile: i64, tiles: i64, row_end: i64) -> Kernel {
    let mut k = KernelBuilder::new("taps");
    let x = k.param("x", F32, &[rows, columns], Role::In);
    let y = k.param("y", F32, &[rows, columns], Role::Out);
    let h = k.tasks(rows);
    k.for_(0, tiles, |k, q| {
        for p in 0..tile {
            let zero = k.constant(F32, 1, 0.0);
            let at = &q * tile + (1 + p);
            let lo = max_of([0.into(), &h * -1 + 1]);
            let hi = min_of([3.into(), &h * -1 + row_end]);
            let sum = k.for_carry(lo, hi, &[zero], |k, r, sum| {
                let view = k.view(x, &[&h + &r - 1, &at - 1], true);
                vec![(0..3).fold(sum[0], |sum, s| {
                    let v = k.load(view, &[0.into(), s.into()]);
                    k.add(sum, v)
                })]
            });
            k.store(y, &[h.clone(), at], sum[0]);
        }
    });
    k.finish()
}

#[test]
fn tiles_of_padded_rows() {
    proven(&taps(32, 32, 6, 5, 33));
    refused(&taps(32, 32, 7, 5, 33), "index 1 of %x", "E0691");
    refused(&taps(32, 32, 6, 5, 34), "load: index 0 of %x, %t + %i2 - 1, reaches 32, its length is 32", "E0691");
    refused(&taps(32, 32, 6, 6, 33), "store: index 1 of %y, 6*%i1 + 2, reaches 32, its length is 32", "E0691");
}

#[test]
fn messages_give_the_ranges_of_variables() {
    let d = taps(32, 32, 6, 5, 34).verify();
    assert_eq!(d.0[0].notes[0], "%t runs from 0 to 31");
    assert_eq!(d.0[0].notes[2], "%i2 runs from 0 to 2");
}

/// One dimension of a convolution, with the bounds of `ops::conv2d::Tap` or without one of them.
fn strided(len: i64, taps: i64, stride: i64, pad: i64, dilation: i64, guard_low: bool, guard_high: bool) -> Kernel {
    let outputs = (len + 2 * pad - dilation * (taps - 1) - 1) / stride + 1;
    let mut k = KernelBuilder::new("strided");
    let x = k.param("x", F32, &[len], Role::In);
    let y = k.param("y", F32, &[outputs], Role::Out);
    let t = k.tasks(outputs);
    let start = &t * stride - pad;
    let low = (&start * -1 + (dilation - 1)).floordiv(dilation);
    let high = (&start * -1 + (len + dilation - 1)).floordiv(dilation);
    let lo = max_of([Affine::constant(0)].into_iter().chain(guard_low.then_some(low)));
    let hi = min_of([Affine::constant(taps)].into_iter().chain(guard_high.then_some(high)));
    let zero = k.constant(F32, 1, 0.0);
    let sum = k.for_carry(lo, hi, &[zero], |k, r, sum| {
        let v = k.load(x, &[&start + r * dilation]);
        vec![k.add(sum[0], v)]
    });
    k.store(y, &[t], sum[0]);
    k.finish()
}

#[test]
fn strides_pads_and_dilations() {
    let mut checked = 0;
    for (len, taps, stride, pad, dilation) in [
        (32, 3, 1, 1, 1),
        (33, 3, 2, 1, 1),
        (224, 7, 2, 3, 1),
        (13, 3, 1, 2, 2),
        (17, 3, 2, 4, 3),
        (5, 5, 3, 4, 1),
        (19, 4, 3, 5, 4),
    ] {
        proven(&strided(len, taps, stride, pad, dilation, true, true));
        refused(&strided(len, taps, stride, pad, dilation, false, true), "index 0 of %x", "E0691");
        let outputs = (len + 2 * pad - dilation * (taps - 1) - 1) / stride + 1;
        // Without the upper bound it is wrong only if the last window leaves the input.
        if (outputs - 1) * stride - pad + (taps - 1) * dilation >= len {
            refused(&strided(len, taps, stride, pad, dilation, true, false), "index 0 of %x", "E0691");
            checked += 1;
        } else {
            proven(&strided(len, taps, stride, pad, dilation, true, false));
        }
    }
    assert!(checked >= 4);
}

/// Tasks over (image, channel) of a blocked layout, stored by vectors of `lanes`.
fn blocked(images: i64, channels: i64, tasks: i64, lanes: u32) -> Kernel {
    let mut k = KernelBuilder::new("blocked");
    let y = k.param("y", F32, &[images, channels / 8, 5, 8], Role::Out);
    let t = k.tasks(tasks);
    let (n, c) = (t.floordiv(channels), t.modulo(channels));
    let one = k.constant(F32, lanes, 1.0);
    k.for_(0, 5, |k, i| k.store(y, &[n.clone(), c.floordiv(8), i, c.modulo(8)], one));
    k.finish()
}

#[test]
fn tasks_are_told_apart_through_divisions() {
    proven(&blocked(1, 24, 24, 1));
    proven(&blocked(3, 24, 72, 1));
    refused(&blocked(3, 24, 73, 1), "index 0 of %y", "E0691");
    let mut k = KernelBuilder::new("half");
    let y = k.param("y", F32, &[12, 2], Role::Out);
    let t = k.tasks(24);
    let one = k.constant(F32, 2, 1.0);
    k.store(y, &[t.floordiv(2), 0.into()], one);
    refused(&k.finish(), "tasks may overlap: the store to %y[(%t floordiv 2), 0] (2 lanes) does not tell %t", "E0693");
}

#[test]
fn a_vector_may_not_reach_into_the_next_task() {
    let build = |lanes| {
        let mut k = KernelBuilder::new("vector");
        let y = k.param("y", F32, &[40], Role::Out);
        let t = k.tasks(4);
        let one = k.constant(F32, lanes, 1.0);
        k.store(y, &[t * 8], one);
        k.finish()
    };
    proven(&build(8));
    refused(&build(9), "(9 lanes) does not tell %t", "E0693");
}

/// A task covers rows 4·t.., as loop bounds or as a sum, by one store for even and one for odd columns.
fn row_blocks(rows: i64, own_variable: bool, height: i64) -> Kernel {
    let mut k = KernelBuilder::new("rows");
    let y = k.param("y", F32, &[rows, 6], Role::Out);
    let t = k.tasks((rows + 3) / 4);
    let first = &t * 4;
    let one = k.constant(F32, 1, 1.0);
    let body = |k: &mut KernelBuilder, row: &Affine| {
        k.for_(0, 3, |k, c| k.store(y, &[row.clone(), &c * 2], one));
        k.for_(0, 3, |k, c| k.store(y, &[row.clone(), &c * 2 + 1], one));
    };
    if own_variable {
        k.for_(first.clone(), min_of([&first + height, rows.into()]), |k, r| body(k, &r));
    } else {
        k.for_(0, min_of([height.into(), &first * -1 + rows]), |k, r| body(k, &(&first + r)));
    }
    k.finish()
}

#[test]
fn tasks_are_told_apart_by_loop_bounds() {
    for own_variable in [false, true] {
        proven(&row_blocks(14, own_variable, 4));
        proven(&row_blocks(16, own_variable, 4));
        refused(&row_blocks(14, own_variable, 5), "tasks may overlap: the store to %y", "E0693");
    }
}

/// Two statements, each of which tells its task apart, but which meet.
#[test]
fn stores_of_different_statements_are_compared() {
    let build = |second: i64, last: i64| {
        let mut k = KernelBuilder::new("two");
        let y = k.param("y", F32, &[20], Role::Out);
        let t = k.tasks(8);
        let one = k.constant(F32, 1, 1.0);
        k.store(y, std::slice::from_ref(&t), one);
        k.store(y, &[&t * last + second], one);
        k.finish()
    };
    proven(&build(8, 1)); // apart
    proven(&build(0, 1)); // the same element
    refused(&build(1, 1), "tasks may overlap", "E0693");
    refused(&build(7, -1), "tasks may overlap", "E0693");
}

#[test]
fn inout_is_read_by_its_task_only() {
    let build = |shift: i64| {
        let mut k = KernelBuilder::new("add");
        let y = k.param("y", F32, &[9], Role::InOut);
        let t = k.tasks(8);
        let v = k.load(y, &[&t + shift]);
        let v = k.add(v, v);
        k.store(y, &[t], v);
        k.finish()
    };
    proven(&build(0));
    refused(&build(1), "load from %y[%t + 1]", "E0693");
}

#[test]
fn guards_of_one_trip_are_used() {
    let build = |limit: i64| {
        let mut k = KernelBuilder::new("guard");
        let x = k.param("x", F32, &[5], Role::In);
        let y = k.param("y", F32, &[8], Role::Out);
        let t = k.tasks(8);
        k.for_(0, min_of([1.into(), &t * -1 + limit]), |k, _| {
            let v = k.load(x, std::slice::from_ref(&t));
            k.store(y, std::slice::from_ref(&t), v);
        });
        k.finish()
    };
    proven(&build(5));
    refused(&build(6), "load: index 0 of %x, %t, reaches 5, its length is 5", "E0691");
}

#[test]
fn a_loop_that_never_runs_is_not_looked_at() {
    let mut k = KernelBuilder::new("dead");
    let y = k.param("y", F32, &[1], Role::Out);
    let one = k.constant(F32, 1, 1.0);
    k.for_(3, 3, |k, i| k.store(y, &[i], one));
    proven(&k.finish());
}

/// Fills scratch s[6, 8] in some way, then reads `s[i, j]` for i in 0..6 and j in 0..8.
fn scratch(fill: impl FnOnce(&mut KernelBuilder, crate::entity::Buf, Reg, Reg)) -> Kernel {
    let mut k = KernelBuilder::new("scratch");
    let y = k.param("y", F32, &[3, 6, 8], Role::Out);
    let s = k.scratch("s", F32, &[6, 8]);
    let t = k.tasks(3);
    let (one, four) = (k.constant(F32, 1, 1.0), k.constant(F32, 4, 1.0));
    fill(&mut k, s, one, four);
    k.for_(0, 6, |k, i| {
        k.for_(0, 8, |k, j| {
            let v = k.load(s, &[i.clone(), j.clone()]);
            k.store(y, &[t.clone(), i.clone(), j], v);
        });
    });
    k.finish()
}

#[test]
fn scratch_is_filled_by_loops_and_unrolled_stores() {
    proven(&scratch(|k, s, one, _| {
        k.for_(0, 6, |k, i| k.for_(0, 8, |k, j| k.store(s, &[i.clone(), j], one)));
    }));
    // Vectors, rows unrolled by two.
    proven(&scratch(|k, s, _, four| {
        k.for_(0, 3, |k, i| {
            for (r, c) in [(0, 0), (1, 4), (1, 0), (0, 4)] {
                k.store(s, &[&i * 2 + r, c.into()], four);
            }
        });
    }));
    // Two parts that meet at a row that depends on the task.
    proven(&scratch(|k, s, one, _| {
        let t = k.tasks(3);
        k.for_(0, &t * 2, |k, i| k.for_(0, 8, |k, j| k.store(s, &[i.clone(), j], one)));
        k.for_(&t * 2, 6, |k, i| k.for_(0, 8, |k, j| k.store(s, &[i.clone(), j], one)));
    }));
    // Downwards, with a step.
    proven(&scratch(|k, s, _, four| {
        k.for_(0, 6, |k, i| k.for_(0, 2, |k, j| k.store(s, &[&i * -1 + 5, &j * -4 + 4], four)));
    }));
}

#[test]
fn scratch_that_is_not_filled_is_refused() {
    let message = "%s[%i";
    let cases: [fn(&mut KernelBuilder, crate::entity::Buf, Reg, Reg); 4] = [
        |_, _, _, _| {},
        |k, s, one, _| k.for_(0, 5, |k, i| k.for_(0, 8, |k, j| k.store(s, &[i.clone(), j], one))),
        // Every second row.
        |k, s, one, _| k.for_(0, 3, |k, i| k.for_(0, 8, |k, j| k.store(s, &[&i * 2, j], one))),
        // Only the first task runs the loop around.
        |k, s, one, _| {
            let t = k.tasks(3);
            k.for_(t, 1, |k, _| k.for_(0, 6, |k, i| k.for_(0, 8, |k, j| k.store(s, &[i.clone(), j], one))));
        },
    ];
    for fill in cases {
        refused(&scratch(fill), message, "E0692");
    }
}

#[test]
fn the_diagonal_is_not_a_box() {
    let k = scratch(|k, s, one, _| k.for_(0, 6, |k, i| k.store(s, &[i.clone(), i], one)));
    refused(&k, "may be read before this task has written it", "E0692");
}

#[test]
fn out_is_read_back_by_the_task_that_wrote_it() {
    let build = |from: i64| {
        let mut k = KernelBuilder::new("accumulate");
        let x = k.param("x", F32, &[4, 8], Role::In);
        let y = k.param("y", F32, &[4, 8], Role::Out);
        let t = k.tasks(4);
        let zero = k.constant(F32, 1, 0.0);
        k.for_(from, 8, |k, j| k.store(y, &[t.clone(), j], zero));
        k.for_(0, 3, |k, _| {
            k.for_(0, 8, |k, j| {
                let at = [t.clone(), j];
                let (a, b) = (k.load(x, &at), k.load(y, &at));
                let sum = k.add(a, b);
                k.store(y, &at, sum);
            });
        });
        k.finish()
    };
    proven(&build(0));
    refused(&build(1), "%y[%t, %i3] may be read before", "E0692");
}

/// Changes one statement of a right kernel: the structural rules, which the interpreter checks as well.
#[test]
fn structure_is_checked() {
    let k = taps(8, 8, 6, 1, 9);
    let changed = |change: &dyn Fn(&mut Kernel)| {
        let mut k = k.clone();
        change(&mut k);
        let d = k.verify();
        assert_eq!(interpreted(&k), Some(d.0[0].code), "{d}");
        d.0[0].to_string()
    };
    fn body(k: &mut Kernel) -> &mut Vec<Stmt> {
        match &mut k.body[0] {
            Stmt::For(f) => &mut f.body,
            s => panic!("{s:?}"),
        }
    }
    fn inner(k: &mut Kernel) -> &mut crate::kernel::For {
        match &mut body(k)[1] {
            Stmt::For(f) => f,
            s => panic!("{s:?}"),
        }
    }
    let expect = |found: String, code: &str, text: &str| {
        assert!(found.starts_with(code) && found.contains(text), "expected {code} {text}, found {found}");
    };
    expect(changed(&|k| k.tasks = 0), "E0601", "0 tasks");
    expect(changed(&|k| k.bufs[k.params[0]].shape[0] = 0), "E0601", "must be positive");
    expect(changed(&|k| k.bufs[k.params[0]].role = Role::Scratch), "E0601", "the parameters are not");
    expect(changed(&|k| k.regs[Reg::from_u32(0)].lanes = 0), "E0601", "0 lanes");
    expect(changed(&|k| body(k).swap(0, 1)), "E0602", "used before it is defined");
    expect(
        changed(&|k| body(k).insert(0, Stmt::Let { dst: Reg::from_u32(0), expr: Expr::Const(0.0) })),
        "E0602",
        "defined twice",
    );
    expect(changed(&|k| inner(k).results[0] = Reg::from_u32(2)), "E0602", "%r2 is defined twice");
    expect(changed(&|k| k.regs[Reg::from_u32(2)].dtype = I32), "E0603", "load from %x_v: expected f32, found i32");
    expect(changed(&|k| k.regs[Reg::from_u32(0)].lanes = 2), "E0603", "expected f32, found f32x2");
    expect(changed(&|k| inner(k).step = 0), "E0604", "step 0");
    expect(changed(&|k| inner(k).hi.clear()), "E0604", "lacks a bound");
    expect(changed(&|k| inner(k).yields.clear()), "E0604", "carries 1 values");
    expect(changed(&|k| inner(k).var = k.task_var), "E0604", "belongs to two loops");
    expect(
        changed(&|k| {
            let own = inner(k).var.into();
            inner(k).lo.push(own);
        }),
        "E0604",
        "used outside its loop",
    );
    expect(
        changed(&|k| {
            if let Stmt::View { at, .. } = &mut inner(k).body[0] {
                at.pop();
            }
        }),
        "E0605",
        "has 2 dimensions, 1 indices given",
    );
    expect(changed(&|k| drop(inner(k).body.drain(..1))), "E0605", "before its statement");
    expect(
        changed(&|k| {
            let x = k.params[0];
            if let Some(Stmt::Store { buf, .. }) = body(k).get_mut(2) {
                *buf = x;
            }
        }),
        "E0605",
        "store to the in parameter %x",
    );
}

#[test]
fn indices_that_overflow_are_refused() {
    let mut k = KernelBuilder::new("far");
    let y = k.param("y", F32, &[1], Role::Out);
    let far = 1i64 << 39;
    let t = k.tasks(1 << 30);
    let v = k.index(F32, t * far);
    k.store(y, &[0.into()], v);
    let d = k.finish().verify();
    assert!(d.0[0].message.contains("may overflow"), "{d}");
}

#[test]
fn the_least_number_is_too_large() {
    let mut k = KernelBuilder::new("least");
    let y = k.param("y", F32, &[1], Role::Out);
    let one = k.constant(F32, 1, 1.0);
    let t = k.tasks(1);
    k.store(y, &[t * i64::MIN], one);
    assert_eq!(k.finish().verify().0[0].code, "E0604");
}

/// Right, but each store leaves a box apart, which is compared with all others.
#[test]
fn proofs_that_take_too_long_are_given_up() {
    let scattered = |stores: i64| {
        let mut k = KernelBuilder::new("scattered");
        let y = k.param("y", F32, &[1], Role::Out);
        let s = k.scratch("s", F32, &[2 * stores]);
        let one = k.constant(F32, 1, 1.0);
        k.tasks(1);
        for i in 0..stores {
            k.store(s, &[(2 * i).into()], one);
        }
        let v = k.load(s, &[0.into()]);
        k.store(y, &[0.into()], v);
        k.finish()
    };
    proven(&scattered(200));
    let d = scattered(4_000).verify();
    assert_eq!((d.0.len(), d.0[0].code), (1, "E0606"), "{d}");
    assert!(d.0[0].message.contains("not proven within 1000000 steps"), "{d}");
}
