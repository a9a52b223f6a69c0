//! What a person sees on standard error.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work shorter than this shows no bar.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Prints a line on standard error.
#[allow(clippy::print_stderr, reason = "the one place that does")]
pub(crate) fn note(line: &str) {
    eprintln!("{line}");
}

/// A progress bar that appears only if the work takes a while, and only on a terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
    start: Instant,
    quiet: bool,
}

impl Bar {
    /// A bar for `what`.
    pub(crate) fn new(what: &'static str, quiet: bool) -> Bar {
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{msg} [{wide_bar}] {percent} % {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Bar { bar, start: Instant::now(), quiet }
    }

    /// What is being done.
    pub(crate) fn say(&mut self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// `done` of `total`.
    pub(crate) fn at(&mut self, done: u64, total: u64) {
        if !self.quiet && self.bar.is_hidden() && self.start.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
