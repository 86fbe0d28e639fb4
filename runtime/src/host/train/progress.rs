//! How far a run has come, and what follows from that: the learning rate, and means over windows of steps.

use super::schedule::Until;
use super::settings::Settings;
use serde::{Deserialize, Serialize};

/// What a step gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Mean over the batch.
    pub loss: f32,
    /// Pictures whose class was not the first answer.
    pub wrong: u64,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Steps that are done.
    pub iteration: u64,
    /// Whether a warm-up is over.
    pub is_warm: bool,
    /// Pictures, and those wrongly classified, of the current window (see [`super::schedule::WINDOW`]).
    pub seen: u64,
    pub wrong: u64,
    /// Sum of the losses of the window, as the bits of an f64.
    pub loss_bits: u64,
}

impl Progress {
    /// The learning rate of the next step.
    pub fn rate(&self, s: &Settings) -> f64 {
        match s.warmup {
            Some(w) if !self.is_warm && !matches!(w.until, Until::Iteration(n) if self.iteration >= n) => w.lr,
            _ => s.schedule.rate(s.lr, self.iteration, s.iterations),
        }
    }

    /// Counts a step in the window.
    pub fn count(&mut self, s: &Settings, outcome: Outcome) {
        self.seen += s.batch;
        self.wrong += outcome.wrong;
        self.loss_bits = (f64::from_bits(self.loss_bits) + f64::from(outcome.loss)).to_bits();
    }

    /// Mean loss and error of the window, which begins anew; ends a warm-up that is over.
    pub fn close_window(&mut self, s: &Settings) -> Option<(f64, f64)> {
        let steps = self.seen / s.batch;
        let result = (steps > 0).then(|| {
            let error = self.wrong as f64 / self.seen as f64;
            if s.warmup.is_some_and(|w| matches!(w.until, Until::Error(below) if error < below)) {
                self.is_warm = true;
            }
            (f64::from_bits(self.loss_bits) / steps as f64, error)
        });
        (self.seen, self.wrong, self.loss_bits) = (0, 0, 0);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{Kind, Recipe};
    use super::*;

    /// 110 layers of the paper: 0.01 until the error of a window is below 80 %.
    #[test]
    fn a_warm_up_ends_with_the_window_that_is_good_enough() {
        let recipe = Recipe::find("he2015", Kind::Cifar).unwrap();
        let s = recipe.settings(50_000, 110, Some(10), None);
        let mut p = Progress::default();
        let mut window = |wrong: [u64; 2]| {
            wrong.iter().for_each(|&wrong| p.count(&s, Outcome { loss: wrong as f32, wrong }));
            (p.close_window(&s), p.rate(&s), p.seen)
        };
        assert_eq!(window([8, 8]), (Some((8.0, 0.8)), 0.01, 0));
        assert_eq!(window([9, 6]), (Some((7.5, 0.75)), 0.1, 0));
        assert_eq!(window([10, 10]), (Some((10.0, 1.0)), 0.1, 0), "it does not begin again");
        assert_eq!(Progress::default().close_window(&s), None, "every batch was left out");
    }
}
