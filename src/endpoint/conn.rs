//! One connection: quiche's QUIC and HTTP/3 machines, the streams, and what drives them in one fixed order.

use std::net::SocketAddr;
use std::time::Instant;

use quiche::h3;

use super::client::Asked;
use super::stalls::STALL_CHECK;
use super::stream::Kind;
use super::transmit::Held;
use super::{CloseCause, Core, Event, Stream};
use crate::error::{ErrorCode, StreamError};
use crate::h3::{Flags, HttpStream, StreamEnd, StreamState, abort};
use crate::quic::table::{ConnId, StreamId, StreamMap};
use crate::quic::timers::Armed;
use crate::quic::{self, is_collected};
use crate::wt::{WtConn, WtStream};

/// `ssl_early_data_accepted` of BoringSSL.
const EARLY_DATA_ACCEPTED: u32 = 2;

/// HTTP/3 events of one connection in one turn; the rest waits for the next, so that nobody starves.
const MAX_EVENTS_PER_TURN: usize = 256;

/// Streams that a connection is through with before it looks which of them quiche has dropped.
const MIN_SWEEP: usize = 64;

/// Which side of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

pub(crate) struct Conn {
    pub(super) role: Role,
    pub(crate) quic: quic::Connection,
    pub(super) h3: Option<h3::Connection>,
    /// Present while the connection may have WebTransport sessions.
    pub(super) wt: Option<Box<WtConn>>,
    pub(crate) streams: StreamMap<StreamState>,
    pub(crate) flags: Flags,
    pub(crate) armed: Armed,
    pub(crate) held: Option<Box<Held>>,
    pub(super) peer: SocketAddr,
    /// Until when the handshake must be complete; `None` once it is.
    handshake_deadline: Option<Instant>,
    /// Packets came since the last `drive`.
    pub(crate) received: bool,
    pub(crate) dirty: bool,
    pub(crate) sending: bool,
    stops_seen: u64,
    /// Streams that were cut off, and that quiche and quiche::h3 still hold.
    pub(super) cut: Vec<u64>,
    /// Streams that we are through with, and that quiche may hold until all of the answer is acknowledged.
    pub(super) left: Vec<u64>,
    /// The length of `left` at which it is swept next.
    sweep_at: usize,
    pub(super) next_request: u64,
    /// There was a request that asked for no session.
    pub(super) had_request: bool,
    /// When it is looked whether the connection [stalls](Conn::look_for_stall).
    pub(super) stall_check: Option<Instant>,
    pub(super) stalled: bool,
    /// Something came since the last look.
    was_active: bool,
    /// Paths (our address, the peer's) that the connection has moved away from.
    pub(super) left_paths: Vec<(SocketAddr, SocketAddr)>,
    /// HTTP/3, or whatever protocol it is, has begun.
    begun: bool,
    /// What a client asks for before it may.
    pub(super) asked: Asked,
    /// When a connection that has had only sessions, and has none left, is closed.
    linger_until: Option<Instant>,
    pub(super) goaway: GoAway,
    closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum GoAway {
    No,
    /// To be sent as soon as the control stream has room.
    Wanted,
    /// Sent: requests from stream `limit` on are rejected.
    Sent {
        limit: u64,
    },
}

impl Conn {
    pub(crate) fn new(quic: quic::Connection, role: Role, peer: SocketAddr, handshake_deadline: Instant) -> Self {
        Conn {
            role,
            quic,
            h3: None,
            wt: None,
            streams: StreamMap::default(),
            flags: Flags::default(),
            armed: Armed::default(),
            held: None,
            peer,
            handshake_deadline: Some(handshake_deadline),
            received: false,
            dirty: false,
            sending: false,
            stops_seen: 0,
            cut: Vec::new(),
            left: Vec::new(),
            sweep_at: MIN_SWEEP,
            next_request: 0,
            had_request: false,
            stall_check: None,
            stalled: false,
            was_active: false,
            left_paths: Vec::new(),
            begun: false,
            asked: Asked::default(),
            linger_until: None,
            goaway: GoAway::No,
            closed: false,
        }
    }

