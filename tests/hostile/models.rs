//! `.rir` files with errors, and weights that do not belong to them.

use super::small_model;
use crate::command::{Scratch, npy, rescc};
use crate::test;
use libtest_mimic::Trial;
use std::io::Write;
use std::path::Path;

pub fn tests() -> Vec<Trial> {
    vec![
        test("hostile::models::missing_files", missing_files),
        test("hostile::models::five_errors_at_once", five_errors),
        test("hostile::models::no_text", no_text),
        test("hostile::models::weights_that_climb", weights_that_climb),
        test("hostile::models::weights_of_another_model", weights_of_another_model),
        test("hostile::models::not_one_graph", not_one_graph),
        test("hostile::models::unusual_sizes", unusual),
        test("hostile::models::inputs_of_a_run", inputs_of_a_run),
        test("hostile::models::names_of_targets_and_nodes", names),
        test("hostile::models::outputs_to_be_compared_with", against),
        test("hostile::models::pictures_that_are_not_finite", not_finite),
        test("hostile::models::values_of_several_inputs", taps),
    ]
}

const READERS: [&[&str]; 5] =
    [&["check"], &["inspect"], &["opt"], &["compile", "-o", "never"], &["run", "--input", "zeros"]];

fn missing_files() {
    let dir = small_model();
    for verb in READERS {
        rescc(&[verb, &[&dir.path("n.rir")]].concat()).fails(3, &["E0805", "n.rir", "not found"][..2]);
    }
    let outcome = rescc(&["check", &dir.path("m.rri")]);
    outcome.fails(3, &["E0805", "m.rri"]);
    assert!(outcome.stderr.contains("did you mean") && outcome.stderr.contains("m.rir'"), "{}", outcome.stderr);
    std::fs::remove_file(dir.path("m.safetensors")).unwrap();
    rescc(&["check", &dir.path("m.rir")]).fails(3, &["E0806", "m.safetensors", "m.rir"]);
    assert!(!std::path::Path::new("never").exists());
}

/// Five errors are five messages, each with line and column; `check` answers 1, other verbs refuse with 3.
fn five_errors() {
    let text = "rir 1

graph @bad(%x: f32[N,3,8,8]) -> (%y) where N in 1..4 {
  param %w = \"w\" : f32[4,5,3,3]
  %a = conv2d %x, %w : f32[N,4,6,6]
  %b = reul %x : f32[N,3,8,8]
  %c = relu %nothing : f32[N,3,8,8]
  %d = relu %x size=3 : f32[N,3,8,8]
  %e = relu %x : f32[N,3,8,9]
  %y = relu %x : f32[N,3,8,8]
}
";
    let dir = Scratch::new();
    let path = dir.write("bad.rir", text);
    let places = ["bad.rir:5:", "bad.rir:6:", "bad.rir:7:", "bad.rir:8:", "bad.rir:9:"];
    for (verb, exit) in READERS.into_iter().zip([1, 3, 3, 3, 3]) {
        let outcome = rescc(&[verb, &[&path]].concat());
        outcome.fails(exit, &[]);
        for place in places {
            assert!(outcome.stderr.contains(place), "{place} is not in:\n{}", outcome.stderr);
        }
        assert_eq!(outcome.stderr.matches("error[E").count(), 5, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("'relu'"), "no hint at relu in:\n{}", outcome.stderr);
    }
    assert_eq!(dir.files(), ["bad.rir"]);
    let document = rescc(&["check", "--json", &path]).stdout;
    let document: serde_json::Value = serde_json::from_str(&document).expect("one JSON document");
    assert_eq!((&document["schema"], &document["ok"]), (&"rescc.check/1".into(), &false.into()));
    let lines: Vec<u64> =
        document["diagnostics"].as_array().unwrap().iter().filter_map(|d| d["line"].as_u64()).collect();
    let mut sorted = lines.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [5, 6, 7, 8, 9]);
}

fn no_text() {
    let dir = Scratch::new();
    let binary = dir.write("m.rir", b"rir 1\n\xff\xfe");
    rescc(&["check", &binary]).fails(3, &["E0807", "m.rir", "byte 6"]);
    let empty = dir.write("e.rir", b"");
    rescc(&["inspect", &empty]).fails(3, &["error[E", "e.rir"]);
    let long = dir.write("l.rir", format!("rir 1\n{}", "(".repeat(1_000_000)));
    rescc(&["inspect", &long]).fails(3, &["error[E", "l.rir"]);
}

