//! Reads qlog files and summarises one connection on a page.
//!
//! [`Summary::read`] understands the JSON-SEQ form (`.sqlog`, draft-ietf-quic-qlog-main-schema) as quiche writes it,
//! and the same events from other implementations. Records are split here, not by the `qlog` crate's reader, which
//! panics when a read fails and does not report how many records it skipped.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

mod collect;
mod display;
mod summary;

pub use summary::{
    Close, Congestion, ConnectionIds, Count, Handshake, Listed, MAX_LISTED, MAX_REQUESTS, Packets, Request, Rtt,
    Streams, Summary,
};

/// Records end at the next record separator (RFC 7464, section 2.2).
const RECORD_SEPARATOR: u8 = 0x1e;

/// Longest record in bytes: a file that is not a qlog must not fill the memory.
const MAX_RECORD: u64 = 16 << 20;

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
    /// The file is not a qlog in JSON-SEQ form.
    Format {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl fmt::Display for QlogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "cannot read qlog '{}': {source}", path.display()),
            Self::Format { path, reason } => {
                write!(f, "'{}' is not a qlog file (.sqlog, JSON-SEQ): {reason}", path.display())
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
    /// Reads a `.sqlog` file. Memory is bounded except for a few bytes per stream.
    ///
    /// # Errors
    /// [`QlogError::Read`] and [`QlogError::Format`]. Broken or unknown records after the header are not errors; they
    /// are counted in [`Summary::skipped`].
    pub fn read(path: &Path) -> Result<Self, QlogError> {
        let file = File::open(path).map_err(|source| QlogError::Read { path: path.to_owned(), source })?;
        Self::read_from(&mut BufReader::new(file), path)
    }

    /// As [`read`](Summary::read), with the file's content from `reader`.
    pub(crate) fn read_from(mut reader: &mut impl BufRead, path: &Path) -> Result<Self, QlogError> {
        let read_error = |source| QlogError::Read { path: path.to_owned(), source };
        let format_error = |reason| QlogError::Format { path: path.to_owned(), reason };
        let start = reader.fill_buf().map_err(read_error)?;
        check_start(start).map_err(|reason| format_error(reason.to_owned()))?;
        let mut record = Vec::new();
        let header = loop {
            if !next_record(&mut reader, &mut record).map_err(read_error)? {
                return Err(format_error("it has no header record".to_owned()));
            }
            if !record.trim_ascii().is_empty() {
                break serde_json::from_slice(&record)
                    .map_err(|e| format_error(format!("its header is unusable: {e}")))?;
            }
        };

        let mut collector = collect::Collector::new(path.display().to_string(), header);
        let mut broken = false;
        while next_record(&mut reader, &mut record).map_err(read_error)? {
            if !record.trim_ascii().is_empty() {
                broken = match serde_json::from_slice(&record) {
                    Ok(event) => {
                        collector.event(event);
                        false
                    }
                    Err(e) => {
                        collector.skip();
                        e.is_eof()
                    }
                };
            }
        }
        Ok(collector.finish(broken))
    }

    /// The summary as a JSON object with the names of the fields.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        // Strings, numbers and maps with string keys always convert.
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn check_start(start: &[u8]) -> Result<(), &'static str> {
    match start {
        [] => Err("it is empty"),
        [RECORD_SEPARATOR, ..] => Ok(()),
        [0x1f, 0x8b, ..] => Err("it is compressed, unpack it first (gzip -d)"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err("it is compressed, unpack it first (zstd -d)"),
        [b'{' | b'[' | b' ' | b'\n' | b'\r' | b'\t', ..] => {
            Err("it looks like plain JSON; only the sequential form is read, whose records begin with byte 0x1e")
        }
        _ => Err("it does not begin with a record separator (byte 0x1e)"),
    }
}

/// Reads up to the next separator, without it. False at the end of the file.
fn next_record(reader: &mut impl BufRead, record: &mut Vec<u8>) -> io::Result<bool> {
    record.clear();
    let read = reader.take(MAX_RECORD).read_until(RECORD_SEPARATOR, record)?;
    if record.last() == Some(&RECORD_SEPARATOR) {
        record.pop();
    }
    Ok(read > 0)
}

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
