//! Datagrams of a connection: QUIC's own (RFC 9221) and HTTP's (RFC 9297), which belong to a request.

use std::time::Instant;

use bytes::Bytes;
use quiche::h3;

use super::conn::Conn;
use super::{Core, Endpoint, Event};
use crate::error::{DatagramError, ErrorCode};
use crate::quic;
use crate::quic::table::{ConnId, StreamId};
use crate::wire::datagram;
use crate::wt::Owner;

/// Sends an HTTP datagram for the request, or the session, of `stream`.
pub(super) fn send_http(
    quic: &mut quic::Connection,
    h3: &h3::Connection,
    stream: u64,
    payload: &[u8],
) -> Result<(), DatagramError> {
    if !h3.dgram_enabled_by_peer(quic) {
        return Err(DatagramError::DisabledByPeer);
    }
    check_size(quic, payload.len(), datagram::overhead(stream))?;
    send(quic, datagram::build(stream, payload))
}

/// The largest payload of a datagram with `overhead` bytes in front of it.
pub(super) fn max_len(quic: &quic::Connection, overhead: usize) -> Option<usize> {
    quic.dgram_max_writable_len().map(|max| max.saturating_sub(overhead))
}

fn check_size(quic: &quic::Connection, size: usize, overhead: usize) -> Result<(), DatagramError> {
    let max = max_len(quic, overhead).ok_or(DatagramError::DisabledByPeer)?;
    if size > max { Err(DatagramError::TooLarge { size, max }) } else { Ok(()) }
}

fn send(quic: &mut quic::Connection, frame: Vec<u8>) -> Result<(), DatagramError> {
    quic.dgram_send_buf(frame).map_err(|e| match e {
        quiche::Error::Done => DatagramError::QueueFull,
        quiche::Error::InvalidState => DatagramError::DisabledByPeer,
        _ => DatagramError::Closed,
    })
}

/// A borrowed handle for the QUIC datagrams of a connection that are not HTTP's: of one with another application
/// protocol, or whose peer did not ask for HTTP datagrams.
pub struct Datagrams<'a> {
    pub(super) id: ConnId,
    pub(super) conn: &'a mut Conn,
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
        self.conn.peer()
    }

    /// The largest payload in bytes at the moment; `None` when datagrams are off on one of the sides.
    pub fn max_len(&self) -> Option<usize> {
        self.core.settings.transport.datagram_queue?;
        max_len(&self.conn.quic, 0)
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// When datagrams are off, when it is too large, when too many wait, or when the connection's datagrams are HTTP's.
    pub fn send(&mut self, payload: &[u8]) -> Result<(), DatagramError> {
        let sent = self.try_send(payload);
        self.core.count_sent(&sent);
        sent
    }

    fn try_send(&mut self, payload: &[u8]) -> Result<(), DatagramError> {
        if self.core.settings.transport.datagram_queue.is_none() {
            return Err(DatagramError::DisabledHere);
        }
        let quic = &mut self.conn.quic;
        check_size(quic, payload.len(), 0)?;
        send(quic, payload.to_vec())
    }

    /// Datagrams that wait to be sent.
    pub fn queued(&self) -> usize {
        self.conn.quic.dgram_send_queue_len()
    }

    /// Closes the connection with an application error code (RFC 9000 section 10.2). Datagrams that wait are lost.
    pub fn close(&mut self, code: u64, reason: &[u8]) {
        // Fails when it is closed already.
        let _ = self.conn.quic.close(true, code, reason);
    }

    /// Drops the waiting datagrams of which `predicate` is true, and says how many.
    pub fn purge(&mut self, predicate: impl Fn(&[u8]) -> bool) -> usize {
        let before = self.queued();
        self.conn.quic.dgram_purge_outgoing(predicate);
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
    /// The QUIC datagrams of a connection, unless it is gone or they are HTTP's.
    pub fn datagrams(&mut self, id: ConnId) -> Option<Datagrams<'_>> {
        let conn = self.table.get_mut(id).filter(|conn| !conn.has_http_datagrams())?;
        self.core.mark(conn, id);
        Some(Datagrams { id, conn, core: &mut self.core })
    }

    /// Whether a connection's datagrams are HTTP's, once that is known: with HTTP/3 the peer's SETTINGS tell.
    pub fn has_http_datagrams(&self, id: ConnId) -> Option<bool> {
        let conn = self.table.get(id).filter(|conn| conn.has_begun())?;
        match &conn.h3 {
            Some(h3) => h3.peer_settings_raw().map(|_| conn.has_http_datagrams()),
            None => Some(false),
        }
    }

    /// Sends an HTTP datagram for a request or a session.
    ///
    /// # Errors
    /// When the stream is gone, when datagrams are off, when it is too large or when too many wait.
    pub fn send_datagram(&mut self, id: StreamId, payload: &[u8]) -> Result<(), DatagramError> {
        let Some(conn) = self.table.get_mut(id.conn) else { return Err(DatagramError::Closed) };
        self.core.mark(conn, id.conn);
        conn.send_http_datagram(id.id, payload, &mut self.core)
    }
}

