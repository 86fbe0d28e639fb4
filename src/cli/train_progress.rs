//! What a run of training says while it goes: a line of progress for people, lines of JSON for programs.

use super::Env;
use super::progress::Progress as Bar;
use crate::train::run::Report;
use serde_json::json;

/// Says how a run goes on.
pub struct Progress<'a> {
    env: &'a Env,
    bar: Bar,
    /// Seconds of a step that keeps every multiply-add unit busy.
    least_seconds: f64,
    /// The newest window, for the line of an evaluation.
    window: String,
}

impl<'a> Progress<'a> {
    pub fn new(env: &'a Env, steps: usize, least_seconds: f64) -> Progress<'a> {
        Progress { env, bar: Bar::count(env, "step", steps), least_seconds, window: String::new() }
    }

    /// After every step.
    pub fn step(&mut self, r: &Report) {
        let (s, line) = (r.settings, r.line);
        let steps_per_second = r.steps as f64 / r.elapsed.as_secs_f64();
        let (rate, of_peak) = (s.batch as f64 * steps_per_second, self.least_seconds * steps_per_second);
        self.bar.advance(1);
        if let Some((loss, error)) = line.window {
            let [percent, of_peak_percent] = [error, of_peak].map(|share| 100.0 * share);
            let text = format!("loss {loss:.4}, error {percent:.2} %, {rate:.0} img/s, {of_peak_percent:.0} % of peak");
            self.bar.say(&format!("{text}, step"));
            self.window = format!(", {text}");
            self.env.tell(
                "train",
                "window",
                json!({
                    "iteration": line.iteration, "epoch": line.epoch, "lr": line.lr, "loss": loss,
                    "train_error": error, "images_per_second": rate, "of_peak": of_peak,
                }),
            );
        }
        if let Some(error) = line.test_error {
            let (epoch, lr) = (line.epoch, line.lr);
            let text = format!("epoch {epoch:.2}: lr {lr:.5}{}, test error {:.2} %", self.window, 100.0 * error);
            self.bar.suspend(|| self.env.say(text));
            let fields = json!({ "iteration": line.iteration, "epoch": epoch, "test_error": error });
            self.env.tell("train", "evaluation", fields);
        }
    }

    pub fn finish(&self) {
        self.bar.finish();
    }
}
