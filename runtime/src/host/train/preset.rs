//! What is decided when a trainer is made, and the settings that its user's options make of it.

use super::schedule::Schedule;
use super::settings::{Kind, Length, Recipe, Settings};
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// What is decided when a trainer is made; it is part of the executable, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preset {
    /// What the network is called.
    pub name: String,
    /// SHA-256 of its text.
    pub network: String,
    pub recipe: String,
    /// The recipe's for all of CIFAR-10, with what the step was compiled for.
    pub settings: Settings,
}

/// What a user may change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Choice {
    pub length: Option<Length>,
    pub lr: Option<f64>,
    pub seed: Option<u64>,
}

impl Preset {
    /// The settings of a run on a training set of `images`.
    pub fn settings(&self, choice: Choice, images: u64) -> Settings {
        let s = self.settings.clone();
        let usual =
            Recipe::find(&self.recipe, Kind::Cifar).map(|r| r.settings(images, 0, Some(s.batch), choice.length));
        let (iterations, schedule) = usual.map_or((s.iterations, s.schedule), |u| (u.iterations, u.schedule));
        Settings { iterations, schedule, lr: choice.lr.unwrap_or(s.lr), seed: choice.seed.unwrap_or(s.seed), ..s }
    }

    /// Whether a run with these settings is one of this trainer's.
    pub fn allows(&self, s: &Settings) -> bool {
        let free =
            |s: &Settings| Settings { iterations: 0, schedule: Schedule::Constant, lr: 0.0, seed: 0, ..s.clone() };
        free(s) == free(&self.settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preset(recipe: &str) -> (Preset, &'static Recipe) {
        let r = Recipe::find(recipe, Kind::Cifar).unwrap();
        let settings = Settings { momentum: 0.8, ..r.settings(50_000, 110, Some(100), None) };
        (Preset { name: "net".into(), network: "1".into(), recipe: recipe.into(), settings }, r)
    }

    #[test]
    fn a_run_is_the_recipes_but_for_what_was_decided() {
        for recipe in ["he2015", "fast"] {
            let (preset, r) = preset(recipe);
            for length in [None, Some(Length::Epochs(3)), Some(Length::Iterations(7))] {
                let usual = r.settings(1000, 110, Some(100), length);
                let got = preset.settings(Choice { length, lr: None, seed: Some(5) }, 1000);
                assert_eq!(got, Settings { momentum: 0.8, seed: 5, ..usual });
                assert!(preset.allows(&got));
            }
            assert_eq!(preset.settings(Choice { lr: Some(0.5), ..Choice::default() }, 1000).lr, 0.5);
            assert!(!preset.allows(&Settings { momentum: 0.9, ..preset.settings.clone() }));
            assert!(!preset.allows(&Settings { limit: Some(10), ..preset.settings.clone() }));
        }
    }
}
