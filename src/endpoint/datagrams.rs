//! Datagrams of a connection: QUIC DATAGRAM frames (RFC 9221) and HTTP datagrams (RFC 9297).

use bytes::Bytes;

use super::Endpoint;
use super::connection::Connection;
use super::core::{Core, Cx};
use super::datagram::{check_size, max_len, send, send_http};
use super::event::Event;
use crate::error::{DatagramError, ErrorCode};
use crate::transport::table::{ConnId, StreamId};
use crate::wire::datagram;
use crate::wt::Named;

/// A borrowed handle for the QUIC datagrams of a connection that do not belong to HTTP: one with another application
/// protocol, or whose peer did not enable HTTP datagrams.
pub struct Datagrams<'a> {
    pub(super) id: ConnId,
    pub(super) conn: &'a mut Connection,
    pub(super) core: &'a mut Core,
}

impl std::fmt::Debug for Datagrams<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datagrams").field("id", &self.id).field("max_len", &self.max_len()).finish_non_exhaustive()
    }
}

impl Datagrams<'_> {
    /// The connection.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The peer's address.
    pub fn peer_addr(&self) -> std::net::SocketAddr {
        self.conn.transport.peer_addr()
    }

    /// The largest payload in bytes at the moment; `None` if datagrams are off on either side.
    pub fn max_len(&self) -> Option<usize> {
        self.core.settings.transport.datagram_queue?;
        max_len(&self.conn.transport, 0)
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// If datagrams are off, it is too large, too many wait, or the connection's datagrams belong to HTTP.
    pub fn send(&mut self, payload: &[u8]) -> Result<(), DatagramError> {
        let sent = self.try_send(payload);
        self.core.count_sent(&sent);
        sent
    }

    fn try_send(&mut self, payload: &[u8]) -> Result<(), DatagramError> {
        if self.core.settings.transport.datagram_queue.is_none() {
            return Err(DatagramError::DisabledHere);
        }
        check_size(&self.conn.transport, payload.len(), 0)?;
        send(&mut self.conn.transport, payload.to_vec())
    }

    /// Datagrams that wait to be sent.
    pub fn queued(&self) -> usize {
        self.conn.transport.datagrams_queued()
    }

    /// Closes the connection with an application error code (RFC 9000 section 10.2). Queued datagrams are lost.
    pub fn close(&mut self, code: u64, reason: &[u8]) {
        self.conn.transport.close(ErrorCode(code), reason);
    }

    /// Drops the queued datagrams for which `predicate` is true, and returns their number.
    pub fn purge(&mut self, predicate: impl Fn(&[u8]) -> bool) -> usize {
        let before = self.queued();
        self.conn.transport.purge_datagrams(predicate);
        let purged = before - self.queued();
        self.core.stats.datagram_frames_dropped += purged as u64;
        purged
    }
}

impl Core {
    pub(super) fn count_sent(&mut self, sent: &Result<(), DatagramError>) {
        match sent {
            Ok(()) => self.stats.datagram_frames_out += 1,
            Err(_) => self.stats.datagram_frames_dropped += 1,
        }
    }
}

impl Endpoint {
    /// The QUIC datagrams of a connection, unless it has ended or they belong to HTTP.
    pub fn datagrams(&mut self, id: ConnId) -> Option<Datagrams<'_>> {
        self.mark(id);
        let conn = self.table.get_mut(id).filter(|conn| !conn.transport.has_http_datagrams())?;
        Some(Datagrams { id, conn, core: &mut self.core })
    }

    /// Whether a connection's datagrams belong to HTTP, once known: in HTTP/3 from the peer's SETTINGS.
    pub fn has_http_datagrams(&self, id: ConnId) -> Option<bool> {
        let conn = self.table.get(id).filter(|conn| conn.handshake.has_begun())?;
        match conn.transport.has_http3() {
            true => conn.transport.peer_settings().map(|_| conn.transport.has_http_datagrams()),
            false => Some(false),
        }
    }

    /// Sends an HTTP datagram for a request or a session.
    ///
    /// # Errors
    /// If the stream is closed, datagrams are off, it is too large, or too many wait.
    pub fn send_datagram(&mut self, id: StreamId, payload: &[u8]) -> Result<(), DatagramError> {
        let sent = self.with(self.now, id.conn, |conn, cx| {
            if let Some(state) = conn.session_mut(id.id) {
                state.last_active = cx.now;
            }
            conn.send_http_datagram(id.id, payload, cx.core)
        });
        sent.unwrap_or(Err(DatagramError::Closed))
    }
}

impl Connection {
    pub(super) fn send_http_datagram(
        &mut self,
        stream: u64,
        payload: &[u8],
        core: &mut Core,
    ) -> Result<(), DatagramError> {
        let sent = match self.streams.request(stream) {
            _ if core.settings.transport.datagram_queue.is_none() => Err(DatagramError::DisabledHere),
            Some(_) => send_http(&mut self.transport, stream, payload),
            None => Err(DatagramError::Closed),
        };
        core.count_sent(&sent);
        sent
    }

    /// Receives the datagrams. While the peer's SETTINGS are missing, it is unknown if they belong to HTTP, so they
    /// wait in quiche's bounded queue.
    pub(super) fn poll_datagrams(&mut self, cx: &mut Cx<'_>) {
        if self.transport.datagrams_received() == 0 {
            return;
        }
        if self.transport.has_http3() && self.transport.peer_settings().is_none() {
            return;
        }
        let is_http = self.transport.has_http_datagrams();
        while let Some(frame) = self.transport.recv_datagram() {
            cx.core.stats.datagram_frames_in += 1;
            if !is_http {
                cx.emit(Event::QuicDatagram(cx.conn, frame.into()));
                continue;
            }
            let Some((stream, payload)) = datagram::parse(frame.into()) else {
                log::debug!("{:?}: a malformed HTTP datagram", cx.conn);
                return self.transport.close(ErrorCode::H3_DATAGRAM_ERROR, b"malformed datagram");
            };
            self.on_http_datagram(cx, stream, payload);
        }
    }

    fn on_http_datagram(&mut self, cx: &mut Cx<'_>, stream: u64, payload: Bytes) {
        match self.sessions.as_ref().map(|sessions| sessions.named(stream)) {
            Some(Named::Open) => return self.deliver_datagram(cx, stream, payload),
            Some(Named::Closing | Named::Closed) => {
                cx.core.stats.datagram_frames_dropped += 1;
                return;
            }
            _ => {}
        }
        match self.streams.request(stream) {
            // RFC 9297 section 2.1: none after the end of the stream that it belongs to.
            Some(state) if state.takes_datagrams() => cx.emit(Event::Datagram(cx.id(stream), payload)),
            Some(state) if !state.is_connect() => cx.core.stats.datagram_frames_dropped += 1,
            // Its stream or session may still arrive.
            _ if !self.was_used(stream) || self.streams.request(stream).is_some() => {
                self.buffer_datagram(cx, stream, payload);
            }
            _ => cx.core.stats.datagram_frames_dropped += 1,
        }
    }
}
