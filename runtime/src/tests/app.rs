//! The whole program on a fake system.

use super::model::colours;
use crate::host::app;
use crate::host::engine::InProcess;
use crate::host::pool::Pool;
use crate::host::system::System;
use crate::host::{Error, Kind, npy, report};
use std::cell::RefCell;
use std::collections::HashMap;

/// Files in memory; what is printed is kept.
struct Fake {
    files: RefCell<HashMap<Vec<u8>, Vec<u8>>>,
    out: RefCell<String>,
    err: RefCell<String>,
    clock: RefCell<u64>,
    pool: Pool,
}

impl System for Fake {
    fn read(&self, path: &[u8], _: u64) -> Result<Vec<u8>, Error> {
        let files = self.files.borrow();
        files.get(path).cloned().ok_or_else(|| Error::new(Kind::Read, "cannot be read: there is no such file"))
    }

    fn write(&self, path: &[u8], bytes: &[u8]) -> Result<(), Error> {
        if path.starts_with(b"/readonly/") {
            return Err(Error::new(Kind::Write, "cannot be written: permission denied"));
        }
        self.files.borrow_mut().insert(path.to_vec(), bytes.to_vec());
        Ok(())
    }

    fn print(&self, text: &str) {
        self.out.borrow_mut().push_str(text);
    }

    fn complain(&self, text: &str) {
        self.err.borrow_mut().push_str(text);
    }

    fn now_ns(&self) -> u64 {
        *self.clock.borrow_mut() += 1_000_000;
        *self.clock.borrow()
    }

    fn cpus(&self) -> u32 {
        2
    }

    fn pool(&self, _: u32) -> &Pool {
        &self.pool
    }
}

/// Exit code, standard output, standard error, and the files afterwards.
struct Ran {
    code: i32,
    out: String,
    err: String,
    files: HashMap<Vec<u8>, Vec<u8>>,
}

fn run_on(side: u32, args: &[&str]) -> Ran {
    let ppm = |w: usize, h: usize, rgb: [u8; 3]| {
        let mut file = format!("P6 {w} {h} 255\n").into_bytes();
        file.extend(rgb.repeat(w * h));
        file
    };
    let cifar: Vec<u8> = [(0, [200, 10, 10]), (1, [10, 200, 10]), (1, [10, 10, 200]), (2, [10, 10, 200])]
        .iter()
        .flat_map(|(label, rgb)| {
            std::iter::once(*label).chain(rgb.iter().flat_map(|&v: &u8| [v; 1024])).collect::<Vec<u8>>()
        })
        .collect();
    let pixels: Vec<u8> = [[0u8, 0, 250], [250, 0, 0]].iter().flat_map(|rgb| rgb.repeat(64)).collect();
    let mut u8_file = npy::write(&[2, 8, 8, 3], &pixels);
    let files = HashMap::from([
        (b"red.ppm".to_vec(), ppm(16, 24, [210, 20, 30])),
        (b"green.ppm".to_vec(), ppm(8, 8, [10, 200, 30])),
        (b"short.ppm".to_vec(), ppm(8, 8, [1, 2, 3])[..50].to_vec()),
        (b"set.bin".to_vec(), cifar.clone()),
        (b"cut.bin".to_vec(), cifar[..5000].to_vec()),
        (b"u8.npy".to_vec(), std::mem::take(&mut u8_file)),
        (b"f32.npy".to_vec(), npy::write(&[1, 3, 8, 8], &[0.25f32; 192])),
        (b"labels.tsv".to_vec(), b"row\tclass\n0\t2\n1\t1\n".to_vec()),
        (b"none.npy".to_vec(), npy::write(&[0, 8, 8, 3], &[0u8; 0])),
        (b"none.tsv".to_vec(), Vec::new()),
    ]);
    let fake = Fake {
        files: RefCell::new(files),
        out: RefCell::default(),
        err: RefCell::default(),
        clock: RefCell::default(),
        pool: Pool::new(),
    };
    let model = colours(side);
    // SAFETY: the model is right.
    let library = unsafe { InProcess::new(&model) };
    let args: Vec<&[u8]> =
        std::iter::once(b"/bin/colours".as_slice()).chain(args.iter().map(|a| a.as_bytes())).collect();
    let code = app::main(&fake, &library, &args);
    Ran { code, out: fake.out.into_inner(), err: fake.err.into_inner(), files: fake.files.into_inner() }
}

