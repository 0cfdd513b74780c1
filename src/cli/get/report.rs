//! Output besides the bodies: messages, the progress bar, JSON, `--write-out`.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

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

/// A finished transfer, in the form of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) url: String,
    pub(super) status: Option<u16>,
    pub(super) bytes: u64,
    pub(super) bytes_sent: u64,
    pub(super) connect_ms: Option<f64>,
    pub(super) first_byte_ms: Option<f64>,
    pub(super) total_ms: f64,
    pub(super) redirects: usize,
    pub(super) resumed: bool,
    pub(super) early: bool,
    pub(super) error: Option<String>,
    pub(super) exit_code: u8,
}

impl Report {
    /// `--write-out`: variables of curl's, and `\n`, `\r`, `\t`.
    pub(super) fn write_out(&self, format: &str) -> String {
        let seconds = |ms: Option<f64>| format!("{:.6}", ms.unwrap_or_default() / 1000.0);
        let (mut text, mut rest) = (String::new(), format);
        while let Some(at) = rest.find(['%', '\\']) {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            let named = rest.strip_prefix("%{").and_then(|rest| rest.split_once('}'));
            if let Some((name, after)) = named {
                rest = after;
                text.push_str(&match name {
                    "http_code" | "response_code" => format!("{:03}", self.status.unwrap_or_default()),
                    "http_version" => "3".to_owned(),
                    "size_download" => self.bytes.to_string(),
                    "size_upload" => self.bytes_sent.to_string(),
                    "time_connect" | "time_appconnect" => seconds(self.connect_ms),
                    "time_starttransfer" => seconds(self.first_byte_ms),
                    "time_total" => seconds(Some(self.total_ms)),
                    "num_redirects" => self.redirects.to_string(),
                    "url_effective" => self.url.clone(),
                    "exitcode" => self.exit_code.to_string(),
                    "errormsg" => self.error.clone().unwrap_or_default(),
                    other => format!("%{{{other}}}"),
                });
                continue;
            }
            let escapes = [("%%", "%"), ("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t"), ("\\\\", "\\")];
            let (taken, shown) = match escapes.into_iter().find(|(escape, _)| rest.starts_with(escape)) {
                Some((escape, shown)) => (escape.len(), shown),
                None => (1, &rest[..1]),
            };
            text.push_str(shown);
            rest = &rest[taken..];
        }
        text + rest
    }
}
