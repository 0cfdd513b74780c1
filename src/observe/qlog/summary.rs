//! The content of a log, as values.

use std::collections::BTreeMap;

use serde::Serialize;

/// Requests kept in detail; more are only counted.
pub const MAX_REQUESTS: usize = 20;

/// Connection ids and congestion states kept of each kind; more are only counted.
pub const MAX_LISTED: usize = 16;

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
    pub min_ms: f64,
    /// Smoothed, at the end.
    pub smoothed_ms: f64,
    /// The last sample.
    pub latest_ms: f64,
    /// The greatest sample logged.
    pub max_ms: f64,
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
    pub max_pto_count: u64,
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
    /// The trigger, such as `idle_timeout`.
    pub trigger: Option<String>,
}

/// A record that was skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Skipped {
    /// Its line in the file, from 1; 0 if it is not known.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// Summary of a connection from its qlog file. `Display` prints a page of text; [`Summary::to_json`] is for programs.
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
    /// Events, whether or not they count for anything here.
    pub events: u64,
    /// Broken records, and those that are no events.
    pub skipped: u64,
    /// The first of these.
    pub first_skipped: Option<Skipped>,
    /// Whether the last record is truncated, as in the log of a running or killed process.
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
    /// Streams by initiator and direction, such as `client bidi` (RFC 9000, section 2.1); the first
    /// 1048576 of them.
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
