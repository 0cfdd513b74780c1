//! Output besides the bodies: messages, the progress bar, JSON.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::active::Facts;

/// The progress bar's template if the length is known, and if not.
const KNOWN: &str = "{msg}{percent:>3}% [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
const UNKNOWN: &str = "{msg}{spinner} {bytes}, {bytes_per_sec}, {elapsed}";
/// Interval of the bar's updates.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Standard error.
#[derive(Debug)]
pub(super) struct Console {
    bar: Option<ProgressBar>,
    with_bar: bool,
    errors: bool,
}

impl Console {
    pub(super) fn new(with_bar: bool, errors: bool) -> Self {
        Console { bar: None, with_bar: with_bar && std::io::stderr().is_terminal(), errors }
    }

    pub(super) fn has_bar(&self) -> bool {
        self.with_bar
    }

    /// Shows text, which ends with a line end, above the bar.
    pub(super) fn show(&self, text: &str) {
        let show = || {
            // A failure here cannot be reported anywhere.
            let _ = std::io::stderr().write_all(text.as_bytes());
        };
        match &self.bar {
            Some(bar) => bar.suspend(show),
            None => show(),
        }
    }

    pub(super) fn error(&self, message: &str) {
        if self.errors {
            self.show(&format!("mio-quiche: {message}\n"));
        }
    }

    pub(super) fn progress(&mut self, done: u64, length: Option<u64>, message: &str) {
        if !self.with_bar {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style(UNKNOWN));
            bar
        });
        if length.is_some() && bar.length() != length {
            bar.set_length(length.unwrap_or_default());
            bar.set_style(style(KNOWN));
        }
        if bar.message() != message {
            bar.set_message(message.to_owned());
        }
        bar.set_position(done);
        bar.tick();
    }

    /// Leaves the bar in place, and begins a new one next time.
    pub(super) fn end_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.abandon();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

/// A finished transfer, in the form of `--report`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    url: &'a str,
    status: Option<u16>,
    bytes: u64,
    bytes_sent: u64,
    connect_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    total_ms: f64,
    redirects: usize,
    resumed: bool,
    early: bool,
    error: Option<&'a str>,
    exit_code: u8,
}

/// The line of `--report`.
pub(super) fn json(facts: &Facts) -> String {
    let ms = |time: Duration| (time.as_secs_f64() * 1_000_000.0).round() / 1000.0;
    let report = Report {
        url: &facts.url,
        status: facts.status,
        bytes: facts.received,
        bytes_sent: facts.sent,
        connect_ms: facts.times.connect.map(ms),
        first_byte_ms: facts.times.first_byte.map(ms),
        total_ms: ms(facts.times.total),
        redirects: facts.redirects,
        resumed: facts.resumed,
        early: facts.early,
        error: facts.error.as_deref(),
        exit_code: facts.exit_code,
    };
    serde_json::to_string(&report).unwrap_or_default()
}
