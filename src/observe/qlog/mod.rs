//! Reads qlog files: [`Summary`] is one connection on a page, [`Chart`] is pictures of it, and [`explain()`] tells its
//! handshake in sentences.
//!
//! Files of all implementations are read: JSON-SEQ (`.sqlog`, draft-ietf-quic-qlog-main-schema), lines of JSON, one
//! JSON value (`.qlog`), each also compressed by gzip, and the events' names of all drafts since 00. The `qlog` crate's
//! types are those of one version, and its reader panics when a read fails.

use std::fs::File;
use std::io::Read;
use std::path::Path;

mod chart;
mod collect;
mod display;
mod error;
mod event;
mod explain;
mod read;
mod summary;

pub use chart::Chart;
pub use error::QlogError;
pub use explain::explain;
pub use summary::{
    Close, Congestion, ConnectionIds, Count, Handshake, Listed, MAX_LISTED, MAX_REQUESTS, Packets, Request, Rtt,
    Skipped, Streams, Summary,
};

impl Summary {
    /// Reads the first trace of a file. Memory is bounded.
    ///
    /// # Errors
    /// [`QlogError::Read`] and [`QlogError::Format`]. Broken records after the header are not errors; they are counted in
    /// [`Summary::skipped`].
    pub fn read(path: &Path) -> Result<Self, QlogError> {
        let file = File::open(path).map_err(|source| QlogError::Read { path: path.to_owned(), source })?;
        Ok(Self::read_all(file, path)?.into_iter().next().unwrap_or_default())
    }

    /// Reads all traces, at least one, of a file's content from `reader`; `path` is its name in errors.
    ///
    /// # Errors
    /// As [`read`](Summary::read).
    pub fn read_all(reader: impl Read, path: &Path) -> Result<Vec<Self>, QlogError> {
        let mut summaries = Vec::new();
        let name = path.display().to_string();
        let mut done = |collector: collect::Collector, header| summaries.push(collector.finish(name.clone(), header));
        read::read(reader, path, &mut collect::Collector::default, &mut done)?;
        Ok(summaries)
    }

    /// The summary as a JSON object with the names of the fields.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        // Strings, numbers and maps with string keys always convert.
        serde_json::to_value(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
