//! Counters and distributions.

mod distributions;
mod histogram;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;

pub use distributions::{Distributions, LoopStats, RequestDurations, Syscalls};
pub use histogram::Histogram;

/// Defines a struct of counters, which can be added up.
macro_rules! counters {
    ($(#[$attribute:meta])* pub struct $name:ident { $($(#[$doc:meta])* pub $field:ident: u64,)* }) => {
        $(#[$attribute])*
        pub struct $name {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl $name {
            /// Each counter's name and value.
            pub fn counters(&self) -> impl IntoIterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($field), self.$field),)*]
            }
        }

        impl std::ops::AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

counters! {
/// Counters of an endpoint since its creation. Plain numbers, as an endpoint lives on one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// UDP datagrams received.
    pub datagrams_in: u64,
    /// Bytes in them.
    pub bytes_in: u64,
    /// UDP datagrams sent.
    pub datagrams_out: u64,
    /// Bytes in them.
    pub bytes_out: u64,
    /// Datagrams ignored because they are not QUIC packets, or begin with an Initial packet that cannot be decrypted.
    pub ignored_garbage: u64,
    /// Datagrams that no connection has the destination connection id of. A server answers them with a
    /// [stateless reset](Stats::resets_sent), except for the smallest ones.
    pub ignored_unknown_cid: u64,
    /// Initial packets ignored because their datagram is smaller than 1200 bytes (RFC 9000 section 14.1).
    pub ignored_small_initial: u64,
    /// Initial packets ignored because their destination connection id has fewer than 8 bytes (RFC 9000 section 7.2).
    pub ignored_short_cid: u64,
    /// Initial packets ignored because the limit on handshakes is reached, or because too many connections were refused
    /// in the same second.
    pub ignored_over_limit: u64,
    /// Initial packets whose Retry token is forged, expired or another client's (RFC 9000 section 8.1.2). The client
    /// receives INVALID_TOKEN.
    pub invalid_tokens: u64,
    /// Initial packets answered with CONNECTION_REFUSED: over the limit on connections, or during a shutdown.
    pub refused_connections: u64,
    /// Stateless resets sent (RFC 9000 section 10.3).
    pub resets_sent: u64,
    /// Connections that a stateless reset ended.
    pub resets_received: u64,
    /// Version Negotiation packets sent.
    pub version_negotiations: u64,
    /// Retry packets sent.
    pub retries: u64,
    /// Packets that a connection refused, which usually closes it.
    pub refused_packets: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Handshakes completed.
    pub handshakes: u64,
    /// Handshakes that resumed a session (RFC 8446 section 2.2).
    pub resumed_handshakes: u64,
    /// Handshakes whose early data (0-RTT, RFC 9001 section 4.6) was accepted.
    pub early_handshakes: u64,
    /// Handshakes whose early data was rejected. A server counts those of which it received 0-RTT packets.
    pub rejected_early_handshakes: u64,
    /// Requests received in the first flight of a connection (0-RTT).
    pub early_requests: u64,
    /// Connections that ended with the client's first flight, such as for its transport parameters, an alert of TLS or
    /// invalid frames. The client receives the error.
    pub failed_first_flights: u64,
    /// Initial packets that repeat a first flight which has failed. They are answered without a handshake.
    pub repeated_first_flights: u64,
    /// Handshakes that gave way to another client's, as [`max_handshakes`](crate::ServerConfig::max_handshakes) was
    /// reached.
    pub displaced_handshakes: u64,
    /// Handshakes that did not complete in time.
    pub handshake_timeouts: u64,
    /// Moves of clients to another address (RFC 9000 section 9), including NAT rebindings.
    pub migrations: u64,
    /// Logs that could not be written: qlog files that are missing or cut off, and lines of the key log.
    pub log_failures: u64,
    /// Requests whose head was valid.
    pub requests: u64,
    /// Requests that were malformed or over a limit.
    pub malformed_requests: u64,
    /// Requests whose client made no progress within [`request_timeout`](crate::ServerConfig::request_timeout).
    pub timed_out_requests: u64,
    /// Connections closed because the peer caused too much work or memory for nothing (H3_EXCESSIVE_LOAD).
    pub excessive_peers: u64,
    /// UDP datagrams dropped because their connection exceeded its share while more arrived than could be processed.
    pub dropped_over_share: u64,
    /// Requests answered with 429 because of [`max_request_rate`](crate::ServerConfig::max_request_rate).
    pub rate_limited_requests: u64,
    /// Requests rejected because the connection is going away or has [too
    /// many](crate::TransportConfig::max_streams_bidi).
    pub rejected_requests: u64,
    /// Streams that the peer reset or stopped.
    pub cancelled_streams: u64,
    /// QUIC DATAGRAM frames received (RFC 9221).
    pub datagram_frames_in: u64,
    /// QUIC DATAGRAM frames sent.
    pub datagram_frames_out: u64,
    /// Datagrams dropped: for no stream or session, too many before their session or at once, or over a limit when
    /// sent.
    pub datagram_frames_dropped: u64,
    /// QUIC DATAGRAM frames sent in packets that were lost (RFC 9002 section 6), as far as known when their connection
    /// was last [sampled](Distributions).
    pub datagram_frames_lost: u64,
    /// QUIC packets that were lost, as far as known when their connection was last [sampled](Distributions).
    pub packets_lost: u64,
    /// WebTransport sessions accepted.
    pub sessions_opened: u64,
    /// WebTransport sessions that ended, in whatever way.
    pub sessions_closed: u64,
    /// WebTransport sessions refused, by a handler, a limit, or for lack of a setting.
    pub sessions_rejected: u64,
    /// WebTransport sessions ended because the peer broke a rule.
    pub sessions_failed: u64,
    /// Streams that peers opened in sessions.
    pub session_streams_in: u64,
    /// Streams that were opened in sessions for peers.
    pub session_streams_out: u64,
    /// Streams refused: too many before their session, or over the limit of their session.
    pub session_streams_rejected: u64,
    /// CLOSE capsules received.
    pub capsules_close: u64,
    /// DRAIN capsules received.
    pub capsules_drain: u64,
    /// DATAGRAM capsules received.
    pub capsules_datagram: u64,
    /// Flow control capsules received.
    pub capsules_flow_control: u64,
    /// Capsules of unknown types received, and skipped.
    pub capsules_unknown: u64,
}
}

