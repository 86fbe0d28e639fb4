//! Data sets, arrays, labels, answers, arguments.

use crate::host::args::{self, Action};
use crate::host::bench::Sampling;
use crate::host::cifar::Cifar;
use crate::host::eval::parse_labels;
use crate::host::npy::{self, Data};
use crate::host::{Kind, topk};

#[test]
fn cifar_records_are_checked() {
    let mut bytes = vec![0u8; 2 * 3073];
    (bytes[0], bytes[3073]) = (3, 9);
    (bytes[3074], bytes[3074 + 1024 + 5], bytes[2 * 3073 - 1]) = (11, 22, 33);
    let set = Cifar::parse(&bytes).expect("is right");
    assert_eq!((set.len(), set.label(0), set.label(1)), (2, 3, 9));
    assert_eq!((set.value(1, 0, 0), set.value(1, 1, 5), set.value(1, 2, 1023)), (11, 22, 33));

    let error = Cifar::parse(&bytes[..3073 + 100]).expect_err("is truncated");
    assert_eq!((error.kind, error.at), (Kind::Invalid, Some(3073)));
    assert!(error.what.contains("record 1 is truncated"), "{error}");
    bytes[3073] = 10;
    let error = Cifar::parse(&bytes).expect_err("has a wrong label");
    assert_eq!(error.at, Some(3073));
    assert!(error.what.contains("label 10 of record 1"), "{error}");
    assert!(Cifar::parse(&[]).is_err());
}

#[test]
fn arrays_are_read_as_they_are_written() {
    let values = [1.5f32, -0.0, f32::MIN_POSITIVE, 3.0, 4.0, f32::INFINITY];
    let file = npy::write(&[1, 2, 3], &values);
    assert_eq!(file.len(), 128 + 24);
    let array = npy::parse(&file).expect("is right");
    assert_eq!(array.shape, [1, 2, 3]);
    assert_eq!(array.data, Data::F32(values.to_vec()));

    let file = npy::write(&[3], &[7u8, 8, 9]);
    assert!(file.windows(4).any(|w| w == b"(3,)"));
    assert_eq!(npy::parse(&file).expect("is right").data, Data::U8(&[7, 8, 9]));
    assert_eq!(npy::parse(&npy::write(&[1], &[7u16])).expect_err("is not read").kind, Kind::Unsupported);
}

#[test]
fn damaged_arrays_are_refused() {
    let file = npy::write(&[2, 2], &[1.0f32, 2.0, 3.0, 4.0]);
    for len in 0..file.len() {
        assert!(npy::parse(&file[..len]).is_err(), "{len} bytes");
    }
    let with = |from: &str, to: &str| {
        let at = file.windows(from.len()).position(|w| w == from.as_bytes()).expect("is in the header");
        let mut bytes = file.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        npy::parse(&bytes).map(|a| a.shape).expect_err("is refused").kind
    };
    assert_eq!(with("False", "True "), Kind::Unsupported);
    assert_eq!(with("<f4", ">f4"), Kind::Unsupported);
    assert_eq!(with("(2, 2)", "(2, 9)"), Kind::Invalid);
    assert_eq!(with("(2, 2)", "(2, x)"), Kind::Invalid);
    assert_eq!(with("'shape': (2, 2)", "'shape': (9999999999999999999, 9999999999999)"), Kind::Invalid);
    assert_eq!(with("'shape'", "'shade'"), Kind::Invalid);
}

#[test]
fn labels_come_from_lines_or_a_column() {
    assert_eq!(parse_labels("3\n\n1\n").expect("is right"), [3, 1]);
    assert_eq!(parse_labels("row\tclass\tname\n0\t281\ttabby\n1\t7\tcock\n").expect("is right"), [281, 7]);
    assert!(parse_labels("row\tname\n0\tx\n").is_err());
    let error = parse_labels("1\n2\nthree\n").expect_err("is refused");
    assert!(error.what.contains("line 3"), "{error}");
}