fn weights_that_climb() {
    let outer = small_model();
    let text = String::from_utf8(outer.read("m.rir")).unwrap();
    let inner = Scratch::new();
    let absolute = outer.path("m.safetensors");
    std::os::unix::fs::symlink(&absolute, inner.path("link.safetensors")).unwrap();
    std::fs::create_dir(inner.path("dir.safetensors")).unwrap();
    let cases = [
        (absolute.as_str(), "is absolute"),
        ("link.safetensors", "leaves the model's directory"),
        ("../../../../../../../../../../../../etc/passwd", "leaves the model's directory"),
        ("dir.safetensors", "no regular file"),
        ("nowhere.safetensors", "cannot read"),
    ];
    for (file, what) in cases {
        let path = inner.write("m.rir", text.replace("m.safetensors", file));
        rescc(&["check", &path]).fails(3, &["E0806", what]);
    }
    let line = text.lines().find(|l| l.starts_with("weights")).unwrap();
    let path = inner.write("m.rir", text.replace(line, ""));
    rescc(&["check", &path]).fails(3, &["E0806", "names no weights file", "m.rir"]);
}

fn weights_of_another_model() {
    let dir = small_model();
    let (text, mut weights) = (String::from_utf8(dir.read("m.rir")).unwrap(), dir.read("m.safetensors"));
    *weights.last_mut().unwrap() ^= 1;
    dir.write("m.safetensors", &weights);
    for verb in [
        &["check"][..],
        &["compile", "-o", "never"],
        &["run", "--input", "zeros"],
        &["verify"],
        &["opt", "-o", "never"],
    ] {
        rescc(&[verb, &[&dir.path("m.rir")]].concat())
            .fails(3, &["E0808", "m.safetensors", "m.rir", "expected", "found"]);
    }
    rescc(&["new", "cifar-resnet8", "--width", "8", "-o", &dir.path("m.rir")]).succeeds();
    dir.write("m.rir", &text);
    let outcome = rescc(&["check", &dir.path("m.rir")]);
    outcome.fails(1, &["E0809", "'conv1.weight' is f32[8, 3, 3, 3], the model says f32[4,3,3,3]", "m.rir:5:"]);
    let other = text.replace("\"bn1.weight\"", "\"bn1.wieght\"");
    let outcome = rescc(&["inspect", &dir.write("m.rir", &other)]);
    outcome.succeeds();
    let outcome = rescc(&["run", "--input", "zeros", &dir.path("m.rir")]);
    outcome.fails(3, &["E0809", "no tensor 'bn1.wieght'"]);
    assert!(outcome.stderr.contains("did you mean 'bn1.weight'?"), "{}", outcome.stderr);
}

fn not_one_graph() {
    let dir = Scratch::new();
    let graph =
        |n: u32| format!("graph @g{n}(%x: f32[N,3]) -> (%y) where N in 1..4 {{\n  %y = relu %x : f32[N,3]\n}}\n");
    let none = dir.write("none.rir", "rir 1\n");
    rescc(&["inspect", &none]).fails(3, &["E0813", "has 0", "none.rir"]);
    let two = dir.write("two.rir", format!("rir 1\n\n{}\n{}", graph(1), graph(2)));
    rescc(&["inspect", &two]).fails(3, &["E0813", "has 2", "two.rir"]);
}

