//! Sound files of tensors that are not what the command line says, and faulty files beside them.

use super::import;
use crate::command::{Scratch, rescc};
use crate::pth_file::{Pickle, View, zip_file};
use crate::test;
use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    vec![
        test("hostile::state_dicts::wrong_architecture", wrong_architecture),
        test("hostile::state_dicts::unknown_architecture", unknown_architecture),
        test("hostile::state_dicts::relatives_are_refused_by_name", relatives),
        test("hostile::state_dicts::integers_are_no_weights", integers),
        test("hostile::state_dicts::rules_of_renaming", renaming),
        test("hostile::state_dicts::preprocessing_and_labels", preprocessing_and_labels),
    ]
}

/// A .pth with f32 tensors of these names and shapes.
fn file_of(tensors: &[(&str, &[i64])]) -> Vec<u8> {
    let view = |(i, (name, shape)): (usize, &(&str, &[i64]))| (name.to_string(), View::whole(&i.to_string(), shape));
    let views: Vec<(String, View)> = tensors.iter().enumerate().map(view).collect();
    let storage = |(_, v): &(String, View)| (v.key.clone(), vec![0; 4 * v.elements as usize]);
    let storages: Vec<(String, Vec<u8>)> = views.iter().map(storage).collect();
    zip_file(Pickle::new().state_dict(&views).stop(), &storages)
}

fn small_weights(name: &str, args: &[&str]) -> Vec<u8> {
    let dir = Scratch::new();
    rescc(&[&["new", name, "-o", &dir.path("m.rir")], args].concat()).succeeds();
    dir.read("m.safetensors")
}

/// Everything that is missing, left over or misshapen, at once.
fn wrong_architecture() {
    let small = small_weights("cifar-resnet8", &["--width", "4"]);
    let outcome = import("a.safetensors", &small, &["--arch", "cifar-resnet14"]);
    outcome.fails(
        3,
        &["E0304", "'layer1.1.conv1.weight' is missing", "cifar-resnet14 needs f32[4,4,3,3]", "a.safetensors"],
    );
    assert_eq!(outcome.stderr.matches("error[E0304]").count(), 20, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("… and 10 more"), "{}", outcome.stderr);

    let deeper = small_weights("cifar-resnet14", &["--width", "4"]);
    let outcome = import("a.safetensors", &deeper, &["--arch", "cifar-resnet8"]);
    outcome.fails(3, &["E0305", "left over", "a.safetensors"]);

    let wide = small_weights("cifar-resnet8", &["--width", "4", "--classes", "5"]);
    let outcome = import("a.safetensors", &wide, &["--arch", "resnet18"]);
    outcome.fails(3, &["E0306", "'conv1.weight' is f32[4,3,3,3], resnet18 needs f32[4,3,7,7]"]);
    let json = import("a.safetensors", &wide, &["--arch", "resnet18", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&json.stdout).expect("one JSON document");
    let all = document["diagnostics"].as_array().unwrap();
    for code in ["E0304", "E0306"] {
        assert!(all.iter().any(|d| d["code"] == code), "{code} is not among {} diagnostics", all.len());
    }
    // Thousands of foreign names, none of which fits, end soon and are counted.
    let deep = small_weights("cifar-resnet1202", &["--width", "1"]);
    let rules = Scratch::new();
    let rules = rules.write("rules.txt", "/(layer.*)/ -> x.$1\n");
    let outcome = import("a.safetensors", &deep, &["--arch", "cifar-resnet1202", "--rename", &rules]);
    let near = "'x.layer1.0.conv1.weight' has this shape";
    outcome.fails(3, &["E0304", "'layer1.0.conv1.weight' is missing", near]);
    assert!(outcome.stderr.contains("… and 11980 more"), "{}", outcome.stderr);
    import("a.safetensors", &small, &["--arch", "resnet5"]).fails(2, &["E0301", "depth 5"]);
}

fn unknown_architecture() {
    let file = file_of(&[("encoder.0.weight", &[4, 4]), ("encoder.0.bias", &[4])]);
    import("a.pth", &file, &[]).fails(3, &["E0303", "a.pth", "encoder.0.bias"]);
    let file = file_of(&[("layer1.0.conv1.weight", &[4, 4, 3, 3]), ("layer2.0.conv1.weight", &[4, 4, 3, 3])]);
    import("a.pth", &file, &[]).fails(3, &["E0303", "stages of [1, 1] blocks", "a.pth"]);
    let file = file_of(&[("features.0.weight", &[4, 3, 3, 3]), ("classifier.6.weight", &[4, 4])]);
    import("a.pth", &file, &[]).fails(3, &["E0303", "a VGG with 1 convolutions", "a.pth"]);
}

fn relatives() {
    let block: [(&str, &[i64]); 3] = [
        ("conv1.weight", &[64, 3, 7, 7]),
        ("layer1.0.conv1.weight", &[64, 64, 1, 1]),
        ("layer1.0.conv3.weight", &[256, 64, 1, 1]),
    ];
    let cases: [(&[(&str, &[i64])], &str); 6] = [
        (&[("conv1.0.weight", &[32, 3, 3, 3])], "deep stem"),
        (&[("layer2.0.downsample.1.weight", &[8, 8, 1, 1])], "ResNet-D"),
        (&[("layer1.0.se.fc1.weight", &[8, 8])], "SE-ResNet"),
        (&[("layer1.0.conv2.weight", &[128, 4, 3, 3])], "ResNeXt"),
        (&[("layer1.0.conv1.weight", &[128, 64, 1, 1])], "wide ResNet"),
        (&[("features.0.weight", &[8, 3, 3, 3]), ("features.1.running_mean", &[8])], "VGG with batch norms"),
    ];
    for (more, name) in cases {
        let usual = block.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
        let file = file_of(&usual.chain(more.iter().copied()).collect::<Vec<_>>());
        import("a.pth", &file, &[]).fails(4, &["E0324", name, "a.pth"]);
    }
}

fn integers() {
    let mut view = View::whole("0", &[10, 64]);
    view.storage_type = "ByteStorage";
    let object = Pickle::new().state_dict(&[("linear.weight".into(), view)]).stop();
    let file = zip_file(object, &[("0".into(), vec![0; 640])]);
    let outcome = import("a.pth", &file, &["--arch", "cifar-resnet8", "--json"]);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.stdout.contains("E0307") && outcome.stdout.contains("u8[10,64]"), "{}", outcome.stdout);
}

