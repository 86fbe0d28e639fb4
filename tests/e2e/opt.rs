//! `rescc opt` and `rescc inspect --why`: graphs between passes are models like any other.

use crate::command::{Scratch, rescc};
use crate::test;
use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    vec![
        test("opt::the_optimised_model_runs_to_the_same_bits", optimised_model),
        test("opt::what_is_printed_between_passes_parses_again", printed_text),
        test("opt::a_limit_bisects", limit),
        test("opt::unknown_passes_are_named", unknown),
        test("opt::what_cannot_be_written_is_refused", refusals),
        test("opt::grad_is_the_training_step", grad),
        test("inspect::why_names_what_was_refused", why),
    ]
}

fn model(dir: &Scratch) -> String {
    let rir = dir.path("m.rir");
    let made = rescc(&["new", "cifar-resnet20", "-o", &rir]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    rir
}

#[track_caller]
fn ok(args: &[&str]) -> (String, String) {
    let o = rescc(args);
    assert_eq!(o.code, Some(0), "{args:?}\n{}", o.stderr);
    (o.stdout, o.stderr)
}

fn optimised_model() {
    let dir = Scratch::new();
    let (rir, out) = (model(&dir), dir.path("o.rir"));
    ok(&["opt", &rir, "--target", "x86-64-v2", "--verify-each", "-o", &out]);
    let [a, b] = ["a.npy", "b.npy"].map(|n| dir.path(n));
    ok(&["run", &rir, "--input", "random:3", "--out", &a]);
    ok(&["run", &out, "--input", "random:3", "--out", &b]);
    assert!(dir.read("a.npy") == dir.read("b.npy"));
    let text = String::from_utf8(dir.read("o.rir")).unwrap();
    assert!(!text.contains("batch_norm") && text.contains("epilogue=[bias") && text.contains(":nChw8c"), "{text}");
    // A second run has nothing left to do.
    let again = dir.path("p.rir");
    ok(&["opt", &out, "--target", "x86-64-v2", "-o", &again]);
    let graph = |name: &str| {
        let text = String::from_utf8(dir.read(name)).unwrap();
        text[text.find("graph @").unwrap()..].to_string()
    };
    assert_eq!(graph("o.rir"), graph("p.rir"));
}

fn printed_text() {
    let dir = Scratch::new();
    let rir = model(&dir);
    let (result, shown) = ok(&["opt", &rir, "--print-after", "all"]);
    // The model's weights file lacks the folded weights, so the text does not name it.
    assert!(!result.contains("weights \"") && result.contains("fold_bn"), "{result}");
    assert!(ok(&["opt", &rir, "--passes", "dce"]).0.contains("weights \"m.safetensors\""));
    let passes = passes::pipeline::inference();
    let parts: Vec<&str> = shown.split("// after ").skip(1).collect();
    assert_eq!(parts.len(), passes.len());
    for (part, pass) in parts.iter().zip(passes) {
        let (name, text) = part.split_once('\n').unwrap();
        assert_eq!(name, pass.name());
        // What follows the last graph is no part of it.
        let end = text.find("\n}").unwrap() + 3;
        let (module, problems) = ir::text::parse(&text[..end]);
        assert!(!problems.has_errors(), "after {name}: {problems}");
        assert!(!module.graphs[0].verify().has_errors(), "after {name}");
    }
}

fn limit() {
    let dir = Scratch::new();
    let rir = model(&dir);
    let (none, _) = ok(&["opt", &rir, "--passes-limit", "0"]);
    let (one, _) = ok(&["opt", &rir, "--passes-limit", "1"]);
    assert_eq!(none.matches("batch_norm").count(), one.matches("batch_norm").count() + 1);
    let (skipped, _) = ok(&["opt", &rir, "--skip", "fold-bn,split-bn"]);
    assert_eq!(skipped.matches("batch_norm").count(), none.matches("batch_norm").count());
}

fn grad() {
    let dir = Scratch::new();
    let rir = model(&dir);
    let (step, _) = ok(&["opt", &rir, "--grad", "--passes", "dce"]);
    let inputs = step.split_once("%labels: i32[N], %lr: f32[1], %conv1.weight: f32[16,3,3,3]");
    assert!(inputs.is_some() && step.contains("graph @cifar_resnet20_step(%input: f32[N,3,32,32]"), "{step}");
    // Three convolutions to each but the first, which has no gradient of its image.
    let count = |op: &str| step.matches(&format!(" = {op} ")).count();
    assert_eq!([count("conv2d"), count("conv2d_grad_weight"), count("conv2d_grad_input")], [19 + 16, 19, 2]);
    assert_eq!(count("sgd_step"), 59);
    // It is a model like any other, and all passes know it.
    let again = dir.write("step.rir", &step);
    ok(&["opt", &again, "--verify-each", "--batch", "4"]);
    let (table, _) = ok(&["inspect", &rir, "--grad"]);
    assert!(table.contains("conv2d_grad_weight"), "{table}");
    // 40.8 million of the network, twice as many backwards, less those of the first image.
    let (json, _) = ok(&["inspect", &rir, "--grad", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    let (forward, _) = ok(&["inspect", &rir, "--json"]);
    let forward: serde_json::Value = serde_json::from_str(&forward).unwrap();
    let macs = |d: &serde_json::Value| d["result"]["totals"]["macs"].as_u64().unwrap();
    let first = 16 * 32 * 32 * 27;
    // The weight gradient of a dense layer takes as many as the layer.
    assert_eq!(macs(&document), 3 * macs(&forward) - first);
    // With recomputation it is one too; that is not done twice.
    let (less, _) = ok(&["opt", &rir, "--grad", "--batch", "4", "--recompute", "--verify-each"]);
    assert!(less.contains(" = later %") && less.contains(".again"), "{less}");
    let again = dir.write("less.rir", &less);
    let (twice, _) = ok(&["opt", &again, "--passes", "cse,recompute", "--batch", "4"]);
    assert!(less == twice, "{twice}");
    // Nothing is trained of what a pass has changed.
    let folded = dir.path("folded.rir");
    ok(&["opt", &rir, "-o", &folded]);
    let o = rescc(&["opt", &folded, "--grad"]);
    assert!(o.code == Some(3) && o.stderr.contains("E0407") && o.stderr.contains("no pass"), "{}", o.stderr);
}

fn unknown() {
    let dir = Scratch::new();
    let rir = model(&dir);
    for args in [["--passes", "fold-bm"], ["--skip", "fold-bm"], ["--print-after", "fold-bm"]] {
        let o = rescc(&["opt", &rir, args[0], args[1]]);
        assert_eq!(o.code, Some(2), "{}", o.stderr);
        assert!(o.stderr.contains("E0401") && o.stderr.contains("did you mean 'fold-bn'?"), "{}", o.stderr);
    }
}

/// Neither a weights file that does not load again, nor damaged weights under a new hash.
fn refusals() {
    let (dir, elsewhere) = (Scratch::new(), Scratch::new());
    let header = r#"{"w":{"dtype":"F64","shape":[2,3,1,1],"data_offsets":[0,48]}}"#;
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 48]].concat();
    dir.write("f64.safetensors", file);
    let text = "rir 1\n\nweights \"f64.safetensors\"\n\ngraph @g(%x: f64[N,3,4,4]) -> (%y) where N in 1..4 {\n  \
                param %w = \"w\" : f64[2,3,1,1]\n  %y = conv2d %x, %w : f64[N,2,4,4]\n}\n";
    let double = dir.write("f64.rir", text);
    let opt = |model: &str| rescc(&["opt", model, "--passes", "dce", "-o", &elsewhere.path("o.rir")]);
    opt(&double).fails(4, &["E0804", "'w'", "f32"]);
    // Beside its own weights only the text is new.
    ok(&["opt", &double, "--passes", "dce", "-o", &dir.path("o.rir")]);

    let rir = model(&dir);
    let mut weights = dir.read("m.safetensors");
    if let Some(last) = weights.last_mut() {
        *last ^= 1;
    }
    dir.write("m.safetensors", &weights);
    opt(&rir).fails(3, &["E0808", "m.safetensors"]);
    assert!(elsewhere.files().is_empty(), "{:?}", elsewhere.files());
    for batch in ["0", "1025"] {
        let o = rescc(&["opt", &rir, "--batch", batch]);
        assert!(o.code == Some(2) && o.stderr.contains("1..=1024"), "{o:?}");
    }
}

fn why() {
    let dir = Scratch::new();
    let text = "rir 1\n\ngraph @two(%x: f32[N,3,7,7]) -> (%c, %y) where N in 1..4 {\n  \
                %c = max_pool %x kernel=3x3 : f32[N,3,5,5]\n  %z = pad2d %x pad=1,1,1,1 : f32[N,3,9,9]\n  \
                %y = max_pool %z kernel=3x3 : f32[N,3,7,7]\n}\n";
    let rir = dir.write("m.rir", text);
    let (said, _) = ok(&["inspect", &rir, "--why", "%y"]);
    assert!(said.contains("canonicalize") && said.contains("InputMayBeNegative"), "{said}");
    let (said, _) = ok(&["inspect", &rir, "--why", "c"]);
    assert!(said.contains("no pass refused anything"), "{said}");
    let o = rescc(&["inspect", &rir, "--why", "cc"]);
    assert_eq!(o.code, Some(3));
    assert!(o.stderr.contains("E0810") && o.stderr.contains("did you mean 'c'"), "{}", o.stderr);
}
