//! The six trained CIFAR-10 networks: exactly the stored predictions over 10,000 images, and the stored logits. And the
//! one that this compiler has trained: the test error that its log states.

use super::{compare, data, directory, npy, path, rescc, run};
use crate::{root, skip, test};
use libtest_mimic::Trial;

struct Net {
    arch: &'static str,
    weights: &'static str,
    /// Start of the names of the stored outputs.
    stored: &'static str,
    correct: usize,
    top5: usize,
}

const NETS: [Net; 6] = [
    Net { arch: "cifar-resnet20", weights: "resnet20-12fca82f.th", stored: "resnet20", correct: 9173, top5: 9966 },
    Net { arch: "cifar-resnet32", weights: "resnet32-d509ac18.th", stored: "resnet32", correct: 9263, top5: 9978 },
    Net { arch: "cifar-resnet44", weights: "resnet44-014dd654.th", stored: "resnet44", correct: 9310, top5: 9981 },
    Net { arch: "cifar-resnet56", weights: "resnet56-4bfd9763.th", stored: "resnet56", correct: 9339, top5: 9977 },
    Net { arch: "cifar-plain20", weights: "plainnet20.pth", stored: "plainnet20", correct: 9026, top5: 9974 },
    Net { arch: "cifar-plain56", weights: "plainnet56.pth", stored: "plainnet56", correct: 8814, top5: 9932 },
];

/// What the plain networks subtract.
const MEAN_PICTURE: &str = "plainnet_pixel_mean_f32.npy";

fn missing(file: &str) -> String {
    format!("{file} is not there (set RESCC_DATA to a folder with it)")
}

pub fn tests() -> Vec<Trial> {
    let published = NETS.iter().map(|net| {
        let name = format!("e2e::cifar::{}", net.arch);
        let Some(images) = data("cifar10/test_batch.bin") else {
            return skip(&name, "cifar10/test_batch.bin is not there (tools/get-data.sh gets it)");
        };
        let Some(weights) = data(net.weights) else {
            return skip(&name, &missing(net.weights));
        };
        if net.arch.contains("plain") && data(MEAN_PICTURE).is_none() {
            return skip(&name, &missing(MEAN_PICTURE));
        }
        test(&name, move || net.check(path(&images), path(&weights)))
    });
    published.chain([trained_by_rescc()]).collect()
}

/// `examples/resnet20`, compiled, answers as often rightly as the last line of its log says.
fn trained_by_rescc() -> Trial {
    let name = "e2e::cifar::trained_by_rescc";
    let Some(images) = data("cifar10/test_batch.bin") else {
        return skip(name, "cifar10/test_batch.bin is not there (tools/get-data.sh gets it)");
    };
    test(name, move || {
        let (dir, from) = (directory(), root().join("examples/resnet20"));
        let exe = dir.path().join("r20");
        rescc(&["compile", path(&from.join("model.rir")), "-o", path(&exe)]);
        let said = run(&exe, &["--eval", path(&images)]);
        let log = std::fs::read_to_string(from.join("log.csv")).expect("the log lies beside the model");
        let error: f64 = log.trim().rsplit(',').next().expect("a field").parse().expect("the test error comes last");
        let right = (10_000.0 * (1.0 - error)).round();
        assert!(said.contains(&format!("({right} of 10000)")), "{said} after an error of {error}");
    })
}

impl Net {
    fn check(&self, images: &str, weights: &str) {
        let dir = directory();
        let at = |name: &str| dir.path().join(name);
        let (model, exe) = (at("m.rir"), at("m"));
        let mut args = vec!["import", weights, "--arch", self.arch, "-o", path(&model)];
        let (rename, mean) = (root().join("examples/renames/plainnet.txt"), data(MEAN_PICTURE));
        if self.arch.contains("plain") {
            let mean = mean.as_deref().expect("the mean image lies beside the plain nets");
            args.extend([
                "--rename",
                path(&rename),
                "--preprocess",
                "cifar mean=0,0,0 std=1,1,1",
                "--mean-npy",
                path(mean),
            ]);
        }
        rescc(&args);
        rescc(&["compile", path(&model), "-o", path(&exe)]);

        let (predictions, logits) = (at("predictions.npy"), at("logits.npy"));
        let said = run(&exe, &["--eval", images, "--predictions", path(&predictions), "--logits", path(&logits)]);
        let percent = |n: usize| n as f64 / 100.0;
        let want =
            format!("Acc@1 {:.3} Acc@5 {:.3} ({} of 10000)", percent(self.correct), percent(self.top5), self.correct);
        assert_eq!(said.trim(), want);

        // Stored outputs are not public: where they are missing, the counts alone tell.
        let stored = |what: &str| data(&format!("{}_cifar_{what}.npy", self.stored));
        if let Some(file) = stored("test_pred_u8") {
            assert_eq!(npy(&predictions), npy(&file), "predictions");
        }
        if let Some(file) = stored("first256_logits_f64") {
            let (largest, l2) = compare(&npy(&logits)[..2560], &npy(&file));
            assert!(largest <= 1e-4, "logits differ by {largest:.2e} (relative L2 {l2:.1e})");
        }
    }
}
