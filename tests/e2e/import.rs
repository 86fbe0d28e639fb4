//! State dicts to models: both containers of `torch.save`, element types, views, prefixes; the public trained nets.

use crate::command::{Scratch, rescc, shared_data};
use crate::pth_file::{Pickle, View, legacy_file, zip_file};
use crate::{root, skip, test};
use half::{bf16, f16};
use libtest_mimic::Trial;
use safetensors::SafeTensors;
use std::collections::BTreeMap;

/// Name, file, arguments, parameters, and the sha256 of all tensors' bytes in order of their names, computed from
/// another converter's output.
type Trained = (&'static str, &'static str, &'static [&'static str], u64, &'static str);

const PLAIN: &[&str] = &["--preprocess", "cifar mean=0,0,0 std=1,1,1"];
const RESIDUAL: &[&str] = &["--preprocess", "cifar"];

const TRAINED: [Trained; 6] = [
    (
        "cifar-resnet20",
        "resnet20-12fca82f.th",
        RESIDUAL,
        269_722,
        "dbf5b1f031beee354fe161a28af92836dcb9ea73b43dbb5378110105be202e4e",
    ),
    (
        "cifar-resnet32",
        "resnet32-d509ac18.th",
        RESIDUAL,
        464_154,
        "052f5fea3ca4d70f1cafc9eb190ba7e13b4a6ed70c9ba0ac74408b841375fa49",
    ),
    (
        "cifar-resnet44",
        "resnet44-014dd654.th",
        RESIDUAL,
        658_586,
        "f7777bab7e964a7cd1a538d547c73810300bb494834cf317154dbc30be2ca10b",
    ),
    (
        "cifar-resnet56",
        "resnet56-4bfd9763.th",
        RESIDUAL,
        853_018,
        "44d9b27713b098d7e051e6c4a5788daa88cc8737bbc29985756a7391d19b758e",
    ),
    (
        "cifar-plain20",
        "plainnet20.pth",
        PLAIN,
        270_410,
        "4094173da3e69258517aa602633fb171f74e84cc9e8a1cefdc6534279c7d235d",
    ),
    (
        "cifar-plain56",
        "plainnet56.pth",
        PLAIN,
        855_050,
        "add743cdc73c44cdbcc60d721b2cb88abfc6b403f1d52f36767e1f20381d600a",
    ),
];

pub fn tests() -> Vec<Trial> {
    let mut trials = vec![
        test("e2e::import::zip_and_legacy_equal_safetensors", zip_and_legacy_equal_safetensors),
        test("e2e::import::other_elements_are_converted", other_elements_are_converted),
        test("e2e::import::views_are_followed", views_are_followed),
        test("e2e::import::lineages_and_shortcuts", lineages_and_shortcuts),
        test("e2e::import::keras_options", keras_options),
        test("e2e::import::labels_and_preprocess_are_kept", labels_and_preprocess_are_kept),
        test("e2e::import::labels_and_preprocess_are_assumed_aloud", labels_and_preprocess_are_assumed_aloud),
    ];
    trials.extend(TRAINED.map(|t| {
        let name = format!("e2e::import::trained::{}", t.0);
        match shared_data() {
            Some(dir) => test(&name, move || trained(&dir, t)),
            None => skip(&name, "the trained networks are not beside the checkout (or at RESCC_DATA)"),
        }
    }));
    trials
}

/// f32 tensors by name.
type Tensors = BTreeMap<String, (Vec<i64>, Vec<f32>)>;

fn tensors_of(file: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(file).unwrap();
    let tensor = |(name, view): (String, safetensors::tensor::TensorView)| {
        let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        (name, (view.shape().iter().map(|&d| d as i64).collect(), data))
    };
    file.tensors().into_iter().map(tensor).collect()
}

/// A small network with random weights.
fn small(dir: &Scratch, args: &[&str]) -> Tensors {
    let out = dir.path("small.rir");
    let all: Vec<&str> = ["new", "cifar-resnet8", "--width", "4", "-o", &out].iter().chain(args).copied().collect();
    rescc(&all).succeeds();
    tensors_of(&dir.read("small.safetensors"))
}

