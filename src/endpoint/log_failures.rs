//! Logs that cannot be written.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts failures to write a log.
#[derive(Debug, Default)]
pub(super) struct Failures(AtomicU64);

impl Failures {
    /// Warns of the first one only: a full disk fails every connection's log.
    pub(super) fn add(&self, what: &str, path: &Path, error: &io::Error) {
        let level = match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => log::Level::Warn,
            _ => log::Level::Debug,
        };
        log::log!(level, "cannot write {what} '{}', which is cut off: {error}", path.display());
    }

    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
