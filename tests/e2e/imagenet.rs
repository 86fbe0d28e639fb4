//! The trained ResNet-50 of the Keras lineage on 100 photographs.

use super::{compare, data, directory, npy, path, rescc, run};
use crate::{skip, test};
use libtest_mimic::Trial;
use std::path::{Path, PathBuf};

const PHOTOS: usize = 100;
const CLASSES: usize = 1000;
/// Decoders of JPEG differ by a level or two; predictions with a margin below this may differ with them.
const MARGIN: f64 = 0.5;

pub fn tests() -> Vec<Trial> {
    let files = [
        "resnet50_v1_keras.safetensors",
        "photos100_224_u8.npy",
        "photos100.tsv",
        "imagenet_classes.tsv",
        "resnet50_v1_keras_photos100_logits_f64.npy",
        "photos",
    ];
    let name = "e2e::imagenet::keras_resnet50";
    let found: Vec<Option<PathBuf>> = files.iter().map(|f| data(f)).collect();
    match files.iter().zip(&found).find(|(_, p)| p.is_none()) {
        Some((file, _)) => vec![skip(name, &format!("{file} is not there (set RESCC_DATA to a folder with it)"))],
        None => {
            let found: Vec<PathBuf> = found.into_iter().flatten().collect();
            vec![test(name, move || keras_resnet50(&found))]
        }
    }
}

fn compile(dir: &Path, weights: &str, labels: &str, preprocess: &str) -> PathBuf {
    let (model, exe) = (dir.join("k50.rir"), dir.join("k50"));
    let flags = ["--stride-in", "1x1", "--bn-eps", "1e-3", "--pool-pad", "zero", "--preprocess", preprocess];
    let args =
        [&["import", weights, "--arch", "resnet50", "--labels", labels, "-o", path(&model)], &flags[..]].concat();
    rescc(&args);
    rescc(&["compile", path(&model), "-o", path(&exe)]);
    exe
}

fn keras_resnet50(files: &[PathBuf]) {
    let [weights, pixels, table, labels, stored, photos] = files else { unreachable!("six files") };
    let (weights, pixels, table, labels) = (path(weights), path(pixels), path(table), path(labels));
    let dir = directory();
    let logits = dir.path().join("logits.npy");

    // The colours in the wrong order: a check that the check checks.
    let exe = compile(dir.path(), weights, labels, "caffe order=rgb mean=123.68,116.779,103.939");
    let said = run(&exe, &["--eval", pixels, "--eval-labels", table]);
    assert_eq!(said.trim(), "Acc@1 70.000 Acc@5 92.000 (70 of 100)");

    let exe = compile(dir.path(), weights, labels, "caffe");
    let said = run(&exe, &["--eval", pixels, "--eval-labels", table, "--logits", path(&logits)]);
    assert_eq!(said.trim(), "Acc@1 86.000 Acc@5 100.000 (86 of 100)");
    let want = npy(stored);
    let (largest, l2) = compare(&npy(&logits), &want);
    assert!(largest <= 2e-4, "logits differ by {largest:.2e}");
    assert!(l2 <= 5e-6, "relative L2 {l2:.2e}");

    let folder = photos.parent().expect("the photographs lie in a folder");
    let names = std::fs::read_to_string(table).expect("the table of photographs");
    let column = names.lines().next().and_then(|h| h.split('\t').position(|c| c == "file")).expect("a column 'file'");
    let paths: Vec<String> = names
        .lines()
        .skip(1)
        .map(|l| path(&folder.join(l.split('\t').nth(column).expect("a file name"))).to_string())
        .collect();
    assert_eq!(paths.len(), PHOTOS);
    let mut args: Vec<&str> = paths.iter().map(String::as_str).collect();
    args.extend(["--out", path(&logits)]);
    run(&exe, &args);
    let got = npy(&logits);
    let mut near = Vec::new();
    for (i, (got, want)) in got.chunks(CLASSES).zip(want.chunks(CLASSES)).enumerate() {
        let mut order: Vec<usize> = (0..CLASSES).collect();
        order.sort_by(|&a, &b| want[b].total_cmp(&want[a]));
        let best = (0..CLASSES).max_by(|&a, &b| got[a].total_cmp(&got[b])).expect("there are classes");
        let margin = want[order[0]] - want[order[1]];
        if best != order[0] {
            assert!(margin < MARGIN, "{}: class {best}, not {}, at a margin of {margin:.2}", paths[i], order[0]);
            near.push(i);
        }
    }
    println!(
        "keras_resnet50: from JPEG files {} of {PHOTOS} predictions equal those of the stored pixels",
        PHOTOS - near.len()
    );
}