fn bytes(data: &[f32]) -> Vec<u8> {
    data.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Views of whole storages, and the storages.
fn stored(tensors: &Tensors, prefix: &str) -> (Vec<(String, View)>, Vec<(String, Vec<u8>)>) {
    let mut views = Vec::new();
    let mut storages = Vec::new();
    for (i, (name, (shape, data))) in tensors.iter().enumerate() {
        views.push((format!("{prefix}{name}"), View::whole(&i.to_string(), shape)));
        storages.push((i.to_string(), bytes(data)));
    }
    (views, storages)
}

/// Imports `file` and compares the weights with `expected`.
fn imports(dir: &Scratch, name: &str, file: &[u8], args: &[&str], expected: &Tensors) -> String {
    let (path, out) = (dir.write(name, file), dir.path("out.rir"));
    let all: Vec<&str> = ["import", &path, "-o", &out].iter().chain(args).copied().collect();
    let outcome = rescc(&all);
    let notes = outcome.stderr.clone();
    outcome.succeeds();
    assert!(&tensors_of(&dir.read("out.safetensors")) == expected, "{name}: tensors differ");
    rescc(&["check", &out]).succeeds();
    notes
}

fn zip_and_legacy_equal_safetensors() {
    let dir = Scratch::new();
    let tensors = small(&dir, &[]);
    imports(&dir, "a.safetensors", &dir.read("small.safetensors"), &[], &tensors);

    // A checkpoint whose best accuracy is a tensor as well.
    let (views, mut storages) = stored(&tensors, "module.");
    storages.push(("best".into(), bytes(&[91.5])));
    let best = View::whole("best", &[]);
    let checkpoint = Pickle::new().raw(b"}(").str("epoch").int(3).str("best_acc1").tensor(&best);
    let object = checkpoint.str("state_dict").state_dict(&views).raw(b"u").stop();
    // Settings beside the tensors are no dict of tensors, whatever they are called.
    let settings = Pickle::new().raw(b"}(").str("net").raw(b"}(").str("depth").int(8).raw(b"u");
    let whole = views.iter().fold(settings, |p, (name, t)| p.str(name).tensor(t)).raw(b"u").stop();
    imports(&dir, "b.pth", &zip_file(whole, &storages), &[], &tensors);
    for (name, file) in
        [("a.pth", zip_file(object.clone(), &storages)), ("a.th", legacy_file(object.clone(), &storages, 4))]
    {
        let notes = imports(&dir, name, &file, &[], &tensors);
        for part in ["'state_dict'", "'module.'", "cifar-resnet8", "option A", "plain network"] {
            assert!(notes.contains(part), "{part} is not in:\n{notes}");
        }
    }
}

fn other_elements_are_converted() {
    let dir = Scratch::new();
    let tensors = small(&dir, &[]);
    type Convert = fn(f32) -> (Vec<u8>, f32);
    let kinds: [(&str, &str, usize, Convert); 3] = [
        ("f16", "HalfStorage", 2, |x| (f16::from_f32(x).to_le_bytes().to_vec(), f16::from_f32(x).to_f32())),
        ("bf16", "BFloat16Storage", 2, |x| (bf16::from_f32(x).to_le_bytes().to_vec(), bf16::from_f32(x).to_f32())),
        ("f64", "DoubleStorage", 8, |x| (f64::from(x).to_le_bytes().to_vec(), x)),
    ];
    for (kind, storage_type, size, convert) in kinds {
        let (mut views, mut storages) = stored(&tensors, "");
        let mut expected = tensors.clone();
        for ((_, view), (_, data)) in views.iter_mut().zip(&mut storages) {
            view.storage_type = storage_type;
            let floats = data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            *data = floats.flat_map(|x| convert(x).0).collect();
        }
        for x in expected.values_mut().flat_map(|(_, data)| data) {
            *x = convert(*x).1;
        }
        // A counter of batches is an integer, and not needed.
        let mut counter = View::whole("counter", &[]);
        counter.storage_type = "LongStorage";
        views.push(("bn1.num_batches_tracked".into(), counter));
        storages.push(("counter".into(), 7i64.to_le_bytes().to_vec()));
        let file = zip_file(Pickle::new().state_dict(&views).stop(), &storages);
        let notes = imports(&dir, "a.pt", &file, &["--arch", "cifar-resnet8"], &expected);
        assert!(notes.contains(&format!("type {kind} were converted")), "{notes}");
        assert!(size > 1);
    }
}

/// A transposed view, and two tensors in one storage.
fn views_are_followed() {
    let dir = Scratch::new();
    let tensors = small(&dir, &[]);
    let (mut views, mut storages) = stored(&tensors, "");
    for i in 0..views.len() {
        let (name, view) = &mut views[i];
        match name.as_str() {
            "linear.weight" => {
                let (rows, columns) = (view.shape[0] as usize, view.shape[1] as usize);
                let data = &tensors["linear.weight"].1;
                let transposed: Vec<f32> = (0..rows * columns).map(|k| data[(k % rows) * columns + k / rows]).collect();
                view.strides = vec![1, rows as i64];
                storages[i].1 = bytes(&transposed);
            }
            "linear.bias" => {
                let mut padded = vec![9.0; 5];
                padded.extend_from_slice(&tensors["linear.bias"].1);
                (view.offset, view.elements) = (5, padded.len() as i64);
                storages[i].1 = bytes(&padded);
            }
            _ => {}
        }
    }
    let object = Pickle::new().state_dict(&views).stop();
    imports(&dir, "a.pth", &zip_file(object.clone(), &storages), &[], &tensors);
    imports(&dir, "a.pth", &legacy_file(object, &storages, 4), &[], &tensors);
}

fn lineages_and_shortcuts() {
    let dir = Scratch::new();
    for (option, rename) in [("B", ""), ("C", ""), ("B", "fc and downsample")] {
        let tensors = small(&dir, &["--shortcut", option]);
        let (mut views, storages) = stored(&tensors, "");
        if !rename.is_empty() {
            for (name, _) in &mut views {
                *name = name.replace("linear.", "fc.").replace(".shortcut.", ".downsample.");
            }
        }
        let file = zip_file(Pickle::new().state_dict(&views).stop(), &storages);
        imports(&dir, "a.pth", &file, &[], &tensors);
    }
    // A plain network and option A have the same tensors: the command line decides.
    let tensors = small(&dir, &[]);
    let (views, storages) = stored(&tensors, "");
    let file = zip_file(Pickle::new().state_dict(&views).stop(), &storages);
    imports(&dir, "a.pth", &file, &["--arch", "cifar-plain8"], &tensors);
    assert!(!String::from_utf8(dir.read("out.rir")).unwrap().contains("= add"));
    imports(&dir, "a.pth", &file, &["--pad-a", "end"], &tensors);
    assert!(String::from_utf8(dir.read("out.rir")).unwrap().contains("pad_channels %layer2.0.subsample after=4"));
}

/// v1 strides, a bias before the batch norm, its own epsilon, a zero-padded pool.
fn keras_options() {
    let dir = Scratch::new();
    let out = dir.path("small.rir");
    rescc(&["new", "resnet50", "--width", "4", "--classes", "5", "--input", "3x64x64", "-o", &out]).succeeds();
    let mut tensors = tensors_of(&dir.read("small.safetensors"));
    let filters: Vec<(String, i64)> =
        tensors.iter().filter(|(_, (shape, _))| shape.len() == 4).map(|(n, (s, _))| (n.clone(), s[0])).collect();
    for (name, channels) in filters {
        let bias = (0..channels).map(|i| i as f32 / 8.0).collect();
        tensors.insert(name.replace(".weight", ".bias"), (vec![channels], bias));
    }
    let (views, storages) = stored(&tensors, "");
    let file = zip_file(Pickle::new().state_dict(&views).stop(), &storages);
    let args = ["--stride-in", "1x1", "--bn-eps", "1e-3", "--pool-pad", "zero", "--input", "3x64x64"];
    let notes = imports(&dir, "a.pth", &file, &args, &tensors);
    assert!(notes.contains("taken for resnet50") && notes.contains("v1:") && notes.contains("bias"), "{notes}");
    let text = String::from_utf8(dir.read("out.rir")).unwrap();
    let line = |name: &str| text.lines().find(|l| l.trim_start().starts_with(&format!("%{name} "))).unwrap();
    assert!(line("layer2.0.conv1").contains("stride=2x2"), "{}", line("layer2.0.conv1"));
    assert!(!line("layer2.0.conv2").contains("stride"), "{}", line("layer2.0.conv2"));
    assert!(line("conv1").contains("epilogue=[bias %conv1.bias]"), "{}", line("conv1"));
    assert!(line("bn1").contains("eps=0.001"), "{}", line("bn1"));
    assert!(line("maxpool.pad").contains("pad2d %relu1 pad=1,1,1,1"), "{}", line("maxpool.pad"));
    assert!(!line("maxpool").contains("pad="), "{}", line("maxpool"));
}

fn labels_and_preprocess_are_kept() {
    let dir = Scratch::new();
    small(&dir, &[]);
    let labels = dir.write("labels.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nlast one\n");
    let mean = dir.path("mean.npy");
    rescc::import::npy::write(mean.as_ref(), &[3, 32, 32], &[0.25; 3 * 32 * 32]).unwrap();
    let (from, out) = (dir.path("small.safetensors"), dir.path("out.rir"));
    let args =
        ["import", &from, "-o", &out, "--labels", &labels, "--mean-npy", &mean, "--preprocess", "cifar order=bgr"];
    rescc(&args).succeeds();
    let model = rescc::store::load(out.as_ref()).unwrap_or_else(|f| panic!("{}", f.diagnostics));
    let info = &model.graph.info;
    assert_eq!(info.labels.last().map(String::as_str), Some("last one"));
    let p = info.preprocess.as_ref().unwrap();
    assert!(p.bgr && p.resize.is_none() && p.crop == [32, 32] && p.mean == [0.0; 3]);
    let tensor = model.store.get(p.mean_tensor.as_ref().unwrap()).unwrap();
    assert_eq!((tensor.shape, &tensor.bytes[..4]), (vec![3, 32, 32], 0.25f32.to_le_bytes().as_slice()));
}

fn labels_and_preprocess_are_assumed_aloud() {
    let dir = Scratch::new();
    let out = dir.path("out.rir");
    // Network, its options, what is assumed of pictures, and of the names of classes.
    let cases: [(&str, &[&str], Option<&str>, bool); 5] = [
        ("cifar-resnet8", &[], Some("cifar resize=32"), true),
        ("cifar-resnet8", &["--classes", "100"], Some("cifar resize=32"), false),
        ("cifar-plain8", &[], None, true),
        ("resnet18", &[], Some("imagenet"), false),
        ("resnet50", &["--stride-in", "1x1"], None, false),
    ];
    for (name, options, pictures, names) in cases {
        let new = ["new", name, "--width", "4", "-o", &dir.path("m.rir")];
        rescc(&[&new[..], options].concat()).succeeds();
        let stride = if options.contains(&"1x1") { options } else { &[] };
        let outcome = rescc(&[&["import", &dir.path("m.safetensors"), "--arch", name, "-o", &out], stride].concat());
        let said = outcome.stderr.clone();
        outcome.succeeds();
        let (graph, ..) = rescc::store::load_graph(out.as_ref()).unwrap_or_else(|f| panic!("{}", f.diagnostics));
        let [c, h, w] = graph.ty(graph.inputs[0]).dims(1)[1..] else { panic!("no picture") };
        let parse = |words| rescc::import::preprocess::parse(words, [c, h, w]).expect("a preset");
        assert_eq!(graph.info.preprocess, pictures.map(parse), "{name}");
        assert_eq!(pictures.is_some(), said.contains("note: pictures are prepared"), "{said}");
        assert_eq!(graph.info.labels.get(8).map(String::as_str), names.then_some("ship"), "{name}");
        assert_eq!(names, said.contains("CIFAR-10"), "{said}");
    }
}

fn trained(data: &std::path::Path, (arch, file, args, params, hash): Trained) {
    use sha2::{Digest, Sha256};
    let dir = Scratch::new();
    let out = dir.path("out.rir");
    let from = data.join(file).display().to_string();
    let rules = root().join("examples/renames/plainnet.txt").display().to_string();
    let mut all = vec!["import", &from, "--arch", arch, "-o", &out];
    all.extend_from_slice(args);
    if arch.contains("plain") {
        all.extend(["--rename", &rules]);
    }
    rescc(&all).succeeds();
    let (graph, ..) = rescc::store::load_graph(out.as_ref()).unwrap_or_else(|f| panic!("{}", f.diagnostics));
    let totals = rescc::counts::totals(&graph, &rescc::counts::layers(&graph, 1));
    assert_eq!(totals.params, params);
    let mut sha = Sha256::new();
    for (_, data) in tensors_of(&dir.read("out.safetensors")).values() {
        sha.update(bytes(data));
    }
    let found: String = sha.finalize().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(found, hash);
}