impl Conn {
    pub(super) fn send_http_datagram(
        &mut self,
        stream: u64,
        payload: &[u8],
        core: &mut Core,
    ) -> Result<(), DatagramError> {
        let sent = match &self.h3 {
            _ if core.settings.transport.datagram_queue.is_none() => Err(DatagramError::DisabledHere),
            Some(h3) if self.streams.contains_key(&stream) => send_http(&mut self.quic, h3, stream, payload),
            _ => Err(DatagramError::Closed),
        };
        core.count_sent(&sent);
        sent
    }

    /// Whether the connection's datagrams are HTTP's, as both sides said.
    pub(super) fn has_http_datagrams(&self) -> bool {
        self.h3.as_ref().is_some_and(|h3| h3.dgram_enabled_by_peer(&self.quic))
    }

    /// Takes the datagrams that came. While it is not known whose they are, as the peer's SETTINGS are missing, they
    /// wait in quiche's bounded queue.
    pub(super) fn poll_datagrams(&mut self, now: Instant, id: ConnId, core: &mut Core) {
        if self.quic.dgram_recv_queue_len() == 0 {
            return;
        }
        if self.h3.as_ref().is_some_and(|h3| h3.peer_settings_raw().is_none()) {
            return;
        }
        let is_http = self.has_http_datagrams();
        while let Ok(frame) = self.quic.dgram_recv_buf() {
            core.stats.datagram_frames_in += 1;
            if !is_http {
                core.events.push_back(Event::QuicDatagram(id, frame.into()));
                continue;
            }
            let Some((stream, payload)) = datagram::parse(frame.into()) else {
                log::debug!("{id:?}: a malformed HTTP datagram");
                // Fails when it is closed already.
                let _ = self.quic.close(true, ErrorCode::H3_DATAGRAM_ERROR.0, b"malformed datagram");
                return;
            };
            self.on_http_datagram(now, StreamId { conn: id, id: stream }, payload, core);
        }
    }

    fn on_http_datagram(&mut self, now: Instant, id: StreamId, payload: Bytes, core: &mut Core) {
        match self.wt.as_deref_mut().map(|wt| wt.owner(id.id)) {
            Some(Owner::Open) => return self.deliver_datagram(now, id, payload, core),
            Some(Owner::Gone) => {
                core.stats.datagram_frames_dropped += 1;
                return;
            }
            _ => {}
        }
        match self.streams.get(&id.id) {
            // RFC 9297 section 2.1: none after the end of the stream that it belongs to.
            Some(state) if state.takes_datagrams() => core.events.push_back(Event::Datagram(id, payload)),
            Some(state) if !state.is_connect() => core.stats.datagram_frames_dropped += 1,
            // Its stream, or its session, may still come.
            _ if !self.is_over_already(id.id) => self.keep_datagram(id.id, payload, core),
            _ => core.stats.datagram_frames_dropped += 1,
        }
    }
}
