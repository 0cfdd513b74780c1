//! Counters.

/// What an endpoint counted since it began. Plain numbers: the endpoint lives on one thread.
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
    /// Datagrams ignored because they are no QUIC packets.
    pub ignored_garbage: u64,
    /// Datagrams ignored because no connection has their destination connection id.
    pub ignored_unknown_cid: u64,
    /// Initial packets ignored because their datagram is smaller than 1200 bytes (RFC 9000 section 14.1).
    pub ignored_small_initial: u64,
    /// Initial packets ignored because a limit on connections or handshakes is reached, or during a shutdown.
    pub ignored_over_limit: u64,
    /// Initial packets ignored because their Retry token is forged, expired or another client's.
    pub ignored_bad_token: u64,
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
    /// Handshakes that did not complete in time.
    pub handshake_timeouts: u64,
    /// Requests whose head was valid.
    pub requests: u64,
    /// Requests that were malformed or over a limit.
    pub malformed_requests: u64,
    /// Requests rejected because the connection is going away.
    pub rejected_requests: u64,
    /// Streams that the peer reset or stopped.
    pub cancelled_streams: u64,
}
