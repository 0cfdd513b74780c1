//! The streams of WebTransport sessions: theirs and ours, from their first bytes until nothing is left of them.

use std::time::Instant;

use quiche::Shutdown;

use super::conn::{Conn, push_ready};
use super::stream::Kind;
use super::{Core, Event, Stream, qlog};
use crate::error::{ErrorCode, SessionError, StreamError};
use crate::h3::{Half, abort};
use crate::quic::table::{ConnId, StreamId};
use crate::wt::{Arrival, Owner, WtState};

impl Conn {
    /// Keeps streams of sessions from quiche::h3. To be called before it is polled.
    pub(super) fn sort_streams(&mut self, now: Instant, conn: ConnId, core: &mut Core) {
        self.learn_settings(now, core);
        let Some(wt) = &mut self.wt else { return };
        let sorted = wt.sort(&mut self.quic);
        wt.sweep(&mut self.quic);
        if sorted.broken {
            log::error!("{conn:?}: quiche does not behave as expected: a peek consumed a stream");
            // Fails when it is closed already.
            let _ = self.quic.close(true, ErrorCode::H3_INTERNAL_ERROR.0, b"");
            return;
        }
        for stream in sorted.dead {
            abort(&mut self.quic, stream, ErrorCode::H3_REQUEST_INCOMPLETE);
        }
        if sorted.misplaced_signal {
            self.close_for_signal(conn);
            return;
        }
        for stream in sorted.readable {
            self.announce_session_stream(now, StreamId { conn, id: stream }, core);
        }
        for arrival in sorted.arrivals {
            self.on_arrival(now, conn, arrival, core);
        }
        self.check_flow(now, conn, core);
    }

    /// The head of a message was read: what stands behind it must not be the signal of a session's stream, which is
    /// allowed in front of everything else only. (What stands behind further frames cannot be seen, and is passed over
    /// by quiche::h3 like a frame of an unknown type.)
    pub(super) fn has_misplaced_signal(&mut self, id: StreamId) -> bool {
        let Some(wt) = &mut self.wt else { return false };
        let found = wt.watch(&mut self.quic, id.id);
        if found {
            self.close_for_signal(id.conn);
        }
        found
    }

    pub(super) fn close_for_signal(&mut self, conn: ConnId) {
        log::debug!("{conn:?}: the signal of a session's stream within a request");
        // Fails when it is closed already.
        let _ = self.quic.close(true, ErrorCode::H3_FRAME_ERROR.0, b"misplaced WebTransport signal");
    }

    pub(super) fn on_arrival(&mut self, now: Instant, conn: ConnId, arrival: Arrival, core: &mut Core) {
        let Some(wt) = &mut self.wt else { return };
        let Arrival { stream, session, fin } = arrival;
        let is_bidi = stream & 2 == 0;
        match wt.owner(session) {
            Owner::Invalid => {
                log::debug!("{conn:?}: stream {stream} names {session} as its session");
                // Fails when it is closed already.
                let _ = self.quic.close(true, ErrorCode::H3_ID_ERROR.0, b"invalid session id");
                return;
            }
            Owner::Gone => return self.refuse_stream(stream, ErrorCode::WT_SESSION_GONE),
            Owner::Unknown => {
                if let Some(oldest) = wt.early.keep_stream(arrival) {
                    core.stats.session_streams_rejected += 1;
                    self.refuse_stream(oldest.stream, ErrorCode::WT_BUFFERED_STREAM_REJECTED);
                }
                return;
            }
            Owner::Open => {}
        }
        let Some(state) = wt.sessions.get_mut(&session) else { return };
        let id = StreamId { conn, id: session };
        state.last_active = now;
        if let Some(flow) = &mut state.flow
            && flow.on_stream(is_bidi).is_err()
        {
            return self.fail_session(now, id, ErrorCode::WT_FLOW_CONTROL_ERROR, "more streams than allowed", core);
        }
        if state.peer_streams >= core.settings.webtransport.max_session_streams {
            core.stats.session_streams_rejected += 1;
            state.last_cut = Some(now);
            return self.refuse_stream(stream, ErrorCode::H3_EXCESSIVE_LOAD);
        }
        state.peer_streams += 1;
        core.stats.session_streams_in += 1;
        wt.streams.insert(stream, WtState::arrived(stream, session, fin));
        qlog::session(&mut self.quic, "stream_arrived", session, Some(stream));
        let stream = StreamId { conn, id: stream };
        core.events.push_back(Event::SessionStream { session: id, stream });
    }

    /// Cuts off a stream that no session has.
    pub(super) fn refuse_stream(&mut self, stream: u64, code: ErrorCode) {
        let Some(wt) = &mut self.wt else { return };
        if stream & 2 == 0 {
            return abort(&mut self.quic, stream, code);
        }
        // quiche never gives the credit of a unidirectional stream back that was stopped.
        if wt.stops_left > 0 {
            wt.stops_left -= 1;
            // Fails only where it is over already.
            let _ = self.quic.stream_shutdown(stream, Shutdown::Read, code.0);
        } else {
            wt.drain(stream);
        }
    }

