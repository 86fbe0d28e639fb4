//! What decides the bits of a training run, and the recipes that give it.
//!
//! [`Settings`] are complete: nothing else but the model and the data has an influence. They are kept in every
//! checkpoint, and a run goes on only under those that it began with.

use super::schedule::{Schedule, Until, Warmup};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Images of a step; the rest of an epoch that fills no batch is left out.
    pub batch: u64,
    /// Parts of a batch with batch statistics of their own, whose gradients are added. Older checkpoints know of one.
    #[serde(default = "one")]
    pub shards: u64,
    /// Steps of the whole run.
    pub iterations: u64,
    /// Peak of the learning rate.
    pub lr: f64,
    pub schedule: Schedule,
    pub warmup: Option<Warmup>,
    pub momentum: f64,
    pub nesterov: bool,
    /// On every trained tensor, gamma and beta of batch norms too, as PyTorch's SGD does.
    pub weight_decay: f64,
    pub label_smoothing: f64,
    /// Share of a batch's statistics in the running ones, as PyTorch counts it.
    pub bn_momentum: f64,
    /// Trained values whose tensors' names begin with one of these stay as they are.
    pub frozen: Vec<String>,
    pub seed: u64,
    pub crop: Crop,
    pub flip: bool,
    pub colour: Colour,
    pub mean: Mean,
    /// Only so many of the first images.
    pub limit: Option<u64>,
}

fn one() -> u64 {
    1
}

/// Which part of a picture is taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Crop {
    /// The picture as in evaluation.
    None,
    /// An eighth of the side (4 of 32 pixels) of zeros on each side, then a random crop of the picture's size.
    Pad,
    /// The shorter side becomes a random length from `least` to `most` of 224 parts of the input's side, then a random
    /// crop (the paper: 256 to 480).
    Scale { least: u32, most: u32 },
    /// A random share of the area, at a random ratio from 3/4 to 4/3 (Szegedy et al., 2014).
    Resized { least_area: f64 },
}

/// What is done to colours.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Colour {
    None,
    /// Principal components of ImageNet's colours, times normal numbers of this deviation (Krizhevsky et al., 2012).
    Pca(f64),
    /// Brightness, contrast and saturation by random factors from 1 − s to 1 + s.
    Jitter(f64),
}

/// What is subtracted from pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mean {
    /// The mean picture of the training set; pixels are divided by nothing but 255.
    Pixel,
    /// One mean for each channel, and a division by its standard deviation.
    Channel,
    /// What the model's own `preprocess` line says.
    Model,
}

/// Where images come from, as far as recipes care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Cifar,
    Folder,
}

/// A named way to train.
pub struct Recipe {
    pub name: &'static str,
    pub kind: Kind,
    pub doc: &'static str,
    pub batch: u64,
    pub length: Length,
    pub lr: f64,
    pub shape: Shape,
    /// Layers from which a warm-up is needed, and the warm-up.
    pub warmup: Option<(u64, Warmup)>,
    pub momentum: f64,
    pub nesterov: bool,
    pub weight_decay: f64,
    pub label_smoothing: f64,
    pub crop: Crop,
    pub colour: Colour,
    pub mean: Mean,
}

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Iterations(u64),
    Epochs(u64),
}

/// A [`Schedule`] that does not know the run's length yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A tenth after one half of the run, and again after three quarters.
    HalfAndThreeQuarters,
    OneCycle,
}

/// The paper's warm-up of its network of 110 layers.
const UNTIL_80: Warmup = Warmup { lr: 0.01, until: Until::Error(0.8) };

const HE2015: Recipe = Recipe {
    name: "he2015",
    kind: Kind::Cifar,
    doc: "the paper's: 64k steps of 128 images, rate 0.1, a tenth at 32k and 48k",
    batch: 128,
    length: Length::Iterations(64_000),
    lr: 0.1,
    shape: Shape::HalfAndThreeQuarters,
    warmup: Some((110, UNTIL_80)),
    momentum: 0.9,
    nesterov: false,
    weight_decay: 1e-4,
    label_smoothing: 0.0,
    crop: Crop::Pad,
    colour: Colour::None,
    mean: Mean::Pixel,
};

const FAST: Recipe = Recipe {
    name: "fast",
    doc: "one cycle of 30 epochs, peak rate 0.2, Nesterov, weight decay 5e-4",
    length: Length::Epochs(30),
    lr: 0.2,
    shape: Shape::OneCycle,
    warmup: None,
    nesterov: true,
    weight_decay: 5e-4,
    mean: Mean::Channel,
    ..HE2015
};