fn inputs_of_a_run() {
    let dir = small_model();
    let model = dir.path("m.rir");
    let run = |input: &str| rescc(&["run", &model, "--input", input]);
    let text = dir.write("notes.txt", "Dear diary");
    run(&text).fails(4, &["E0812", "picture"]);
    let array = dir.path("x.npy");
    rescc::import::npy::write(array.as_ref(), &[2, 2], &[0.0; 4]).unwrap();
    run(&array).fails(3, &["E0811", "4 elements", "x.npy"]);
    run("random:many").fails(3, &["E0811", "'many' is no seed"]);
    run(&dir.write("y.npy", b"no array")).fails(3, &["E0901", "y.npy"]);
    // With preprocessing the same text is looked into.
    let from = dir.path("m.safetensors");
    rescc(&["import", &from, "--preprocess", "cifar", "-o", &dir.path("p.rir")]).succeeds();
    let run = |input: &str| rescc(&["run", &dir.path("p.rir"), "--input", input]);
    run(&text).fails(3, &["E0901", "notes.txt"]);
    run(&dir.write("cut.png", b"\x89PNG\r\n\x1a\n\x00\x00")).fails(3, &["E090", "cut.png"]);
    run(&dir.path("absent.png")).fails(3, &["E0805", "absent.png"]);
    run(&dir.write("vast.ppm", b"P6 65535 65535 255\n")).fails(6, &["E0902", "limit", "vast.ppm"]);
    run(&dir.write("ascii.ppm", b"P3 1 1 255\n0 0 0\n")).fails(4, &["E0903", "ascii.ppm"]);
}

fn names() {
    let dir = small_model();
    let model = dir.path("m.rir");
    let out = dir.path("out");
    rescc(&["compile", &model, "--target", "x86-64-v9", "-o", &out]).fails(4, &["E0711", "x86-64-v9"]);
    let external = rescc(&["compile", &model, "--weights", "external", "-o", &out]);
    external.fails(4, &["E0804", "external"]);
    assert!(external.stderr.contains("leave the option out: weights are embedded"), "{external:?}");
    if !cfg!(feature = "llvm") {
        rescc(&["compile", &model, "--backend", "llvm", "-o", &out]).fails(7, &["E0712", "without LLVM"]);
    }
    rescc(&["run", &model, "--input", "zeros", "--tap", "nowhere", "--tap-dir", &dir.path("")])
        .fails(3, &["E0810", "'nowhere'"]);
    rescc(&["explain", "E9999"]).fails(2, &["E0802", "E9999"]);
    assert!(!dir.files().contains(&"out".to_string()));
    let two = "rir 1\n\ngraph @g(%x: f32[N,3,4,4], %z: f32[N,3,4,4]) -> (%y) where N in 1..4 {\n  \
               %y = add %x, %z : f32[N,3,4,4]\n}\n";
    rescc(&["compile", &dir.write("two.rir", two), "-o", &out]).fails(4, &["E0710", "one f32 image"]);
    // Its caller would have room for one row.
    let rows = "rir 1\n\ngraph @g(%x: f32[1,3,4,4]) -> (%y) {\n  %y = reshape %x shape=[3,16] : f32[3,16]\n}\n";
    rescc(&["compile", &dir.write("rows.rir", rows), "-o", &out]).fails(4, &["E0710", "one row for each image"]);
    // A number of images that is fixed is the batch, or memory would be read and written that nobody gave.
    for (images, batch) in [(1, "4"), (4, "1")] {
        let text = format!(
            "rir 1\n\ngraph @g(%x: f32[{images},3,4,4]) -> (%y) {{\n  %y = relu %x : f32[{images},3,4,4]\n}}\n"
        );
        let model = dir.write("fixed.rir", text);
        rescc(&["compile", &model, "--batch", batch, "-o", &out]).fails(4, &["E0710", "number of images"]);
        rescc(&["verify", &model, "--batch", batch]).fails(4, &["E0710", "number of images"]);
        rescc(&["verify", &model, "--batch", &images.to_string()]).succeeds();
    }
}

/// Graphs of unusual sizes are compiled in proportion to their text, and verified.
fn unusual() {
    let dir = Scratch::new();
    let tensors = [("w", vec![8, 8, 1, 1]), ("v", vec![8, 8, 1, 201])].map(|(name, shape)| (name.to_string(), shape));
    let mut weights = Vec::new();
    let fill = &mut |i: usize, out: &mut dyn Write| {
        let elements: u64 = tensors[i].1.iter().product();
        out.write_all(&0.0625f32.to_le_bytes().repeat(elements as usize))
    };
    rescc::import::safetensors::write(&mut weights, &tensors, fill).expect("memory can be written");
    dir.write("u.safetensors", weights);
    let many = format!("  %r = relu %x : f32[1,3,4,4]\n  %y = add {} : f32[1,3,4,4]\n", ["%r"; 17].join(", "));
    for (x, body) in [
        ("1,10,1,1", "  %r = reshape %x shape=[10] : f32[10]\n  %y = softmax %r : f32[10]\n"),
        ("1,3,4,4", &many),
        (
            "1,8,1,3000",
            "  param %w = \"w\" : f32[8,8,1,1]\n  %r = conv2d %x, %w : f32[1,8,1,3000]\n  \
             %m = max_pool %r kernel=1x1001 pad=0,500,0,500 : f32[1,8,1,3000]\n  \
             %y = conv2d %m, %w : f32[1,8,1,3000]\n",
        ),
        ("1,8,1,600", "  param %v = \"v\" : f32[8,8,1,201]\n  %y = conv2d %x, %v pad=0,100,0,100 : f32[1,8,1,600]\n"),
    ] {
        let text = format!("rir 1\nweights \"u.safetensors\"\n\ngraph @g(%x: f32[{x}]) -> (%y) {{\n{body}}}\n");
        rescc(&["verify", &dir.write("u.rir", text), "--backend", "cranelift"]).succeeds();
    }
}