    /// Opens a stream of ours.
    pub(super) fn open_stream(
        &mut self,
        now: Instant,
        session: StreamId,
        bidi: bool,
        core: &mut Core,
    ) -> Result<StreamId, SessionError> {
        let left = match bidi {
            true => self.quic.peer_streams_left_bidi(),
            false => self.quic.peer_streams_left_uni(),
        };
        let Some(wt) = &mut self.wt else { return Err(SessionError::Closed) };
        let Some(state) = wt.sessions.get_mut(&session.id).filter(|s| s.end.is_none()) else {
            return Err(SessionError::Closed);
        };
        let allowed = left > 0 && state.flow.as_mut().is_none_or(|flow| flow.open(bidi, &mut state.out));
        if !allowed {
            state.wants_streams = true;
            return Err(SessionError::StreamLimit);
        }
        state.last_active = now;
        let stream = wt.next_stream(bidi);
        wt.opened(bidi);
        wt.streams.insert(stream, WtState::opened(stream, session.id));
        core.stats.session_streams_out += 1;
        qlog::session(&mut self.quic, "stream_opened", session.id, Some(stream));
        let id = StreamId { conn: session.conn, id: stream };
        if let Some(mut stream) = self.stream(now, id, core) {
            // The header goes with the first bytes, or later when there is no room now.
            let _ = stream.flush_queued();
        }
        Ok(id)
    }

    /// An end that waited until all before it was acknowledged.
    pub(super) fn continue_held(&mut self, now: Instant, id: StreamId, core: &mut Core) {
        let Some(mut stream) = self.stream(now, id, core) else { return };
        // When it fails the peer wants no more, and the stream is over.
        let _ = stream.flush_queued();
        let still_held = self.wt.as_ref().and_then(|wt| wt.streams.get(&id.id)).is_some_and(|s| s.fin_held);
        match still_held {
            true => self.flags.held.push(id.id),
            false => self.settle_session_stream(now, id, core),
        }
    }

    /// Looks for streams that the peer reset while they had something to read: quiche tells by a counter only.
    pub(super) fn note_session_resets(&mut self, conn: ConnId, core: &mut Core) {
        let resets = self.quic.stats().reset_stream_count_remote;
        let Some(wt) = &mut self.wt else { return };
        if std::mem::replace(&mut wt.resets_seen, resets) == resets {
            return;
        }
        for (&stream, state) in wt.streams.iter_mut().filter(|(_, state)| state.recv == Half::Open) {
            if self.quic.stream_readable(stream) && self.quic.stream_readable_len(stream, 1) == 0 {
                push_ready(&mut state.announced, StreamId { conn, id: stream }, core);
            }
        }
    }

    /// As `note_stops`, for the streams of sessions.
    pub(super) fn note_session_stops(&mut self, conn: ConnId, core: &mut Core) {
        let Some(wt) = &mut self.wt else { return };
        for (&stream, state) in wt.streams.iter_mut().filter(|(_, state)| state.is_sending() || state.fin_held) {
            if let Err(quiche::Error::StreamStopped(code)) = self.quic.stream_capacity(stream) {
                core.stats.cancelled_streams += 1;
                state.on_stopped(code);
                push_ready(&mut state.announced, StreamId { conn, id: stream }, core);
            }
        }
    }

    /// Tells the application that a stream of a session is ready, or deals with it when it is released.
    pub(super) fn announce_session_stream(&mut self, now: Instant, id: StreamId, core: &mut Core) {
        let Some(state) = self.wt.as_mut().and_then(|wt| wt.streams.get_mut(&id.id)) else { return };
        match state.released {
            true => self.settle_session_stream(now, id, core),
            false => push_ready(&mut state.announced, id, core),
        }
    }

    pub(super) fn release_session_stream(&mut self, now: Instant, id: StreamId, core: &mut Core) {
        if let Some(Stream(Kind::Session { mut stream, .. })) = self.stream(now, id, core) {
            stream.state.released = true;
            if stream.state.is_sending() {
                stream.reset_send(ErrorCode::webtransport(0));
            }
        }
        self.settle_session_stream(now, id, core);
    }

    /// Reads the rest of a released stream, and forgets it when both directions are over.
    pub(super) fn settle_session_stream(&mut self, now: Instant, id: StreamId, core: &mut Core) {
        let Some(Stream(Kind::Session { mut stream, stops_left })) = self.stream(now, id, core) else { return };
        if !stream.state.released {
            return;
        }
        stream.discard(stops_left);
        if !stream.state.is_complete() {
            return;
        }
        let Some(wt) = &mut self.wt else { return };
        let Some(state) = wt.streams.remove(&id.id) else { return };
        let was_written = !matches!(state.send, Half::Failed(StreamError::Misuse(_)));
        if let Some(session) = wt.sessions.get_mut(&state.session).filter(|_| state.from_peer) {
            session.peer_streams -= 1;
            if let Some(flow) = &mut session.flow {
                flow.on_stream_over(id.id & 2 == 0, &mut session.out);
            }
        }
        if was_written {
            self.leave(id.id);
        }
    }

    /// The session that a stream belongs to, if it is one of a session.
    pub(super) fn session_of(&self, stream: u64) -> Option<u64> {
        self.wt.as_ref()?.streams.get(&stream).map(|state| state.session)
    }
}