/// Every recipe, for each kind of data.
pub static RECIPES: [Recipe; 4] = [
    HE2015,
    FAST,
    Recipe {
        kind: Kind::Folder,
        doc: "the paper's for ImageNet: 600k steps of 256 images, sides of 256 to 480, colours by principal components; \
              the paper lowers the rate at plateaus, here at one half and three quarters",
        batch: 256,
        length: Length::Iterations(600_000),
        warmup: None,
        crop: Crop::Scale { least: 256, most: 480 },
        colour: Colour::Pca(0.1),
        mean: Mean::Model,
        ..HE2015
    },
    Recipe {
        kind: Kind::Folder,
        doc: "one cycle of 18 epochs, random resized crops, peak rate 0.2, Nesterov, weight decay 5e-5, smoothed labels",
        length: Length::Epochs(18),
        weight_decay: 5e-5,
        label_smoothing: 0.1,
        crop: Crop::Resized { least_area: 0.35 },
        mean: Mean::Model,
        ..FAST
    },
];

impl Recipe {
    pub fn find(name: &str, kind: Kind) -> Option<&'static Recipe> {
        RECIPES.iter().find(|r| r.name == name && r.kind == kind)
    }

    /// The settings for a training set of `images`, where `length` and `batch` replace the recipe's own.
    pub fn settings(&self, images: u64, layers: u64, batch: Option<u64>, length: Option<Length>) -> Settings {
        let batch = batch.unwrap_or(self.batch);
        let iterations = length.unwrap_or(self.length).iterations(images, batch);
        let schedule = match self.shape {
            Shape::OneCycle => Schedule::OneCycle,
            Shape::HalfAndThreeQuarters => Schedule::MultiStep(vec![iterations / 2, iterations * 3 / 4]),
        };
        Settings {
            batch,
            shards: 1,
            iterations,
            lr: self.lr,
            schedule,
            warmup: self.warmup.filter(|(least, _)| layers >= *least).map(|(_, w)| w),
            momentum: self.momentum,
            nesterov: self.nesterov,
            weight_decay: self.weight_decay,
            label_smoothing: self.label_smoothing,
            bn_momentum: 0.1,
            frozen: Vec::new(),
            seed: 0,
            crop: self.crop,
            flip: true,
            colour: self.colour,
            mean: self.mean,
            limit: None,
        }
    }
}

impl Length {
    pub fn iterations(self, images: u64, batch: u64) -> u64 {
        match self {
            Length::Iterations(n) => n,
            Length::Epochs(n) => n.saturating_mul(images / batch.max(1)),
        }
    }
}

impl Settings {
    /// What differs from `other`, as `name: here, there`.
    pub fn differences(&self, other: &Settings) -> Vec<String> {
        let object = |s: &Settings| serde_json::to_value(s).unwrap_or_default();
        let (a, b) = (object(self), object(other));
        let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return Vec::new() };
        a.iter().filter(|(k, v)| b.get(*k) != Some(v)).map(|(k, v)| format!("{k}: {v}, {}", b[k])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_recipe() {
        let s = Recipe::find("he2015", Kind::Cifar).unwrap().settings(50_000, 20, None, None);
        assert_eq!((s.batch, s.iterations, s.lr, s.weight_decay, s.momentum), (128, 64_000, 0.1, 1e-4, 0.9));
        assert_eq!(s.schedule, Schedule::MultiStep(vec![32_000, 48_000]));
        assert_eq!((s.warmup, s.crop, s.mean, s.flip), (None, Crop::Pad, Mean::Pixel, true));
        let deep = Recipe::find("he2015", Kind::Cifar).unwrap().settings(50_000, 110, None, None);
        assert_eq!(deep.warmup, Some(UNTIL_80));
    }

    #[test]
    fn lengths() {
        let r = Recipe::find("fast", Kind::Cifar).unwrap();
        assert_eq!(r.settings(50_000, 20, None, None).iterations, 30 * 390);
        assert_eq!(r.settings(50_000, 20, Some(100), Some(Length::Epochs(2))).iterations, 1000);
        assert_eq!(r.settings(50_000, 20, None, Some(Length::Iterations(7))).iterations, 7);
    }

    #[test]
    fn every_recipe_is_there_for_each_kind_and_survives_a_checkpoint() {
        for r in &RECIPES {
            assert!(std::ptr::eq(Recipe::find(r.name, r.kind).unwrap(), r));
            let s = r.settings(1000, 110, None, None);
            let text = serde_json::to_string(&s).unwrap();
            assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), s);
            assert!(s.differences(&s).is_empty());
            let older = text.replace("\"shards\":1,", "");
            assert!(older != text && serde_json::from_str::<Settings>(&older).unwrap() == s);
        }
    }

    #[test]
    fn differences_are_named() {
        let a = HE2015.settings(50_000, 20, None, None);
        let b = Settings { lr: 0.05, seed: 3, ..a.clone() };
        assert_eq!(a.differences(&b), ["lr: 0.1, 0.05", "seed: 0, 3"]);
    }
}
