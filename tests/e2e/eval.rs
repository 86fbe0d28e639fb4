//! Evaluation: the counts of others, crops and sizes computed by hand, pictures and classes that are not as expected.

use super::train::set_up;
use super::{data, npy, path, run};
use crate::command::{Scratch, rescc};
use crate::{skip, test};
use libtest_mimic::Trial;
use serde_json::Value;
use std::path::Path;

pub fn tests() -> Vec<Trial> {
    let mut trials = vec![
        test("e2e::eval::counts_are_those_of_the_executable", executable),
        test("e2e::eval::a_network_twice_is_the_network", twice),
        test("e2e::eval::a_scale_is_a_network_of_that_size", scale),
        test("e2e::eval::ten_crops_are_ten_pictures", ten_crops),
        test("e2e::eval::classes_go_by_their_names", names),
        test("e2e::eval::responses_are_deviations_of_batch_norms", responses),
        test("hostile::eval::data", hostile_data),
        test("hostile::eval::a_broken_picture_among_others", broken_picture),
        test("hostile::eval::networks", hostile_networks),
    ];
    trials.push(match data("cifar10/test_batch.bin") {
        Some(images) => test("e2e::eval::published_networks", move || published(images.parent().expect("a folder"))),
        None => {
            skip("e2e::eval::published_networks", "cifar10/test_batch.bin is not there (tools/get-data.sh gets it)")
        }
    });
    trials
}

fn json(text: &str) -> Value {
    serde_json::from_str::<Value>(text).unwrap_or_else(|e| panic!("{e}: {text}"))["result"].clone()
}

#[track_caller]
fn eval(args: &[&str]) -> Value {
    json(&rescc(&[&["eval", "--backend", "cranelift", "--json"], args].concat()).succeeds())
}

/// A small network of `classes` classes for `side` pixels, and its file.
fn network(dir: &Scratch, name: &str, side: u64, classes: u64) -> String {
    let (file, input, classes) = (dir.path(name), format!("3x{side}x{side}"), classes.to_string());
    let shape = ["--width", "4", "--input", &input, "--classes", &classes];
    rescc(&[&["new", "cifar-resnet8", "-o", &file], &shape[..]].concat()).succeeds();
    file
}

/// A picture of coloured noise.
fn noise(width: usize, height: usize, seed: u32) -> Vec<u8> {
    let mut random = seed;
    let mut byte = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    };
    (0..3 * width * height).map(|i| if i % 3 == seed as usize % 3 { byte() / 2 + 128 } else { byte() / 2 }).collect()
}

fn ppm(width: usize, height: usize, pixels: &[u8]) -> Vec<u8> {
    [format!("P6 {width} {height} 255\n").as_bytes(), pixels].concat()
}

/// A folder `pictures` with `each` pictures of `classes` classes `c0`, `c1`, …, of different sizes.
fn folder(dir: &Scratch, classes: usize, each: usize) -> String {
    for c in 0..classes {
        std::fs::create_dir_all(dir.path(&format!("pictures/c{c}"))).unwrap();
        for i in 0..each {
            let (w, h) = (20 + 3 * i, 24 - 2 * i);
            dir.write(&format!("pictures/c{c}/{i}.ppm"), ppm(w, h, &noise(w, h, (7 * c + i) as u32)));
        }
    }
    format!("folder:{}", dir.path("pictures"))
}

fn executable() {
    let dir = set_up();
    let (model, exe) = (network(&dir, "m.rir", 32, 10), dir.path("m"));
    rescc(&["compile", &model, "-o", &exe, "--preprocess", "cifar", "--backend", "cranelift"]).succeeds();
    let theirs: Value =
        serde_json::from_str(&run(Path::new(&exe), &["--eval", &dir.path("test_batch.bin"), "--json"])).unwrap();
    let ours = eval(&[&model, "--data", &format!("cifar10:{}", dir.path("")), "--preprocess", "cifar"]);
    assert!(theirs["top5"].as_u64().is_some_and(|n| n > 0), "{theirs}");
    for count in ["top1", "top5", "acc1", "acc5"] {
        assert_eq!(ours[count].as_f64(), theirs[count].as_f64(), "{count}: {ours} {theirs}");
    }
    let of_classes = ours["classes"].as_array().unwrap().iter().map(|c| c["top1"].as_u64().unwrap());
    assert_eq!(of_classes.sum::<u64>(), ours["top1"]);
}

