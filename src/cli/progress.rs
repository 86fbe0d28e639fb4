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

    /// Runs `f`, which writes to the terminal, while the line is away.
    pub fn suspend(&self, f: impl FnOnce()) {
        self.bar.suspend(f);
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::TermLike;
    use std::io;
    use std::sync::{Arc, Mutex};

    /// A terminal that keeps what it is told.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl Screen {
        fn put(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            80
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.put(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.put(text)
        }

        fn clear_line(&self) -> io::Result<()> {
            self.put("<clear>")
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_said_stands_on_a_line_of_its_own() {
        let env = Env { quiet: true, verbose: 0, json: false, color: false, color_err: false, threads: 1 };
        let (screen, progress) = (Screen::default(), Progress::count(&env, "step", 9));
        progress.bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        progress.advance(1);
        progress.suspend(|| screen.put("said").unwrap());
        let text = screen.0.lock().unwrap().clone();
        let (before, after) = text.split_once("said").unwrap();
        assert!(before.starts_with("step 1 of 9") && before.ends_with("<clear>"), "{text}");
        assert!(after.contains("step 1 of 9"), "{text}");
    }
}