fn renaming() {
    let dir = Scratch::new();
    let file = file_of(&[("a.x", &[1]), ("a.y", &[1])]);
    let rules = |text: &str| dir.write("rules.txt", text);
    let run = |path: &str| import("a.pth", &file, &["--arch", "cifar-resnet8", "--rename", path]);
    run(&rules("a.* -> b\n")).fails(3, &["E0308", "two tensors are renamed to 'b'"]);
    let outcome = run(&rules("# fine\nno arrow here\n/(/ -> x\n"));
    outcome.fails(
        3,
        &["E0308", "no '->'", "rules.txt:2:1", "no arrow here", "E0308", "regular expression", "rules.txt:3:1"],
    );
    run(&dir.path("absent.txt")).fails(3, &["E0805", "absent.txt", "not found"][..2]);
    run(&dir.write("binary", b"\xff\xfe")).fails(3, &["E0807", "UTF-8", "binary"]);
}

fn preprocessing_and_labels() {
    let small = small_weights("cifar-resnet8", &["--width", "4"]);
    let run = |args: &[&str]| import("a.safetensors", &small, args);
    run(&["--preprocess", "imagnet"]).fails(3, &["E0309", "'imagnet'", "help: did you mean 'imagenet'"][..2]);
    run(&["--preprocess", "imagenet"]).fails(3, &["E0309", "224x224", "32x32"]);
    run(&["--preprocess", "cifar scale=0 std=0,1,1 crop=x"])
        .fails(3, &["E0309", "scale", "E0309", "std", "E0309", "crop"]);
    let dir = Scratch::new();
    let labels = dir.write("labels.txt", "cat\ndog\n");
    run(&["--labels", &labels]).fails(3, &["E0310", "2 class names for 10 classes", "labels.txt"]);
    let labels = dir.write("labels.tsv", "class\tname\n0\tcat\n2\tdog\n");
    run(&["--labels", &labels]).fails(3, &["E0310", "row 2", "labels.tsv:3:1"]);
    let broken = dir.write("mean.npy", b"\x93NUMPY\x01\x00");
    run(&["--preprocess", "cifar", "--mean-npy", &broken]).fails(3, &["E0901", "mean.npy"]);
    let wrong = dir.path("wrong.npy");
    rescc::import::npy::write(wrong.as_ref(), &[3, 4], &[0.0; 12]).unwrap();
    run(&["--preprocess", "cifar", "--mean-npy", &wrong]).fails(3, &["E0309", "[3, 4]", "wrong.npy"]);
}