    /// Handshake, HTTP/3, writable streams, connection ids and paths, in this order.
    pub(crate) fn drive(&mut self, now: Instant, id: ConnId, core: &mut Core) {
        self.note_handshake(id, core);
        let received = std::mem::take(&mut self.received);
        self.was_active |= received;
        core.stats.malformed_requests += std::mem::take(&mut self.flags.malformed);
        if self.h3.is_some() {
            if received {
                self.note_stops(id, core);
            }
            if self.wt.is_some() {
                self.sort_streams(now, id, core);
            }
            self.poll_http3(now, id, core);
            for stream in std::mem::take(&mut self.flags.unread) {
                self.announce(now, StreamId { conn: id, id: stream }, core);
            }
            if self.wt.is_some() {
                self.drive_sessions(now, id, received, core);
            }
            if self.flags.blocked {
                self.poll_writable(now, id, core);
            }
            if received {
                self.note_ends(now, id, core);
            }
            self.continue_asking(id, core);
            self.continue_goaway();
            self.forget_cut_streams();
            self.sweep_left();
        }
        if received {
            self.poll_datagrams(now, id, core);
            self.poll_cids_and_paths(id, core);
        }
    }

    fn note_handshake(&mut self, id: ConnId, core: &mut Core) {
        let established = self.quic.is_established();
        if self.begun && (self.handshake_deadline.is_none() || !established) || self.quic.is_closed() {
            return;
        }
        if !self.begun && (established || self.quic.is_in_early_data()) {
            self.begun = true;
            self.begin_http3(id, core);
            if !established && self.role == Role::Client && self.h3.is_some() {
                core.events.push_back(Event::RequestsPossible(id));
            }
        }
        if established && self.handshake_deadline.is_some() {
            self.end_handshake(core);
            core.stats.handshakes += 1;
            core.stats.resumed_handshakes += u64::from(self.quic.is_resumed());
            core.stats.early_handshakes += u64::from(self.is_early_accepted());
            if self.role == Role::Client && !self.trusts_server(id, core) {
                return;
            }
            self.received = true;
            log::debug!("{id:?}: handshake with {} complete", self.peer);
            core.events.push_back(Event::Connected(id));
        }
    }

    fn begin_http3(&mut self, id: ConnId, core: &mut Core) {
        if self.quic.application_proto() != b"h3" {
            log::debug!("{id:?}: no HTTP/3 but {:?}", String::from_utf8_lossy(self.quic.application_proto()));
            return;
        }
        let uni_left = self.quic.peer_streams_left_uni();
        match h3::Connection::with_transport(&mut self.quic, &core.h3) {
            Ok(h3) => {
                self.h3 = Some(h3);
                self.share_control_streams();
                if core.settings.webtransport.is_on() {
                    let opened = uni_left - self.quic.peer_streams_left_uni();
                    let is_server = self.role == Role::Server;
                    let max_streams = core.settings.webtransport.max_streams;
                    self.wt = Some(Box::new(WtConn::new(is_server, opened, max_streams)));
                }
                self.received = true;
            }
            // quiche has closed the connection.
            Err(e) => log::debug!("{id:?}: HTTP/3 cannot begin: {e}"),
        }
    }

    fn end_handshake(&mut self, core: &mut Core) {
        if self.handshake_deadline.take().is_some() {
            core.handshakes -= 1;
        }
    }

    fn poll_http3(&mut self, now: Instant, id: ConnId, core: &mut Core) {
        for _ in 0..MAX_EVENTS_PER_TURN {
            if !std::mem::take(&mut self.flags.repoll) {
                return;
            }
            let Some(h3) = &mut self.h3 else { return };
            let (stream, event) = match h3.poll(&mut self.quic) {
                Ok(got) => got,
                Err(h3::Error::Done) => return,
                Err(e) => {
                    // quiche has closed the connection with the code that the error stands for.
                    log::debug!("{id:?}: HTTP/3 error: {e}");
                    return;
                }
            };
            self.flags.repoll = true;
            self.on_http3_event(now, StreamId { conn: id, id: stream }, event, core);
        }
        core.mark(self, id);
    }

    fn on_http3_event(&mut self, now: Instant, id: StreamId, event: h3::Event, core: &mut Core) {
        // quiche::h3 cannot tell a stream that is none of its own from one that only ends.
        if self.wt.as_ref().is_some_and(|wt| wt.streams.contains_key(&id.id)) {
            return;
        }
        match event {
            h3::Event::Headers { .. } if self.has_misplaced_signal(id) => {}
            h3::Event::Headers { list, more_frames } if self.role == Role::Client => {
                self.on_response_fields(now, id, &list, more_frames, core);
            }
            h3::Event::Headers { list, more_frames } => match self.streams.contains_key(&id.id) {
                false => self.on_request(now, id, &list, more_frames, core),
                true => self.on_trailers(id, &list, core),
            },
            h3::Event::Data if self.streams.get(&id.id).is_some_and(StreamState::is_awaiting) => {
                log::debug!("{id:?}: a body without a head");
                // Fails when it is closed already.
                let _ = self.quic.close(true, ErrorCode::H3_FRAME_UNEXPECTED.0, b"DATA before HEADERS");
            }
            h3::Event::Data => self.announce(now, id, core),
            h3::Event::Finished => self.on_finished(now, id, core),
            h3::Event::Reset(code) => {
                core.stats.cancelled_streams += 1;
                if let Some(state) = self.streams.get_mut(&id.id) {
                    state.on_reset(code);
                    self.announce(now, id, core);
                } else {
                    self.next_request = self.next_request.max(id.id + 4);
                    self.cut_off(id.id, ErrorCode::H3_REQUEST_CANCELLED);
                }
            }
            h3::Event::PriorityUpdate => self.on_priority_update(now, id, core),
            h3::Event::GoAway if self.role == Role::Client => self.on_goaway(id, core),
            // A client's GOAWAY is about pushes, which there are none of.
            h3::Event::GoAway => {}
        }
    }

