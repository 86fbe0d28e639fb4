//! One line of progress on a terminal, for work of more than half a second.

use super::Env;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::Cell;
use std::time::{Duration, Instant};

const APPEARS_AFTER: Duration = Duration::from_millis(500);
const REDRAWS_PER_SECOND: u8 = 10;

/// Progress of one task, measured in bytes. Draws nothing where `env` says so.
pub struct Progress {
    bar: ProgressBar,
    begun: Instant,
    shown: Cell<bool>,
}

impl Progress {
    /// Progress over a number of bytes.
    pub fn bytes(env: &Env, what: &'static str, bytes: u64) -> Progress {
        Progress::new(env, what, bytes, "{msg} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left")
    }

    /// Progress over a number of things.
    pub fn count(env: &Env, what: &'static str, things: usize) -> Progress {
        Progress::new(env, what, things as u64, "{msg} {pos} of {len}, {eta} left")
    }

    fn new(env: &Env, what: &'static str, length: u64, template: &str) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Progress { bar, begun: Instant::now(), shown: Cell::new(!env.shows_progress()) }
    }

    pub fn advance(&self, by: u64) {
        self.bar.inc(by);
        if !self.shown.get() && self.begun.elapsed() > APPEARS_AFTER {
            self.shown.set(true);
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
        }
    }

    /// What stands at the end of the line.
    pub fn say(&self, text: &str) {
        self.bar.set_message(text.to_string());
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