/// Responses by route pattern and status class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseCounts(BTreeMap<Arc<str>, [u64; CLASSES.len()]>);

/// By the first digit of the status; the first class is for responses aborted before they had one.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl ResponseCounts {
    /// Counts a response. The pattern is `None` where no route matched; paths are not counted, as clients can invent
    /// any number of them.
    pub fn count(&mut self, pattern: Option<&str>, status: Option<StatusCode>) {
        let pattern = pattern.unwrap_or("-");
        let class = status.map_or(0, |s| usize::from(s.as_u16() / 100)).min(CLASSES.len() - 1);
        match self.0.get_mut(pattern) {
            Some(counts) => counts[class] += 1,
            None => self.0.entry(pattern.into()).or_default()[class] = 1,
        }
    }

    /// Adds the responses of another loop.
    pub(crate) fn add(&mut self, other: &Self) {
        for (pattern, counts) in &other.0 {
            let sums = self.0.entry(Arc::clone(pattern)).or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }

    /// Pattern (`-` where no route matched), class (`2xx`; `none` if aborted before it had a status) and number of
    /// those that are not zero.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'static str, u64)> {
        let rows = self.0.iter().flat_map(|(pattern, counts)| {
            CLASSES.iter().zip(counts).map(move |(class, count)| (&**pattern, *class, *count))
        });
        rows.filter(|(.., count)| *count > 0)
    }
}

/// Panics of a server's handlers by route pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PanicCounts(BTreeMap<Arc<str>, u64>);

impl PanicCounts {
    /// Counts a panic. The pattern is `None` where there is no route.
    pub fn count(&mut self, pattern: Option<&str>) {
        self.add(pattern.unwrap_or("-"), 1);
    }

    fn add(&mut self, pattern: &str, count: u64) {
        match self.0.get_mut(pattern) {
            Some(sum) => *sum += count,
            None => drop(self.0.insert(pattern.into(), count)),
        }
    }

    /// These and others.
    pub(crate) fn sum(mut self, others: Option<&PanicCounts>) -> Self {
        for (pattern, count) in others.into_iter().flat_map(PanicCounts::iter) {
            self.add(pattern, count);
        }
        self
    }

    /// Pattern (`-` where there is no route) and number.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(pattern, count)| (&**pattern, *count))
    }
}