#[test]
fn answers_are_ranked() {
    let logits = [1.0, 3.0, f32::NAN, 3.0, -2.0];
    let classes: Vec<usize> = topk::top(&logits, 9).iter().map(|a| a.class).collect();
    assert_eq!(classes, [1, 3, 0, 4, 2]);
    assert_eq!(topk::best(&logits), 1);
    assert_eq!((topk::rank(&logits, 1), topk::rank(&logits, 3), topk::rank(&logits, 2)), (0, 1, 4));
    assert_eq!(topk::best(&[f32::NAN, -1.0]), 1);
}

#[test]
fn probabilities_are_a_softmax() {
    let logits: Vec<f32> = (0..50).map(|i| ((i * 37 % 50) as f32) * 0.7 - 20.0).collect();
    let sum: f64 = logits.iter().map(|&v| f64::from(v).exp()).sum();
    let answers = topk::top(&logits, 50);
    for a in &answers {
        let expected = f64::from(logits[a.class]).exp() / sum;
        assert!((a.probability - expected).abs() <= 1e-13 * expected, "{} {expected}", a.probability);
    }
    assert!((answers.iter().map(|a| a.probability).sum::<f64>() - 1.0).abs() < 1e-12);
    assert_eq!(topk::top(&[1e30, -1e30], 2)[1].probability, 0.0);
    // A network that ends in a softmax.
    assert_eq!(topk::top(&[0.25, 0.75], 1)[0].probability, 0.75);
}

fn parse<'a>(args: &[&'a str]) -> Result<args::Args<'a>, String> {
    let args: Vec<&[u8]> = args.iter().map(|a| a.as_bytes()).collect();
    args::parse(&args).map_err(|e| {
        assert_eq!(e.kind, Kind::Usage);
        e.to_string()
    })
}

#[test]
fn arguments_are_understood() {
    let a = parse(&["a.png", "--top=3", "--threads", "2", "-", "--json", "--", "--odd.png"]).expect("is right");
    assert_eq!(a.files, [b"a.png".as_slice(), b"-", b"--odd.png"]);
    assert_eq!((a.action, a.top, a.threads, a.json), (Action::Classify, 3, Some(2), true));
    let bench = |seconds, warmup, iterations| Action::Bench(Sampling { seconds, warmup, iterations, cold: false });
    assert_eq!(parse(&["--bench"]).expect("is right").action, bench(2.0, None, None));
    assert_eq!(parse(&["--bench", "0.5", "--warmup", "3"]).expect("is right").action, bench(0.5, Some(3), None));
    let cold = Action::Bench(Sampling { seconds: 1.0, warmup: None, iterations: None, cold: true });
    assert_eq!(parse(&["--cold", "--bench", "1"]).expect("is right").action, cold);
    assert_eq!(parse(&["--iterations", "9", "--bench", "--json"]).expect("is right").action, bench(2.0, None, Some(9)));
    assert_eq!(parse(&["--eval", "t.bin"]).expect("is right").action, Action::Eval(b"t.bin"));
    assert_eq!(parse(&["x.png", "--eval", "t.bin", "--help"]).expect("is right").action, Action::Help);
}

#[test]
fn wrong_arguments_are_explained() {
    for (args, word) in [
        (&[][..], "no picture"),
        (&["--selftst"], "did you mean --selftest?"),
        (&["--frobnicate"], "--help"),
        (&["--top"], "needs a value"),
        (&["--top", "0", "a"], "cannot be '0'"),
        (&["--threads", "65", "a"], "cannot be '65'"),
        (&["--bench=soon"], "cannot be 'soon'"),
        (&["--cold", "a.png"], "--cold goes with --bench"),
        (&["--iterations", "0", "--bench"], "cannot be '0'"),
        (&["--json=1", "a"], "takes no value"),
        (&["--eval", "t.bin", "a.png"], "takes no pictures"),
        (&["--eval", "t.bin", "--bench"], "do not go together"),
        (&["a.png", "--predictions", "p.npy"], "goes with --eval"),
        (&["--eval", "t.bin", "--out", "y.npy"], "goes with pictures"),
    ] {
        let message = parse(args).expect_err("is refused");
        assert!(message.contains(word), "{args:?}: {message}");
    }
}
