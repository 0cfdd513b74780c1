//! Reads qlog files: [`Summary`] is one connection on a page, [`Chart`] is pictures of it, and [`explain`] tells its
//! handshake in sentences.
//!
//! Files of all implementations are read: JSON-SEQ (`.sqlog`, draft-ietf-quic-qlog-main-schema), lines of JSON, one
//! JSON value (`.qlog`), each also compressed by gzip, and the events' names of all drafts since 00. The `qlog` crate's
//! types are those of one version, and its reader panics when a read fails.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

mod chart;
mod collect;
mod display;
mod event;
mod explain;
mod read;
mod summary;

pub use chart::Chart;
pub use explain::explain;
pub use summary::{
    Close, Congestion, ConnectionIds, Count, Handshake, Listed, MAX_LISTED, MAX_REQUESTS, Packets, Request, Rtt,
    Skipped, Streams, Summary,
};

/// Why a file could not be summarised.
#[derive(Debug)]
#[non_exhaustive]
pub enum QlogError {
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a qlog.
    Format {
        /// The file.
        path: PathBuf,
        /// The line, from 1, if the reason is on one.
        line: Option<u64>,
        /// The reason.
        reason: String,
    },
}

impl fmt::Display for QlogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "cannot read qlog '{}': {source}", path.display()),
            Self::Format { path, line: None, reason } => write!(f, "'{}' is not a qlog file: {reason}", path.display()),
            Self::Format { path, line: Some(line), reason } => {
                write!(f, "'{}' is not a qlog file: line {line}: {reason}", path.display())
            }
        }
    }
}

impl std::error::Error for QlogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Format { .. } => None,
        }
    }
}

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