    /// Tells the application that a stream is ready, or deals with it when it is released.
    pub(super) fn announce(&mut self, now: Instant, id: StreamId, core: &mut Core) {
        if self.has_session(id.id) {
            return self.read_capsules(now, id, core);
        }
        match self.streams.get_mut(&id.id) {
            Some(state) if state.released => self.finish_released(now, id, core),
            // Capsules wait until the session is accepted.
            Some(state) if state.is_connect() => {}
            Some(state) => push_ready(&mut state.announced, id, core),
            None => {}
        }
    }

    /// Looks for streams that the peer stopped; quiche tells by a counter only.
    fn note_stops(&mut self, id: ConnId, core: &mut Core) {
        let stops = self.quic.stats().stopped_stream_count_remote;
        if std::mem::replace(&mut self.stops_seen, stops) == stops {
            return;
        }
        for (&stream, state) in self.streams.iter_mut().filter(|(_, state)| state.is_sending()) {
            if let Err(quiche::Error::StreamStopped(code)) = self.quic.stream_capacity(stream) {
                core.stats.cancelled_streams += 1;
                state.on_stopped(code);
                push_ready(&mut state.announced, StreamId { conn: id, id: stream }, core);
            }
        }
        self.note_session_stops(id, core);
        for stream in std::mem::take(&mut self.left) {
            self.leave(stream);
        }
    }

    /// Keeps an eye on a stream that we are through with. One that the peer stopped is freed by quiche only when it is
    /// looked at again, which is done for those that were cut off.
    pub(super) fn leave(&mut self, stream: u64) {
        match self.quic.stream_capacity(stream) {
            Err(quiche::Error::InvalidStreamState(_)) => {}
            Err(_) => self.note_cut(stream),
            Ok(_) => self.left.push(stream),
        }
    }

    fn sweep_left(&mut self) {
        if self.left.len() >= self.sweep_at {
            self.left.retain(|&stream| !is_collected(&mut self.quic, stream));
            self.sweep_at = MIN_SWEEP.max(2 * self.left.len());
        }
    }

    fn poll_writable(&mut self, now: Instant, id: ConnId, core: &mut Core) {
        while let Some(stream) = self.quic.stream_writable_next() {
            let id = StreamId { conn: id, id: stream };
            let wt = self.wt.as_mut().and_then(|wt| wt.streams.get_mut(&stream)).map(|state| &mut state.wants_write);
            let is_session_stream = wt.is_some();
            let wants_write = wt.or_else(|| self.streams.get_mut(&stream).map(|state| &mut state.wants_write));
            if !wants_write.is_some_and(std::mem::take) {
                continue;
            }
            let flushed = self.stream(now, id, core).map(|mut stream| stream.flush_queued());
            match is_session_stream {
                true => self.announce_session_stream(now, id, core),
                false if flushed != Some(Ok(false)) => self.announce(now, id, core),
                false => {}
            }
        }
        self.flags.blocked = self.streams.values().any(|state| state.wants_write)
            || self.wt.as_ref().is_some_and(|wt| wt.streams.values().any(|state| state.wants_write));
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// A client's first flight has left, and more may go with it (0-RTT).
    pub(super) fn may_begin_early(&self) -> bool {
        self.role == Role::Client && !self.begun && self.quic.is_in_early_data()
    }

    pub(super) fn is_early_accepted(&self) -> bool {
        self.quic.early_data_reason() == EARLY_DATA_ACCEPTED
    }

    /// What is sent now may go under the keys of 0-RTT. quiche denies that between a Retry and the first flight's second
    /// try, though what is written in the meantime goes with it.
    pub(super) fn is_early(&self) -> bool {
        self.begun && !self.quic.is_established()
    }

    pub(crate) fn stream<'a>(&'a mut self, now: Instant, id: StreamId, core: &'a mut Core) -> Option<Stream<'a>> {
        if self.session_of(id.id).is_some() {
            let WtConn { streams, sessions, stops_left, .. } = self.wt.as_deref_mut()?;
            let state = streams.get_mut(&id.id)?;
            let session = sessions.get_mut(&state.session);
            let (quic, flags, timers) = (&mut self.quic, &mut self.flags, &mut core.timers);
            let stream = WtStream { id, now, quic, state, session, flags, timers };
            return Some(Stream(Kind::Session { stream, stops_left }));
        }
        self.http_stream(now, id, core).map(|stream| Stream(Kind::Http(stream)))
    }

    /// A request's stream.
    pub(super) fn http_stream<'a>(
        &'a mut self,
        now: Instant,
        id: StreamId,
        core: &'a mut Core,
    ) -> Option<HttpStream<'a>> {
        let state = self.streams.get_mut(&id.id)?;
        let max_body = core.settings.max_request_body.filter(|_| !state.is_connect());
        let (quic, h3) = (&mut self.quic, self.h3.as_mut()?);
        Some(HttpStream { id, now, quic, h3, state, flags: &mut self.flags, timers: &mut core.timers, max_body })
    }