fn twice() {
    let dir = set_up();
    let data = format!("cifar10:{}", dir.path(""));
    let (a, b) = (network(&dir, "a.rir", 32, 10), dir.path("b.rir"));
    rescc(&["new", "cifar-resnet14", "--width", "4", "--seed", "9", "-o", &b]).succeeds();
    let common = ["--data", &data, "--preprocess", "cifar"];
    let alone = eval(&[&[&*a], &common[..]].concat());
    let same = eval(&[&[&*a, &*a], &common[..]].concat());
    assert_eq!((&same["top1"], &same["top5"]), (&alone["top1"], &alone["top5"]));
    assert_eq!(same["classes"], alone["classes"]);
    let both = eval(&[&[&*a, &*b], &common[..]].concat());
    assert_eq!(both["models"][0]["top1"], alone["top1"]);
    assert_eq!(both["models"][1]["top1"], eval(&[&[&*b], &common[..]].concat())["top1"]);
    let text = rescc(&[&["eval", &*a, &*b, "--per-class"], &common[..]].concat()).succeeds();
    assert!(text.contains("together") && text.contains("automobile"), "{text}");
}

/// The matrix of an evaluation.
fn matrix(dir: &Scratch, args: &[&str]) -> Vec<Vec<String>> {
    let file = dir.path("matrix.csv");
    eval(&[args, &["--confusion", &file]].concat());
    let text = String::from_utf8(dir.read("matrix.csv")).unwrap();
    text.lines().map(|l| l.split(',').map(String::from).collect()).collect()
}

fn scale() {
    let dir = Scratch::new();
    let data = folder(&dir, 5, 3);
    let (small, large) = (network(&dir, "small.rir", 16, 5), network(&dir, "large.rir", 32, 5));
    let own = matrix(&dir, &[&small, "--data", &data, "--preprocess", "cifar resize=16 crop=16"]);
    let scaled = matrix(&dir, &[&large, "--data", &data, "--preprocess", "cifar", "--scales", "16"]);
    assert_eq!(own, scaled);
    assert_eq!(own[0], ["class", "c0", "c1", "c2", "c3", "c4"]);
    let pictures: u64 = own[1..].iter().flat_map(|row| &row[1..]).map(|n| n.parse::<u64>().unwrap()).sum();
    assert_eq!(pictures, 15);
    let three = eval(&[&large, "--data", &data, "--preprocess", "cifar", "--scales", "16,24,32", "--crops", "1"]);
    assert_eq!(three["n"], 15);
}

/// Crops that are cut here, classified one by one, and averaged.
fn ten_crops() {
    let dir = Scratch::new();
    let model = network(&dir, "m.rir", 16, 5);
    let data = folder(&dir, 5, 1);
    let mut expected = Vec::new();
    for c in 0..5 {
        let (w, h) = (20, 24);
        let pixels = noise(w, h, 7 * c);
        let mut args = vec!["run".to_string(), model.clone(), "--json".into(), "--preprocess".into()];
        args.extend(["cifar crop=16".into(), "--top".into(), "5".into()]);
        for (i, (x0, y0)) in [(2, 4), (0, 0), (4, 0), (0, 8), (4, 8)].into_iter().enumerate() {
            for is_mirrored in [false, true] {
                let column = |x: usize| x0 + if is_mirrored { 15 - x } else { x };
                let at = |i: usize| 3 * ((y0 + i / 16) * w + column(i % 16));
                let crop: Vec<u8> = (0..256).flat_map(|i| pixels[at(i)..at(i) + 3].to_vec()).collect();
                args.push("--input".into());
                args.push(dir.write(&format!("{i}{is_mirrored}.ppm"), ppm(16, 16, &crop)));
            }
        }
        let answers = json(&rescc(&args.iter().map(String::as_str).collect::<Vec<_>>()).succeeds());
        let mut sums = [0.0; 5];
        for a in answers["inputs"].as_array().unwrap().iter().flat_map(|i| i["top"].as_array().unwrap()) {
            sums[a["class"].as_u64().unwrap() as usize] += a["probability"].as_f64().unwrap();
        }
        assert!((sums.iter().sum::<f64>() - 10.0).abs() < 1e-9);
        expected.push((0..5).max_by(|&a, &b| sums[a].total_cmp(&sums[b])).unwrap());
    }
    let found = matrix(&dir, &[&model, "--data", &data, "--preprocess", "cifar crop=16", "--crops", "10"]);
    let answers: Vec<usize> = found[1..].iter().map(|row| row[1..].iter().position(|n| n == "1").unwrap()).collect();
    assert_eq!(answers, expected);
}

/// A folder with some of a network's classes.
fn names() {
    let dir = Scratch::new();
    let model = network(&dir, "m.rir", 16, 5);
    let text = String::from_utf8(dir.read("m.rir")).unwrap();
    dir.write(
        "m.rir",
        text.replacen("graph @", "labels [\n  \"x\",\n  \"c1\",\n  \"y\",\n  \"c0\",\n  \"z\",\n]\n\ngraph @", 1),
    );
    let data = folder(&dir, 2, 2);
    let found = matrix(&dir, &[&model, "--data", &data, "--preprocess", "cifar crop=16"]);
    assert_eq!(found[0], ["class", "x", "c1", "y", "c0", "z"]);
    let rows: Vec<u64> = found[1..].iter().map(|r| r[1..].iter().map(|n| n.parse::<u64>().unwrap()).sum()).collect();
    assert_eq!(rows, [0, 2, 0, 2, 0]);
}

