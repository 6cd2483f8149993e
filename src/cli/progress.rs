//! Progress of work that takes a while: a line on standard error, if that is a terminal.

use std::cell::Cell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that is done sooner shows nothing.
const PATIENCE: Duration = Duration::from_millis(400);

/// The time between two pictures of a line that moves.
const TICK: Duration = Duration::from_millis(120);

/// A line that says how far the work is.
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
    /// It has a place. It stays hidden where standard error is no terminal.
    placed: Cell<bool>,
}

impl Progress {
    /// The work is `total` things, called `unit`: inputs.
    pub fn of(total: u64, unit: &str) -> Self {
        Self::styled(total, &format!("{{bar:20}} {{pos}}/{{len}} {unit}, {{per_sec}}{{msg}}"))
    }

    /// The work is steps that say what they are.
    pub fn of_steps() -> Self {
        let progress = Self::styled(0, "{spinner} {wide_msg}");
        progress.place();
        if !progress.bar.is_hidden() {
            progress.bar.enable_steady_tick(TICK);
        }
        progress
    }

    /// What is done now.
    pub fn step(&self, message: impl FnOnce() -> String) {
        if !self.bar.is_hidden() {
            self.bar.set_message(message());
        }
    }

    fn place(&self) {
        self.placed.set(true);
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
    }

    fn styled(total: u64, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Progress { bar, started: Instant::now(), placed: Cell::new(false) }
    }

    /// So much more is done.
    pub fn advance(&self, count: u64, message: impl FnOnce() -> String) {
        self.bar.inc(count);
        if !self.placed.get() && self.started.elapsed() > PATIENCE {
            self.place();
        }
        self.step(message);
    }

    /// Print something else meanwhile.
    pub fn around<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