    pub(crate) fn release(&mut self, now: Instant, id: StreamId, core: &mut Core) {
        if self.session_of(id.id).is_some() {
            return self.release_session_stream(now, id, core);
        }
        let Some(state) = self.streams.get_mut(&id.id) else { return };
        state.released = true;
        let is_connect = state.is_connect();
        if self.role == Role::Client && !state.is_complete() && !is_connect {
            // The rest of a response is of no use.
            self.cut_off(id.id, ErrorCode::H3_REQUEST_CANCELLED);
            if let Some(state) = self.streams.get_mut(&id.id) {
                state.fail(StreamError::Closed);
            }
        } else if state.is_sending() {
            self.cut_off(id.id, ErrorCode::H3_INTERNAL_ERROR);
            if let Some(state) = self.streams.get_mut(&id.id) {
                state.fail(StreamError::Closed);
            }
        }
        if is_connect {
            self.on_connect_over(now, id, core);
        }
        self.finish_released(now, id, core);
    }

    /// Reads the rest of a body that nobody wants, and forgets the stream when both directions are over.
    pub(super) fn finish_released(&mut self, now: Instant, id: StreamId, core: &mut Core) {
        let Some(mut stream) = self.http_stream(now, id, core) else { return };
        stream.discard();
        let Some(state) = self.streams.get(&id.id).filter(|state| state.is_complete()) else { return };
        match state.end() {
            StreamEnd::Whole => self.leave(id.id),
            // Resetting the answer, too, could take it from a client that only gave up its own body.
            StreamEnd::Answered => self.note_cut(id.id),
            StreamEnd::Cut => self.cut_off(id.id, ErrorCode::H3_REQUEST_CANCELLED),
        }
        self.streams.remove(&id.id);
    }

    pub(super) fn cut_off(&mut self, stream: u64, code: ErrorCode) {
        abort(&mut self.quic, stream, code);
        self.note_cut(stream);
    }

    fn note_cut(&mut self, stream: u64) {
        if !self.cut.contains(&stream) {
            self.cut.push(stream);
        }
    }

    /// quiche::h3 drops its entry of a stream that was cut off only when it fails to write to it after QUIC has
    /// dropped the stream.
    fn forget_cut_streams(&mut self) {
        let (quic, Some(h3)) = (&mut self.quic, &mut self.h3) else { return };
        self.cut.retain(|&stream| {
            let gone = is_collected(quic, stream);
            if gone {
                let _ = h3.send_body(quic, stream, b"", true);
                let _ = h3.send_response::<h3::Header, _>(quic, stream, &[], true);
            }
            !gone
        });
    }

    pub(crate) fn go_away(&mut self) {
        if self.goaway == GoAway::No {
            self.goaway = GoAway::Wanted;
            self.drain_sessions();
        }
        if self.h3.is_none() || self.role == Role::Client {
            self.close_gracefully();
        }
    }

    fn continue_goaway(&mut self) {
        if self.goaway == GoAway::Wanted
            && let Some(h3) = &mut self.h3
            && h3.send_goaway(&mut self.quic, self.next_request).is_ok()
        {
            self.goaway = GoAway::Sent { limit: self.next_request };
        }
        if !matches!(self.goaway, GoAway::Sent { .. }) || !self.streams.is_empty() {
            return;
        }
        // Closing drops what is not acknowledged; of the streams that were cut off there is nothing to deliver.
        self.left.retain(|&stream| !is_collected(&mut self.quic, stream));
        if self.left.is_empty() {
            self.close_gracefully();
        }
    }

