//! The progress line of a long run, on stderr and only when that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::report::Report;

/// A bar over the bytes of the file, or counts alone when its end is not known.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Starts with an empty bar.
    pub(super) fn start(size_bytes: Option<u64>) -> Self {
        let (bar, template) = match size_bytes {
            Some(size) => (ProgressBar::new(size), "{bar:20} {percent:>3}% {msg} eta {eta}"),
            None => (ProgressBar::no_length(), "{spinner} {msg}"),
        };
        // The target is hidden by itself when stderr is not a terminal.
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        Self(bar)
    }

    /// Shows where the run is; cheap when nobody sees it.
    pub(super) fn update(&self, read_bytes: u64, report: &Report, elapsed: Duration) {
        if self.0.is_hidden() {
            return;
        }
        let rate = report.sent.checked_div(elapsed.as_secs()).unwrap_or(report.sent);
        let Report { accepted, refused, failed, .. } = report;
        self.0.set_message(format!(
            "{accepted} accepted, {refused} refused, {failed} failed, {rate}/s"
        ));
        self.0.set_position(read_bytes);
    }

    /// Takes the line away again.
    pub(super) fn finish(self) {
        self.0.finish_and_clear();
    }
}
