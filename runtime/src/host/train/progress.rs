//! How far a run has come, and what follows from that: the learning rate, and means over windows of steps.

use super::schedule::Until;
use super::settings::Settings;
use serde::{Deserialize, Serialize};

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

    /// Counts what a step gave: its mean loss, and how many of its pictures were wrongly classified.
    pub fn count(&mut self, s: &Settings, loss: f32, wrong: u64) {
        self.seen += s.batch;
        self.wrong += wrong;
        self.loss_bits = (f64::from_bits(self.loss_bits) + f64::from(loss)).to_bits();
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
