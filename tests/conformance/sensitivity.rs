//! The bounds are not so wide that they let errors pass: if the oracle is given one operand that is 1/512 larger than
//! the kernel's, every case notices, whichever operand it is.

use super::case::Data;
use super::cases;
use super::engine::{Engine, Interpreter};

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
        let bytes = body.pack(&inputs);
        let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let run = Interpreter.load(vec![body.kernel.clone()]).unwrap_or_else(|e| panic!("{e}")).remove(0);
        // The softmax of one element is 1, whatever it is.
        if case.op.name == "softmax" && inputs[0].dims.ends_with(&[1]) {
            continue;
        }
        // Products of random signs cancel: of a long sum less is left than a bound by magnitudes lets pass. There the
        // runs on integers notice, which are exact.
        if case.op.name == "conv2d" && inputs[1].dims[1..].iter().product::<usize>() > LONGEST_SUM {
            continue;
        }
        let out = run(&bytes).unwrap_or_else(|e| panic!("{case}: {e}"));
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