fn write(path: &str, values: &[f32]) {
    rescc::import::npy::write(path.as_ref(), &[1, values.len() as u64], values).expect("the array can be written");
}

fn against() {
    let dir = small_model();
    let (model, y) = (dir.path("m.rir"), dir.path("y.npy"));
    rescc(&["run", &model, "--input", "random:1", "--out", &y]).succeeds();
    let verify =
        |more: &[&str]| rescc(&[&["verify", &model, "--backend", "cranelift", "--against", &y], more].concat());
    assert!(verify(&[]).succeeds().contains("largest difference"));
    let right: Vec<f32> = npy(Path::new(&y)).into_iter().map(|v| v as f32).collect();
    let largest = right.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    // The comparison is printed, and the difference is an error besides.
    for wrong in [1e9, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, right[3] + largest * 1e-3] {
        let mut values = right.clone();
        values[3] = wrong;
        write(&y, &values);
        let outcome = verify(&[]);
        assert_eq!(outcome.code, Some(1), "{wrong}: {outcome:?}");
        assert!(outcome.stderr.contains("E0791") && outcome.stderr.contains("help: "), "{outcome:?}");
    }
    verify(&["--tol", "0.01"]).succeeds();
    for tolerance in ["nan", "inf", "-1", "much"] {
        let outcome = verify(&[&format!("--tol={tolerance}")]);
        assert!(outcome.code == Some(2) && outcome.stderr.contains("--tol"), "{outcome:?}");
    }
    write(&y, &right[1..]);
    verify(&[]).fails(3, &["E0811", "9 outputs are expected, the inputs give 10", "y.npy"]);
}

/// What the reference computes of them is right, NaN and infinities too; numbers are not right in their stead.
fn not_finite() {
    let dir = small_model();
    let (model, x, y) = (dir.path("m.rir"), dir.path("x.npy"), dir.path("y.npy"));
    let mut picture = vec![0.5f32; 3 * 32 * 32];
    (picture[0], picture[1000]) = (f32::NAN, f32::INFINITY);
    write(&x, &picture);
    rescc(&["run", &model, "--input", &x, "--out", &y]).succeeds();
    let verify = ["verify", &model, "--backend", "cranelift", "--input", &x, "--against", &y];
    rescc(&verify).succeeds();
    write(&y, &[0.0; 10]);
    let outcome = rescc(&verify);
    assert!(outcome.code == Some(1) && outcome.stderr.contains("E0791"), "{outcome:?}");
    assert!(!outcome.stderr.contains("E0790"), "{outcome:?}");
}

/// `--tap` keeps a value of every input.
fn taps() {
    let dir = small_model();
    let model = dir.path("m.rir");
    let tap = |inputs: &[&str]| {
        let tap = ["run", &model, "--tap", "conv1", "--tap-dir", &dir.path("")];
        rescc(&[&tap, inputs].concat()).succeeds();
        npy(Path::new(&dir.path("conv1.npy")))
    };
    let [zeros, random] = ["zeros", "random:1"].map(|x| tap(&["--input", x]));
    assert!(zeros != random);
    assert_eq!(tap(&["--input", "zeros", "--input", "random:1"]), [zeros, random].concat());
    let shape = rescc::import::npy::read(Path::new(&dir.path("conv1.npy"))).expect("an array").shape;
    assert_eq!(shape, [2, 4, 32, 32]);
}