fn run(args: &[&str]) -> Ran {
    run_on(8, args)
}

#[test]
fn pictures_are_classified() {
    let r = run(&["red.ppm", "green.ppm", "--top", "2"]);
    let expected = "red.ppm: 0 red  0.463\n         3 grey 0.224\ngreen.ppm: 1 green 0.457\n           3 grey  0.226\n";
    assert_eq!((r.code, r.out.as_str(), r.err.as_str()), (0, expected, ""));
}

#[test]
fn a_bad_picture_does_not_stop_the_others() {
    for batch in ["1", "2", "3"] {
        let r = run(&["nothere", "short.ppm", "green.ppm", "--top=1", "--batch", batch]);
        assert_eq!((r.code, r.out.as_str()), (3, "green.ppm: 1 green 0.457\n"));
        assert!(r.err.contains("error: nothere: cannot be read"), "{}", r.err);
        assert!(r.err.contains("error: short.ppm: truncated PPM"), "{}", r.err);
    }
}

#[test]
fn json_is_one_document() {
    let r = run(&["red.ppm", "nothere", "--top", "1", "--json"]);
    assert_eq!(r.code, 3);
    assert!(r.out.starts_with(r#"{"schema":"rescc.classify/1","ok":false,"results":[{"file":"red.ppm","classes":[{"class":0,"name":"red","probability":0.46"#), "{}", r.out);
    assert!(
        r.out.ends_with("{\"file\":\"nothere\",\"error\":\"cannot be read: there is no such file\"}]}\n"),
        "{}",
        r.out
    );
}

#[test]
fn json_has_the_order_of_the_arguments() {
    for batch in ["1", "2", "3"] {
        let r = run(&["green.ppm", "nothere", "red.ppm", "short.ppm", "--top=1", "--json", "--batch", batch]);
        let at = |file: &str| r.out.find(&format!(r#"{{"file":"{file}""#)).unwrap_or_else(|| panic!("{}", r.out));
        let places = ["green.ppm", "nothere", "red.ppm", "short.ppm"].map(at);
        assert!(places.is_sorted(), "batch {batch}: {}", r.out);
        assert!(r.out[places[2]..].starts_with(r#"{"file":"red.ppm","classes":[{"class":0,"#), "{}", r.out);
    }
}

#[test]
fn a_set_is_evaluated() {
    let r = run_on(32, &["--eval", "set.bin", "--predictions", "p.npy", "--logits", "l.npy", "--batch", "3"]);
    assert_eq!((r.code, r.out.as_str()), (0, "Acc@1 75.000 Acc@5 100.000 (3 of 4)\n"));
    let predictions = npy::parse(&r.files[b"p.npy".as_slice()]).map(|a| a.data).expect("is an array");
    assert_eq!(predictions, npy::Data::U8(&[0, 1, 2, 2]));
    assert_eq!(npy::parse(&r.files[b"l.npy".as_slice()]).expect("is an array").shape, [4, 4]);

    let r = run(&["--eval", "u8.npy", "--eval-labels", "labels.tsv"]);
    assert_eq!((r.code, r.out.as_str()), (0, "Acc@1 50.000 Acc@5 100.000 (1 of 2)\n"));
}

#[test]
fn bad_sets_are_refused() {
    for (args, code, word) in [
        (["--eval", "cut.bin"], 3, "record 1 is truncated"),
        (["--eval", "red.ppm"], 3, "record 0 is truncated"),
        (["--eval", "nothere"], 3, "no such file"),
        (["--eval", "f32.npy"], 2, "--eval-labels"),
    ] {
        let r = run_on(32, &args);
        assert_eq!(r.code, code, "{args:?}: {}", r.err);
        assert!(r.err.contains(word), "{args:?}: {}", r.err);
    }
    let r = run(&["--eval", "set.bin"]);
    assert_eq!(r.code, 2);
    assert!(r.err.contains("32x32") && r.err.contains("8x8"), "{}", r.err);
    let r = run(&["--eval", "none.npy", "--eval-labels", "none.tsv"]);
    assert_eq!((r.code, r.out.as_str()), (3, ""));
    assert!(r.err.contains("none.npy: there are no pictures"), "{}", r.err);
}

#[test]
fn arrays_are_inputs() {
    let r = run(&["--npy", "u8.npy", "--top", "1"]);
    assert_eq!(r.out, "u8.npy[0]: 2 blue 0.545\nu8.npy[1]: 0 red 0.545\n");
    let r = run(&["--npy", "f32.npy", "--out", "y.npy"]);
    assert_eq!((r.code, r.out.as_str()), (0, ""));
    let y = npy::parse(&r.files[b"y.npy".as_slice()]).map(|a| a.data).expect("is an array");
    assert_eq!(y, npy::Data::F32(vec![0.0; 4]));
    let r = run_on(32, &["--npy", "f32.npy"]);
    assert_eq!(r.code, 3);
    assert!(r.err.contains("[1, 3, 8, 8]") && r.err.contains("(N, 3, 32, 32)"), "{}", r.err);
}

#[test]
fn a_failed_output_has_its_code() {
    let r = run(&["red.ppm", "--out", "/readonly/y.npy"]);
    let said = "error: /readonly/y.npy: cannot be written: permission denied\n  \
                help: choose a place that exists, may be written and has room\n";
    assert_eq!((r.code, r.err.as_str()), (5, said));
}

#[test]
fn the_self_test_passes() {
    let r = run(&["--selftest"]);
    assert_eq!(r.code, 0);
    assert!(r.out.starts_with("self-test passed: 4 outputs, finite, the same bits in 15 runs"), "{}", r.out);
}

#[test]
fn bench_counts_its_runs() {
    let r = run(&["--bench", "--iterations", "7", "--warmup", "0", "--json", "--threads", "1", "--batch", "2"]);
    assert!(
        r.out.contains(r#""dtype":"f32","batch":2,"threads":1,"iterations":7,"median_ms":1,"min_ms":1"#),
        "{}",
        r.out
    );
    // The fake clock goes on by a millisecond at each look: five runs of two, then three with the question for the time.
    let r = run(&["--bench", "0.1"]);
    assert!(r.out.contains("batch 1, 2 threads, 35 runs\nmedian 1.000 ms"), "{}", r.out);
}

#[test]
fn facts_are_aligned() {
    let r = run(&["--info"]);
    assert!(r.out.contains("name            hand-made\n"), "{}", r.out);
    assert!(r.out.contains("input           f32[1,3,8,8]\n"), "{}", r.out);
    assert!(run(&["--info", "--json"]).out.contains("\"weights_bytes\":48,"));
}

#[test]
fn a_name_of_digits_is_a_string() {
    let mut model = colours(8);
    model.name = c"007".as_ptr().cast();
    // SAFETY: the model is right.
    let library = unsafe { InProcess::new(&model) };
    let json = report::info_to_json(&library, 1);
    assert!(json.contains("\"name\":\"007\","), "{json}");
}

#[test]
fn a_picture_of_another_size_without_resize_is_noted() {
    let r = run_on(32, &["red.ppm", "--top", "1"]);
    assert_eq!(r.code, 0);
    assert!(r.err.contains("note: red.ppm: 16x24 pixels; the model takes 32x32"), "{}", r.err);
}

#[test]
fn help_names_every_option() {
    let r = run(&["--help"]);
    assert_eq!(r.code, 0);
    for option in
        ["--npy", "--eval", "--bench", "--info", "--selftest", "--top", "--json", "--threads", "--batch", "--out"]
    {
        assert!(r.out.contains(option), "{option}");
    }
}
