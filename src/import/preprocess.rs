//! How a picture becomes the input: presets and their variations, as `--preprocess` takes them.
//!
//! A specification is a preset, or `key=value` words, or a preset with words that change it:
//! `imagenet`, `caffe order=rgb`, `resize=none crop=32 scale=255 mean=0.5,0.5,0.5 std=0.25,0.25,0.25`.

use ir::graph::Preprocess;
use ir::{Diagnostic, Diagnostics};

const KEYS: [&str; 6] = ["resize", "crop", "order", "scale", "mean", "std"];
pub const PRESETS: [&str; 5] = ["imagenet", "imagenet-v2", "cifar", "caffe", "tf"];

const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];
/// Means of blue, green and red in 0..255.
const CAFFE_MEAN: [f32; 3] = [103.939, 116.779, 123.68];
const LARGEST_SIDE: u32 = 1 << 16;

fn preset(name: &str) -> Option<Preprocess> {
    let imagenet = |resize, side| Preprocess {
        resize,
        crop: [side, side],
        bgr: false,
        scale: 255.0,
        mean: IMAGENET_MEAN.to_vec(),
        std: IMAGENET_STD.to_vec(),
        mean_tensor: None,
    };
    Some(match name {
        "imagenet" => imagenet(Some(256), 224),
        "imagenet-v2" => imagenet(Some(232), 224),
        // The public CIFAR ResNets were trained with the constants of ImageNet.
        "cifar" => imagenet(None, 32),
        "caffe" => Preprocess {
            bgr: true,
            scale: 1.0,
            mean: CAFFE_MEAN.to_vec(),
            std: vec![1.0; 3],
            ..imagenet(Some(256), 224)
        },
        "tf" => Preprocess { scale: 127.5, mean: vec![1.0; 3], std: vec![1.0; 3], ..imagenet(Some(256), 224) },
        _ => return None,
    })
}

/// Parses a specification for an input of `channels`×`height`×`width`.
pub fn parse(spec: &str, input: [u64; 3]) -> Result<Preprocess, Diagnostics> {
    let channels = input[0] as usize;
    let mut problems = Diagnostics::default();
    let mut fault = |text: String, help: String| problems.push(Diagnostic::error("E0309", text).help(help));
    let [height, width] = [input[1], input[2]].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let mut p = Preprocess {
        resize: None,
        crop: [height, width],
        bgr: false,
        scale: 255.0,
        mean: vec![0.0; channels],
        std: vec![1.0; channels],
        mean_tensor: None,
    };
    for (i, word) in spec.split_whitespace().enumerate() {
        let Some((key, value)) = word.split_once('=') else {
            match preset(word) {
                Some(found) if i == 0 => p = found,
                Some(_) => fault(format!("the preset '{word}' must come first"), "it sets everything".into()),
                None => fault(format!("there is no preset '{word}'"), suggestion(word, &PRESETS)),
            }
            continue;
        };
        let floats = || -> Option<Vec<f32>> {
            let v: Vec<f32> = value.split(',').map(|x| x.parse().ok()).collect::<Option<_>>()?;
            (v.len() == channels && v.iter().all(|x| x.is_finite())).then_some(v)
        };
        let side = |text: &str| text.parse::<u32>().ok().filter(|n| (1..=LARGEST_SIDE).contains(n));
        let understood = match key {
            "resize" if value == "none" => {
                p.resize = None;
                Some(())
            }
            "resize" => side(value).map(|n| p.resize = Some(n)),
            "crop" => match value.split_once('x') {
                Some((h, w)) => side(h).zip(side(w)).map(|(h, w)| p.crop = [h, w]),
                None => side(value).map(|n| p.crop = [n, n]),
            },
            "order" if ["rgb", "bgr"].contains(&value) => {
                p.bgr = value == "bgr";
                Some(())
            }
            "order" => None,
            "scale" => value.parse().ok().filter(|s: &f32| s.is_finite() && *s > 0.0).map(|s| p.scale = s),
            "mean" => floats().map(|v| p.mean = v),
            "std" => floats().filter(|v| v.iter().all(|&s| s > 0.0)).map(|v| p.std = v),
            _ => {
                fault(format!("'{key}' is no part of preprocessing"), suggestion(key, &KEYS));
                continue;
            }
        };
        if understood.is_none() {
            fault(format!("'{value}' is no value for {key}"), form(key, channels));
        }
    }
    if p.mean.len() != channels || p.std.len() != channels {
        fault(format!("the input has {channels} channels, the preset is for 3"), "give mean= and std=".into());
    }
    if p.crop != [height, width] {
        let [h, w] = p.crop;
        fault(format!("the crop is {h}x{w}, the input {height}x{width}"), format!("add crop={height}x{width}"));
    }
    problems.into_result(p)
}

fn suggestion(word: &str, known: &[&str]) -> String {
    match ir::text::nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("known: {}", known.join(", ")),
    }
}

fn form(key: &str, channels: usize) -> String {
    match key {
        "resize" => "the length of the shorter side, or `none`".into(),
        "crop" => "a side, or HEIGHTxWIDTH".into(),
        "order" => "`rgb` or `bgr`".into(),
        "scale" => "a positive number that pixel values are divided by".into(),
        _ => format!("{channels} numbers with commas between them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_and_variations() {
        let p = parse("caffe order=rgb", [3, 224, 224]).unwrap();
        assert!(!p.bgr && p.scale == 1.0 && p.mean[0] == 103.939 && p.resize == Some(256));
        let p = parse("mean=0.5 scale=1", [1, 28, 28]).unwrap();
        assert_eq!((p.crop, p.mean, p.std, p.resize), ([28, 28], vec![0.5], vec![1.0], None));
    }

    #[test]
    fn every_fault_is_listed() {
        let e = parse("imagnet men=1 crop=0 std=1,2", [3, 224, 224]).unwrap_err();
        assert_eq!(e.0.len(), 4, "{e}");
        assert_eq!(e.0[0].help.as_deref(), Some("did you mean 'imagenet'?"));
        let e = parse("imagenet", [3, 64, 64]).unwrap_err();
        assert_eq!(e.0[0].help.as_deref(), Some("add crop=64x64"));
    }
}