    fn close_gracefully(&mut self) {
        // Fails when it is closed already.
        let _ = self.quic.close(true, ErrorCode::H3_NO_ERROR.0, b"shutting down");
    }

    pub(crate) fn on_timeout(&mut self, now: Instant, id: ConnId, core: &mut Core) {
        if self.stall_check.is_some_and(|at| at <= now) {
            self.look_for_stall(now);
        }
        if self.linger_until.is_some_and(|at| at <= now) {
            log::debug!("{id:?}: no session is left");
            // Fails when it is closed already.
            let _ = self.quic.close(true, ErrorCode::H3_NO_ERROR.0, b"no session left");
        }
        if self.quic.timeout_instant().is_some_and(|at| at <= now) {
            self.quic.on_timeout();
            self.received = true;
        }
        if self.handshake_deadline.is_some_and(|at| at <= now) && !self.quic.is_established() {
            core.stats.handshake_timeouts += 1;
            log::debug!("{id:?}: no handshake in time");
            self.end_handshake(core);
            // Fails when it is closed already.
            let _ = self.quic.close(false, 0, b"handshake timeout");
        }
    }

    pub(crate) fn on_stream_timeout(&mut self, now: Instant, at: Instant, id: StreamId, core: &mut Core) {
        if let Some(state) = self.streams.get_mut(&id.id)
            && state.armed.fired(at)
        {
            push_ready(&mut state.announced, id, core);
        } else {
            self.on_session_timeout(now, at, id, core);
        }
    }

    /// The application took a `Ready` event.
    pub(super) fn on_ready_taken(&mut self, stream: u64) {
        if let Some(state) = self.streams.get_mut(&stream) {
            state.announced = false;
        } else if let Some(state) = self.wt.as_mut().and_then(|wt| wt.streams.get_mut(&stream)) {
            state.announced = false;
        }
    }

    /// After everything was sent: sets the timer. True when the connection is over and can be dropped.
    pub(crate) fn settle(&mut self, now: Instant, id: ConnId, core: &mut Core) -> bool {
        let is_gone = self.quic.is_closed();
        // What has come can be read while the connection drains (RFC 9000 section 10.2); without streams there is nothing
        // to wait for.
        let is_idle = self.streams.is_empty() && self.wt.as_ref().is_none_or(|wt| wt.is_idle());
        if is_gone || self.quic.is_draining() && is_idle {
            self.end_handshake(core);
            self.forget_sessions(core);
            if !std::mem::replace(&mut self.closed, true) {
                let cause = CloseCause::of(&self.quic);
                log::debug!("{id:?}: {cause}");
                core.events.push_back(Event::Closed(id, cause));
            }
        }
        if is_gone {
            return true;
        }
        let held = self.held.as_ref().map(|held| held.due());
        self.linger_until = match self.has_only_had_sessions() {
            true => self.linger_until.or(Some(now + core.settings.webtransport.linger)),
            false => None,
        };
        if self.was_active && self.stall_check.is_none() && self.streams.values().any(|state| state.is_sending()) {
            self.was_active = false;
            self.stall_check = Some(now + STALL_CHECK);
        }
        let quic = self.quic.timeout_instant();
        let deadlines = [quic, self.handshake_deadline, held, self.linger_until, self.stall_check];
        if let Some(at) = deadlines.into_iter().flatten().min() {
            core.timers.arm(crate::quic::timers::TimerKey::Conn(id), &mut self.armed, at);
        }
        false
    }

    #[cfg(test)]
    pub(crate) fn stream_count(&self) -> usize {
        self.streams.len() + self.cut.len()
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether a stream without a state has been here before.
    pub(super) fn is_over_already(&self, stream: u64) -> bool {
        stream < self.next_request
    }

    fn has_only_had_sessions(&self) -> bool {
        let idle = self.wt.as_ref().is_some_and(|wt| wt.had_session && wt.is_idle());
        idle && !self.had_request && self.streams.is_empty()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.quic.is_closed() || self.quic.is_draining()
    }
}

/// Queues a `Ready` event unless one waits already.
pub(super) fn push_ready(announced: &mut bool, id: StreamId, core: &mut Core) {
    if !std::mem::replace(announced, true) {
        core.events.push_back(Event::Ready(id));
    }
}
