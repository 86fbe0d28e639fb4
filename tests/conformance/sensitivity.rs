//! The bounds are not so wide that they let errors pass: if the oracle is given one operand that is 1/512 larger than
//! the kernel's, every case notices, whichever operand it is.

use super::case::{Case, Data, Variant, case};
use super::cases;
use super::engine::{Engine, Interpreter};
use crate::oracle::Tensor;
use ir::interp::elements::encode;

const LONGEST_SUM: usize = 500;

/// Operands that are only compared, counted or looked up, by position.
const SIZE_IS_NOTHING: [(&str, usize); 9] = [
    ("batch_statistics", 0),
    ("clamp_grad", 1),
    ("cross_entropy", 1),
    ("cross_entropy_grad", 1),
    ("fill", 0),
    ("later", 1),
    ("max_pool_grad", 1),
    ("relu_grad", 1),
    ("running_average", 2),
];

pub fn check() {
    for case in cases::all() {
        let body = case.bodies().remove(0);
        let inputs = case.inputs(Data::Random, body.dtype);
        // The softmax of one element is 1, whatever it is.
        if case.op.name == "softmax" && inputs[0].dims.ends_with(&[1]) {
            continue;
        }
        // Products of random signs cancel: of a long sum less is left than a bound by magnitudes lets pass. There the
        // runs on integers notice, which are exact.
        if case.op.name == "conv2d" && inputs[1].dims[1..].iter().product::<usize>() > LONGEST_SUM {
            continue;
        }
        let out = results(&case, &body, &inputs);
        // What is added to an image after both transforms drowns in their bound; the cases of `winograd_output`, whose
        // kernels have the same epilogues, notice it.
        let drowns = |i: usize| case.op.name == "winograd_conv2d" && i >= 2;
        let is_seen = |i: &usize| !SIZE_IS_NOTHING.contains(&(case.op.name, *i)) && !case.is_mask(*i) && !drowns(*i);
        for operand in (0..inputs.len()).filter(is_seen) {
            let mut wrong = inputs.clone();
            wrong[operand].data.iter_mut().for_each(|v| *v *= 1.0 + 1.0 / 512.0);
            let verdict = body.compare(&out, &case.truths(&wrong), false);
            assert!(verdict.is_err(), "{case}, {body}: operand {operand} can be off");
        }
    }
}

/// A bound by magnitudes is infinite where an operand is; no number passes there all the same.
pub fn infinities() {
    for case in [case("add", "7,13 7,13", "", ""), case("dense", "3,8 13,8", "", "bias relu")] {
        let body = case.bodies().remove(0);
        let inputs = case.inputs(Data::Special, body.dtype);
        let truths = case.truths(&inputs);
        let out = results(&case, &body, &inputs);
        body.compare(&out, &truths, false).unwrap_or_else(|e| panic!("{case}: {e}"));
        let is_open = |&i: &usize| !truths[0].bound(i, 1e-7).is_finite();
        let open: Vec<usize> = (0..truths[0].y.data.len()).filter(is_open).collect();
        assert!(open.iter().any(|&i| truths[0].y.data[i].is_infinite()), "{case}: there is no infinity");
        for i in open {
            let wrong = encode(body.dtype, &[2.5]);
            let mut out = out.clone();
            out[0][i * wrong.len()..][..wrong.len()].copy_from_slice(&wrong);
            assert!(body.compare(&out, &truths, false).is_err(), "{case}: element {i} can be a number");
        }
    }
}

/// What the interpreter makes of a body.
fn results(case: &Case, body: &Variant, inputs: &[Tensor]) -> Vec<Vec<u8>> {
    let bytes = body.pack(inputs);
    let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    let run = Interpreter.load(vec![body.kernel.clone()]).unwrap_or_else(|e| panic!("{e}")).remove(0);
    run(&bytes).unwrap_or_else(|e| panic!("{case}: {e}"))
}