/// Deviations from values that `run` computes for one picture at a time, and their figure.
fn responses() {
    let dir = Scratch::new();
    let model = network(&dir, "m.rir", 16, 2);
    let data = folder(&dir, 2, 2);
    let common = ["--data", &data, "--preprocess", "cifar crop=16"];
    let file = dir.path("responses.csv");
    let found = eval(&[&[&*model, "--responses", &file], &common[..]].concat());
    let layers = found["responses"][0]["layers"].as_array().unwrap();
    assert_eq!((layers.len(), &layers[6]["name"]), (7, &"layer3.0.conv2".into()));
    for (name, tap) in [("conv1", "bn1"), ("layer3.0.conv2", "layer3.0.bn2")] {
        let mut values = Vec::new();
        for picture in ["c0/0", "c0/1", "c1/0", "c1/1"] {
            let input = dir.path(&format!("pictures/{picture}.ppm"));
            let args = ["run", &model, "--preprocess", "cifar crop=16", "--input", &input, "--tap", tap, "--tap-dir"];
            rescc(&[&args, &[&*dir.path("")][..]].concat()).succeeds();
            values.extend(npy(dir.path(&format!("{tap}.npy")).as_ref()));
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        let ours = layers.iter().find(|l| l["name"] == name).unwrap()["std"].as_f64().unwrap();
        assert!((ours - std).abs() < 1e-4 * std, "{name}: {ours}, not {std}");
    }
    let table = String::from_utf8(dir.read("responses.csv")).unwrap();
    assert!(table.starts_with("model,layer,name,std\nm,1,conv1,") && table.lines().count() == 8, "{table}");
    let figure = dir.path("responses.svg");
    eval(&[&[&*model, &*model, "--responses", &figure], &common[..]].concat());
    assert!(String::from_utf8(dir.read("responses.svg")).unwrap().contains("sorted by size"));
    dir.write("dense.rir", "rir 1\n\ngraph @g(%x: f32[N,3,16,16]) -> (%y) {\n  %p = global_avg_pool %x : f32[N,3]\n  %y = softmax %p : f32[N,3]\n}\n");
    std::fs::create_dir_all(dir.path("pictures/c2")).unwrap();
    std::fs::copy(dir.path("pictures/c0/0.ppm"), dir.path("pictures/c2/0.ppm")).unwrap();
    let outcome = rescc(&[&["eval", &dir.path("dense.rir"), "--responses", &file], &common[..]].concat());
    outcome.fails(3, &["E0914", "no 3x3 convolution"]);
}

fn hostile_data() {
    let dir = set_up();
    let model = network(&dir, "m.rir", 32, 10);
    let with = |data: &str| rescc(&["eval", &model, "--preprocess", "cifar", "--data", data]);
    let cifar = format!("cifar10:{}", dir.path(""));
    dir.write("test_batch.bin", "");
    with(&cifar).fails(3, &["E0904", "empty", "test_batch.bin"]);
    std::fs::remove_file(dir.path("test_batch.bin")).unwrap();
    with(&cifar).fails(3, &["E0805", "test_batch.bin"]);
    with(&format!("folder:{}", dir.path("nowhere"))).fails(3, &["E0805", "nowhere"]);
    std::fs::create_dir_all(dir.path("empty/cat")).unwrap();
    with(&format!("folder:{}", dir.path("empty"))).fails(3, &["E0906", "no pictures"]);
    with(&folder(&dir, 3, 1)).fails(3, &["E0905", "the data has 3 classes, the network 10"]);
    let usage = |args: &[&str], part: &str| {
        let outcome = rescc(&[&["eval", &model], args].concat());
        assert!(outcome.code == Some(2) && outcome.stderr.contains(part), "{outcome:?}");
    };
    usage(&["--data", "folder:"], "the folder is missing");
    usage(&["--data", "tar:x"], "cifar10:DIR");
    usage(&["--data", &cifar, "--confusion", "matrix.png"], ".svg or .csv");
    usage(&["--data", &cifar, "--scales", "0"], "1..=4096");
    usage(&["--data", &cifar, "--crops", "5"], "1, 10");
}

fn broken_picture() {
    let dir = Scratch::new();
    let model = network(&dir, "m.rir", 16, 2);
    let data = folder(&dir, 2, 3);
    let whole = dir.read("pictures/c1/1.ppm");
    dir.write("pictures/c1/1.ppm", &whole[..whole.len() / 2]);
    dir.write("pictures/c0/2.ppm", "no picture");
    let outcome = rescc(&["eval", &model, "--data", &data, "--preprocess", "cifar crop=16", "--json"]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    let document: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&document["ok"], &document["result"]["n"]), (&false.into(), &4.into()));
    assert_eq!(document["result"]["unreadable"], 2);
    let outcome = rescc(&["eval", &model, "--data", &data, "--preprocess", "cifar crop=16"]);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.stdout.contains("of 4"), "the others are evaluated: {}", outcome.stdout);
    for part in ["error[E0901]", "c0/2.ppm", "c1/1.ppm", "help: "] {
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    }
    // Responses are those of the others.
    let file = dir.path("responses.csv");
    let args = ["eval", &model, "--data", &data, "--preprocess", "cifar crop=16", "--responses", &file];
    let outcome = rescc(&args);
    assert!(outcome.code == Some(3) && outcome.stdout.contains("mean deviation of responses"), "{outcome:?}");
    let responses = dir.read("responses.csv");
    for f in ["c0/2.ppm", "c1/1.ppm"] {
        std::fs::remove_file(dir.path(&format!("pictures/{f}"))).unwrap();
    }
    rescc(&args).succeeds();
    assert!(dir.read("responses.csv") == responses);
    for c in 0..2 {
        (0..3).for_each(|i| _ = dir.write(&format!("pictures/c{c}/{i}.ppm"), "no picture"));
    }
    let outcome = rescc(&["eval", &model, "--data", &data, "--preprocess", "cifar crop=16"]);
    outcome.fails(3, &["E0901", "c0/0.ppm"]);
}

