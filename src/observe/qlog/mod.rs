//! Reading qlog files: what happened on one connection, in a page.
//!
//! [`Summary::read`] understands the JSON-SEQ form (`.sqlog`, draft-ietf-quic-qlog-main-schema) as quiche writes it, and by
//! the same events what others write. Records are split here, not by the `qlog` crate's reader, which panics when a read
//! fails and does not tell how many records it left out.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

mod collect;
mod display;

/// Records end at the next record separator (RFC 7464, section 2.2).
const RECORD_SEPARATOR: u8 = 0x1e;

/// Longest record taken in, in bytes: a file that is no qlog does not fill the memory.
const MAX_RECORD: u64 = 16 << 20;

/// Requests that are kept whole; further ones are counted.
pub const MAX_REQUESTS: usize = 20;

/// Connection ids and congestion states kept of each kind; further ones are counted.
pub const MAX_LISTED: usize = 16;

/// Why a file gave no summary.
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
    /// The file is no qlog in JSON-SEQ form.
    Format {
        /// The file.
        path: PathBuf,
        /// What it is, or what is wrong with it.
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

/// A number of things and the bytes in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Count {
    /// How many.
    pub count: u64,
    /// Bytes in all.
    pub bytes: u64,
}

/// A list that stops growing: the first [`MAX_LISTED`] things, and how many there were.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Listed<T> {
    /// The first ones.
    pub first: Vec<T>,
    /// All of them.
    pub total: u64,
}

/// How the handshake went. Times are in milliseconds from the log's first event.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Handshake {
    /// When the handshake was complete: quiche logs the peer's transport parameters then.
    pub established_ms: Option<f64>,
    /// When HANDSHAKE_DONE was sent or received (RFC 9001, section 4.1.2).
    pub confirmed_ms: Option<f64>,
    /// QUIC version, hexadecimal, of the last packet with a long header.
    pub version: Option<String>,
    /// Application protocol. quiche 0.30 does not log it; then it is `h3` if there are HTTP/3 events.
    pub alpn: Option<String>,
    /// TLS cipher as the log names it.
    pub cipher: Option<String>,
}

/// Connection ids in hexadecimal.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ConnectionIds {
    /// Destination of the client's first packet.
    pub original: Option<String>,
    /// Chosen by this endpoint, in order of appearance.
    pub local: Listed<String>,
    /// Chosen by the peer.
    pub remote: Listed<String>,
}

/// Packets in both directions.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Packets {
    /// By type (`initial`, `1RTT`, ...), with the bytes of the packets.
    pub sent: BTreeMap<String, Count>,
    /// By type. Lengths of long packets are computed: quiche logs the rest of the datagram as their length.
    pub received: BTreeMap<String, Count>,
    /// Sent packets declared lost, and their bytes.
    pub lost: Count,
    /// Received packets that were dropped.
    pub dropped: u64,
}

/// Round-trip times in milliseconds, measured by this endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Rtt {
    /// Least.
    pub min_ms: f32,
    /// Smoothed, at the end.
    pub smoothed_ms: f32,
    /// The last sample.
    pub latest_ms: f32,
    /// The greatest sample logged.
    pub max_ms: f32,
}

/// Congestion control of the sending direction.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Congestion {
    /// Congestion window at the end, in bytes.
    pub window: Option<u64>,
    /// Greatest congestion window, in bytes.
    pub max_window: Option<u64>,
    /// Greatest number of bytes in flight.
    pub max_in_flight: Option<u64>,
    /// Greatest count of probe timeouts in a row.
    pub max_pto_count: u16,
    /// State changes: milliseconds from the start, and the new state.
    pub states: Listed<(f64, String)>,
}

/// Streams of one kind, with their bytes without retransmissions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Streams {
    /// How many.
    pub count: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
}

/// One HTTP/3 request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Request {
    /// Stream id.
    pub stream: u64,
    /// `:method`.
    pub method: String,
    /// `:path`; `:authority` for a CONNECT without path.
    pub path: String,
    /// `:protocol` of an extended CONNECT (RFC 9220).
    pub protocol: Option<String>,
    /// `:status` of the final response.
    pub status: Option<String>,
}

/// How the connection ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Close {
    /// Milliseconds from the log's first event.
    pub at_ms: f64,
    /// `local` or `remote`.
    pub initiator: Option<String>,
    /// `application` or `transport`: the space of `code`.
    pub space: Option<String>,
    /// Error code (RFC 9000, section 20; RFC 9114, section 8.1).
    pub code: Option<u64>,
    /// Reason phrase.
    pub reason: Option<String>,
    /// What brought it about, such as `idle_timeout`.
    pub trigger: Option<String>,
}

/// What a qlog file says about its connection. Printed, it is a page for people; [`Summary::to_json`] is for programs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The file.
    pub file: String,
    /// The log's title.
    pub title: Option<String>,
    /// Which side wrote it: `client`, `server`, `network` or `unknown`.
    pub vantage_point: String,
    /// Time of day at the log's time 0, as the log states it.
    pub started: Option<String>,
    /// From the first to the last event, in milliseconds.
    pub duration_ms: f64,
    /// Events that were understood.
    pub events: u64,
    /// Records that were not: unknown events or broken ones.
    pub skipped: u64,
    /// Whether the last record is broken off, as in the log of a running or killed process.
    pub truncated: bool,
    /// The handshake.
    pub handshake: Handshake,
    /// Connection ids.
    pub cids: ConnectionIds,
    /// Packets.
    pub packets: Packets,
    /// Round-trip times, if one was measured.
    pub rtt: Option<Rtt>,
    /// Congestion control.
    pub congestion: Congestion,
    /// Streams by initiator and direction, such as `client bidi` (RFC 9000, section 2.1).
    pub streams: BTreeMap<String, Streams>,
    /// QUIC datagrams sent (RFC 9221).
    pub datagrams_sent: Count,
    /// QUIC datagrams received.
    pub datagrams_received: Count,
    /// The first [`MAX_REQUESTS`] HTTP/3 requests.
    pub requests: Vec<Request>,
    /// All HTTP/3 requests.
    pub requests_total: u64,
    /// Requests for a WebTransport session among them.
    pub webtransport_sessions: u64,
    /// How it ended; `None` if the log ends before.
    pub close: Option<Close>,
}

impl Summary {
    /// Reads a `.sqlog` file. Memory is bounded but for a few bytes per stream.
    ///
    /// # Errors
    /// [`QlogError::Read`] and [`QlogError::Format`]. Broken or unknown records after the header are no error; they are
    /// counted in [`Summary::skipped`].
    pub fn read(path: &Path) -> Result<Self, QlogError> {
        let read_error = |source| QlogError::Read { path: path.to_owned(), source };
        let format_error = |reason| QlogError::Format { path: path.to_owned(), reason };
        let mut reader = BufReader::new(File::open(path).map_err(read_error)?);

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

/// Reads up to the next separator, which is left out. False at the end of the file.
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
