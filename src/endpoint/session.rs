//! The application's handle to a WebTransport session, and the calls of the endpoint around it.

use std::time::Instant;

use http::HeaderMap;

use super::connection::Connection;
use super::core::{Core, Cx};
use super::stream::Stream;
use super::{Endpoint, datagram};
use crate::error::{DatagramError, SessionError};
use crate::transport::table::StreamId;
use crate::wire::capsule;
use crate::wire::datagram::overhead;

/// A borrowed handle to an open WebTransport session, valid for one call of a handler. Keep its id between calls:
/// the [`StreamId`] of its CONNECT stream.
pub struct Session<'a> {
    pub(super) id: StreamId,
    pub(super) now: Instant,
    pub(super) conn: &'a mut Connection,
    pub(super) core: &'a mut Core,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Session<'_> {
    fn with<T>(&mut self, call: impl FnOnce(&mut Connection, &mut Cx<'_>, u64) -> T) -> T {
        let mut cx = Cx { now: self.now, conn: self.id.conn, core: self.core };
        call(self.conn, &mut cx, self.id.id)
    }

    /// The session's id.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The time of this turn of the event loop.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The peer's address.
    pub fn peer_addr(&self) -> std::net::SocketAddr {
        self.conn.transport.peer_addr()
    }

    /// Whether the session can still be used; false once it was closed.
    pub fn is_open(&self) -> bool {
        self.conn.has_session(self.id.id)
    }

    /// Sends a datagram. Datagrams may be lost or reordered.
    ///
    /// # Errors
    /// If the session has ended, the datagram is too large, or too many wait.
    pub fn send_datagram(&mut self, payload: &[u8]) -> Result<(), DatagramError> {
        let Some(state) = self.conn.session_mut(self.id.id) else { return Err(DatagramError::Closed) };
        state.last_active = self.now;
        self.conn.send_http_datagram(self.id.id, payload, self.core)
    }

    /// The largest payload of a datagram in bytes at the moment.
    pub fn max_datagram_len(&self) -> Option<usize> {
        datagram::max_len(&self.conn.transport, overhead(self.id.id))
    }

    /// Opens a bidirectional stream.
    ///
    /// # Errors
    /// [`SessionError::StreamLimit`] if the peer allows no more for now:
    /// [`Event::StreamsAvailable`](super::Event::StreamsAvailable) follows.
    pub fn open_bidi(&mut self) -> Result<StreamId, SessionError> {
        self.with(|conn, cx, session| conn.open_stream(cx, session, true))
    }

    /// Opens a unidirectional stream.
    ///
    /// # Errors
    /// As [`open_bidi`](Session::open_bidi).
    pub fn open_uni(&mut self) -> Result<StreamId, SessionError> {
        self.with(|conn, cx, session| conn.open_stream(cx, session, false))
    }

    /// A stream of this session to read and write, unless it has ended.
    pub fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
        let is_mine = id.conn == self.id.conn && self.conn.session_of(id.id) == Some(self.id.id);
        if is_mine { self.conn.stream(self.now, id, self.core) } else { None }
    }

    /// Releases a stream of this session: an unfinished sending side is reset, and
    /// unread data is discarded.
    pub fn release(&mut self, id: StreamId) {
        if id.conn == self.id.conn && self.conn.session_of(id.id) == Some(self.id.id) {
            self.with(|conn, cx, _| conn.release(cx, id.id));
        }
    }

    /// Causes an [`Event::SessionTimer`](super::Event::SessionTimer) at `at`. A later call replaces the time of an
    /// earlier one.
    pub fn wake_at(&mut self, at: Instant) {
        self.with(|conn, cx, session| conn.wake_session_at(cx, session, at));
    }

    /// Asks the peer to end the session soon (a DRAIN_WEBTRANSPORT_SESSION capsule).
    pub fn drain(&mut self) {
        if let Some(session) = self.conn.session_mut(self.id.id) {
            capsule::put_drain(&mut session.out);
        }
    }

    /// Ends the session with a code and a reason, of which at most 1024 bytes are sent. Its streams are reset shortly
    /// after.
    pub fn close(&mut self, code: u32, reason: &str) {
        self.with(|conn, cx, session| conn.close_session(cx, session, code, reason));
    }
}

impl Endpoint {
    /// A session to use, unless it has ended.
    pub fn session(&mut self, now: Instant, id: StreamId) -> Option<Session<'_>> {
        self.mark(id.conn);
        let conn = self.table.get_mut(id.conn).filter(|conn| conn.has_session(id.id))?;
        Some(Session { id, now, conn, core: &mut self.core })
    }

    /// Accepts the session of an [`Event::SessionRequest`](super::Event::SessionRequest), with further fields
    /// for the response's head. (Reject it like any request: by a response on its stream.)
    ///
    /// # Errors
    /// [`SessionError::Closed`] if the request has ended or was answered already.
    pub fn accept_session(&mut self, now: Instant, id: StreamId, headers: HeaderMap) -> Result<(), SessionError> {
        let accepted = self.with(now, id.conn, |conn, cx| conn.accept_session(cx, id.id, headers));
        accepted.unwrap_or(Err(SessionError::Closed))
    }

    /// Ends every session with a code and a reason, as the last step of a shutdown.
    pub fn close_sessions(&mut self, now: Instant, code: u32, reason: &str) {
        for id in self.table.ids().collect::<Vec<_>>() {
            self.with(now, id, |conn, cx| {
                for session in conn.open_sessions() {
                    conn.close_session(cx, session, code, reason);
                }
            });
        }
    }

    /// Open sessions.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.core.sessions
    }
}
