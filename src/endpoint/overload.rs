//! Connections whose peer makes this side work for nothing: they are closed with H3_EXCESSIVE_LOAD (RFC 9114 section 8.1).

use super::connection::Connection;
use super::core::{Cx, Role};
use crate::error::ErrorCode;
use crate::transport::Excess;

/// RFC 9000 section 20.1.
const CRYPTO_BUFFER_EXCEEDED: u64 = 0xd;
/// Requests that a client may abort before their share counts. For each, quiche::h3 keeps some 300 bytes until the
/// connection ends.
const MAX_ABORTED: u32 = 1000;

impl Connection {
    /// A request was aborted by the client, or for the client's fault. If most of them are, as in attacks of the kind of
    /// CVE-2023-44487 (rapid reset) and CVE-2025-8671 (made you reset), the connection is closed.
    pub(super) fn note_aborted(&mut self, cx: &mut Cx<'_>) {
        if self.role == Role::Client {
            return;
        }
        self.requests.aborted = self.requests.aborted.saturating_add(1);
        let requests = self.requests.next / 4;
        if self.requests.aborted > MAX_ABORTED && u64::from(self.requests.aborted) * 2 > requests {
            self.close_for_load(cx, "most requests were aborted");
        }
    }

    pub(super) fn close_for_excess(&mut self, cx: &mut Cx<'_>, excess: Excess) {
        self.close_for_load(cx, excess.reason());
    }

    fn close_for_load(&mut self, cx: &mut Cx<'_>, reason: &str) {
        if self.transport.is_over() {
            return;
        }
        cx.core.stats.excessive_peers += 1;
        log::info!("{:?}: closed, as {} causes {reason}", cx.conn, self.transport.peer_addr());
        match self.transport.is_established() {
            true => self.transport.close(ErrorCode::H3_EXCESSIVE_LOAD, reason.as_bytes()),
            false => self.transport.close_transport(CRYPTO_BUFFER_EXCEEDED, reason.as_bytes()),
        }
    }
}
