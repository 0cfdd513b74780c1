//! One connection: QUIC with HTTP/3 on it, its streams, and the parts that handle them.

use std::net::IpAddr;
use std::time::Instant;

use super::closing::Closing;
use super::core::{Core, Cx, Role};
use super::handshake::Handshake;
use super::keep_alive::KeepAlive;
use super::outgoing::Deferred;
use super::progress::Progress;
use super::samples::Samples;
use super::stream::Stream;
use super::streams::{StreamState, Streams};
use crate::h3::{Followups, HttpStream};
use crate::transport::Transport;
use crate::transport::table::StreamId;
use crate::transport::timers::{Armed, TimerKey};
use crate::wt::{SessionStream, Sessions};

pub(crate) struct Connection {
    pub(super) role: Role,
    pub(super) transport: Transport,
    pub(super) streams: Streams,
    pub(super) followups: Followups,
    /// Present while the connection may have WebTransport sessions.
    pub(super) sessions: Option<Box<Sessions>>,
    pub(super) requests: Requests,
    pub(super) handshake: Handshake,
    pub(super) closing: Closing,
    pub(super) keep_alive: KeepAlive,
    pub(super) progress: Progress,
    pub(super) samples: Samples,
    pub(super) turn: Turn,
}

/// A connection's state of requests besides the streams.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// The first request stream that was not used.
    pub(super) next: u64,
    /// There was a request other than for a session.
    pub(super) had_request: bool,
    /// On a client: a request could not be sent, so the application must be notified when one can.
    pub(super) wanted: bool,
    /// On a client: the request that could not be sent is for a session, which needs the server's SETTINGS.
    pub(super) settings_wanted: bool,
    /// On a client: the server accepts no more requests.
    pub(super) going_away: bool,
    /// Requests that the client aborted, or that were aborted for its fault, less those that were completed.
    pub(super) aborted: i32,
    /// On a client: the server's address, if the URL has an address. The certificate must include it.
    pub(super) server_ip: Option<Box<IpAddr>>,
}

/// Where a connection is in the turn of the loop.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Packets arrived or timers fired since the last `drive`.
    pub(super) received: bool,
    /// It is on the list of those to drive.
    pub(super) dirty: bool,
    /// It is on the list of those to send.
    pub(super) sending: bool,
    /// It has used its share of this turn, and is on the list of connections to continue with in the next one.
    pub(super) postponed: bool,
    /// What counts against its [share](super::backlog::SHARE_OF_TURN) of this turn.
    pub(super) work: u32,
    pub(super) armed: Armed,
    pub(super) deferred: Option<Box<Deferred>>,
}

impl Connection {
    pub(super) fn new(transport: Transport, role: Role, now: Instant, handshake_deadline: Instant) -> Self {
        Connection {
            role,
            transport,
            streams: Streams::default(),
            followups: Followups::default(),
            sessions: None,
            requests: Requests::default(),
            handshake: Handshake::new(handshake_deadline),
            closing: Closing::default(),
            keep_alive: KeepAlive::new(now),
            progress: Progress::default(),
            samples: Samples::new(now),
            turn: Turn::default(),
        }
    }

    /// Data written now may be sent under 0-RTT keys.
    pub(super) fn is_early(&self) -> bool {
        self.handshake.has_begun() && !self.transport.is_established()
    }

    /// A client's first flight was sent, and more may follow in it (0-RTT).
    pub(super) fn may_begin_early(&self) -> bool {
        self.role == Role::Client && !self.handshake.has_begun() && self.transport.is_in_early_data()
    }

    /// Whether a request stream without an entry was used before.
    pub(super) fn was_used(&self, stream: u64) -> bool {
        stream < self.requests.next
    }

    /// The request on a stream, to read and write.
    pub(super) fn http_stream<'a>(&'a mut self, cx: &'a mut Cx<'_>, stream: u64) -> Option<HttpStream<'a>> {
        self.http_stream_in(cx.now, cx.id(stream), cx.core)
    }

    fn http_stream_in<'a>(&'a mut self, now: Instant, id: StreamId, core: &'a mut Core) -> Option<HttpStream<'a>> {
        let Core { settings, timers, .. } = core;
        let state = self.streams.request_mut(id.id)?;
        let max_body = settings.max_request_body.filter(|_| !state.is_connect());
        let (transport, followups) = (&mut self.transport, &mut self.followups);
        Some(HttpStream { id, now, transport, state, followups, timers, max_body })
    }

    /// A session's stream, to read and write.
    pub(super) fn session_stream<'a>(&'a mut self, cx: &'a mut Cx<'_>, stream: u64) -> Option<SessionStream<'a>> {
        self.session_stream_in(cx.now, cx.id(stream), cx.core)
    }

    fn session_stream_in<'a>(
        &'a mut self,
        now: Instant,
        id: StreamId,
        core: &'a mut Core,
    ) -> Option<SessionStream<'a>> {
        let state = self.streams.of_session_mut(id.id)?;
        let session = self.sessions.as_mut().and_then(|sessions| sessions.map.get_mut(&state.session));
        let (transport, followups, timers) = (&mut self.transport, &mut self.followups, &mut core.timers);
        Some(SessionStream { id, now, transport, state, session, followups, timers })
    }

    /// The application's handle to a stream.
    pub(super) fn stream<'a>(&'a mut self, now: Instant, id: StreamId, core: &'a mut Core) -> Option<Stream<'a>> {
        match self.streams.of_session(id.id) {
            Some(_) => self.session_stream_in(now, id, core).map(Stream::of_session),
            None => self.http_stream_in(now, id, core).map(Stream::of_request),
        }
    }

    /// The session that a stream belongs to, if any.
    pub(super) fn session_of(&self, stream: u64) -> Option<u64> {
        self.streams.of_session(stream).map(|state| state.session)
    }

    /// Removes a stream from the table, with its timer.
    pub(super) fn remove_stream(&mut self, cx: &mut Cx<'_>, stream: u64) -> Option<StreamState> {
        let mut state = self.streams.remove(stream)?;
        self.followups.stop_waiting(stream);
        let armed = match &mut state {
            StreamState::Request(state) => &mut state.armed,
            StreamState::Session(state) => &mut state.armed,
            _ => return Some(state),
        };
        cx.core.timers.cancel(TimerKey::Stream(cx.id(stream)), armed);
        Some(state)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn stream_count(&self) -> usize {
        self.streams.open_count() + self.transport.aborted_count()
    }
}
