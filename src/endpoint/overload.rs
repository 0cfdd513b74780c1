//! Closes connections whose peer causes useless work, with H3_EXCESSIVE_LOAD (RFC 9114 section 8.1).

use std::time::{Duration, Instant};

use super::Endpoint;
use super::connection::Connection;
use super::core::{Cx, Role};
use super::slow_clients::incomplete_heads;
use crate::error::ErrorCode;

/// RFC 9000 section 20.1.
const CRYPTO_BUFFER_EXCEEDED: u64 = 0xd;
/// Requests that a client may abort beyond those that it completes. Each costs the work of a request, and those that
/// arrive faster than they are removed cost memory of quiche::h3.
const MAX_ABORTED: i32 = 1000;
/// Small pieces of streams that quiche holds on all connections together: 128 MiB. Above that, each connection that
/// receives more of them, and has more than a few, is closed.
const MAX_PIECES_IN_ALL: f64 = 600_000.0;
const FEW_PIECES: f64 = 256.0;
/// Interval of recounting the pieces that are still held.
const RECOUNT_INTERVAL: Duration = Duration::from_secs(1);

impl Endpoint {
    /// Counts the small pieces of all connections again if there are too many: idle ones free theirs unnoticed.
    pub(super) fn recount_pieces(&mut self, now: Instant) {
        if self.core.held_pieces <= self.core.worker.part(MAX_PIECES_IN_ALL)
            || now < self.core.recounted_at + RECOUNT_INTERVAL
        {
            return;
        }
        self.core.recounted_at = now;
        for id in self.table.ids().collect::<Vec<_>>() {
            let Some(conn) = self.table.get_mut(id) else { continue };
            let (_, more) = conn.transport.held_pieces(now);
            self.core.held_pieces += more;
        }
    }
}

impl Connection {
    /// Closes the connection if the client aborts most of its requests, as in attacks of the kind of CVE-2023-44487
    /// (rapid reset), or makes the server abort them (CVE-2025-8671, made you reset).
    pub(super) fn check_aborted(&mut self, cx: &mut Cx<'_>) {
        if self.requests.aborted > MAX_ABORTED && self.role == Role::Server {
            self.close_for_load(cx, "more requests that are aborted than completed");
        }
    }

    /// A request was completed.
    pub(super) fn note_completed(&mut self) {
        self.requests.aborted = (self.requests.aborted - 1).max(-MAX_ABORTED);
    }

    /// Closes the connection if the peer makes quiche hold too much.
    pub(super) fn check_load(&mut self, cx: &mut Cx<'_>) {
        if let Some(excess) = self.transport.excess(cx.now) {
            return self.close_for_load(cx, excess.reason());
        }
        let (pieces, more) = self.transport.held_pieces(cx.now);
        cx.core.held_pieces += more;
        if more > 0.0 && pieces > FEW_PIECES && cx.core.held_pieces > cx.core.worker.part(MAX_PIECES_IN_ALL) {
            self.close_for_load(cx, "too many small pieces of streams that cannot be read on all connections");
        }
    }

    /// Closes the connection if it has more incomplete heads than requests are allowed: quiche::h3 holds up to 96 KiB
    /// of each, even if the stream is rejected. With WebTransport, QUIC lets the client open more streams than that.
    /// Call it after HTTP/3 was polled.
    pub(super) fn check_heads(&mut self, cx: &mut Cx<'_>) {
        if !self.transport.take_heads_check() {
            return;
        }
        let settings = &cx.core.settings;
        let (limit, most) = (settings.transport.max_streams_bidi, settings.webtransport.max_streams);
        if self.role != Role::Server || !settings.webtransport.is_on() || most <= limit {
            return;
        }
        let heads = incomplete_heads(&self.transport, &self.streams, self.requests.next, most);
        // quiche::h3 has read all available data of such a head.
        let held = heads.into_iter().filter(|stream| self.transport.readable_len(*stream, 1) == 0).count();
        if held as u64 > limit {
            self.close_for_load(cx, "more heads that are not complete than max_streams_bidi");
        }
    }

    fn close_for_load(&mut self, cx: &mut Cx<'_>, reason: &str) {
        if self.transport.is_over() || self.transport.has_closed() {
            return;
        }
        cx.core.stats.excessive_peers += 1;
        log::debug!("{:?}: {} is cut off: {reason}", cx.conn, self.transport.peer_addr());
        match self.transport.is_established() {
            true => self.transport.close(ErrorCode::H3_EXCESSIVE_LOAD, reason.as_bytes()),
            false => self.transport.close_transport(CRYPTO_BUFFER_EXCEEDED, reason.as_bytes()),
        }
    }
}
