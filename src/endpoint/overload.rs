//! Connections whose peer makes this side work for nothing: they are closed with H3_EXCESSIVE_LOAD (RFC 9114 section 8.1).

use super::connection::Connection;
use super::core::{Cx, Role};
use crate::error::ErrorCode;
use crate::transport::Excess;

/// RFC 9000 section 20.1.
const CRYPTO_BUFFER_EXCEEDED: u64 = 0xd;
/// Requests that a client may abort beyond those that it completes. Each costs the work of a request, and those that come
/// faster than they are cleared away cost memory of quiche::h3.
const MAX_ABORTED: i32 = 1000;

impl Connection {
    /// Closes the connection if the client aborts most of its requests, as in attacks of the kind of CVE-2023-44487 (rapid
    /// reset), or makes the server abort them (CVE-2025-8671, made you reset).
    pub(super) fn check_aborted(&mut self, cx: &mut Cx<'_>) {
        if self.requests.aborted > MAX_ABORTED && self.role == Role::Server {
            self.close_for_load(cx, "more requests that are aborted than completed");
        }
    }

    /// A request was completed.
    pub(super) fn note_completed(&mut self) {
        self.requests.aborted = (self.requests.aborted - 1).max(-MAX_ABORTED);
    }

    pub(super) fn close_for_excess(&mut self, cx: &mut Cx<'_>, excess: Excess) {
        self.close_for_load(cx, excess.reason());
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