fn hostile_networks() {
    let dir = Scratch::new();
    let data = folder(&dir, 2, 1);
    let model = network(&dir, "m.rir", 16, 2);
    rescc(&["eval", &model, "--data", &data]).fails(4, &["E0812", "does not say"]);
    let with = |more: &[&str]| rescc(&[&["eval", &model, "--data", &data], more].concat());
    with(&["--preprocess", "cifar crop=16", "--crops", "10", "--scales", "8"]).fails(3, &["E0912", "16x16", "of 8"]);
    let vgg = dir.path("vgg.rir");
    rescc(&["new", "vgg16", "--width", "4", "--input", "3x32x32", "--classes", "2", "-o", &vgg]).succeeds();
    let outcome = rescc(&["eval", &vgg, "--data", &data, "--preprocess", "cifar", "--scales", "64"]);
    outcome.fails(3, &["E0912", "64x64"]);
    let other = network(&dir, "other.rir", 16, 3);
    rescc(&["eval", &model, &other, "--data", &data, "--preprocess", "cifar crop=16"])
        .fails(3, &["E0905", "network 3"]);
}

/// Two trained networks have their published counts, and are better together.
fn published(cifar: &Path) {
    let dir = Scratch::new();
    let mut models = Vec::new();
    for (depth, file) in [("20", "resnet20-12fca82f.th"), ("32", "resnet32-d509ac18.th")] {
        let weights = data(file).unwrap_or_else(|| panic!("{file} lies beside the pictures"));
        let (model, arch) = (dir.path(&format!("r{depth}.rir")), format!("cifar-resnet{depth}"));
        rescc(&["import", path(&weights), "--arch", &arch, "-o", &model]).succeeds();
        models.push(model);
    }
    let data = format!("cifar10:{}", path(cifar));
    let figure = dir.path("matrix.svg");
    let text = rescc(&["eval", &models[0], &models[1], "--data", &data, "--json", "--confusion", &figure]).succeeds();
    let found = json(&text);
    // The deeper network responds less, as figure 7 of the paper says.
    let responses = dir.path("responses.svg");
    let first = ["--data", &data, "--json", "--limit", "1000", "--responses", &responses];
    let shown = json(&rescc(&[&["eval", &models[0], &models[1]], &first[..]].concat()).succeeds());
    for (i, measured) in [(0, 0.732), (1, 0.596)] {
        let layers = shown["responses"][i]["layers"].as_array().unwrap();
        let mean = layers.iter().map(|l| l["std"].as_f64().unwrap()).sum::<f64>() / layers.len() as f64;
        assert!((mean - measured).abs() < 6e-4, "{mean}, not {measured}");
    }
    for (i, counts) in [(0, [9173, 9966]), (1, [9263, 9978])] {
        assert_eq!([&found["models"][i]["top1"], &found["models"][i]["top5"]], counts, "{found}");
    }
    assert!(found["top1"].as_u64().is_some_and(|n| n > 9263), "{found}");
    assert!(String::from_utf8(dir.read("matrix.svg")).unwrap().contains("automobile"));
}
